package io.tailwater.iptables.apply;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.iptables.TwoNamespaces;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.Cidr;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.IpProtocol;
import io.tailwater.iptables.rule.Mark;
import io.tailwater.iptables.rule.Match;
import io.tailwater.iptables.rule.Match.ConnectionState.State;
import io.tailwater.iptables.rule.Match.NoneOf.Flag;
import io.tailwater.iptables.rule.NftPlace;
import io.tailwater.iptables.rule.Printed;
import io.tailwater.iptables.rule.Rule;
import io.tailwater.iptables.rule.Table;
import io.tailwater.iptables.rule.Target;
import io.tailwater.lab.NeedsRoot;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// Each kind of condition and effect, straight and negated, is accepted by the programs of all
/// backends.
@NeedsRoot
class RuleTypesInTheKernelTest {
  private static final Match TCP = new Match.Protocol(IpProtocol.TCP);
  private static final Match UDP = new Match.Protocol(IpProtocol.UDP);
  private static final Mark SOME = new Mark(0x200, 0x200);
  private static final Mark WHOLE = new Mark(0x92345678, -1);

  private TwoNamespaces net;

  @BeforeAll
  static void warm() {
    NetworkNamespace.warmUp();
  }

  @BeforeEach
  void build() {
    net = new TwoNamespaces();
  }

  @AfterEach
  void tearDown() {
    net.close();
  }

  @ParameterizedTest
  @EnumSource(IpFamily.class)
  void nftTakesEveryKindOfRule(IpFamily family) {
    StringBuilder script =
        new StringBuilder(
            """
            add table inet test
            add set inet test some { type %s_addr ; }
            add set inet test pairs { type %s_addr . inet_service ; }
            add set inet test triples { type %s_addr . inet_service . %s_addr ; }
            add chain inet test nat { type nat hook output priority -105 ; }
            add chain inet test raw { type filter hook output priority -300 ; }
            add chain inet test out { type route hook output priority -150 ; }
            add chain inet test in { type filter hook prerouting priority -150 ; }
            add chain inet test filter { type filter hook output priority 0 ; }
            add chain inet test natin { type nat hook prerouting priority -105 ; }
            add chain inet test src { type nat hook postrouting priority 100 ; }
            """
                .formatted(version(family), version(family), version(family), version(family)));
    for (Line line : lines(family)) {
      script
          .append("add rule inet test ")
          .append(line.nftChain)
          .append(' ')
          .append(line.rule.nft(new NftPlace(line.table, family)))
          .append('\n');
    }
    CommandRunner.Result result =
        new Processes().run(net.pod(), List.of("nft", "-f", "-"), script.toString());
    assertThat(result.error()).isEmpty();
    assertThat(
            net.inPod("nft", "list", "table", "inet", "test")
                .lines()
                .filter(RuleTypesInTheKernelTest::isRule))
        .hasSameSizeAs(lines(family));
  }

  @ParameterizedTest
  @EnumSource(
      value = RuleBackend.class,
      names = {"IPTABLES_NFT", "IPTABLES_LEGACY"})
  void iptablesTakesEveryKindOfRuleAndPrintsItLikeThat(RuleBackend backend) {
    String suffix = backend == RuleBackend.IPTABLES_NFT ? "-nft" : "-legacy";
    for (IpFamily family : IpFamily.values()) {
      String program = (family == IpFamily.V4 ? "iptables" : "ip6tables") + suffix;
      net.inPod("ipset", "create", "some" + version(family), "hash:ip", "family", inet(family));
      net.inPod(
          "ipset", "create", "pairs" + version(family), "hash:ip,port", "family", inet(family));
      net.inPod(
          "ipset",
          "create",
          "triples" + version(family),
          "hash:ip,port,ip",
          "family",
          inet(family));
      List<Line> lines = new ArrayList<>(lines(family));
      for (boolean bypass : List.of(true, false)) {
        lines.add(filter(new Target.Queue(7, bypass), TCP));
      }
      for (Line line : lines) {
        String text =
            line.rule
                .text()
                .replace("triples ", "triples" + version(family) + " ")
                .replace("some ", "some" + version(family) + " ")
                .replace("pairs ", "pairs" + version(family) + " ");
        List<String> command = new ArrayList<>(List.of(program, "-w", "-t", line.table.toString()));
        command.addAll(List.of("-A", line.chain));
        command.addAll(arguments(text));
        net.inPod(command.toArray(String[]::new));
        String saved = net.inPod(program + "-save", "-t", line.table.toString());
        assertThat(saved.lines().filter(l -> l.startsWith("-A " + line.chain)).toList().getLast())
            .satisfies(printed ->
                assertThat(Printed.same(printed.substring(4 + line.chain.length()), text))
                    .as(printed + " is " + text)
                    .isTrue());
      }
    }
  }

  /// As a shell would.
  private static List<String> arguments(String text) {
    String[] parts = text.split("\"", -1);
    List<String> arguments = new ArrayList<>();
    for (int i = 0; i < parts.length; i++) {
      arguments.addAll(i % 2 == 1 ? List.of(parts[i]) : List.of(parts[i].strip().split(" ")));
    }
    arguments.removeIf(String::isEmpty);
    return arguments;
  }

  private static boolean isRule(String printed) {
    return printed.startsWith("\t\t") && !printed.startsWith("\t\ttype ");
  }

  /// @param chain of iptables
  private record Line(Table table, String chain, String nftChain, Rule rule) {}

  private static List<Line> lines(IpFamily family) {
    boolean v4 = family == IpFamily.V4;
    InetAddress localhost = family.localhost().address();
    Cidr range = v4 ? Cidr.of("10.0.0.0/8") : Cidr.of("fd00::/8");
    IpProtocol icmp = v4 ? IpProtocol.ICMP : IpProtocol.ICMP6;
    Match type = v4 ? new Match.IcmpType(8) : new Match.Icmp6Type(128);
    List<Line> lines = new ArrayList<>();
    for (Match match :
        List.of(
            new Match.Source(range),
            new Match.Destination(range),
            new Match.OutInterface("lo"),
            new Match.OutInterface("eth+"),
            TCP,
            new Match.PacketMark(SOME),
            new Match.PacketMark(WHOLE),
            new Match.ConnectionMark(SOME),
            new Match.ConnectionMark(WHOLE),
            new Match.ConnectionState(State.NEW),
            new Match.ConnectionState(State.NEW, State.INVALID),
            new Match.DestinationLocal(),
            new Match.SourceLocal(),
            new Match.InSet("some", "dst"),
            new Match.InSet("some", "src"),
            new Match.OwnerUser(1337))) {
      lines.add(filter(match));
      lines.add(filter(match.not()));
    }
    lines.add(filter(TCP, new Match.InSet("pairs", "dst,dst")));
    lines.add(filter(TCP, new Match.InSet("triples", "dst,dst,src")));
    lines.add(filter(TCP, new Match.Syn()));
    lines.add(filter(TCP, new Match.Syn().not()));
    lines.add(filter(TCP, new Match.NoneOf(Flag.FIN, Flag.SYN, Flag.RST)));
    lines.add(filter(TCP, new Match.NoneOf(Flag.FIN, Flag.RST).not()));
    lines.add(filter(TCP, new Match.Payload(family)));
    lines.add(filter(TCP, new Match.SourcePort(IpProtocol.TCP, 53).not()));
    lines.add(filter(UDP, new Match.DestinationPort(IpProtocol.UDP, 53)));
    lines.add(filter(new Match.Protocol(icmp), type));
    lines.add(filter(new Match.Protocol(icmp), type.not()));
    lines.add(filter(new Match.Fragment(family)));
    lines.add(filter(new Match.Reply()));
    lines.add(filter(new Match.OwnerExists()));
    lines.add(filter(new Target.Log("udp", 5, 128), new Match.RateLimit(10, 20)));
    lines.add(filter(new Target.Log("mark:x", 5, 128), new Match.RateLimit(10, 5)));
    lines.add(filter(new Target.Accept()));
    lines.add(filter(new Target.Drop()));
    lines.add(filter(new Target.Reject(Target.Reject.With.TCP_RESET), TCP));
    lines.add(filter(Target.Reject.unreachable(family)));
    lines.add(filter(Target.Reject.prohibited(family)));
    lines.add(line(Table.MANGLE, "OUTPUT", "out", new Target.SetPacketMark(SOME)));
    lines.add(line(Table.MANGLE, "OUTPUT", "out", new Target.SetPacketMark(WHOLE)));
    lines.add(line(Table.MANGLE, "OUTPUT", "out", new Target.SetConnectionMark(SOME)));
    lines.add(line(Table.MANGLE, "OUTPUT", "out", new Target.SetConnectionMark(WHOLE)));
    lines.add(line(Table.MANGLE, "OUTPUT", "out", new Target.RestoreConnectionMark(-1, -1)));
    for (Match match : List.of(TCP, UDP)) {
      lines.add(
          line(
              Table.MANGLE,
              "PREROUTING",
              "in",
              new Target.Tproxy(localhost, 15001, SOME),
              match,
              new Match.InInterface("veth+")));
    }
    lines.add(line(Table.MANGLE, "OUTPUT", "out", new Target.HopLimit(family, 64), TCP));
    lines.add(line(Table.RAW, "OUTPUT", "raw", new Target.ConntrackZone(1)));
    lines.add(line(Table.RAW, "OUTPUT", "raw", new Target.OriginalZone(133)));
    lines.add(line(Table.RAW, "OUTPUT", "raw", new Target.Untracked(), UDP));
    lines.add(filter(new Match.Original()));
    lines.add(
        line(
            Table.MANGLE,
            "PREROUTING",
            "in",
            new Target.Return(),
            TCP,
            new Match.TransparentSocket()));
    lines.add(line(Table.NAT, "PREROUTING", "natin", new Target.KeepDestination()));
    lines.add(line(Table.NAT, "OUTPUT", "nat", new Target.Redirect(15001), TCP));
    lines.add(line(Table.NAT, "POSTROUTING", "src", new Target.SourceNat(range.address()), TCP));
    return lines;
  }

  private static Line filter(Match... matches) {
    return filter(new Target.Return(), matches);
  }

  private static Line filter(Target target, Match... matches) {
    return line(Table.FILTER, "OUTPUT", "filter", target, matches);
  }

  private static Line line(
      Table table, String chain, String nftChain, Target target, Match... matches) {
    return new Line(table, chain, nftChain, Rule.of("test", target, matches));
  }

  private static String version(IpFamily family) {
    return family == IpFamily.V4 ? "ipv4" : "ipv6";
  }

  private static String inet(IpFamily family) {
    return family == IpFamily.V4 ? "inet" : "inet6";
  }
}
