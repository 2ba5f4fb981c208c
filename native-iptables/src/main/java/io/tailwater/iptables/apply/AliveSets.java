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

/// Says in one namespace that an agent lives, by what stands in [AddressSet#alive] for both
/// families. One datagram of netlink for each renewal, no program.
///
/// With iptables they are ipsets of our own (`linux/netfilter/ipset/ip_set.h`), made here before
/// the rules that ask them; with nf_tables they stand in our table and come with the rules.
///
/// [#renew] on one thread at a time; it does not block. The others on a platform thread outside of
/// any namespace.
public final class AliveSets implements AutoCloseable {
  private static final int NFTABLES = 10;
  private static final int IPSET = 6;
  private static final int BATCH_BEGIN = 0x10;
  private static final int BATCH_END = 0x11;
  private static final int NEW_ELEMENT = 12;
  private static final int DELETE_ELEMENT = 14;
  private static final int INET = 1;
  private static final int CREATE_SET = 2;
  private static final int DESTROY_SET = 3;
  private static final int FLUSH_SET = 4;
  private static final int ADD_ELEMENT = 9;
  private static final int NET_BYTE_ORDER = 0x4000;
  private static final int PROTOCOL = 6;
  private static final int ELEMENTS_OF_A_SET = 64;
  private static final int TIMEOUT_MILLIS = 5000;

  private final NetlinkSocket socket;
  private final boolean nft;
  private final MessageWriter renewal;
  private final NetlinkMemory answer = new NetlinkMemory(8192);
  private final NetlinkMessages messages = new NetlinkMessages(answer);

  private AliveSets(NetlinkSocket socket, boolean nft) {
    this.socket = socket;
    this.nft = nft;
    this.renewal = nft ? nftRenewal(true) : ipsetRenewal();
  }

  /// Makes what has to be there before the rules.
  ///
  /// @throws SyscallException where the kernel has no such sets
  public static AliveSets open(NetworkNamespace namespace, RuleBackend backend) {
    NetlinkSocket socket = NetlinkSocket.open(namespace, NetlinkSocket.NETFILTER);
    boolean kept = false;
    try {
      AliveSets sets = new AliveSets(socket, backend == RuleBackend.NFT);
      sets.make();
      kept = true;
      return sets;
    } finally {
      if (!kept) {
        socket.close();
      }
    }
  }

  /// Makes what is missing; what is there stays.
  public void make() {
    if (nft) {
      return;
    }
    for (IpFamily family : IpFamily.values()) {
      MessageWriter create = new MessageWriter(512);
      ipset(create, CREATE_SET, MessageWriter.ACK, family);
      create.text(3, "hash:net").u8(4, 0).u8(5, family == IpFamily.V4 ? 2 : 10);
      int data = create.nest(7);
      create.be32(6 | NET_BYTE_ORDER, AddressSet.ALIVE_SECONDS);
      create.be32(18 | NET_BYTE_ORDER, ELEMENTS_OF_A_SET);
      create.endNest(data).end();
      socket.ask(create, 1, TIMEOUT_MILLIS, answer, _ -> {});
    }
  }

  /// An agent lives, for some seconds more. The first error number that the kernel answers, or 0.
  public int renew() {
    return send(renewal);
  }

  /// No agent lives from now on: what the rules capture passes at once.
  public void stop() {
    if (nft) {
      send(nftRenewal(false));
      return;
    }
    MessageWriter flush = new MessageWriter(512);
    for (IpFamily family : IpFamily.values()) {
      ipset(flush, FLUSH_SET, 0, family).end();
    }
    send(flush);
  }

  private int send(MessageWriter request) {
    long sent = socket.send(request);
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

  /// Takes away the ipsets of a namespace whose rules are gone; there may be none.
  static void remove(NetworkNamespace namespace) {
    try (NetlinkSocket socket = NetlinkSocket.open(namespace, NetlinkSocket.NETFILTER)) {
      for (IpFamily family : IpFamily.values()) {
        MessageWriter destroy = new MessageWriter(128);
        ipset(destroy, DESTROY_SET, MessageWriter.ACK, family).end();
        try {
          socket.ask(destroy, 1, TIMEOUT_MILLIS, new NetlinkMemory(8192), _ -> {});
        } catch (SyscallException _) {
          // There is none, or no ipset at all; or somebody else's rule asks it.
        }
      }
    }
  }

  private static MessageWriter ipset(MessageWriter into, int command, int flags, IpFamily family) {
    into.beginNetfilter(
        IPSET, command, MessageWriter.REQUEST | flags, 1, family == IpFamily.V4 ? 2 : 10, 0);
    return into.u8(1, PROTOCOL).text(2, AddressSet.alive(family).name());
  }

  /// `add SET 0.0.0.0/1`, `add SET 128.0.0.0/1`: there is no /0 in a `hash:net`.
  private static MessageWriter ipsetRenewal() {
    MessageWriter add = new MessageWriter(1024);
    for (IpFamily family : IpFamily.values()) {
      for (int half = 0; half < 2; half++) {
        byte[] address = new byte[family == IpFamily.V4 ? 4 : 16];
        address[0] = (byte) (half << 7);
        ipset(add, ADD_ELEMENT, 0, family);
        int data = add.nest(7);
        int ip = add.nest(1);
        add.bytes((family == IpFamily.V4 ? 1 : 2) | NET_BYTE_ORDER, address);
        add.endNest(ip);
        add.u8(3, 1);
        add.be32(6 | NET_BYTE_ORDER, AddressSet.ALIVE_SECONDS);
        add.be32(9 | NET_BYTE_ORDER, 0);
        add.endNest(data).end();
      }
    }
    return add;
  }

  /// Elements keep the time that they were added with (a newer one counts since Linux 6.13 only),
  /// so the set is emptied and filled in one transaction: there is no moment in between.
  private static MessageWriter nftRenewal(boolean fill) {
    MessageWriter batch = new MessageWriter(1024);
    int flags = MessageWriter.REQUEST;
    batch.beginNetfilter(0, BATCH_BEGIN, flags, 0, 0, NFTABLES).end();
    for (IpFamily family : IpFamily.values()) {
      String set = AddressSet.alive(family).name();
      batch.beginNetfilter(NFTABLES, DELETE_ELEMENT, flags, 1, INET, 0);
      batch.text(1, NftScript.TABLE).text(2, set).end();
      if (fill) {
        batch.beginNetfilter(NFTABLES, NEW_ELEMENT, flags | MessageWriter.CREATE, 1, INET, 0);
        batch.text(1, NftScript.TABLE).text(2, set);
        int elements = batch.nest(3);
        int element = batch.nest(1);
        int key = batch.nest(1);
        batch.bytes(1, new byte[] {(byte) (family == IpFamily.V4 ? 2 : 10)});
        batch.endNest(key).endNest(element).endNest(elements).end();
      }
    }
    return batch.beginNetfilter(0, BATCH_END, flags, 2, 0, NFTABLES).end();
  }

  /// Renews no more; what the sets hold stays until its time is over.
  @Override
  public void close() {
    socket.close();
  }
}
