package io.tailwater.iptables.apply;

import static java.nio.charset.StandardCharsets.US_ASCII;

import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netlink.Attributes;
import io.tailwater.iptables.netlink.MessageWriter;
import io.tailwater.iptables.netlink.NetlinkMemory;
import io.tailwater.iptables.netlink.NetlinkMessages;
import io.tailwater.iptables.netlink.NetlinkSocket;
import io.tailwater.iptables.netns.NetworkNamespace;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;

/// A table of nf_tables as the kernel tells it: itself, its chains, their rules. Says whether it is
/// still the one that it was, without a program.
///
/// On a platform thread outside of any namespace.
final class TableDump {
  /// `linux/netfilter/nfnetlink.h` and `nf_tables.h`.
  private static final int NF_TABLES = 10;

  private static final int GET_TABLE = 1;
  private static final int GET_CHAIN = 4;
  private static final int GET_RULE = 7;

  /// NFTA_TABLE_NAME, NFTA_CHAIN_TABLE and NFTA_RULE_TABLE: all the same.
  private static final int TABLE = 1;

  /// NLM_F_DUMP_INTR: the table was changed while it was told.
  private static final int CHANGED = 0x10;

  private static final int ATTEMPTS = 3;
  private static final long ANSWER_MILLIS = 5000;

  private TableDump() {}

  /// Equal as long as nobody has changed the table, nor made it anew; empty where there is none.
  ///
  /// @param family as the kernel numbers it, such as 5 for `netdev`
  /// @throws SyscallException when the kernel does not tell
  static String digest(NetworkNamespace namespace, int family, String table) {
    try (NetlinkSocket socket = NetlinkSocket.open(namespace, NetlinkSocket.NETFILTER)) {
      for (int attempt = 1; ; attempt++) {
        Told told = new Told(table);
        for (int what : new int[] {GET_TABLE, GET_CHAIN, GET_RULE}) {
          MessageWriter request =
              new MessageWriter(64)
                  .beginNetfilter(
                      NF_TABLES, what, MessageWriter.REQUEST | MessageWriter.DUMP, what, family, 0)
                  .end();
          socket.ask(request, what, ANSWER_MILLIS, told.memory, told::message);
        }
        if (!told.changed) {
          return told.anything ? HexFormat.of().formatHex(told.digest.digest()) : "";
        }
        if (attempt == ATTEMPTS) {
          throw new SyscallException("netlink dump", Errno.EAGAIN, "it changes all the time");
        }
      }
    }
  }

  /// What has come of one table. Its rules must count nothing, or it is another with each packet.
  private static final class Told {
    final NetlinkMemory memory = new NetlinkMemory(32 * 1024);
    final MessageDigest digest = sha256();
    private final Attributes attributes = new Attributes();
    private final String table;
    boolean anything;
    boolean changed;

    Told(String table) {
      this.table = table;
    }

    void message(NetlinkMessages message) {
      changed |= (message.flags() & CHANGED) != 0;
      if (!isOurs(message)) {
        return;
      }
      anything = true;
      digest.update((byte) message.type());
      message.netfilterAttributes(attributes);
      while (attributes.next()) {
        digest.update((attributes.type() + " " + attributes.length()).getBytes(US_ASCII));
        digest.update(memory.bytes().slice(attributes.offset(), attributes.length()));
      }
    }

    private boolean isOurs(NetlinkMessages message) {
      message.netfilterAttributes(attributes);
      while (attributes.next()) {
        if (attributes.type() == TABLE) {
          return attributes.text().equals(table);
        }
      }
      return false;
    }

    private static MessageDigest sha256() {
      try {
        return MessageDigest.getInstance("SHA-256");
      } catch (NoSuchAlgorithmException e) {
        throw new IllegalStateException("every Java has SHA-256", e);
      }
    }
  }
}
