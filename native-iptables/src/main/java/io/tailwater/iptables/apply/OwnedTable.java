package io.tailwater.iptables.apply;

import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netlink.NetlinkMemory;
import io.tailwater.iptables.netlink.NetlinkSocket;
import io.tailwater.iptables.netns.NetworkNamespace;

/// A table of nf_tables that is owned by the socket that made it (NFT_TABLE_F_OWNER, Linux 5.12):
/// nobody else can change it, not even with `nft flush ruleset`, and it goes with the socket, also
/// when the process is killed.
///
/// On a platform thread outside of any namespace, one at a time.
final class OwnedTable implements AutoCloseable {
  private static final int TIMEOUT_MILLIS = 5000;

  private final NetlinkSocket socket;
  private final String name;
  private boolean made;

  private OwnedTable(NetlinkSocket socket) {
    this.socket = socket;
    // Two agents may have theirs at the same time, and one may have several.
    this.name = "tailwater-hold-" + Integer.toUnsignedString(socket.port());
  }

  /// A table that is not there yet.
  static OwnedTable in(NetworkNamespace namespace) {
    return new OwnedTable(NetlinkSocket.open(namespace, NetlinkSocket.NETFILTER));
  }

  /// What the table is to be instead of what it is, for [#commit].
  ///
  /// @param room for that, in bytes
  TableBatch batch(int room) {
    return new TableBatch(name, made, room);
  }

  /// Makes it so, in one transaction.
  ///
  /// @throws SyscallException where the kernel cannot; what was there stays, and a table that was
  ///   not there yet is closed
  void commit(TableBatch batch) {
    try {
      socket.ask(batch.end(), batch.last(), TIMEOUT_MILLIS, new NetlinkMemory(8192), _ -> {});
      made = true;
    } finally {
      if (!made) {
        close();
      }
    }
  }

  /// The table is gone.
  @Override
  public void close() {
    socket.close();
  }
}
