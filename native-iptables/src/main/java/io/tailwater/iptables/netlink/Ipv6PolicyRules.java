package io.tailwater.iptables.netlink;

import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netns.NetworkNamespace;
import java.util.ArrayList;
import java.util.List;

/// The policy routing rules of one namespace for IPv6 (`ip -6 rule`, `linux/fib_rules.h`), each
/// asked and changed by itself. Rules of one preference are asked in the order in which they were
/// added. One thread at a time; a platform thread to open it.
public final class Ipv6PolicyRules implements AutoCloseable {
  /// The multicast group that tells of changed rules (RTNLGRP_IPV6_RULE).
  public static final int CHANGES = 19;

  /// RT_TABLE_LOCAL: the node's own addresses.
  public static final int LOCAL_TABLE = 255;

  private static final int NEWRULE = 32;
  private static final int DELRULE = 33;
  private static final int GETRULE = 34;
  private static final int AF_INET6 = 10;

  private static final int FRA_DST = 1;
  private static final int FRA_SRC = 2;
  private static final int FRA_IIFNAME = 3;
  private static final int FRA_GOTO = 4;
  private static final int FRA_PRIORITY = 6;
  private static final int FRA_FWMARK = 10;
  private static final int FRA_TABLE = 15;
  private static final int FRA_FWMASK = 16;
  private static final int FRA_OIFNAME = 17;
  private static final int FRA_L3MDEV = 19;
  private static final int FRA_UID_RANGE = 20;
  private static final int FRA_PROTOCOL = 21;
  private static final int FRA_IP_PROTO = 22;
  private static final int FRA_SPORT_RANGE = 23;
  private static final int FRA_DPORT_RANGE = 24;

  /// `struct fib_rule_hdr`: u8 family, dst_len, src_len, tos, table, two reserved, action; u32
  /// flags.
  private static final int HEADER = 12;

  private static final int TABLE_AT = 4;
  private static final int ACTION_AT = 7;
  private static final long PATIENCE_MILLIS = 5000;

  private final NetlinkSocket socket;
  private final NetlinkMemory memory = new NetlinkMemory(32 * 1024);
  private final MessageWriter writer = new MessageWriter(256);
  private int sequence;

  private Ipv6PolicyRules(NetlinkSocket socket) {
    this.socket = socket;
  }

  /// What a rule does with a packet that it catches (`FR_ACT_*`).
  public enum Action {
    LOOK_UP(1),
    GO_TO(2),
    NOTHING(3),
    PROHIBIT(8),
    /// One that is not used here.
    OTHER(0);

    private final int number;

    Action(int number) {
      this.number = number;
    }

    static Action of(int number) {
      for (Action action : values()) {
        if (action.number == number) {
          return action;
        }
      }
      return OTHER;
    }
  }

  /// One rule.
  ///
  /// @param incoming the interface that it asks for, or empty
  /// @param ipProtocol the protocol that it asks for, or 0
  /// @param target the table that is looked up, or the preference that is gone to; else 0
  /// @param madeBy who has made it (`RTPROT_*`); 2 is the kernel
  /// @param narrow whether it asks for something else too, such as addresses or marks
  public record PolicyRule(
      int preference,
      Action action,
      String incoming,
      int ipProtocol,
      int target,
      int madeBy,
      boolean narrow) {
    /// Whether it is the kernel's first one: everything addressed to the node itself is delivered.
    public boolean isLocal() {
      return preference == 0
          && action == Action.LOOK_UP
          && target == LOCAL_TABLE
          && incoming.isEmpty()
          && ipProtocol == 0
          && !narrow;
    }
  }

  /// Opens the namespace's rules.
  ///
  /// @throws SyscallException when the kernel refuses
  public static Ipv6PolicyRules open(NetworkNamespace namespace) {
    return new Ipv6PolicyRules(NetlinkSocket.open(namespace, NetlinkSocket.ROUTE));
  }

  /// All of them in the order in which they are asked.
  ///
  /// @throws SyscallException EAFNOSUPPORT where the kernel has none
  public List<PolicyRule> list() {
    List<PolicyRule> rules = new ArrayList<>();
    request(GETRULE, MessageWriter.DUMP, 0);
    Attributes attributes = new Attributes();
    socket.ask(
        writer.end(),
        sequence,
        PATIENCE_MILLIS,
        memory,
        message -> rules.add(read(message, attributes)));
    return rules;
  }

  private static PolicyRule read(NetlinkMessages message, Attributes attributes) {
    int preference = 0;
    String incoming = "";
    int ipProtocol = 0;
    int target = message.ownHeader8(TABLE_AT);
    int madeBy = 0;
    boolean narrow = false;
    message.attributes(HEADER, attributes);
    while (attributes.next()) {
      switch (attributes.type()) {
        case FRA_PRIORITY -> preference = attributes.u32();
        case FRA_IIFNAME -> incoming = attributes.text();
        case FRA_IP_PROTO -> ipProtocol = attributes.u8();
        case FRA_TABLE -> target = attributes.u32() == 0 ? target : attributes.u32();
        case FRA_GOTO -> target = attributes.u32();
        case FRA_PROTOCOL -> madeBy = attributes.u8();
        case FRA_FWMARK, FRA_FWMASK -> narrow |= attributes.u32() != 0;
        case FRA_L3MDEV -> narrow |= attributes.u8() != 0;
        case FRA_DST, FRA_SRC, FRA_OIFNAME, FRA_UID_RANGE, FRA_SPORT_RANGE, FRA_DPORT_RANGE ->
            narrow = true;
        default -> {} // how routes are suppressed, padding
      }
    }
    return new PolicyRule(
        preference,
        Action.of(message.ownHeader8(ACTION_AT)),
        incoming,
        ipProtocol,
        target,
        madeBy,
        narrow);
  }

  /// Adds one behind those of its preference, also where there is one like it.
  ///
  /// @throws SyscallException when the kernel refuses
  public void add(PolicyRule rule) {
    write(NEWRULE, MessageWriter.CREATE, rule);
    socket.ask(writer.end(), sequence, PATIENCE_MILLIS, memory, _ -> {});
  }

  /// Takes the first one away that is like it. Whether there was one.
  ///
  /// @throws SyscallException when the kernel refuses
  public boolean remove(PolicyRule rule) {
    write(DELRULE, 0, rule);
    try {
      socket.ask(writer.end(), sequence, PATIENCE_MILLIS, memory, _ -> {});
      return true;
    } catch (SyscallException e) {
      if (e.errno() == Errno.ENOENT) {
        return false;
      }
      throw e;
    }
  }

  private void write(int type, int flags, PolicyRule rule) {
    if (rule.narrow() || rule.action() == Action.OTHER) {
      throw new IllegalArgumentException("This rule is somebody else's: " + rule);
    }
    request(type, MessageWriter.ACK | flags, rule.action().number)
        .u32(FRA_PRIORITY, rule.preference())
        .u8(FRA_PROTOCOL, rule.madeBy());
    if (!rule.incoming().isEmpty()) {
      writer.text(FRA_IIFNAME, rule.incoming());
    }
    if (rule.ipProtocol() != 0) {
      writer.u8(FRA_IP_PROTO, rule.ipProtocol());
    }
    switch (rule.action()) {
      case LOOK_UP -> writer.u32(FRA_TABLE, rule.target());
      case GO_TO -> writer.u32(FRA_GOTO, rule.target());
      case NOTHING, PROHIBIT, OTHER -> {} // lead nowhere
    }
  }

  private MessageWriter request(int type, int flags, int action) {
    byte[] header = new byte[HEADER];
    header[0] = AF_INET6;
    header[ACTION_AT] = (byte) action;
    return writer.clear().begin(type, MessageWriter.REQUEST | flags, ++sequence).raw(header);
  }

  @Override
  public void close() {
    socket.close();
  }
}
