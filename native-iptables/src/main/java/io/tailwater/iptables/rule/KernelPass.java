package io.tailwater.iptables.rule;

/// Part of a [CapturePlan]: connections to addresses of a set go out from the pod as themselves.
/// Their first packets are held in a queue until the agent has answered; those that it releases are
/// never looked at again.
///
/// How a connection is known is in its conntrack mark: [#GATE] from its first packet on,
/// [#RELEASED] or [Mark#DENIED] by the agent's answer. No packet mark of the pod's means anything
/// here.
///
/// @param queue where data of connections that are not released waits, and on the node their SYN;
///   one for all pods of a namespace
/// @param beginGroup the group that their SYN is logged to in a pod's own namespace; who reads the
///   queue reads it by the same socket, so that the order is that of the packets
/// @param endGroup the group that FIN and RST of released connections are logged to
/// @param bypass whether packets pass undecided while nobody reads the queue; otherwise they are
///   dropped, and sent again by the pod
public record KernelPass(int queue, int beginGroup, int endGroup, boolean bypass) {
  /// Of a connection whose first packets are held: set at its SYN.
  public static final Mark GATE = new Mark(0x4, 0x4);

  /// Of a connection that the agent has let go.
  public static final Mark RELEASED = new Mark(0x2, 0x2);

  /// What the agent answers for a connection: denied, and released no more.
  public static final Mark REVOKED = new Mark(0x20, 0x22);

  /// Of a packet, in the pod's namespace, that the agent has answered for; it goes no further than
  /// mangle POSTROUTING.
  public static final Mark JUDGED = new Mark(0x7a110400, -1);

  /// The same, of a connection that goes on: its entry is marked [#RELEASED] by the packet itself,
  /// and by no other way in a pod's namespace. Another connection may have the same addresses and
  /// ports by then; it has another entry. Whoever else sends a packet with this mark is not let
  /// through.
  public static final Mark JUDGED_AND_RELEASED = new Mark(0x7a110600, -1);

  /// Either of them.
  static final Mark JUDGED_EITHER = new Mark(0x7a110400, ~0x200);

  /// Of a packet, in the pod's namespace, that the agent has refused: it meets the rules again.
  public static final Mark REFUSED = new Mark(0x7a110800, -1);

  /// The queue and the group that are ours where nobody says otherwise.
  public static final KernelPass STANDARD = new KernelPass(1501, 1503, 1502, false);

  /// What packets of the gate leave with, whatever the pod has set: a packet that does not reach
  /// the server must not be judged in place of one that does.
  public static final int HOP_LIMIT = 64;

  /// `linux/netfilter/nfnetlink_queue.h`: packets that wait, unless the agent says otherwise.
  public static final int HELD = 1024;

  public KernelPass {
    if (queue < 0 || queue > 65535 || !isGroup(beginGroup) || !isGroup(endGroup)) {
      throw new IllegalArgumentException("A queue is 0..65535 and a log group 1..65535");
    }
  }

  private static boolean isGroup(int number) {
    return number >= 1 && number <= 65535;
  }

  public KernelPass withBypass(boolean yes) {
    return new KernelPass(queue, beginGroup, endGroup, yes);
  }

  /// Addresses and ports that may be dialled past the agent: in a pod's namespace.
  public static AddressSet releasable(IpFamily family) {
    return new AddressSet(
        "tailwater-pass-" + suffix(family), AddressSet.Kind.ADDRESS_AND_PORT, MOST_SECONDS);
  }

  /// The same on the node: of which pod, too.
  public static AddressSet releasableOnNode(IpFamily family) {
    return new AddressSet(
        "tailwater-node-pass-" + suffix(family),
        AddressSet.Kind.ADDRESS_PORT_AND_SOURCE,
        MOST_SECONDS);
  }

  /// Each element has a time of its own; this is for one that is added without.
  private static final int MOST_SECONDS = 300;

  private static String suffix(IpFamily family) {
    return family == IpFamily.V4 ? "v4" : "v6";
  }
}
