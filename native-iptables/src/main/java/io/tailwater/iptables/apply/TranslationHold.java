package io.tailwater.iptables.apply;

import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netlink.MessageWriter;
import io.tailwater.iptables.netlink.NetlinkMemory;
import io.tailwater.iptables.netlink.NetlinkSocket;
import io.tailwater.iptables.netns.NetworkNamespace;

/// Keeps the kernel translating the redirected connections of a namespace, whatever happens to its
/// rules. Connection tracking and translation are switched off when the last rule that needs them
/// goes; every redirected connection then breaks within one packet.
///
/// An nf_tables table of its own with a chain that translates nothing and looks at connections. It
/// is owned by the socket that made it (NFT_TABLE_F_OWNER, Linux 5.12): nobody else can change it,
/// not even with `nft flush ruleset`, and it goes with the socket, also when the process is killed.
/// It serves rules of iptables-legacy as well.
///
/// Make it after the rules are in force: with it, connections are tracked that began before them.
public final class TranslationHold implements AutoCloseable {
  private static final int NFTABLES = 10;
  private static final int BATCH_BEGIN = 0x10;
  private static final int BATCH_END = 0x11;
  private static final int NEW_TABLE = 0;
  private static final int NEW_CHAIN = 3;
  private static final int NEW_RULE = 6;
  private static final int APPEND = 0x800;
  private static final int INET = 1;
  private static final int OWNER = 2;
  private static final int ACCEPT = 1;
  private static final int LOCAL_OUT = 3;
  private static final int TIMEOUT_MILLIS = 5000;
  private static final String CHAIN = "hold";

  private final NetlinkSocket socket;

  private TranslationHold(NetlinkSocket socket) {
    this.socket = socket;
  }

  /// Begins to hold. On a platform thread outside of any namespace.
  ///
  /// @throws SyscallException where the kernel cannot
  public static TranslationHold open(NetworkNamespace namespace) {
    NetlinkSocket socket = NetlinkSocket.open(namespace, NetlinkSocket.NETFILTER);
    boolean kept = false;
    try {
      // Two agents may hold at the same time, each by a table of its own.
      String table = "tailwater-hold-" + Integer.toUnsignedString(socket.port());
      socket.ask(table(table), 3, TIMEOUT_MILLIS, new NetlinkMemory(8192), _ -> {});
      kept = true;
      return new TranslationHold(socket);
    } finally {
      if (!kept) {
        socket.close();
      }
    }
  }

  /// `table inet NAME { flags owner; chain hold { type nat hook output priority 0; ct state } }`
  static MessageWriter table(String name) {
    MessageWriter batch = new MessageWriter(1024);
    int begin = MessageWriter.REQUEST;
    int create = MessageWriter.REQUEST | MessageWriter.CREATE;
    batch.beginNetfilter(0, BATCH_BEGIN, begin, 0, 0, NFTABLES).end();

    batch.beginNetfilter(NFTABLES, NEW_TABLE, create, 1, INET, 0);
    batch.text(1, name).be32(2, OWNER).end();

    batch.beginNetfilter(NFTABLES, NEW_CHAIN, create, 2, INET, 0);
    batch.text(1, name).text(3, CHAIN);
    int hook = batch.nest(4);
    batch.be32(1, LOCAL_OUT).be32(2, 0).endNest(hook);
    batch.be32(5, ACCEPT).text(7, "nat").end();

    batch.beginNetfilter(NFTABLES, NEW_RULE, create | APPEND | MessageWriter.ACK, 3, INET, 0);
    batch.text(1, name).text(2, CHAIN);
    int expressions = batch.nest(4);
    int element = batch.nest(1);
    batch.text(1, "ct");
    int data = batch.nest(2);
    batch.be32(1, 1).be32(2, 0); // the state of the connection, into register 1
    batch.endNest(data).endNest(element).endNest(expressions).end();

    return batch.beginNetfilter(0, BATCH_END, begin, 4, 0, NFTABLES).end();
  }

  /// Holds no longer; the table is gone.
  @Override
  public void close() {
    socket.close();
  }
}
