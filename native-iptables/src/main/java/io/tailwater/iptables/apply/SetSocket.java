package io.tailwater.iptables.apply;

import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netlink.MessageWriter;
import io.tailwater.iptables.netlink.NetlinkMemory;
import io.tailwater.iptables.netlink.NetlinkMessages;
import io.tailwater.iptables.netlink.NetlinkSocket;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.AddressSet;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.NftScript;
import java.util.function.Consumer;

/// Speaks with a namespace's sets that rules ask: ipsets (`linux/netfilter/ipset/ip_set.h`) or
/// those in our nf_tables table (`linux/netfilter/nf_tables.h`). No program is run.
///
/// One thread at a time.
final class SetSocket implements AutoCloseable {
  static final int CREATE = 2;
  static final int DESTROY = 3;
  static final int FLUSH = 4;
  static final int LIST = 7;
  static final int ADD = 9;
  static final int DELETE = 10;

  static final int NFT_NEW_ELEMENT = 12;
  static final int NFT_GET_ELEMENT = 13;
  static final int NFT_DELETE_ELEMENT = 14;

  /// Elements that a set may have where nobody says otherwise.
  static final int MOST = 65_536;

  /// NLA_F_NET_BYTEORDER: numbers of ipset want to be told apart.
  static final int NET_BYTE_ORDER = 0x4000;

  static final int IPSET = 6;
  static final int NFTABLES = 10;
  private static final int BATCH_BEGIN = 0x10;
  private static final int BATCH_END = 0x11;
  private static final int INET = 1;
  private static final int PROTOCOL = 6;

  private static final int A_PROTOCOL = 1;
  private static final int A_NAME = 2;
  private static final int A_TYPE = 3;
  private static final int A_REVISION = 4;
  private static final int A_FAMILY = 5;
  private static final int A_DATA = 7;
  private static final int A_TIMEOUT = 6;
  private static final int A_HASH_SIZE = 18;
  private static final int A_MOST = 19;

  private static final int TIMEOUT_MILLIS = 5000;

  private final NetlinkSocket socket;
  private final NetlinkMemory answer = new NetlinkMemory(32 * 1024);
  private final NetlinkMessages messages = new NetlinkMessages(answer);

  SetSocket(NetworkNamespace namespace) {
    socket = NetlinkSocket.open(namespace, NetlinkSocket.NETFILTER);
  }

  /// Makes an ipset; one that is there already and is like it stays as it is.
  ///
  /// @throws SyscallException where the kernel has no such sets
  void create(AddressSet set, IpFamily family, int hashSize, int most) {
    MessageWriter create = new MessageWriter(512);
    ipset(create, CREATE, MessageWriter.ACK, set, family);
    create.text(A_TYPE, type(set)).u8(A_REVISION, revision(set)).u8(A_FAMILY, number(family));
    int data = create.nest(A_DATA);
    create.be32(A_TIMEOUT | NET_BYTE_ORDER, set.timeoutSeconds());
    create.be32(A_HASH_SIZE | NET_BYTE_ORDER, hashSize).be32(A_MOST | NET_BYTE_ORDER, most);
    create.endNest(data).end();
    ask(create, _ -> {});
  }

  private static String type(AddressSet set) {
    return switch (set.kind()) {
      case ADDRESS -> "hash:ip";
      case ADDRESS_AND_PORT -> "hash:ip,port";
      case ADDRESS_PORT_AND_SOURCE -> "hash:ip,port,ip";
      case EVERYTHING -> "hash:net";
    };
  }

  /// Of the types with ports the program `ipset` shows none of revision 0; 5 is in every kernel
  /// since Linux 3.18.
  private static int revision(AddressSet set) {
    return switch (set.kind()) {
      case ADDRESS, EVERYTHING -> 0;
      case ADDRESS_AND_PORT, ADDRESS_PORT_AND_SOURCE -> 5;
    };
  }

  /// Takes an ipset away; there may be none.
  void destroy(AddressSet set, IpFamily family) {
    MessageWriter destroy = new MessageWriter(128);
    ipset(destroy, DESTROY, MessageWriter.ACK, set, family).end();
    try {
      ask(destroy, _ -> {});
    } catch (SyscallException _) {
      // There is none, or no ipset at all; or somebody else's rule asks it.
    }
  }

  /// Begins a request to ipset.
  static MessageWriter ipset(
      MessageWriter into, int command, int flags, AddressSet set, IpFamily family) {
    into.beginNetfilter(IPSET, command, MessageWriter.REQUEST | flags, 1, number(family), 0);
    return into.u8(A_PROTOCOL, PROTOCOL).text(A_NAME, set.name());
  }

  /// Begins a transaction of nf_tables: all of it or nothing.
  static MessageWriter beginBatch(MessageWriter into) {
    return into.beginNetfilter(0, BATCH_BEGIN, MessageWriter.REQUEST, 0, 0, NFTABLES).end();
  }

  static MessageWriter endBatch(MessageWriter into) {
    return into.beginNetfilter(0, BATCH_END, MessageWriter.REQUEST, 2, 0, NFTABLES).end();
  }

  /// Begins a request about elements of a set in our table.
  static MessageWriter nft(MessageWriter into, int command, int flags, AddressSet set) {
    into.beginNetfilter(NFTABLES, command, MessageWriter.REQUEST | flags, 1, INET, 0);
    return into.text(1, NftScript.TABLE).text(2, set.name());
  }

  /// AF_INET or AF_INET6.
  static int number(IpFamily family) {
    return family == IpFamily.V4 ? 2 : 10;
  }

  /// Sends requests that ask for no acknowledgement, without waiting. The first error number that
  /// the kernel answers, or 0.
  int send(MessageWriter requests) {
    long sent = socket.send(requests);
    int error = sent < 0 ? (int) -sent : 0;
    // The kernel has done it by now, and says something only of what failed.
    for (long length = socket.receive(answer);
        length != -Errno.EAGAIN && length != -Errno.EBADF;
        length = socket.receive(answer)) {
      messages.received((int) Math.max(length, 0));
      while (messages.next()) {
        if (error == 0 && messages.type() == NetlinkMessages.ERROR) {
          error = messages.errno();
        }
      }
    }
    return error;
  }

  /// Sends one request that asks for an acknowledgement or a dump.
  ///
  /// @throws SyscallException with the kernel's error
  void ask(MessageWriter request, Consumer<NetlinkMessages> answers) {
    socket.ask(request, 1, TIMEOUT_MILLIS, answer, answers);
  }

  @Override
  public void close() {
    socket.close();
  }
}
