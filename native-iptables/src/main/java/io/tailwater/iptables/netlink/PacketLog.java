package io.tailwater.iptables.netlink;

import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netns.NetworkNamespace;
import java.nio.ByteBuffer;
import java.util.function.Consumer;

/// Reads what the rules of one namespace log (`-j NFLOG`, `log group`), from the kernel's
/// `nfnetlink_log`. A group has one reader: while somebody else in the namespace holds it, [#open]
/// fails with EBUSY or EPERM.
public final class PacketLog implements NetlinkPoller.Receiver {
  /// The group that our rules log to.
  public static final int GROUP = 1501;

  /// NFNL_SUBSYS_ULOG of `linux/netfilter/nfnetlink.h`.
  private static final int SUBSYSTEM = 4;

  /// NFULNL_MSG_PACKET: the type of a message that carries a logged packet.
  public static final int PACKET = SUBSYSTEM << 8;

  /// NFULA_PAYLOAD: its attribute with the packet's bytes.
  public static final int PAYLOAD = 9;

  /// `linux/netfilter/nfnetlink_log.h`: messages, then attributes.
  private static final int CONFIG = 1;

  private static final int CONFIG_COMMAND = 1;
  private static final int CONFIG_MODE = 2;
  private static final int CONFIG_BUFFER = 3;
  private static final int CONFIG_TIMEOUT = 4;
  private static final int CONFIG_GATHERED = 5;
  private static final int BIND = 1;
  private static final int COPY_PACKET = 2;
  private static final int NFULA_MARK = 2;
  private static final int NFULA_IFINDEX_INDEV = 4;
  private static final int NFULA_PREFIX = 10;
  private static final int NFULA_UID = 11;

  /// Enough for the headers, with extension headers of IPv6.
  private static final int SNAPSHOT = 256;

  /// In hundredths of a second: how long the kernel gathers packets before it wakes us up.
  private static final int GATHER = 10;

  /// Bytes that the kernel takes for a message with one packet's headers: by default a page.
  private static final int ROOM_OF_ONE = 512;

  private static final int ANSWER_MILLIS = 2000;

  /// NFPROTO_NETDEV: the packet was logged at an interface, before or after IP.
  private static final int NETDEV = 5;

  private final Consumer<LoggedPacket> packets;
  private final Runnable lost;
  private final Attributes attributes = new Attributes();

  /// @param packets is told of each packet, on the poller's thread
  /// @param lost is told when some were lost, likewise
  public PacketLog(Consumer<LoggedPacket> packets, Runnable lost) {
    this.packets = packets;
    this.lost = lost;
  }

  /// Makes a socket that the kernel sends a group's packets to. On a platform thread outside of any
  /// namespace.
  ///
  /// @throws SyscallException when the group is taken or logging is not in this kernel
  public static NetlinkSocket open(NetworkNamespace namespace, int group) {
    NetlinkSocket socket = NetlinkSocket.open(namespace, NetlinkSocket.NETFILTER);
    boolean kept = false;
    try {
      MessageWriter requests = binding(group, SNAPSHOT).be32(CONFIG_TIMEOUT, GATHER).end();
      // Packets that come meanwhile are lost; a refused one is tried again.
      socket.ask(requests, 2, ANSWER_MILLIS, new NetlinkMemory(8192), _ -> {});
      kept = true;
      return socket;
    } finally {
      if (!kept) {
        socket.close();
      }
    }
  }

  /// Has the kernel send the headers of a group's packets to a socket that receives something else
  /// too, each at once, and so in the order in which the packets came by. Nobody receives from it
  /// meanwhile.
  ///
  /// @param bytes of each packet
  /// @param answers is told what else comes before the answer
  /// @throws SyscallException when the group is taken or logging is not in this kernel
  public static void alsoTo(
      NetlinkSocket socket,
      int group,
      int bytes,
      NetlinkMemory memory,
      Consumer<NetlinkMessages> answers) {
    MessageWriter requests =
        binding(group, bytes).be32(CONFIG_BUFFER, ROOM_OF_ONE).be32(CONFIG_GATHERED, 1).end();
    socket.ask(requests, 2, ANSWER_MILLIS, memory, answers);
  }

  /// Two requests, of which the second may take more.
  private static MessageWriter binding(int group, int bytes) {
    int flags = MessageWriter.REQUEST | MessageWriter.ACK;
    byte[] mode = ByteBuffer.allocate(6).putInt(bytes).put((byte) COPY_PACKET).array();
    return new MessageWriter(256)
        .beginNetfilter(SUBSYSTEM, CONFIG, flags, 1, 0, group)
        .u8(CONFIG_COMMAND, BIND)
        .end()
        .beginNetfilter(SUBSYSTEM, CONFIG, flags, 2, 0, group)
        .bytes(CONFIG_MODE, mode);
  }

  @Override
  public void received(NetlinkMessages messages) {
    while (messages.next()) {
      if (messages.type() == PACKET) {
        packets.accept(packet(messages));
      }
    }
  }

  @Override
  public void lost() {
    lost.run();
  }

  private LoggedPacket packet(NetlinkMessages message) {
    String prefix = "";
    int mark = 0;
    long user = -1;
    int incoming = 0;
    ByteBuffer payload = ByteBuffer.allocate(0);
    Attributes attribute = message.netfilterAttributes(attributes);
    while (attribute.next()) {
      switch (attribute.type()) {
        case NFULA_MARK -> mark = attribute.be32();
        case NFULA_IFINDEX_INDEV -> incoming = attribute.be32();
        case NFULA_PREFIX -> prefix = attribute.text();
        case NFULA_UID -> user = attribute.be32() & 0xffffffffL;
        case PAYLOAD -> payload = message.memory().slice(attribute.offset(), attribute.length());
        default -> {} // times are of no use here
      }
    }
    return message.family() == NETDEV
        ? LoggedPacket.ofFrame(prefix, mark, user, incoming, payload)
        : LoggedPacket.ofIp(prefix, mark, user, incoming, payload);
  }
}
