package io.tailwater.iptables.apply;

import static io.tailwater.iptables.apply.SetSocket.NET_BYTE_ORDER;

import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netlink.Attributes;
import io.tailwater.iptables.netlink.MessageWriter;
import io.tailwater.iptables.netlink.NetlinkMessages;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.AddressSet;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.KernelPass;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Optional;

/// The addresses that connections of a namespace may go to past the agent, with a time for each:
/// [KernelPass#releasable] in a pod's namespace, [KernelPass#releasableOnNode] on the node. Some
/// datagrams of netlink for each change, no program.
///
/// With iptables these are ipsets of our own, made here before the rules that ask them; with
/// nf_tables they stand in our table and come with the rules.
///
/// Changes on one thread at a time; they do not block. The others on a platform thread outside of
/// any namespace. What is in the set when its agent ends stays until its time is over.
public final class ReleasableSet implements AutoCloseable {
  /// What ipset allows.
  public static final int MOST_SECONDS = 2_147_483;

  private static final int MOST_ON_NODE = 1_048_576;
  private static final int HASH_IN_POD = 64;
  private static final int HASH_ON_NODE = 1024;

  /// Elements per datagram: what the writer has room for.
  private static final int CHUNK = 32;

  private static final int ROOM = 16 * 1024;
  private static final int TCP = 6;

  private static final int A_IP = 1;
  private static final int A_PORT = 4;
  private static final int A_TIMEOUT = 6;
  private static final int A_DATA = 7;
  private static final int A_PROTOCOL = 7;
  private static final int A_ADT = 8;
  private static final int A_LINE = 9;
  private static final int A_IP2 = 20;
  private static final int IPV4 = 1;
  private static final int IPV6 = 2;

  private static final int NFT_ELEMENTS = 3;
  private static final int NFT_ELEMENT = 1;
  private static final int NFT_KEY = 1;
  private static final int NFT_VALUE = 1;
  private static final int NFT_TIMEOUT = 4;
  private static final int NFT_EXPIRATION = 5;

  private final SetSocket socket;
  private final boolean nft;
  private final boolean onNode;
  private final MessageWriter writer = new MessageWriter(ROOM);

  /// Where a connection may go.
  ///
  /// @param pod the address that it comes from: on the node, and only there
  /// @param seconds after which it leaves the set by itself, 1 to [#MOST_SECONDS]; when listed,
  ///   those that are left
  public record Element(Optional<InetAddress> pod, InetSocketAddress destination, int seconds) {
    /// In a pod's namespace.
    public static Element of(InetSocketAddress destination, int seconds) {
      return new Element(Optional.empty(), destination, seconds);
    }

    /// On the node.
    public static Element of(InetAddress pod, InetSocketAddress destination, int seconds) {
      return new Element(Optional.of(pod), destination, seconds);
    }

    public Element {
      if (destination.isUnresolved() || seconds < 1 || seconds > MOST_SECONDS) {
        throw new IllegalArgumentException(
            destination + " for " + seconds + " s cannot be in a set");
      }
      if (pod.isPresent()
          && pod.get().getAddress().length != destination.getAddress().getAddress().length) {
        throw new IllegalArgumentException(pod.get() + " cannot dial " + destination);
      }
    }

    IpFamily family() {
      return destination.getAddress() instanceof Inet4Address ? IpFamily.V4 : IpFamily.V6;
    }
  }

  private ReleasableSet(SetSocket socket, boolean nft, boolean onNode) {
    this.socket = socket;
    this.nft = nft;
    this.onNode = onNode;
  }

  /// Makes what has to be there before the rules of a pod's namespace.
  ///
  /// @throws SyscallException where the kernel has no such sets
  public static ReleasableSet inPod(NetworkNamespace namespace, RuleBackend backend) {
    return open(namespace, backend, false);
  }

  /// Likewise in the node's namespace, for all pods together.
  ///
  /// @throws SyscallException where the kernel has no such sets
  public static ReleasableSet onNode(NetworkNamespace namespace, RuleBackend backend) {
    return open(namespace, backend, true);
  }

  private static ReleasableSet open(
      NetworkNamespace namespace, RuleBackend backend, boolean onNode) {
    SetSocket socket = new SetSocket(namespace);
    boolean kept = false;
    try {
      ReleasableSet set = new ReleasableSet(socket, backend == RuleBackend.NFT, onNode);
      set.make();
      kept = true;
      return set;
    } finally {
      if (!kept) {
        socket.close();
      }
    }
  }

  /// Makes what is missing; what is there stays, with its elements.
  public void make() {
    if (!nft) {
      for (IpFamily family : IpFamily.values()) {
        socket.create(
            set(family),
            family,
            onNode ? HASH_ON_NODE : HASH_IN_POD,
            onNode ? MOST_ON_NODE : SetSocket.MOST);
      }
    }
  }

  private AddressSet set(IpFamily family) {
    return onNode ? KernelPass.releasableOnNode(family) : KernelPass.releasable(family);
  }

  /// Adds these, or renews their time. 0, or the first error number that the kernel answers: ENOENT
  /// where the set is missing (see [#make]), ENOSPC where it is full.
  public int add(Collection<Element> elements) {
    return change(elements, true);
  }

  /// Takes these out; some may not be in.
  public int remove(Collection<Element> elements) {
    return change(elements, false);
  }

  private int change(Collection<Element> elements, boolean add) {
    int error = 0;
    List<Element> all = List.copyOf(elements);
    for (int from = 0; from < all.size(); from += CHUNK) {
      List<Element> some = all.subList(from, Math.min(all.size(), from + CHUNK));
      int failed = nft ? changeNft(some, add) : changeIpset(some, add);
      error = error == 0 ? failed : error;
    }
    return error;
  }

  private int changeIpset(List<Element> elements, boolean add) {
    writer.clear();
    for (Element element : elements) {
      IpFamily family = element.family();
      // Without NLM_F_EXCL one that is there is renewed, and one that is not there may go.
      SetSocket.ipset(writer, add ? SetSocket.ADD : SetSocket.DELETE, 0, set(family), family);
      int data = writer.nest(A_DATA);
      address(A_IP, family, element.destination().getAddress());
      writer.be16(A_PORT | NET_BYTE_ORDER, element.destination().getPort()).u8(A_PROTOCOL, TCP);
      if (onNode) {
        address(A_IP2, family, element.pod().orElseThrow(ReleasableSet::whose));
      }
      if (add) {
        writer.be32(A_TIMEOUT | NET_BYTE_ORDER, element.seconds());
      }
      writer.be32(A_LINE | NET_BYTE_ORDER, 0).endNest(data).end();
    }
    return socket.send(writer);
  }

  private static IllegalArgumentException whose() {
    return new IllegalArgumentException("On the node an element names its pod");
  }

  private void address(int type, IpFamily family, InetAddress address) {
    int nest = writer.nest(type);
    writer.bytes((family == IpFamily.V4 ? IPV4 : IPV6) | NET_BYTE_ORDER, address.getAddress());
    writer.endNest(nest);
  }

  /// An element that is there keeps its time, and one that is not there cannot go: so it is added,
  /// deleted and added, in one transaction.
  private int changeNft(List<Element> elements, boolean add) {
    SetSocket.beginBatch(writer.clear());
    for (Element element : elements) {
      element(SetSocket.NFT_NEW_ELEMENT, element);
      element(SetSocket.NFT_DELETE_ELEMENT, element);
      if (add) {
        element(SetSocket.NFT_NEW_ELEMENT, element);
      }
    }
    return socket.send(SetSocket.endBatch(writer));
  }

  private void element(int command, Element element) {
    boolean adding = command == SetSocket.NFT_NEW_ELEMENT;
    SetSocket.nft(writer, command, adding ? MessageWriter.CREATE : 0, set(element.family()));
    int elements = writer.nest(NFT_ELEMENTS);
    int one = writer.nest(NFT_ELEMENT);
    int key = writer.nest(NFT_KEY);
    writer.bytes(NFT_VALUE, key(element));
    writer.endNest(key);
    if (adding) {
      writer.be64(NFT_TIMEOUT, element.seconds() * 1000L);
    }
    writer.endNest(one).endNest(elements).end();
  }

  /// Address, port, address, each filled up to a multiple of four bytes.
  private byte[] key(Element element) {
    byte[] to = element.destination().getAddress().getAddress();
    ByteBuffer key = ByteBuffer.allocate(to.length + 4 + (onNode ? to.length : 0));
    key.put(to).putShort((short) element.destination().getPort()).putShort((short) 0);
    if (onNode) {
      key.put(element.pod().orElseThrow(ReleasableSet::whose).getAddress());
    }
    return key.array();
  }

  /// Takes everything out: every new connection goes through the agent. 0 or an error number.
  public int flush() {
    writer.clear();
    if (nft) {
      SetSocket.beginBatch(writer);
      for (IpFamily family : IpFamily.values()) {
        SetSocket.nft(writer, SetSocket.NFT_DELETE_ELEMENT, 0, set(family)).end();
      }
      return socket.send(SetSocket.endBatch(writer));
    }
    for (IpFamily family : IpFamily.values()) {
      SetSocket.ipset(writer, SetSocket.FLUSH, 0, set(family), family).end();
    }
    return socket.send(writer);
  }

  /// What is in it, of both families.
  ///
  /// @throws SyscallException where the set is missing
  public List<Element> list() {
    List<Element> elements = new ArrayList<>();
    for (IpFamily family : IpFamily.values()) {
      writer.clear();
      if (nft) {
        SetSocket.nft(writer, SetSocket.NFT_GET_ELEMENT, MessageWriter.DUMP, set(family)).end();
      } else {
        SetSocket.ipset(writer, SetSocket.LIST, MessageWriter.DUMP, set(family), family).end();
      }
      socket.ask(writer, message -> read(message, elements));
    }
    return elements;
  }

  private void read(NetlinkMessages message, List<Element> into) {
    Attributes attribute = message.netfilterAttributes(new Attributes());
    Attributes list = new Attributes();
    while (attribute.next()) {
      if (attribute.type() == (nft ? NFT_ELEMENTS : A_ADT)) {
        attribute.nested(list);
        while (list.next()) {
          if (nft) {
            nftElement(list).ifPresent(into::add);
          } else {
            ipsetElement(list).ifPresent(into::add);
          }
        }
      }
    }
  }

  private static Optional<Element> ipsetElement(Attributes data) {
    Attributes part = new Attributes();
    Attributes inner = new Attributes();
    Optional<InetAddress> to = Optional.empty();
    Optional<InetAddress> pod = Optional.empty();
    int port = 0;
    int seconds = 0;
    data.nested(part);
    while (part.next()) {
      switch (part.type()) {
        case A_IP -> to = first(part.nested(inner));
        case A_IP2 -> pod = first(part.nested(inner));
        case A_PORT -> port = part.be16();
        case A_TIMEOUT -> seconds = part.be32();
        default -> {} // protocol, flags
      }
    }
    return element(pod, to, port, seconds);
  }

  private static Optional<InetAddress> first(Attributes addresses) {
    return addresses.next() ? Optional.of(address(addresses.bytes())) : Optional.empty();
  }

  private Optional<Element> nftElement(Attributes element) {
    Attributes part = new Attributes();
    Attributes inner = new Attributes();
    byte[] key = {};
    long left = 0;
    element.nested(part);
    while (part.next()) {
      switch (part.type()) {
        case NFT_KEY -> {
          part.nested(inner);
          key = inner.next() ? inner.bytes() : key;
        }
        case NFT_EXPIRATION -> left = part.be64();
        default -> {} // the whole time, flags
      }
    }
    int address = onNode ? (key.length - 4) / 2 : key.length - 4;
    if (address != 4 && address != 16) {
      return Optional.empty();
    }
    ByteBuffer bytes = ByteBuffer.wrap(key);
    byte[] to = new byte[address];
    bytes.get(to);
    int port = bytes.getShort() & 0xffff;
    Optional<InetAddress> pod = Optional.empty();
    if (onNode) {
      byte[] from = new byte[address];
      bytes.get(bytes.position() + 2, from);
      pod = Optional.of(address(from));
    }
    return element(pod, Optional.of(address(to)), port, (int) (left / 1000));
  }

  /// One whose last second has begun still has one.
  private static Optional<Element> element(
      Optional<InetAddress> pod, Optional<InetAddress> to, int port, int seconds) {
    return to.map(
        address -> new Element(pod, new InetSocketAddress(address, port), Math.max(1, seconds)));
  }

  private static InetAddress address(byte[] bytes) {
    try {
      return InetAddress.getByAddress(bytes);
    } catch (UnknownHostException e) {
      throw new IllegalStateException("an address of " + bytes.length + " bytes", e);
    }
  }

  /// Takes away the ipsets of a namespace whose rules are gone; there may be none.
  static void destroy(NetworkNamespace namespace) {
    try (SetSocket socket = new SetSocket(namespace)) {
      for (IpFamily family : IpFamily.values()) {
        socket.destroy(KernelPass.releasable(family), family);
        socket.destroy(KernelPass.releasableOnNode(family), family);
      }
    }
  }

  /// Changes nothing any more.
  @Override
  public void close() {
    socket.close();
  }
}
