package io.tailwater.iptables.netlink;

import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netns.NetworkNamespace;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/// Interfaces, routes and routing rules of one namespace, asked of the kernel by rtnetlink
/// (`linux/rtnetlink.h`, `linux/fib_rules.h`). One thread at a time; a platform thread to open it.
public final class Routing implements AutoCloseable {
  private static final int NEWROUTE = 24;
  private static final int DELROUTE = 25;
  private static final int GETROUTE = 26;
  private static final int GETLINK = 18;
  private static final int NEWRULE = 32;
  private static final int DELRULE = 33;
  private static final int GETRULE = 34;
  private static final int GETNSID = 90;

  private static final int AF_INET = 2;
  private static final int AF_INET6 = 10;

  private static final int IFLA_IFNAME = 3;
  private static final int IFLA_LINK = 5;
  private static final int IFLA_MASTER = 10;
  private static final int IFLA_LINKINFO = 18;
  private static final int IFLA_INFO_KIND = 1;
  private static final int IFLA_LINK_NETNSID = 37;

  private static final int NETNSA_NSID = 1;
  private static final int NETNSA_FD = 3;

  private static final int RTA_DST = 1;
  private static final int RTA_OIF = 4;
  private static final int RTA_TABLE = 15;
  private static final int RTA_MARK = 16;

  private static final int RTN_LOCAL = 2;
  private static final int RT_SCOPE_HOST = 254;
  private static final int RTPROT_STATIC = 4;
  private static final int RTM_F_LOOKUP_TABLE = 0x1000;

  private static final int FRA_DST = 1;
  private static final int FRA_SRC = 2;
  private static final int FRA_IIFNAME = 3;
  private static final int FRA_OIFNAME = 17;
  private static final int FRA_PRIORITY = 6;
  private static final int FRA_FWMARK = 10;
  private static final int FRA_TABLE = 15;
  private static final int FRA_FWMASK = 16;
  private static final int FRA_PROTOCOL = 21;
  private static final int FR_ACT_TO_TBL = 1;
  private static final int FR_ACT_PROHIBIT = 8;

  /// RFC 3849: an address that nobody has.
  private static final InetAddress ANYWHERE_6 = InetAddress.ofLiteral("2001:db8::fffe");

  /// `struct ifinfomsg`: u8 family, u8, u16 type, s32 index, u32 flags, u32 change.
  private static final int LINK_HEADER = 16;

  /// `struct rtmsg`: u8 family, dst_len, src_len, tos, table, protocol, scope, type; u32 flags.
  /// `struct fib_rule_hdr` is as long.
  private static final int ROUTE_HEADER = 12;

  /// Loopback is the first interface of every namespace.
  private static final int LOOPBACK = 1;

  private static final long PATIENCE_MILLIS = 5000;

  private final NetlinkSocket socket;
  private final NetlinkMemory memory = new NetlinkMemory(32 * 1024);
  private final MessageWriter writer = new MessageWriter(512);
  private int sequence;

  private Routing(NetlinkSocket socket) {
    this.socket = socket;
  }

  /// Opens the namespace's tables.
  ///
  /// @throws SyscallException when the kernel refuses
  public static Routing open(NetworkNamespace namespace) {
    return new Routing(NetlinkSocket.open(namespace, NetlinkSocket.ROUTE));
  }

  /// A rule that leads marked packets to a table, and that table's only route: everything is
  /// delivered here. One family.
  ///
  /// @param preference of the rule
  /// @param mark and `mask`: which packets
  public record LocalDelivery(boolean six, int preference, int mark, int mask, int table) {}

  /// A rule of the policy routing, as far as marks and tables go.
  ///
  /// @param mask 0 where it asks no mark
  /// @param table 0 where it leads to none
  /// @param narrow whether it asks for addresses or interfaces too
  /// @param madeBy who has made it (`RTPROT_*`), or 0
  public record PolicyRule(
      int preference, int mark, int mask, int table, boolean narrow, int madeBy) {
    /// Whether packets with a mark may be caught by it.
    public boolean takes(int packetMark) {
      return (packetMark & mask) == mark;
    }
  }

  /// All rules of one family, in the order in which they are asked.
  public List<PolicyRule> policyRules(boolean six) {
    List<PolicyRule> rules = new ArrayList<>();
    request(GETRULE, MessageWriter.REQUEST | MessageWriter.DUMP).raw(header(six, 0, 0, 0, 0, 0));
    Attributes attributes = new Attributes();
    ask(message -> {
      int preference = 0;
      int mark = 0;
      int mask = 0;
      int table = message.ownHeader8(4);
      boolean narrow = false;
      int madeBy = 0;
      message.attributes(ROUTE_HEADER, attributes);
      while (attributes.next()) {
        switch (attributes.type()) {
          case FRA_PRIORITY -> preference = attributes.u32();
          case FRA_FWMARK -> mark = attributes.u32();
          case FRA_FWMASK -> mask = attributes.u32();
          case FRA_TABLE -> table = attributes.u32();
          case FRA_DST, FRA_SRC, FRA_IIFNAME, FRA_OIFNAME -> narrow = true;
          case FRA_PROTOCOL -> madeBy = attributes.u8();
          default -> {} // ports, users and the like are not asked for here
        }
      }
      rules.add(new PolicyRule(preference, mark, mask, table, narrow, madeBy));
    });
    return rules;
  }

  /// All interfaces.
  public List<Link> links() {
    List<Link> links = new ArrayList<>();
    request(GETLINK, MessageWriter.REQUEST | MessageWriter.DUMP).raw(new byte[LINK_HEADER]);
    Attributes attributes = new Attributes();
    Attributes info = new Attributes();
    ask(message -> links.add(link(message, attributes, info)));
    return links;
  }

  private static Link link(NetlinkMessages message, Attributes attributes, Attributes info) {
    String name = "";
    int peer = 0;
    int peerNamespace = -1;
    int master = 0;
    String kind = "";
    message.attributes(LINK_HEADER, attributes);
    while (attributes.next()) {
      switch (attributes.type()) {
        case IFLA_IFNAME -> name = attributes.text();
        case IFLA_LINK -> peer = attributes.u32();
        case IFLA_LINK_NETNSID -> peerNamespace = attributes.u32();
        case IFLA_MASTER -> master = attributes.u32();
        case IFLA_LINKINFO -> {
          attributes.nested(info);
          while (info.next()) {
            if (info.type() == IFLA_INFO_KIND) {
              kind = info.text();
            }
          }
        }
        default -> {} // addresses, counters
      }
    }
    return new Link(message.ownHeader32(4), name, peer, peerNamespace, master, kind);
  }

  /// The number by which this namespace knows another one: what [Link#peerNamespace] says of
  /// interfaces whose other end is there. Empty when it knows none.
  public Optional<Integer> numberOf(NetworkNamespace other) {
    int[] number = {-1};
    request(GETNSID, MessageWriter.REQUEST | MessageWriter.ACK)
        .raw(new byte[4])
        .u32(NETNSA_FD, Integer.parseInt(other.handle().getFileName().toString()));
    Attributes attributes = new Attributes();
    ask(message -> {
      message.attributes(4, attributes);
      while (attributes.next()) {
        if (attributes.type() == NETNSA_NSID) {
          number[0] = attributes.u32();
        }
      }
    });
    return number[0] < 0 ? Optional.empty() : Optional.of(number[0]);
  }

  /// Which interface a packet to an address would leave by; empty where there is no way.
  public Optional<Integer> wayTo(InetAddress address) {
    return lookUp(address, 0).map(Way::outgoing);
  }

  /// Whether a marked packet to an address is delivered here, by the table of this delivery.
  public boolean delivers(LocalDelivery wanted, InetAddress address) {
    return lookUp(address, wanted.mark())
        .map(way -> way.type() == RTN_LOCAL && way.table() == wanted.table())
        .orElse(false);
  }

  private record Way(int type, int table, int outgoing) {}

  private Optional<Way> lookUp(InetAddress address, int mark) {
    boolean six = !(address instanceof Inet4Address);
    byte[] bytes = address.getAddress();
    request(GETROUTE, MessageWriter.REQUEST | MessageWriter.ACK)
        .raw(header(six, bytes.length * 8, 0, 0, 0, RTM_F_LOOKUP_TABLE))
        .bytes(RTA_DST, bytes);
    if (mark != 0) {
      writer.u32(RTA_MARK, mark);
    }
    List<Way> found = new ArrayList<>();
    Attributes attributes = new Attributes();
    try {
      ask(message -> {
        int table = 0;
        int outgoing = 0;
        message.attributes(ROUTE_HEADER, attributes);
        while (attributes.next()) {
          if (attributes.type() == RTA_TABLE) {
            table = attributes.u32();
          } else if (attributes.type() == RTA_OIF) {
            outgoing = attributes.u32();
          }
        }
        found.add(new Way(message.ownHeader8(7), table, outgoing));
      });
    } catch (SyscallException e) {
      if (e.errno() == Errno.ENETUNREACH
          || e.errno() == Errno.EHOSTUNREACH
          || e.errno() == Errno.EAFNOSUPPORT
          || e.errno() == Errno.EOPNOTSUPP) {
        return Optional.empty();
      }
      throw e;
    }
    return found.stream().findFirst();
  }

  /// Adds what is missing of it.
  ///
  /// @throws SyscallException when the kernel refuses; EAFNOSUPPORT or EOPNOTSUPP without the
  ///   family
  public void add(LocalDelivery wanted) {
    route(
        NEWROUTE,
        MessageWriter.REQUEST | MessageWriter.ACK | MessageWriter.CREATE | MessageWriter.REPLACE,
        wanted);
    ask(message -> {});
    rule(
        NEWRULE,
        MessageWriter.REQUEST | MessageWriter.ACK | MessageWriter.CREATE | MessageWriter.EXCL,
        wanted);
    unless(Errno.EEXIST);
  }

  /// Takes away rule and route. Whether there was anything of them.
  public boolean remove(LocalDelivery wanted) {
    boolean found = false;
    // The same rule may be there several times where somebody else added it too.
    for (int i = 0; i < 8; i++) {
      rule(DELRULE, MessageWriter.REQUEST | MessageWriter.ACK, wanted);
      if (!unless(Errno.ENOENT)) {
        break;
      }
      found = true;
    }
    route(DELROUTE, MessageWriter.REQUEST | MessageWriter.ACK, wanted);
    return unless(Errno.ESRCH) || found;
  }

  /// Forbids every way over IPv6 that is not decided by a rule before this preference.
  ///
  /// @throws SyscallException when the kernel refuses; EAFNOSUPPORT or EOPNOTSUPP without IPv6
  public void prohibit(int preference) {
    prohibition(
        NEWRULE,
        MessageWriter.REQUEST | MessageWriter.ACK | MessageWriter.CREATE | MessageWriter.EXCL,
        preference);
    unless(Errno.EEXIST);
  }

  /// Takes that away. Whether it was there.
  public boolean prohibitNoMore(int preference) {
    prohibition(DELRULE, MessageWriter.REQUEST | MessageWriter.ACK, preference);
    return unless(Errno.ENOENT);
  }

  /// Whether every way over IPv6 is forbidden. Without an address of its own there is no way, which
  /// is not the same.
  public boolean isProhibited() {
    try {
      lookUp(ANYWHERE_6, 0);
      return false;
    } catch (SyscallException e) {
      if (e.errno() == Errno.EACCES) {
        return true;
      }
      throw e;
    }
  }

  private void prohibition(int type, int flags, int preference) {
    request(type, flags)
        .raw(header(true, 0, 0, 0, FR_ACT_PROHIBIT, 0))
        .u32(FRA_PRIORITY, preference);
  }

  private void route(int type, int flags, LocalDelivery wanted) {
    request(type, flags)
        .raw(header(wanted.six(), 0, RTPROT_STATIC, RT_SCOPE_HOST, RTN_LOCAL, 0))
        .u32(RTA_TABLE, wanted.table())
        .u32(RTA_OIF, LOOPBACK);
  }

  private void rule(int type, int flags, LocalDelivery wanted) {
    request(type, flags)
        .raw(header(wanted.six(), 0, 0, 0, FR_ACT_TO_TBL, 0))
        .u32(FRA_PRIORITY, wanted.preference())
        .u32(FRA_FWMARK, wanted.mark())
        .u32(FRA_FWMASK, wanted.mask())
        .u32(FRA_TABLE, wanted.table());
  }

  private static byte[] header(
      boolean six, int destinationBits, int protocol, int scope, int type, int flags) {
    byte[] header = new byte[ROUTE_HEADER];
    header[0] = (byte) (six ? AF_INET6 : AF_INET);
    header[1] = (byte) destinationBits;
    header[5] = (byte) protocol;
    header[6] = (byte) scope;
    header[7] = (byte) type;
    ByteBuffer.wrap(header).order(ByteOrder.nativeOrder()).putInt(8, flags);
    return header;
  }

  private MessageWriter request(int type, int flags) {
    return writer.clear().begin(type, flags, ++sequence);
  }

  private void ask(java.util.function.Consumer<NetlinkMessages> answers) {
    socket.ask(writer.end(), sequence, PATIENCE_MILLIS, memory, answers);
  }

  /// Asks; false when the kernel answers with this one error.
  private boolean unless(int errno) {
    try {
      ask(message -> {});
      return true;
    } catch (SyscallException e) {
      if (e.errno() == errno) {
        return false;
      }
      throw e;
    }
  }

  @Override
  public void close() {
    socket.close();
  }
}
