package io.tailwater.iptables.apply;

import io.tailwater.iptables.netlink.MessageWriter;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/// The messages of one transaction that makes a table of nf_tables and what is in it. What others
/// refer to is written first: sets, chains, rules.
///
/// The numbers are those of `linux/netfilter/nf_tables.h`.
final class TableBatch {
  /// NF_INET_*: where a chain hangs.
  static final int PREROUTING = 0;

  static final int INPUT = 1;
  static final int FORWARD = 2;
  static final int OUTPUT = 3;

  /// IFNAMSIZ.
  static final int NAME_BYTES = 16;

  private static final int NFTABLES = 10;
  private static final int BATCH_BEGIN = 0x10;
  private static final int BATCH_END = 0x11;
  private static final int NEW_TABLE = 0;
  private static final int DELETE_TABLE = 2;
  private static final int NEW_CHAIN = 3;
  private static final int NEW_RULE = 6;
  private static final int NEW_SET = 9;
  private static final int NEW_SET_ELEMENT = 12;
  private static final int APPEND = 0x800;
  private static final int INET = 1;
  private static final int OWNER = 2;
  private static final int ACCEPT = 1;

  /// What `nft` calls ifname; the kernel does not care.
  private static final int INTERFACE_NAME = 41;

  /// For `nft`, which shows names then: NFTNL_UDATA_SET_KEYBYTEORDER, four bytes, the machine's.
  private static final byte[] READABLE =
      ByteBuffer.allocate(6)
          .order(ByteOrder.nativeOrder())
          .put((byte) 0)
          .put((byte) 4)
          .putInt(1)
          .array();

  /// An attribute is no longer than 64 KiB.
  private static final int ELEMENTS_OF_A_MESSAGE = 1000;

  private final MessageWriter writer;
  private final String table;
  private final Map<Set<String>, String> sets = new HashMap<>();
  private int sequence;

  /// @param again in place of the table of that name that is there
  /// @param room in bytes
  TableBatch(String table, boolean again, int room) {
    this.writer = new MessageWriter(room);
    this.table = table;
    writer.beginNetfilter(0, BATCH_BEGIN, MessageWriter.REQUEST, 0, 0, NFTABLES).end();
    if (again) {
      begin(DELETE_TABLE, 0).end();
    }
    begin(NEW_TABLE, MessageWriter.CREATE).be32(2, OWNER).end();
  }

  private MessageWriter begin(int message, int flags) {
    int all = MessageWriter.REQUEST | MessageWriter.ACK | flags;
    return writer.beginNetfilter(NFTABLES, message, all, ++sequence, INET, 0).text(1, table);
  }

  /// A set of interfaces; its name. The same set is made once.
  String interfaces(Set<String> names) {
    String known = sets.get(names);
    if (known != null) {
      return known;
    }
    String set = "interfaces" + sets.size();
    sets.put(Set.copyOf(names), set);
    begin(NEW_SET, MessageWriter.CREATE).text(2, set).be32(4, INTERFACE_NAME);
    writer.be32(5, NAME_BYTES).be32(10, sets.size()).bytes(13, READABLE).end();
    List<String> all = List.copyOf(names);
    for (int from = 0; from < all.size(); from += ELEMENTS_OF_A_MESSAGE) {
      int to = Math.min(from + ELEMENTS_OF_A_MESSAGE, all.size());
      elements(set, all.subList(from, to));
    }
    return set;
  }

  private void elements(String set, List<String> names) {
    begin(NEW_SET_ELEMENT, MessageWriter.CREATE).text(2, set);
    int list = writer.nest(3);
    for (String name : names) {
      int element = writer.nest(1);
      int key = writer.nest(1);
      writer.bytes(1, padded(name)).endNest(key).endNest(element);
    }
    writer.endNest(list).end();
  }

  /// A name as the kernel compares it: whole.
  static byte[] padded(String name) {
    return Arrays.copyOf(name.getBytes(StandardCharsets.UTF_8), NAME_BYTES);
  }

  /// A chain that accepts what its rules do not drop.
  ///
  /// @param type `filter` or `nat`
  /// @param hook such as [#FORWARD]
  void chain(String name, String type, int hook, int priority) {
    begin(NEW_CHAIN, MessageWriter.CREATE).text(3, name);
    int where = writer.nest(4);
    writer.be32(1, hook).be32(2, priority).endNest(where);
    writer.be32(5, ACCEPT).text(7, type).end();
  }

  /// The next rule of a chain: to be ended before anything else is written.
  RuleExpressions rule(String chain) {
    begin(NEW_RULE, MessageWriter.CREATE | APPEND).text(2, chain);
    return new RuleExpressions(writer);
  }

  /// All of it.
  MessageWriter end() {
    return writer
        .beginNetfilter(0, BATCH_END, MessageWriter.REQUEST, sequence + 1, 0, NFTABLES)
        .end();
  }

  /// The number of the last message that is answered.
  int last() {
    return sequence;
  }
}
