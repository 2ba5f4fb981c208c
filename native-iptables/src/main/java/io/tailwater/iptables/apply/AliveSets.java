package io.tailwater.iptables.apply;

import static io.tailwater.iptables.apply.SetSocket.NET_BYTE_ORDER;

import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netlink.MessageWriter;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.AddressSet;
import io.tailwater.iptables.rule.IpFamily;

/// Says in one namespace that an agent lives, by what stands in [AddressSet#alive] for both
/// families. One datagram of netlink for each renewal, no program.
///
/// With iptables they are ipsets of our own, made here before the rules that ask them; with
/// nf_tables they stand in our table and come with the rules.
///
/// [#renew] on one thread at a time; it does not block. The others on a platform thread outside of
/// any namespace.
public final class AliveSets implements AutoCloseable {
  private static final int ELEMENTS_OF_A_SET = 64;

  private final SetSocket socket;
  private final boolean nft;
  private final MessageWriter renewal;

  private AliveSets(SetSocket socket, boolean nft) {
    this.socket = socket;
    this.nft = nft;
    this.renewal = nft ? nftRenewal(true) : ipsetRenewal();
  }

  /// Makes what has to be there before the rules.
  ///
  /// @throws SyscallException where the kernel has no such sets
  public static AliveSets open(NetworkNamespace namespace, RuleBackend backend) {
    SetSocket socket = new SetSocket(namespace);
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
    if (!nft) {
      for (IpFamily family : IpFamily.values()) {
        socket.create(AddressSet.alive(family), family, ELEMENTS_OF_A_SET, SetSocket.MOST);
      }
    }
  }

  /// An agent lives, for some seconds more. The first error number that the kernel answers, or 0.
  public int renew() {
    return socket.send(renewal);
  }

  /// No agent lives from now on: what the rules capture passes at once.
  public void stop() {
    if (nft) {
      socket.send(nftRenewal(false));
      return;
    }
    MessageWriter flush = new MessageWriter(512);
    for (IpFamily family : IpFamily.values()) {
      SetSocket.ipset(flush, SetSocket.FLUSH, 0, AddressSet.alive(family), family).end();
    }
    socket.send(flush);
  }

  /// Takes away the ipsets of a namespace whose rules are gone; there may be none.
  static void remove(NetworkNamespace namespace) {
    try (SetSocket socket = new SetSocket(namespace)) {
      for (IpFamily family : IpFamily.values()) {
        socket.destroy(AddressSet.alive(family), family);
      }
    }
  }

  /// `add SET 0.0.0.0/1`, `add SET 128.0.0.0/1`: there is no /0 in a `hash:net`.
  private static MessageWriter ipsetRenewal() {
    MessageWriter add = new MessageWriter(1024);
    for (IpFamily family : IpFamily.values()) {
      for (int half = 0; half < 2; half++) {
        byte[] address = new byte[family == IpFamily.V4 ? 4 : 16];
        address[0] = (byte) (half << 7);
        SetSocket.ipset(add, SetSocket.ADD, 0, AddressSet.alive(family), family);
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
    MessageWriter batch = SetSocket.beginBatch(new MessageWriter(1024));
    for (IpFamily family : IpFamily.values()) {
      AddressSet set = AddressSet.alive(family);
      SetSocket.nft(batch, SetSocket.NFT_DELETE_ELEMENT, 0, set).end();
      if (fill) {
        SetSocket.nft(batch, SetSocket.NFT_NEW_ELEMENT, MessageWriter.CREATE, set);
        int elements = batch.nest(3);
        int element = batch.nest(1);
        int key = batch.nest(1);
        batch.bytes(1, new byte[] {(byte) SetSocket.number(family)});
        batch.endNest(key).endNest(element).endNest(elements).end();
      }
    }
    return SetSocket.endBatch(batch);
  }

  /// Renews no more; what the sets hold stays until its time is over.
  @Override
  public void close() {
    socket.close();
  }
}
