package io.tailwater.iptables.apply;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.tailwater.iptables.TestSockets;
import io.tailwater.iptables.TwoNamespaces;
import io.tailwater.iptables.apply.InstallReport.State;
import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.Syscalls;
import io.tailwater.iptables.netns.NetnsException;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.Drift;
import io.tailwater.iptables.rule.EarlierConnections;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.Ipv6;
import io.tailwater.iptables.rule.UdpPolicy;
import io.tailwater.lab.NeedsRoot;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/// On the real kernel, with both variants of iptables.
@NeedsRoot
class TrafficRulesTest {
  private static final CapturePlan PLAN = CapturePlan.egress().withUdp(UdpPolicy.QUIC);
  private static final CapturePlan REFUSING = PLAN.withIpv6(Ipv6.REFUSE);
  private static final List<String> FAMILIES = List.of("iptables", "ip6tables");

  private final CommandRunner processes = new Processes();
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
  @EnumSource(IptablesVariant.class)
  void installedTwiceIsOnce(IptablesVariant variant) {
    TrafficRules rules = rules(variant);

    InstallReport first = rules.install(net.pod(), PLAN);
    String once = saved(variant);
    InstallReport second = rules.install(net.pod(), PLAN);

    assertThat(first.families().values())
        .extracting(InstallReport.Outcome::state)
        .containsOnly(State.INSTALLED);
    assertThat(second.families().values())
        .extracting(InstallReport.Outcome::state)
        .containsOnly(State.UNCHANGED);
    assertThat(saved(variant)).isEqualTo(once).contains("--to-ports 15001");
    assertThat(rules.verify(net.pod(), PLAN)).isEqualTo(new Drift.None());
  }

  @ParameterizedTest
  @EnumSource(IptablesVariant.class)
  void planCanBeExchangedForAnotherAndBack(IptablesVariant variant) {
    TrafficRules rules = rules(variant);
    rules.install(net.pod(), PLAN);
    String once = saved(variant);

    InstallReport other = rules.install(net.pod(), REFUSING);

    assertThat(other.outcome(IpFamily.V4).state()).isEqualTo(State.UNCHANGED);
    assertThat(other.outcome(IpFamily.V6).state()).isEqualTo(State.REPAIRED);
    assertThat(rules.verify(net.pod(), REFUSING)).isEqualTo(new Drift.None());
    assertThat(rules.verify(net.pod(), PLAN)).isInstanceOf(Drift.Changed.class);
    rules.install(
        net.pod(),
        PLAN.withUdp(UdpPolicy.ALL).withDns(15053).withInbound(CapturePlan.Inbound.STANDARD));
    rules.install(net.pod(), PLAN.withUdp(UdpPolicy.OFF).withIpv6(Ipv6.UNTOUCHED));
    assertThat(saved(variant)).doesNotContain("-p udp").doesNotContain("TAILWATER_PRERT");
    rules.install(net.pod(), PLAN);
    assertThat(normal(saved(variant))).isEqualTo(normal(once));
  }

  @ParameterizedTest
  @EnumSource(IptablesVariant.class)
  void driftIsSeenAndRepaired(IptablesVariant variant) {
    TrafficRules rules = rules(variant);
    assertThat(rules.verify(net.pod(), PLAN)).isEqualTo(new Drift.NotInstalled());
    rules.install(net.pod(), PLAN);
    String whole = saved(variant);

    net.inPod("iptables-" + suffix(variant), "-t", "nat", "-F", "TAILWATER_OUTPUT");
    assertThat(rules.verify(net.pod(), PLAN)).isInstanceOf(Drift.Missing.class);
    rules.install(net.pod(), PLAN);
    assertThat(saved(variant)).isEqualTo(whole);

    net.inPod(
        "ip6tables-" + suffix(variant), "-t", "nat", "-D", "OUTPUT", "-j", "TAILWATER_OUTPUT");
    assertThat(rules.verify(net.pod(), PLAN))
        .isEqualTo(new Drift.Missing(List.of("IPv6 nat OUTPUT: -j TAILWATER_OUTPUT")));
    rules.install(net.pod(), PLAN);
    assertThat(saved(variant)).isEqualTo(whole);

    net.inPod(
        "iptables-" + suffix(variant),
        "-t",
        "nat",
        "-I",
        "OUTPUT",
        "1",
        "-p",
        "tcp",
        "-j",
        "ACCEPT");
    assertThat(rules.verify(net.pod(), PLAN)).isInstanceOf(Drift.Changed.class);
    InstallReport repaired = rules.install(net.pod(), PLAN);
    assertThat(repaired.outcome(IpFamily.V4).state()).isEqualTo(State.REPAIRED);
    assertThat(repaired.outcome(IpFamily.V6).state()).isEqualTo(State.UNCHANGED);
    assertThat(rules.verify(net.pod(), PLAN)).isEqualTo(new Drift.None());
  }

  @ParameterizedTest
  @EnumSource(IptablesVariant.class)
  void removalLeavesExactlyWhatWasThere(IptablesVariant variant) {
    for (String family : FAMILIES) {
      net.inPod(
          family + "-" + suffix(variant),
          "-t",
          "nat",
          "-A",
          "OUTPUT",
          "-p",
          "tcp",
          "--dport",
          "7",
          "-j",
          "ACCEPT");
      net.inPod(
          family + "-" + suffix(variant),
          "-t",
          "filter",
          "-A",
          "INPUT",
          "-m",
          "comment",
          "--comment",
          "some \"one\" else",
          "-j",
          "ACCEPT");
    }
    String before = saved(variant);
    TrafficRules rules = rules(variant);

    rules.install(net.pod(), PLAN.withInbound(CapturePlan.Inbound.STANDARD).withDns(15053));
    InstallReport removed = rules.remove(net.pod());

    assertThat(saved(variant)).isEqualTo(before);
    assertThat(removed.families().values())
        .extracting(InstallReport.Outcome::state)
        .containsOnly(State.REMOVED);
    assertThat(rules.remove(net.pod()).families().values())
        .extracting(InstallReport.Outcome::state)
        .containsOnly(State.UNCHANGED);
    assertThat(rules.verify(net.pod(), PLAN)).isEqualTo(new Drift.NotInstalled());
  }

  @Test
  void removalFromAnOtherwiseEmptyNamespaceLeavesNoChainAtAll() {
    TrafficRules rules = rules(IptablesVariant.NFT);

    rules.install(net.pod(), REFUSING.withInbound(CapturePlan.Inbound.STANDARD));
    rules.remove(net.pod());

    assertThat(net.inPod("nft", "list", "ruleset")).doesNotContain("chain");
  }

  @ParameterizedTest
  @CsvSource({"NFT, V4", "NFT, V6", "LEGACY, V4", "LEGACY, V6"})
  void connectionReachesTheCapturePortAndKeepsItsDestination(
      IptablesVariant variant, IpFamily family) {
    rules(variant).install(net.pod(), PLAN);
    InetSocketAddress dialled = at(server(family), 8443);
    int listener =
        net.pod()
            .call(() -> TestSockets.listen(at(family == IpFamily.V4 ? "0.0.0.0" : "::", 15001)));
    int client =
        net.pod().call(() -> TestSockets.socket(dialled.getAddress(), Syscalls.SOCK_STREAM));

    assertThat(TestSockets.connect(client, dialled)).isZero();
    int accepted = TestSockets.accept(listener);

    assertThat(accepted).isPositive();
    assertThat(TestSockets.originalDestination(accepted, dialled.getAddress())).isEqualTo(dialled);
    close(client, accepted, listener);
  }

  @ParameterizedTest
  @CsvSource({"NFT, V4", "NFT, V6", "LEGACY, V4", "LEGACY, V6"})
  void agentsOwnSocketGoesStraight(IptablesVariant variant, IpFamily family) {
    rules(variant)
        .install(net.pod(), REFUSING.withIpv6(family == IpFamily.V6 ? Ipv6.REFUSE : Ipv6.CAPTURE));
    InetSocketAddress dialled = at(server(family), 8443);
    int listener = net.server().call(() -> TestSockets.listen(dialled));
    int marked =
        net.pod().call(() -> TestSockets.socket(dialled.getAddress(), Syscalls.SOCK_STREAM));
    Syscalls.setsockopt(marked, Syscalls.SOL_SOCKET, Syscalls.SO_MARK, 1337);

    assertThat(TestSockets.connect(marked, dialled)).isZero();
    int accepted = TestSockets.accept(listener);

    assertThat(accepted).isPositive();
    close(marked, accepted, listener);
  }

  @ParameterizedTest
  @CsvSource({"NFT, V4", "NFT, V6", "LEGACY, V4", "LEGACY, V6"})
  void loopbackAndThePodsOwnAddressAreLeftAlone(IptablesVariant variant, IpFamily family) {
    rules(variant).install(net.pod(), PLAN.withUdp(UdpPolicy.ALL));
    boolean v4 = family == IpFamily.V4;
    int listener = net.pod().call(() -> TestSockets.listen(at(v4 ? "0.0.0.0" : "::", 8080)));

    for (String address :
        v4
            ? List.of("127.0.0.1", "127.0.0.2", TwoNamespaces.POD_V4)
            : List.of("::1", TwoNamespaces.POD_V6)) {
      InetSocketAddress dialled = at(address, 8080);
      int client =
          net.pod().call(() -> TestSockets.socket(dialled.getAddress(), Syscalls.SOCK_STREAM));
      assertThat(TestSockets.connect(client, dialled)).as(address).isZero();
      close(client, TestSockets.accept(listener));
    }
    close(listener);
  }

  @ParameterizedTest
  @CsvSource({"NFT, V4", "NFT, V6", "LEGACY, V4", "LEGACY, V6"})
  void quicIsRefusedAtOnceAndOtherUdpPasses(IptablesVariant variant, IpFamily family) {
    rules(variant).install(net.pod(), PLAN);

    assertThat(udpError(server(family), 443)).isEqualTo(Errno.ECONNREFUSED);
    assertThat(received(server(family), 443, 1337)).as("the agent's own").isTrue();
    assertThat(received(server(family), 4443, 0)).isTrue();
  }

  @ParameterizedTest
  @EnumSource(IptablesVariant.class)
  void allUdpButDnsIsRefused(IptablesVariant variant) {
    rules(variant).install(net.pod(), PLAN.withUdp(UdpPolicy.ALL));

    for (IpFamily family : IpFamily.values()) {
      assertThat(received(server(family), 53, 0)).isTrue();
      assertThat(udpError(server(family), 4443)).isEqualTo(Errno.ECONNREFUSED);
    }
  }

  @ParameterizedTest
  @EnumSource(IptablesVariant.class)
  void ipv6IsRefusedButAnsweredInboundAndNeighbourDiscoveryWork(IptablesVariant variant) {
    rules(variant).install(net.pod(), REFUSING);
    InetSocketAddress outside = at(TwoNamespaces.SERVER_V6, 8443);
    int listener = net.server().call(() -> TestSockets.listen(outside));
    int client =
        net.pod().call(() -> TestSockets.socket(outside.getAddress(), Syscalls.SOCK_STREAM));

    assertThat(TestSockets.connect(client, outside)).isEqualTo(-Errno.ECONNREFUSED);
    assertThat(udpError(TwoNamespaces.SERVER_V6, 4443)).isEqualTo(Errno.ECONNREFUSED);
    assertThatThrownBy(() -> net.inPod("ping", "-6", "-c1", "-W1", TwoNamespaces.SERVER_V6))
        .hasMessageContaining("ping");

    InetSocketAddress pod = at(TwoNamespaces.POD_V6, 8080);
    int podListener = net.pod().call(() -> TestSockets.listen(pod));
    int inbound =
        net.server().call(() -> TestSockets.socket(pod.getAddress(), Syscalls.SOCK_STREAM));
    assertThat(TestSockets.connect(inbound, pod)).isZero();
    close(client, listener, podListener, inbound);
  }

  @Test
  void namespaceWithoutIpv6IsCapturedWithIpv4AndSaysSo() {
    TrafficRules rules =
        new TrafficRules(tools(IptablesVariant.NFT), processes, namespace -> false);

    InstallReport report = rules.install(net.pod(), PLAN);

    assertThat(report.outcome(IpFamily.V4).state()).isEqualTo(State.INSTALLED);
    assertThat(report.outcome(IpFamily.V6))
        .isEqualTo(new InstallReport.Outcome(State.SKIPPED, "this namespace has no IPv6"));
    assertThat(report)
        .hasToString(
            net.pod().path()
                + " (iptables-nft): IPv4 installed, IPv6 skipped: this namespace has no IPv6");
    assertThat(rules.verify(net.pod(), PLAN)).isEqualTo(new Drift.None());
    assertThat(rules.remove(net.pod()).outcome(IpFamily.V6).state()).isEqualTo(State.SKIPPED);
  }

  @ParameterizedTest
  @EnumSource(IptablesVariant.class)
  void failureOfIpv6TakesIpv4BackAndNamesTheTable(IptablesVariant variant) {
    String before = normal(saved(variant));
    TrafficRules broken = new TrafficRules(tools(variant), withoutNatForV6());

    assertThatThrownBy(() -> broken.install(net.pod(), PLAN))
        .isInstanceOfSatisfying(
            RulesException.class, e -> assertThat(e.family()).contains(IpFamily.V6))
        .hasMessageContaining(net.pod().path() + ", IPv6, table nat")
        .hasMessageContaining("failed at '-A TAILWATER_OUTPUT -p tcp")
        .hasMessageContaining("have IPv6 refused instead")
        .hasMessageContaining("Nothing was left behind");

    assertThat(normal(saved(variant))).isEqualTo(before);
  }

  @Test
  void failedRepairLeavesWhatWasInForce() {
    rules(IptablesVariant.NFT).install(net.pod(), PLAN);
    net.inPod("ip6tables-nft", "-t", "nat", "-D", "OUTPUT", "-j", "TAILWATER_OUTPUT");
    String before = saved(IptablesVariant.NFT);

    assertThatThrownBy(() ->
            new TrafficRules(tools(IptablesVariant.NFT), withoutNatForV6())
                .install(net.pod(), PLAN))
        .hasMessageContaining("still in force");

    assertThat(saved(IptablesVariant.NFT)).isEqualTo(before);
  }

  @Test
  void jumpThatVanishesBetweenLookAndTransactionIsNoFailure() {
    rules(IptablesVariant.NFT).install(net.pod(), PLAN);
    net.inPod("iptables-nft", "-t", "nat", "-F", "TAILWATER_OUTPUT");
    boolean[] meddled = {false};
    CommandRunner meddler =
        (command, input, environment) -> {
          if (command.contains("iptables-nft-restore") && !meddled[0]) {
            meddled[0] = true;
            net.inPod("iptables-nft", "-t", "nat", "-D", "OUTPUT", "-j", "TAILWATER_OUTPUT");
          }
          return processes.run(command, input, environment);
        };

    new TrafficRules(tools(IptablesVariant.NFT), meddler).install(net.pod(), PLAN);

    assertThat(meddled[0]).isTrue();
    assertThat(rules(IptablesVariant.NFT).verify(net.pod(), PLAN)).isEqualTo(new Drift.None());
  }

  @ParameterizedTest
  @CsvSource({"NFT, V4", "NFT, V6", "LEGACY, V4", "LEGACY, V6"})
  void connectionsFromBeforeAreSparedOrCutAsPlanned(IptablesVariant variant, IpFamily family) {
    InetSocketAddress dialled = at(server(family), 8443);
    int listener = net.server().call(() -> TestSockets.listen(dialled));
    int capture =
        net.pod()
            .call(() -> TestSockets.listen(at(family == IpFamily.V4 ? "0.0.0.0" : "::", 15001)));
    ByteBuffer one = ByteBuffer.allocateDirect(1);
    int spared = connected(dialled);
    int cut = connected(dialled);
    int accepted = TestSockets.accept(listener);

    rules(variant).install(net.pod(), PLAN);
    assertThat(TestSockets.write(spared, one)).isEqualTo(1);
    assertThat(TestSockets.read(accepted, one)).isEqualTo(1);
    assertThat(TestSockets.write(accepted, one)).isEqualTo(1);
    assertThat(TestSockets.read(spared, one)).isEqualTo(1);

    rules(variant).install(net.pod(), PLAN.withEarlier(EarlierConnections.CUT));
    assertThat(TestSockets.write(cut, one)).isEqualTo(1);
    assertThat(TestSockets.read(cut, one)).isEqualTo(-Errno.ECONNRESET);
    assertThat(TestSockets.write(spared, one)).isEqualTo(1);
    assertThat(TestSockets.read(spared, one))
        .as("known to conntrack by now, but not redirected")
        .isEqualTo(-Errno.ECONNRESET);
    close(spared, cut, accepted, capture, listener);
  }

  @Test
  void missingNamespaceIsSaid() {
    assertThatThrownBy(
            () -> rules(IptablesVariant.NFT).install(Path.of("/run/netns/tw-gone"), PLAN))
        .isInstanceOf(NetnsException.class)
        .hasMessageContaining("/run/netns/tw-gone");
  }

  private TrafficRules rules(IptablesVariant variant) {
    return new TrafficRules(tools(variant), processes);
  }

  private IptablesTools tools(IptablesVariant variant) {
    return IptablesTools.detect(Optional.of(variant), processes);
  }

  /// A machine whose IPv6 nat does not know the target: the real program complains, about a real
  /// line.
  private CommandRunner withoutNatForV6() {
    return (command, input, environment) ->
        processes.run(
            command,
            command.stream().anyMatch(word -> word.startsWith("ip6tables"))
                ? input.replace("-j REDIRECT", "-j REDIRECTED")
                : input,
            environment);
  }

  private String saved(IptablesVariant variant) {
    return FAMILIES.stream()
        .map(family -> net.inPod(family + "-" + suffix(variant) + "-save"))
        .flatMap(String::lines)
        .filter(line -> !line.startsWith("#"))
        .map(line -> line.replaceAll("\\[\\d+:\\d+]", "[counters]"))
        .collect(Collectors.joining("\n"));
  }

  /// The rules only: tables that were looked at stay listed with their empty built-in chains, and
  /// in another order.
  private static String normal(String saved) {
    return saved
        .lines()
        .filter(line -> line.startsWith("-A") || line.startsWith(":TAILWATER"))
        .sorted()
        .collect(Collectors.joining("\n"));
  }

  /// What a connected UDP socket in the pod learns after it has sent one byte.
  private int udpError(String address, int port) {
    int client = datagram(net.pod(), address, 0);
    TestSockets.connect(client, at(address, port));
    ByteBuffer one = ByteBuffer.allocateDirect(1);
    long sent = TestSockets.write(client, one);
    long learned = sent == -Errno.ECONNREFUSED ? sent : TestSockets.read(client, one);
    close(client);
    return (int) -learned;
  }

  /// Whether one byte over UDP from the pod arrives outside.
  private boolean received(String address, int port, int mark) {
    int server = datagram(net.server(), address, 0);
    TestSockets.bind(server, at(address, port));
    int client = datagram(net.pod(), address, mark);
    TestSockets.connect(client, at(address, port));
    ByteBuffer one = ByteBuffer.allocateDirect(1);
    TestSockets.write(client, one);
    long arrived = TestSockets.read(server, one);
    close(client, server);
    return arrived == 1;
  }

  private int connected(InetSocketAddress to) {
    int client = net.pod().call(() -> TestSockets.socket(to.getAddress(), Syscalls.SOCK_STREAM));
    assertThat(TestSockets.connect(client, to)).isZero();
    return client;
  }

  private static int datagram(NetworkNamespace where, String address, int mark) {
    int fd =
        where.call(() -> TestSockets.socket(InetAddress.ofLiteral(address), Syscalls.SOCK_DGRAM));
    Syscalls.setsockopt(fd, Syscalls.SOL_SOCKET, Syscalls.SO_MARK, mark);
    return fd;
  }

  private static String suffix(IptablesVariant variant) {
    return variant == IptablesVariant.NFT ? "nft" : "legacy";
  }

  private static String server(IpFamily family) {
    return family == IpFamily.V4 ? TwoNamespaces.SERVER_V4 : TwoNamespaces.SERVER_V6;
  }

  private static InetSocketAddress at(String address, int port) {
    return new InetSocketAddress(InetAddress.ofLiteral(address), port);
  }

  private static void close(int... descriptors) {
    for (int fd : descriptors) {
      Syscalls.close(fd);
    }
  }
}
