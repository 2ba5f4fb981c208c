package io.tailwater.iptables.apply;

import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.IpProtocol;
import io.tailwater.iptables.rule.NodePlan;

/// Keeps the packets of connections that the agent has taken on the node coming to it, whatever
/// happens to its rules: an [OwnedTable] that marks what belongs to its sockets, as the rules do.
/// Without, a packet that comes while somebody has flushed them is forwarded, and a server that
/// knows nothing of the connection resets it.
///
/// What begins then is not the hold's affair.
public final class NodeHold implements AutoCloseable {
  private static final String CHAIN = "hold";

  /// Just ahead of the rules of mangle, which say the same.
  private static final int BEFORE_MANGLE = -151;

  private static final int ROOM = 2048;

  private final OwnedTable table;

  private NodeHold(OwnedTable table) {
    this.table = table;
  }

  /// Begins to hold. The routes of [PolicyRoutes#NODE] must be there. On a platform thread outside
  /// of any namespace.
  ///
  /// @throws SyscallException where the kernel cannot: it needs nft_socket
  public static NodeHold open(NetworkNamespace node) {
    OwnedTable table = OwnedTable.in(node);
    TableBatch batch = table.batch(ROOM);
    batch.chain(CHAIN, "filter", TableBatch.PREROUTING, BEFORE_MANGLE);
    batch
        .rule(CHAIN)
        .tracked()
        .protocol(IpProtocol.TCP)
        .transparent()
        .setMark(NodePlan.LOCAL)
        .end();
    table.commit(batch);
    return new NodeHold(table);
  }

  /// Holds no longer; the table is gone.
  @Override
  public void close() {
    table.close();
  }
}
