package io.tailwater.iptables.rule;

import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.stream.Collectors;

/// One condition of a rule, in both languages: the arguments that `iptables-save` prints, and the
/// expression of nf_tables.
public sealed interface Match {
  /// The arguments of the command line, such as `-m`, `mark`, `--mark`, `0x539/0xfff`.
  List<String> arguments();

  /// The expression of nf_tables, such as `meta mark & 0xfff == 0x539`.
  default String nft(NftPlace place) {
    return nft(place, false);
  }

  /// The expression, or its opposite.
  ///
  /// @throws IllegalArgumentException where nf_tables cannot say the opposite
  String nft(NftPlace place, boolean negated);

  /// The same condition turned round with `!`.
  default Match not() {
    return new Not(this);
  }

  /// `! ...`: exactly the options of the inner match are negated.
  record Not(Match match) implements Match {
    public Not {
      if (match instanceof Not) {
        throw new IllegalArgumentException("A negation is not negated again");
      }
      if (match instanceof RateLimit
          || match instanceof Payload
          || match instanceof Reply
          || match instanceof Original
          || match instanceof Cgroup
          || match instanceof TransparentSocket) {
        throw new IllegalArgumentException("Not every backend can negate " + match);
      }
    }

    @Override
    public List<String> arguments() {
      List<String> inner = match.arguments();
      int option = inner.get(0).equals("-m") ? 2 : 0;
      List<String> all = new ArrayList<>(inner.subList(0, option));
      all.add("!");
      all.addAll(inner.subList(option, inner.size()));
      return List.copyOf(all);
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      return match.nft(place, !negated);
    }
  }

  /// `-s 10.0.0.0/8`
  record Source(Cidr range) implements Match {
    @Override
    public List<String> arguments() {
      return List.of("-s", range.toString());
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      return compare(place.family().nft() + " saddr", negated, range.toString());
    }
  }

  /// `-d 10.0.0.0/8`
  record Destination(Cidr range) implements Match {
    @Override
    public List<String> arguments() {
      return List.of("-d", range.toString());
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      return compare(place.family().nft() + " daddr", negated, range.toString());
    }
  }

  /// `-i eth0`; only in PREROUTING, INPUT and FORWARD. `eth+` is every name that begins so.
  record InInterface(String name) implements Match {
    public InInterface {
      Names.checkInterface(name);
    }

    @Override
    public List<String> arguments() {
      return List.of("-i", name);
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      return compare("iifname", negated, interfaces(name));
    }
  }

  /// `-o lo`; only in OUTPUT, FORWARD and POSTROUTING.
  record OutInterface(String name) implements Match {
    public OutInterface {
      Names.checkInterface(name);
    }

    @Override
    public List<String> arguments() {
      return List.of("-o", name);
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      return compare("oifname", negated, interfaces(name));
    }
  }

  /// `-p tcp`
  record Protocol(IpProtocol protocol) implements Match {
    @Override
    public List<String> arguments() {
      return List.of("-p", protocol.toString());
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      return compare("meta l4proto", negated, protocol.toString());
    }
  }

  /// `-m tcp --sport 53`; needs [Protocol] before it.
  record SourcePort(IpProtocol protocol, int port) implements Match {
    public SourcePort {
      Names.checkPort(protocol, port);
    }

    @Override
    public List<String> arguments() {
      return List.of("-m", protocol.toString(), "--sport", Integer.toString(port));
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      return compare(protocol + " sport", negated, Integer.toString(port));
    }
  }

  /// `-m udp --dport 443`; needs [Protocol] before it.
  record DestinationPort(IpProtocol protocol, int port) implements Match {
    public DestinationPort {
      Names.checkPort(protocol, port);
    }

    @Override
    public List<String> arguments() {
      return List.of("-m", protocol.toString(), "--dport", Integer.toString(port));
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      return compare(protocol + " dport", negated, Integer.toString(port));
    }
  }

  /// `-m tcp --tcp-flags FIN,SYN,RST,ACK SYN`, what `--syn` stands for: the first packet of a
  /// connection. Needs [Protocol] before it.
  record Syn() implements Match {
    @Override
    public List<String> arguments() {
      return List.of("-m", "tcp", "--tcp-flags", "FIN,SYN,RST,ACK", "SYN");
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      return "tcp flags & (fin | syn | rst | ack) " + (negated ? "!=" : "==") + " syn";
    }
  }

  /// `-m tcp --tcp-flags FIN,RST NONE`: none of these flags is set; turned round: at least one is.
  /// Needs [Protocol] before it.
  record NoneOf(Set<Flag> flags) implements Match {
    /// In the order in which `iptables-save` prints them.
    public enum Flag {
      FIN,
      SYN,
      RST
    }

    public NoneOf {
      if (flags.isEmpty()) {
        throw new IllegalArgumentException("Without a flag it would always match");
      }
      flags = java.util.Collections.unmodifiableSet(EnumSet.copyOf(flags));
    }

    public NoneOf(Flag first, Flag... others) {
      this(EnumSet.of(first, others));
    }

    @Override
    public List<String> arguments() {
      String all = flags.stream().map(Flag::name).collect(Collectors.joining(","));
      return List.of("-m", "tcp", "--tcp-flags", all, "NONE");
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      String all =
          flags.stream()
              .map(flag -> flag.name().toLowerCase(Locale.ROOT))
              .collect(Collectors.joining(" | "));
      return "tcp flags & (" + all + ") " + (negated ? "!=" : "==") + " 0x0";
    }
  }

  /// A TCP segment that carries payload, however many options there are: a small program for
  /// iptables (`-m bpf`), which counts headers and compares with the packet's length. A packet with
  /// extension headers of IPv6 matches too. Needs [Protocol] before it.
  ///
  ///     IPv4: ldxb 4*([0]&0xf); ldb [x+12]; and 0xf0; rsh 2; add x; tax; ld len; jeq x
  ///     IPv6: the same with 40 for the header's length, if the next header is TCP
  record Payload(IpFamily family) implements Match {
    private static final String IPV4 =
        "10,177 0 0 0,80 0 0 12,84 0 0 240,116 0 0 2,12 0 0 0,7 0 0 0,128 0 0 0,29 0 1 0,6 0 0 0,"
            + "6 0 0 65535";
    private static final String IPV6 =
        "11,48 0 0 6,21 0 7 6,48 0 0 52,84 0 0 240,116 0 0 2,4 0 0 40,7 0 0 0,128 0 0 0,29 1 0 0,"
            + "6 0 0 65535,6 0 0 0";

    @Override
    public List<String> arguments() {
      return List.of("-m", "bpf", "--bytecode", '"' + (family == IpFamily.V4 ? IPV4 : IPV6) + '"');
    }

    /// Reading the first byte of the payload, whatever it is, fails where there is none.
    @Override
    public String nft(NftPlace place, boolean negated) {
      if (negated) {
        throw new IllegalArgumentException("nf_tables cannot say that there is no payload");
      }
      return "@ih,0,8 & 0x0 == 0x0";
    }
  }

  /// `-m icmp --icmp-type 8`, RFC 792. Needs [Protocol] before it.
  record IcmpType(int type) implements Match {
    public IcmpType {
      Names.checkByte(type, "ICMP type");
    }

    @Override
    public List<String> arguments() {
      return List.of("-m", "icmp", "--icmp-type", Integer.toString(type));
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      return compare("icmp type", negated, Integer.toString(type));
    }
  }

  /// `-m icmp6 --icmpv6-type 135`, RFC 4443 and 4861. Needs [Protocol] before it.
  record Icmp6Type(int type) implements Match {
    public Icmp6Type {
      Names.checkByte(type, "ICMPv6 type");
    }

    @Override
    public List<String> arguments() {
      return List.of("-m", "icmp6", "--icmpv6-type", Integer.toString(type));
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      return compare("icmpv6 type", negated, Integer.toString(type));
    }
  }

  /// A fragment that carries no transport header: `-f` for IPv4, any fragment header for IPv6.
  /// Where a namespace tracks connections, the kernel puts fragments together before any of our
  /// hooks, so this matters only ahead of that and where tracking is off.
  record Fragment(IpFamily family) implements Match {
    @Override
    public List<String> arguments() {
      return switch (family) {
        case V4 -> List.of("-f");
        case V6 -> List.of("-m", "ipv6header", "--header", "ipv6-frag", "--soft");
      };
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      return switch (family) {
        case V4 -> "ip frag-off & 0x1fff " + (negated ? "==" : "!=") + " 0";
        case V6 -> "exthdr frag " + (negated ? "missing" : "exists");
      };
    }
  }

  /// `-m mark --mark 0x539/0xfff`: the packet's mark.
  record PacketMark(Mark mark) implements Match {
    @Override
    public List<String> arguments() {
      return List.of("-m", "mark", "--mark", mark.toString());
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      return carries("meta mark", mark, negated);
    }
  }

  /// `-m connmark --mark 0x111/0xfff`: the mark of the packet's connection.
  record ConnectionMark(Mark mark) implements Match {
    @Override
    public List<String> arguments() {
      return List.of("-m", "connmark", "--mark", mark.toString());
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      return carries("ct mark", mark, negated);
    }
  }

  /// `-m conntrack --ctdir REPLY`: packets that answer a connection which the other side began.
  record Reply() implements Match {
    @Override
    public List<String> arguments() {
      return List.of("-m", "conntrack", "--ctdir", "REPLY");
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      return compare("ct direction", negated, "reply");
    }
  }

  /// `-m conntrack --ctstate INVALID,NEW`: any of these.
  record ConnectionState(Set<State> states) implements Match {
    /// In the order in which `iptables-save` prints them.
    public enum State {
      INVALID,
      NEW,
      RELATED,
      ESTABLISHED,
      UNTRACKED
    }

    public ConnectionState {
      if (states.isEmpty()) {
        throw new IllegalArgumentException("No state would never match");
      }
      states = java.util.Collections.unmodifiableSet(EnumSet.copyOf(states));
    }

    public ConnectionState(State first, State... others) {
      this(EnumSet.of(first, others));
    }

    @Override
    public List<String> arguments() {
      return List.of(
          "-m",
          "conntrack",
          "--ctstate",
          states.stream().map(State::name).collect(Collectors.joining(",")));
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      String list =
          states.stream()
              .map(state -> state.name().toLowerCase(Locale.ROOT))
              .collect(Collectors.joining(negated ? " | " : ","));
      return negated ? "ct state & (" + list + ") == 0" : "ct state " + list;
    }
  }

  /// `-m addrtype --dst-type LOCAL`: one of this namespace's own addresses.
  record DestinationLocal() implements Match {
    @Override
    public List<String> arguments() {
      return List.of("-m", "addrtype", "--dst-type", "LOCAL");
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      return compare("fib daddr type", negated, "local");
    }
  }

  /// `-m addrtype --src-type LOCAL`: sent from one of this namespace's own addresses.
  record SourceLocal() implements Match {
    @Override
    public List<String> arguments() {
      return List.of("-m", "addrtype", "--src-type", "LOCAL");
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      return compare("fib saddr type", negated, "local");
    }
  }

  /// `-m set --match-set NAME dst`. The first direction is of the address, a second one of the
  /// port, a third one of another address. The set must exist before the rule does: an ipset for
  /// iptables, a set of our own table for nf_tables.
  record InSet(String set, String directions) implements Match {
    public InSet {
      Names.checkSet(set);
      if (!directions.matches("(src|dst)(,(src|dst)){0,2}")) {
        throw new IllegalArgumentException(
            "Directions of a set are src or dst, of the address, perhaps of the port, and perhaps"
                + " of another address, not '"
                + directions
                + "'");
      }
    }

    @Override
    public List<String> arguments() {
      return List.of("-m", "set", "--match-set", set, directions);
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      String[] words = directions.split(",", -1);
      String key = address(place, words[0]);
      if (words.length > 1) {
        key += " . th " + (words[1].equals("src") ? "sport" : "dport");
      }
      if (words.length > 2) {
        key += " . " + address(place, words[2]);
      }
      return compare(key, negated, "@" + set);
    }

    private static String address(NftPlace place, String direction) {
      return place.family().nft() + (direction.equals("src") ? " saddr" : " daddr");
    }
  }

  /// `-m set --match-set NAME dst` of a set of [AddressSet.Kind#EVERYTHING]: whether it has its
  /// elements.
  record Filled(String set) implements Match {
    public Filled {
      Names.checkSet(set);
    }

    @Override
    public List<String> arguments() {
      return List.of("-m", "set", "--match-set", set, "dst");
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      return compare("meta nfproto", negated, "@" + set);
    }
  }

  /// `-m cgroup --path a/b -m comment --comment cgroup-17`: made by a socket of a process in this
  /// control group or below it. Packets without a socket (resets of the kernel's, answers in
  /// TIME_WAIT) never match. Not to be negated: with nf_tables a socket of a group higher up than
  /// the level of this one would not match either. nf_tables keeps the group's number itself.
  record Cgroup(ControlGroup group) implements Match {
    @Override
    public List<String> arguments() {
      return List.of(
          "-m",
          "cgroup",
          "--path",
          group.path(),
          "-m",
          "comment",
          "--comment",
          "cgroup-" + group.id());
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      return compare("socket cgroupv2 level " + group.level(), negated, '"' + group.path() + '"');
    }
  }

  /// `-m owner --uid-owner 1000`; only in OUTPUT and POSTROUTING.
  record OwnerUser(int uid) implements Match {
    @Override
    public List<String> arguments() {
      return List.of("-m", "owner", "--uid-owner", Integer.toString(uid));
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      return compare("meta skuid", negated, Integer.toString(uid));
    }
  }

  /// `-m owner --socket-exists`: made by a socket of this namespace.
  record OwnerExists() implements Match {
    @Override
    public List<String> arguments() {
      return List.of("-m", "owner", "--socket-exists");
    }

    /// Whatever the user is: a packet without a socket has none, and then no comparison holds.
    @Override
    public String nft(NftPlace place, boolean negated) {
      if (negated) {
        throw new IllegalArgumentException("nf_tables cannot say that there is no socket");
      }
      return "meta skuid >= 0";
    }
  }

  /// `-m limit --limit 10/sec --limit-burst 20`: holds for so many packets. For what is logged,
  /// never for what is let through.
  record RateLimit(int perSecond, int burst) implements Match {
    /// Of xt_limit, XT_LIMIT_SCALE.
    static final int LARGEST = 10_000;

    public RateLimit {
      if (perSecond < 1 || perSecond > LARGEST || burst < 1 || burst > LARGEST) {
        throw new IllegalArgumentException("A rate limit is 1..10000 per second, burst likewise");
      }
    }

    /// A second's worth may come at once. iptables keeps the time between two packets, in whole
    /// parts of a tenth of a millisecond, and so prints the next rate above that it can keep.
    static RateLimit atLeast(int perSecond) {
      int pause = LARGEST / perSecond;
      while (LARGEST % pause != 0) {
        pause--;
      }
      return new RateLimit(LARGEST / pause, LARGEST / pause);
    }

    @Override
    public List<String> arguments() {
      return List.of(
          "-m", "limit", "--limit", perSecond + "/sec", "--limit-burst", Integer.toString(burst));
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      return "limit rate " + perSecond + "/second burst " + burst + " packets";
    }
  }

  /// `-m conntrack --ctdir ORIGINAL`: packets of the side that began the connection.
  record Original() implements Match {
    @Override
    public List<String> arguments() {
      return List.of("-m", "conntrack", "--ctdir", "ORIGINAL");
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      return compare("ct direction", negated, "original");
    }
  }

  /// `-m socket --transparent`: a connection of a socket of this namespace that may stand at
  /// addresses of others (IP_TRANSPARENT), handshake and TIME_WAIT included. Only in PREROUTING and
  /// INPUT; a packet without such a socket never matches, not even negated.
  record TransparentSocket() implements Match {
    @Override
    public List<String> arguments() {
      return List.of("-m", "socket", "--transparent");
    }

    @Override
    public String nft(NftPlace place, boolean negated) {
      return compare("socket transparent", negated, "1");
    }
  }

  private static String compare(String left, boolean negated, String right) {
    return left + (negated ? " != " : " ") + right;
  }

  private static String carries(String left, Mark mark, boolean negated) {
    return left
        + (mark.isWhole() ? "" : " & " + Mark.hex(mark.mask()))
        + (negated ? " != " : " == ")
        + Mark.hex(mark.value());
  }

  private static String interfaces(String name) {
    return '"' + (name.endsWith("+") ? name.substring(0, name.length() - 1) + "*" : name) + '"';
  }
}
