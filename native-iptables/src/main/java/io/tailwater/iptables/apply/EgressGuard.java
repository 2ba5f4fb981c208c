package io.tailwater.iptables.apply;

import io.tailwater.iptables.apply.CommandRunner.CommandException;
import io.tailwater.iptables.apply.CommandRunner.Result;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netlink.Interfaces;
import io.tailwater.iptables.netlink.Interfaces.Interface;
import io.tailwater.iptables.netlink.PacketLog;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.Logged;
import io.tailwater.iptables.rule.UdpPolicy;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/// The guard at a namespace's interfaces. Packet sockets (CAP_NET_RAW) hand frames to an interface
/// past iptables' OUTPUT; an nf_tables chain at the interface's egress is the last place where they
/// can be stopped.
///
/// It tells them by what cannot be forged: a packet of the kernel's own IP stack carries the route
/// that it was given, and has been through the capture rules; a frame of a packet socket carries
/// none. `meta rtclassid` fails without a route, whatever the class is. Of the frames without a
/// route ARP passes, and UDP and ICMP as far as the plan lets them out; everything else is logged
/// and dropped, because what is behind a tag or an unknown EtherType may be TCP again.
///
/// It also holds the rings of AF_XDP, which no chain sees, see [XdpRings].
///
/// On a platform thread outside of any namespace, one at a time per namespace.
public final class EgressGuard {
  static final String TABLE = "tailwater-guard";

  /// NFPROTO_NETDEV of `linux/netfilter.h`.
  private static final int NETDEV = 5;

  /// What it takes.
  static final String NEEDED =
      "Needed are Linux 5.16 with CONFIG_NETFILTER_EGRESS and CONFIG_IP_ROUTE_CLASSID, and nft"
          + " 1.0.1";

  /// In the base chain itself, because every packet comes by.
  private static final String ROUTED =
      "meta rtclassid & 0 == 0 accept comment \"the kernel's own, it met all rules\"";

  /// An interface may go between our look and our transaction; then we look again.
  private static final int ATTEMPTS = 3;

  /// Names go into a script that a privileged program reads.
  private static final Pattern NAME = Pattern.compile("[A-Za-z0-9_.@-]{1,15}");

  private static final int DNS = 53;
  private static final int QUIC = 443;

  private final CommandRunner runner;

  public EgressGuard(CommandRunner runner) {
    this.runner = runner;
  }

  /// The guard that stands in a namespace.
  ///
  /// @param interfaces those it was made for
  /// @param plan it was made by
  /// @param digest of what the kernel holds: equal as long as nobody has changed it
  public record Standing(List<Interface> interfaces, CapturePlan plan, String digest) {}

  /// Puts the guard at every interface that there is now, in one transaction: there is no moment
  /// without one.
  ///
  /// @throws RulesException where nft or the kernel cannot do it; what was there stays
  public Standing install(NetworkNamespace namespace, CapturePlan plan) {
    for (int attempt = 1; ; attempt++) {
      List<Interface> interfaces = Interfaces.of(namespace);
      Result result = nft(namespace, List.of("-f", "-"), script(interfaces, plan));
      if (result.succeeded()) {
        return new Standing(interfaces, plan, digest(namespace));
      }
      if (attempt == ATTEMPTS || interfaces.equals(Interfaces.of(namespace))) {
        throw new RulesException(
            namespace.path()
                + ": frames of packet sockets cannot be stopped here: nft: "
                + result.complaint()
                + ". "
                + NEEDED);
      }
    }
  }

  /// Whether the guard stands unchanged, at every interface that there is now.
  public boolean stands(NetworkNamespace namespace, CapturePlan plan, Standing before) {
    return before.plan().equals(plan)
        && before.interfaces().equals(Interfaces.of(namespace))
        && digest(namespace).equals(before.digest());
  }

  /// How the guard differs that stands there, whoever put it there; empty when it does not.
  ///
  /// @throws RulesException where nft or the kernel cannot do it
  public List<String> differences(NetworkNamespace namespace, CapturePlan plan) {
    String wanted;
    try (NetworkNamespace passing = NetworkNamespace.fresh()) {
      install(passing, plan);
      wanted = chain(listing(passing), "judge");
    } catch (SyscallException e) {
      throw new RulesException("the guard cannot be compared: " + e.getMessage());
    }
    String there = listing(namespace);
    if (there.isEmpty()) {
      return List.of("the guard at the interfaces");
    }
    List<String> differences = new ArrayList<>();
    if (!chain(there, "judge").equals(wanted)) {
      differences.add("the guard at the interfaces: what it lets pass");
    }
    String egress = chain(there, "egress");
    for (Interface one : Interfaces.of(namespace)) {
      if (!Pattern.compile("[ {\"]" + Pattern.quote(one.name()) + "[\",} ]")
          .matcher(egress)
          .find()) {
        differences.add("the guard at " + one.name());
      }
    }
    return differences;
  }

  private static String chain(String listing, String name) {
    int start = listing.indexOf("chain " + name + " {");
    int end = listing.indexOf("\n\t}", start);
    return start < 0 || end < 0 ? "" : listing.substring(start, end);
  }

  /// The script for a pod with the usual interfaces, for people.
  public static String show(CapturePlan plan) {
    return "# frames that come past the rules: nft -f -\n"
        + script(List.of(new Interface(1, "lo", false), new Interface(2, "eth0", false)), plan);
  }

  /// Takes the guard away, wherever it came from.
  ///
  /// @throws RulesException when it cannot be taken away
  public void remove(NetworkNamespace namespace) {
    Result result = nft(namespace, List.of("-f", "-"), without());
    if (!result.succeeded()) {
      throw new RulesException(
          namespace.path() + ": the guard cannot be removed: nft: " + result.complaint());
    }
  }

  /// `nft` makes the table first, so that deleting it cannot fail.
  private static String without() {
    return "table netdev %1$s\ndelete table netdev %1$s\n".formatted(TABLE);
  }

  /// The script that nft reads. Pure.
  static String script(List<Interface> interfaces, CapturePlan plan) {
    String devices =
        interfaces.stream()
            .map(Interface::name)
            .map(EgressGuard::quoted)
            .collect(Collectors.joining(", "));
    StringBuilder text = new StringBuilder(without());
    text.append("table netdev ").append(TABLE).append(" {\n  chain judge {\n");
    rules(plan).forEach(rule -> text.append("    ").append(rule).append('\n'));
    text.append("  }\n");
    if (!interfaces.isEmpty()) {
      text.append("  chain egress {\n    type filter hook egress devices = { ")
          .append(devices)
          .append(" } priority filter; policy accept;\n    ")
          .append(ROUTED)
          .append("\n    jump judge\n  }\n");
    }
    return text.append("}\n").toString();
  }

  private static String quoted(String name) {
    if (!NAME.matcher(name).matches()) {
      throw new RulesException(
          "the interface '"
              + name.replaceAll("[^ -~]", "?")
              + "' cannot be guarded: its name has characters that nft might read as its own;"
              + " rename it");
    }
    return '"' + name + '"';
  }

  /// Offsets count from the Ethernet header: EtherType at bit 96; IPv4 at 112 with its protocol at
  /// 184; IPv6 with its next header at 160. Of IPv4 without options the UDP port is at 288, of IPv6
  /// without extension headers at 448. What is written otherwise does not match, and is dropped.
  private static List<String> rules(CapturePlan plan) {
    List<String> rules = new ArrayList<>();
    rules.add("@ll,96,16 0x0806 accept comment \"ARP\"");
    if (plan.udp() != UdpPolicy.ALL) {
      rules.add("@ll,96,16 0x0800 @ll,184,8 1 accept comment \"ICMP\"");
      rules.add("@ll,96,16 0x86dd @ll,160,8 58 accept comment \"ICMPv6\"");
      rules.add(
          "@ll,96,16 0x0800 @ll,112,8 0x45 @ll,163,13 0 @ll,184,8 17"
              + ports(plan, 288)
              + " accept comment \"UDP\"");
      rules.add(
          "@ll,96,16 0x86dd @ll,160,8 17" + ports(plan, 448) + " accept comment \"UDP over IPv6\"");
    }
    rules.add(
        "limit rate 50/second burst 100 packets log prefix \"%s\" group %d snaplen 256"
            .formatted(Logged.PACKET_SOCKET.prefix(), PacketLog.GROUP));
    rules.add("drop");
    return rules;
  }

  private static String ports(CapturePlan plan, int bit) {
    String refused = "";
    if (plan.dnsPort().isPresent()) {
      refused += " @ll," + bit + ",16 != " + DNS;
    }
    if (plan.udp() == UdpPolicy.QUIC) {
      refused += " @ll," + bit + ",16 != " + QUIC;
    }
    return refused;
  }

  private static String digest(NetworkNamespace namespace) {
    return TableDump.digest(namespace, NETDEV, TABLE);
  }

  private String listing(NetworkNamespace namespace) {
    Result result = nft(namespace, List.of("-s", "list", "table", "netdev", TABLE), "");
    return result.succeeded() ? result.output() : "";
  }

  private Result nft(NetworkNamespace namespace, List<String> arguments, String input) {
    List<String> line = new ArrayList<>(List.of("nft"));
    line.addAll(arguments);
    try {
      return runner.run(namespace, line, input);
    } catch (CommandException e) {
      throw new RulesException(
          namespace.path() + ": frames of packet sockets cannot be stopped: " + e.getMessage());
    }
  }
}
