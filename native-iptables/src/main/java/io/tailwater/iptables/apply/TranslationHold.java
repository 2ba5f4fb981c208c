package io.tailwater.iptables.apply;

import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netns.NetworkNamespace;

/// Keeps the kernel translating the redirected connections of a namespace, whatever happens to its
/// rules. Connection tracking and translation are switched off when the last rule that needs them
/// goes; every redirected connection then breaks within one packet.
///
/// An [OwnedTable] with a chain that translates nothing and looks at connections. It serves rules
/// of iptables-legacy as well.
///
/// Make it after the rules are in force: with it, connections are tracked that began before them.
public final class TranslationHold implements AutoCloseable {
  private static final String CHAIN = "hold";
  private static final int ROOM = 1024;

  private final OwnedTable table;

  private TranslationHold(OwnedTable table) {
    this.table = table;
  }

  /// Begins to hold. On a platform thread outside of any namespace.
  ///
  /// @throws SyscallException where the kernel cannot
  public static TranslationHold open(NetworkNamespace namespace) {
    OwnedTable table = OwnedTable.in(namespace);
    TableBatch batch = table.batch(ROOM);
    batch.chain(CHAIN, "nat", TableBatch.OUTPUT, 0);
    batch.rule(CHAIN).tracked().end();
    table.commit(batch);
    return new TranslationHold(table);
  }

  /// Holds no longer; the table is gone.
  @Override
  public void close() {
    table.close();
  }
}
