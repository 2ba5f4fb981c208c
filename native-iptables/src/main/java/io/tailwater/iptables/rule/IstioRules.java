package io.tailwater.iptables.rule;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;

/// The rules that istio-cni writes, rule for rule and in its order: in a pod, and in the node's
/// namespace for the kubelet's probes. For an agent that lives beside istio-cni: it does not write
/// them, but it has to know what is captured and how. Our own plans ([CaptureRules]) are ordered
/// better and let less escape.
///
/// Known by their public text: istio/istio, `cni/pkg/iptables` and `cni/pkg/nftables` (1.32).
public final class IstioRules {
  /// Of connections that the proxy itself has made to the pod.
  private static final Mark CONNECTION = new Mark(0x111, 0xfff);

  private static final Mark PROXY = Mark.AGENT;
  private static final String PREROUTING = "ISTIO_PRERT";
  private static final String OUTPUT = "ISTIO_OUTPUT";
  private static final String POSTROUTING = "ISTIO_POSTRT";
  private static final String PROBES = "istio-inpod-probes-";
  private static final int OUTBOUND = 15001;
  private static final int INBOUND = 15006;
  private static final int HBONE = 15008;
  private static final int DNS_PROXY = 15053;
  private static final int DNS = 53;
  private static final Match TCP = new Match.Protocol(IpProtocol.TCP);
  private static final Match UDP = new Match.Protocol(IpProtocol.UDP);
  private static final Match LO = new Match.OutInterface("lo");
  private static final Match NOT_PROXY = new Match.PacketMark(PROXY).not();

  /// One rule and where it stands.
  private record Line(Table table, String chain, Rule rule) {}

  private final List<Line> lines = new ArrayList<>();
  private final IpFamily family;

  private IstioRules(IpFamily family) {
    this.family = family;
  }

  /// The text that `iptables-restore` (or `ip6tables-restore`) is given in a pod.
  public static String restoreScript(IstioPlan plan, IpFamily family) {
    return family == IpFamily.V6 && !plan.ipv6() ? "" : inPod(plan, family).restore();
  }

  /// The text that `nft -f -` is given in a pod: one script for both families.
  public static String nftScript(IstioPlan plan) {
    return nft(plan.families().stream().map(family -> inPod(plan, family)).toList());
  }

  /// The text for `iptables-restore` in the node's namespace: what a socket there sends to a pod
  /// whose address is in the set gets the source that the pod's rules leave alone.
  public static String hostRestoreScript(IstioPlan plan, IpFamily family) {
    return family == IpFamily.V6 && !plan.ipv6()
        ? ""
        : onNode(plan, family, new Match.OwnerExists()).restore();
  }

  /// The same for `nft`, where only the sender's user can be told.
  ///
  /// @param kubelet the user that the kubelet runs as
  public static String hostNftScript(IstioPlan plan, int kubelet) {
    Match user = new Match.OwnerUser(kubelet);
    return nft(plan.families().stream().map(family -> onNode(plan, family, user)).toList());
  }

  private static IstioRules inPod(IstioPlan plan, IpFamily family) {
    IstioRules rules = new IstioRules(family);
    rules.mangle();
    rules.nat(plan);
    if (plan.dns()) {
      rules.raw();
    }
    return rules;
  }

  private static IstioRules onNode(IstioPlan plan, IpFamily family, Match sender) {
    IstioRules rules = new IstioRules(family);
    rules.add(
        Table.NAT,
        POSTROUTING,
        "the kubelet's probes get a source that no pod captures",
        new Target.SourceNat(plan.probe(family)),
        TCP,
        sender,
        new Match.InSet(PROBES + (family == IpFamily.V4 ? "v4" : "v6"), "dst"));
    return rules;
  }

  private void mangle() {
    add(
        Table.MANGLE,
        PREROUTING,
        "the proxy's own connection to the pod comes in by loopback and is known by its mark",
        new Target.SetConnectionMark(CONNECTION),
        new Match.PacketMark(PROXY));
    add(
        Table.MANGLE,
        OUTPUT,
        "the pod's answers on it are routed back to the proxy, whoever they are addressed to",
        new Target.RestoreConnectionMark(-1, -1),
        new Match.ConnectionMark(CONNECTION));
  }

  private void nat(IstioPlan plan) {
    Match notLocalhost = new Match.Destination(family.localhost()).not();
    Cidr probe = new Cidr(plan.probe(family), family == IpFamily.V4 ? 32 : 128);
    for (String name : plan.virtualInterfaces()) {
      Match in = new Match.InInterface(name);
      String why = "what comes from " + name + " is outbound";
      add(Table.NAT, PREROUTING, why, new Target.Redirect(OUTBOUND), in, TCP);
      add(Table.NAT, PREROUTING, why, new Target.Return(), in, TCP);
    }
    if (plan.inbound()) {
      String why = "the kubelet's probes reach the pod";
      add(Table.NAT, PREROUTING, why, new Target.Accept(), TCP, new Match.Source(probe));
    }
    String answered = "what goes to where probes come from is left alone";
    add(Table.NAT, OUTPUT, answered, new Target.Accept(), TCP, new Match.Destination(probe));
    if (plan.inbound()) {
      add(
          Table.NAT,
          PREROUTING,
          "every connection to the pod but tunnels goes to the proxy",
          new Target.Redirect(INBOUND),
          notLocalhost,
          TCP,
          new Match.DestinationPort(IpProtocol.TCP, HBONE).not(),
          NOT_PROXY);
    }
    if (plan.dns()) {
      Target dns = new Target.Redirect(DNS_PROXY);
      Match udpPort = new Match.DestinationPort(IpProtocol.UDP, DNS);
      Match tcpPort = new Match.DestinationPort(IpProtocol.TCP, DNS);
      String why = "DNS is answered by the proxy";
      add(Table.NAT, OUTPUT, why, dns, LO.not(), UDP, NOT_PROXY, udpPort);
      add(Table.NAT, OUTPUT, why, dns, notLocalhost, TCP, tcpPort, NOT_PROXY);
    }
    Match known = new Match.PacketMark(CONNECTION);
    String done = "connections that are known are left alone";
    add(Table.NAT, OUTPUT, done, new Target.Accept(), TCP, known);
    String self = "so is what the pod sends to its own address";
    add(Table.NAT, OUTPUT, self, new Target.Accept(), LO, notLocalhost);
    String rest = "every other connection goes to the proxy";
    add(Table.NAT, OUTPUT, rest, new Target.Redirect(OUTBOUND), TCP, notLocalhost, NOT_PROXY);
  }

  private void raw() {
    String why = "the proxy's queries are tracked apart, so that no port of the pod's collides";
    Match proxys = new Match.PacketMark(PROXY);
    Target zone = new Target.ConntrackZone(1);
    Match to = new Match.DestinationPort(IpProtocol.UDP, DNS);
    Match from = new Match.SourcePort(IpProtocol.UDP, DNS);
    add(Table.RAW, OUTPUT, why, zone, UDP, to, proxys);
    add(Table.RAW, PREROUTING, why, zone, UDP, from, NOT_PROXY);
  }

  private void add(Table table, String chain, String why, Target target, Match... matches) {
    lines.add(new Line(table, chain, Rule.of(why, target, matches)));
  }

  private String restore() {
    StringBuilder text = new StringBuilder();
    for (Table table : List.of(Table.MANGLE, Table.NAT, Table.RAW)) {
      List<Line> own = lines.stream().filter(line -> line.table == table).toList();
      if (!own.isEmpty()) {
        text.append("* ").append(table).append('\n');
        Set<String> chains = new LinkedHashSet<>();
        own.forEach(line -> chains.add(line.chain));
        chains.addAll(jumped(table));
        chains.forEach(chain -> text.append("-N ").append(chain).append('\n'));
        jumped(table).forEach(chain -> text.append(jump(chain)).append('\n'));
        own.forEach(line ->
            text.append("-A ")
                .append(line.chain)
                .append(' ')
                .append(line.rule.text())
                .append('\n'));
        text.append("COMMIT\n");
      }
    }
    return text.toString();
  }

  /// Our probes' chain is put first, because others masquerade there.
  private static String jump(String chain) {
    return chain.equals(POSTROUTING)
        ? "-I POSTROUTING 1 -j " + chain
        : "-A " + hook(chain) + " -j " + chain;
  }

  /// The chains of a table in the order in which jumps to them are written.
  private List<String> jumped(Table table) {
    if (lines.stream().anyMatch(line -> line.chain.equals(POSTROUTING))) {
      return List.of(POSTROUTING);
    }
    return table == Table.NAT ? List.of(OUTPUT, PREROUTING) : List.of(PREROUTING, OUTPUT);
  }

  private static String hook(String chain) {
    return switch (chain) {
      case PREROUTING -> "PREROUTING";
      case OUTPUT -> "OUTPUT";
      default -> "POSTROUTING";
    };
  }

  private static String nft(List<IstioRules> families) {
    StringBuilder text = new StringBuilder();
    IstioRules first = families.getFirst();
    for (Table table : List.of(Table.NAT, Table.MANGLE, Table.RAW)) {
      if (first.lines.stream().noneMatch(line -> line.table == table)) {
        continue;
      }
      String name = " inet istio-ambient-" + table;
      text.append("add table").append(name).append("\nflush table").append(name).append('\n');
      List<String> chains = new ArrayList<>(first.jumped(table));
      chains.sort(Comparator.reverseOrder()); // prerouting comes before output
      for (String chain : chains) {
        text.append("add chain").append(name).append(' ').append(hook(table, chain)).append('\n');
      }
      boolean node = chains.contains(POSTROUTING);
      if (!node) {
        chains.forEach(chain ->
            text.append("add chain").append(name).append(' ').append(regular(chain)).append('\n'));
        for (String chain : first.jumped(table)) {
          text.append("add rule").append(name).append(' ').append(lower(hook(chain)));
          text.append(" jump ").append(regular(chain)).append('\n');
        }
      }
      rules(text, families, table, name, node);
    }
    return text.toString();
  }

  /// A rule that says the same in both families stands there once.
  private static void rules(
      StringBuilder text, List<IstioRules> families, Table table, String name, boolean node) {
    for (int i = 0; i < families.getFirst().lines.size(); i++) {
      Set<String> both = new LinkedHashSet<>();
      for (IstioRules family : families) {
        Line line = family.lines.get(i);
        if (line.table == table) {
          NftPlace place = new NftPlace(table, family.family);
          StringBuilder rule = new StringBuilder();
          rule.append(node ? lower(hook(line.chain)) : regular(line.chain));
          line.rule.matches().forEach(match -> rule.append(' ').append(match.nft(place)));
          both.add(rule + " counter " + line.rule.target().nft(place));
        }
      }
      both.forEach(
          rule -> text.append("add rule").append(name).append(' ').append(rule).append('\n'));
    }
  }

  private static String hook(Table table, String chain) {
    String hook = lower(hook(chain));
    String type =
        table == Table.NAT
            ? "nat"
            : table == Table.MANGLE && chain.equals(OUTPUT) ? "route" : "filter";
    int priority =
        switch (table) {
          case NAT -> chain.equals(POSTROUTING) ? 100 : -100;
          case MANGLE -> -150;
          case RAW -> -300;
          case FILTER -> 0;
        };
    return hook + " { type " + type + " hook " + hook + " priority " + priority + " ; }";
  }

  private static String regular(String chain) {
    return "istio-" + lower(hook(chain));
  }

  private static String lower(String text) {
    return text.toLowerCase(Locale.ROOT);
  }
}
