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
import io.tailwater.iptables.rule.Mark;
import io.tailwater.iptables.rule.UdpPolicy;
import io.tailwater.lab.NeedsRoot;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/// On the real kernel: the same assertions for all backends.
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
  @EnumSource(RuleBackend.class)
  void installedTwiceIsOnce(RuleBackend backend) {
    TrafficRules rules = rules(backend);

    InstallReport first = rules.install(net.pod(), PLAN);
    String once = saved(backend);
    InstallReport second = rules.install(net.pod(), PLAN);

    assertThat(first.families().values())
        .extracting(InstallReport.Outcome::state)
        .containsOnly(State.INSTALLED);
    assertThat(second.families().values())
        .extracting(InstallReport.Outcome::state)
        .containsOnly(State.UNCHANGED);
    assertThat(saved(backend))
        .isEqualTo(once)
        .contains(isNative(backend) ? ":15001" : "--to-ports 15001");
    assertThat(rules.verify(net.pod(), PLAN)).isEqualTo(new Drift.None());
  }

  @ParameterizedTest
  @EnumSource(RuleBackend.class)
  void planCanBeExchangedForAnotherAndBack(RuleBackend backend) {
    TrafficRules rules = rules(backend);
    rules.install(net.pod(), PLAN);
    String once = saved(backend);

    InstallReport other = rules.install(net.pod(), REFUSING);

    assertThat(other.outcome(IpFamily.V4).state()).isEqualTo(State.UNCHANGED);
    assertThat(other.outcome(IpFamily.V6).state()).isEqualTo(State.REPAIRED);
    assertThat(rules.verify(net.pod(), REFUSING)).isEqualTo(new Drift.None());
    assertThat(rules.verify(net.pod(), PLAN)).isInstanceOf(Drift.Changed.class);
    rules.install(
        net.pod(),
        PLAN.withUdp(UdpPolicy.ALL).withDns(15053).withInbound(CapturePlan.Inbound.STANDARD));
    rules.install(net.pod(), PLAN.withUdp(UdpPolicy.OFF).withIpv6(Ipv6.UNTOUCHED));
    assertThat(saved(backend))
        .doesNotContain("-p udp")
        .doesNotContain("dport 443")
        .doesNotContain("TAILWATER_PRERT")
        .doesNotContain("nat-prert");
    rules.install(net.pod(), PLAN);
    assertThat(normal(saved(backend))).isEqualTo(normal(once));
  }

  @ParameterizedTest
  @EnumSource(RuleBackend.class)
  void driftIsSeenAndRepaired(RuleBackend backend) {
    TrafficRules rules = rules(backend);
    assertThat(rules.verify(net.pod(), PLAN)).isEqualTo(new Drift.NotInstalled());
    rules.install(net.pod(), PLAN);
    String whole = saved(backend);

    flushNat(backend, IpFamily.V4);
    assertThat(rules.verify(net.pod(), PLAN)).isInstanceOf(Drift.Missing.class);
    rules.install(net.pod(), PLAN);
    assertThat(saved(backend)).isEqualTo(whole);

    unhookNat(backend, IpFamily.V6);
    assertThat(rules.verify(net.pod(), PLAN))
        .isEqualTo(
            new Drift.Missing(
                List.of(
                    isNative(backend)
                        ? "IPv6 nat-output-ipv6: the chain"
                        : "IPv6 nat OUTPUT: -j TAILWATER_OUTPUT")));
    rules.install(net.pod(), PLAN);
    assertThat(normal(saved(backend))).isEqualTo(normal(whole));

    putAhead(backend);
    assertThat(rules.verify(net.pod(), PLAN)).isInstanceOf(Drift.Changed.class);
    InstallReport repaired = rules.install(net.pod(), PLAN);
    assertThat(repaired.outcome(IpFamily.V4).state()).isEqualTo(State.REPAIRED);
    assertThat(repaired.outcome(IpFamily.V6).state()).isEqualTo(State.UNCHANGED);
    assertThat(rules.verify(net.pod(), PLAN)).isEqualTo(new Drift.None());
  }

  @ParameterizedTest
  @EnumSource(RuleBackend.class)
  void removalLeavesExactlyWhatWasThere(RuleBackend backend) {
    addForeignRules(backend);
    if (!isNative(backend)) {
      useEveryTable(backend);
    }
    String before = saved(backend);
    TrafficRules rules = rules(backend);

    rules.install(net.pod(), PLAN.withInbound(CapturePlan.Inbound.STANDARD).withDns(15053));
    InstallReport removed = rules.remove(net.pod());

    assertThat(saved(backend)).isEqualTo(before);
    assertThat(removed.families().values())
        .extracting(InstallReport.Outcome::state)
        .containsOnly(State.REMOVED);
    assertThat(rules.remove(net.pod()).families().values())
        .extracting(InstallReport.Outcome::state)
        .containsOnly(State.UNCHANGED);
    assertThat(rules.verify(net.pod(), PLAN)).isEqualTo(new Drift.NotInstalled());
  }

  @ParameterizedTest
  @EnumSource(RuleBackend.class)
  void removalFromAnOtherwiseEmptyNamespaceLeavesNoChainAtAll(RuleBackend backend) {
    TrafficRules rules = rules(backend);

    rules.install(net.pod(), REFUSING.withInbound(CapturePlan.Inbound.STANDARD));
    rules.remove(net.pod());

    assertThat(net.inPod("nft", "list", "ruleset")).doesNotContain("chain");
  }

  @ParameterizedTest
  @MethodSource("backendsAndFamilies")
  void connectionReachesTheCapturePortAndKeepsItsDestination(RuleBackend backend, IpFamily family) {
    rules(backend).install(net.pod(), PLAN);
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
  @MethodSource("backendsAndFamilies")
  void agentsOwnSocketGoesStraight(RuleBackend backend, IpFamily family) {
    rules(backend)
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
  @MethodSource("backendsAndFamilies")
  void loopbackAndThePodsOwnAddressAreLeftAlone(RuleBackend backend, IpFamily family) {
    rules(backend).install(net.pod(), PLAN.withUdp(UdpPolicy.ALL));
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
  @MethodSource("backendsAndFamilies")
  void quicIsRefusedAtOnceAndOtherUdpPasses(RuleBackend backend, IpFamily family) {
    rules(backend).install(net.pod(), PLAN);

    assertThat(udpError(server(family), 443)).isEqualTo(Errno.ECONNREFUSED);
    assertThat(received(server(family), 443, 1337)).as("the agent's own").isTrue();
    assertThat(received(server(family), 4443, 0)).isTrue();
  }

  @ParameterizedTest
  @EnumSource(RuleBackend.class)
  void allUdpButDnsIsRefused(RuleBackend backend) {
    rules(backend).install(net.pod(), PLAN.withUdp(UdpPolicy.ALL));

    for (IpFamily family : IpFamily.values()) {
      assertThat(received(server(family), 53, 0)).isTrue();
      assertThat(udpError(server(family), 4443)).isEqualTo(Errno.ECONNREFUSED);
    }
  }

  @ParameterizedTest
  @EnumSource(RuleBackend.class)
  void ipv6IsRefusedButAnsweredInboundAndNeighbourDiscoveryWork(RuleBackend backend) {
    rules(backend).install(net.pod(), REFUSING);
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
        new TrafficRules(programs(RuleBackend.IPTABLES_NFT), processes, namespace -> false);

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
  @EnumSource(RuleBackend.class)
  void failureOfIpv6TakesIpv4BackAndNamesTheTable(RuleBackend backend) {
    String before = normal(saved(backend));
    TrafficRules broken = new TrafficRules(programs(backend), withoutNatForV6());

    assertThatThrownBy(() -> broken.install(net.pod(), PLAN))
        .isInstanceOfSatisfying(
            RulesException.class, e -> assertThat(e.family()).contains(IpFamily.V6))
        .hasMessageContaining(net.pod().path() + ", IPv6, table nat")
        .hasMessageContaining(
            isNative(backend)
                ? "failed at 'add rule inet tailwater nat-output-ipv6 meta l4proto tcp"
                : "failed at '-A TAILWATER_OUTPUT -p tcp")
        .hasMessageContaining("have IPv6 refused instead")
        .hasMessageContaining("Nothing was left behind");

    assertThat(normal(saved(backend))).isEqualTo(before);
  }

  @ParameterizedTest
  @EnumSource(RuleBackend.class)
  void failedRepairLeavesWhatWasInForce(RuleBackend backend) {
    rules(backend).install(net.pod(), PLAN);
    unhookNat(backend, IpFamily.V6);
    String before = saved(backend);

    assertThatThrownBy(
            () -> new TrafficRules(programs(backend), withoutNatForV6()).install(net.pod(), PLAN))
        .hasMessageContaining("in force");

    assertThat(normal(saved(backend))).isEqualTo(normal(before));
  }

  @Test
  void jumpThatVanishesBetweenLookAndTransactionIsNoFailure() {
    rules(RuleBackend.IPTABLES_NFT).install(net.pod(), PLAN);
    net.inPod("iptables-nft", "-t", "nat", "-F", "TAILWATER_OUTPUT");
    boolean[] meddled = {false};
    CommandRunner meddler =
        (inside, command, input, environment) -> {
          if (command.contains("iptables-nft-restore") && !meddled[0]) {
            meddled[0] = true;
            net.inPod("iptables-nft", "-t", "nat", "-D", "OUTPUT", "-j", "TAILWATER_OUTPUT");
          }
          return processes.run(inside, command, input, environment);
        };

    new TrafficRules(programs(RuleBackend.IPTABLES_NFT), meddler).install(net.pod(), PLAN);

    assertThat(meddled[0]).isTrue();
    assertThat(rules(RuleBackend.IPTABLES_NFT).verify(net.pod(), PLAN)).isEqualTo(new Drift.None());
  }

  @ParameterizedTest
  @MethodSource("backendsAndFamilies")
  void connectionsFromBeforeAreSparedOrCutAsPlanned(RuleBackend backend, IpFamily family) {
    InetSocketAddress dialled = at(server(family), 8443);
    int listener = net.server().call(() -> TestSockets.listen(dialled));
    int capture =
        net.pod()
            .call(() -> TestSockets.listen(at(family == IpFamily.V4 ? "0.0.0.0" : "::", 15001)));
    ByteBuffer one = ByteBuffer.allocateDirect(1);
    int spared = connected(dialled);
    int cut = connected(dialled);
    int accepted = TestSockets.accept(listener);

    rules(backend).install(net.pod(), PLAN);
    assertThat(TestSockets.write(spared, one)).isEqualTo(1);
    assertThat(TestSockets.read(accepted, one)).isEqualTo(1);
    assertThat(TestSockets.write(accepted, one)).isEqualTo(1);
    assertThat(TestSockets.read(spared, one)).isEqualTo(1);

    rules(backend).install(net.pod(), PLAN.withEarlier(EarlierConnections.CUT));
    assertThat(TestSockets.write(cut, one)).isEqualTo(1);
    assertThat(TestSockets.read(cut, one)).isEqualTo(-Errno.ECONNRESET);
    assertThat(TestSockets.write(spared, one)).isEqualTo(1);
    assertThat(TestSockets.read(spared, one))
        .as("known to conntrack by now, but not redirected")
        .isEqualTo(-Errno.ECONNRESET);
    close(spared, cut, accepted, capture, listener);
  }

  /// Whatever the agent before us has used, in whatever order agents came.
  @ParameterizedTest
  @MethodSource("twoBackends")
  void backendCanBeChangedWithoutALeftover(RuleBackend earlier, RuleBackend later) {
    rules(earlier).install(net.pod(), PLAN.withAgent(new Mark(0x1234, -1)));

    InstallReport report = rules(later).install(net.pod(), PLAN);

    assertThat(report.alsoRemoved()).containsExactly(earlier);
    assertThat(report.outcome(IpFamily.V4).state()).isEqualTo(State.INSTALLED);
    assertThat(rules(earlier).verify(net.pod(), PLAN)).isEqualTo(new Drift.NotInstalled());
    assertThat(rules(later).verify(net.pod(), PLAN)).isEqualTo(new Drift.None());
    assertThat(rules(later).install(net.pod(), PLAN).alsoRemoved()).isEmpty();

    rules(earlier).remove(net.pod()); // by whichever it is asked
    assertThat(rules(later).verify(net.pod(), PLAN)).isEqualTo(new Drift.NotInstalled());
    assertThat(net.inPod("nft", "list", "ruleset")).doesNotContain("TAILWATER", "tailwater");
  }

  private static Stream<Arguments> twoBackends() {
    return Stream.of(RuleBackend.values())
        .flatMap(one ->
            Stream.of(RuleBackend.values())
                .filter(two -> two != one)
                .map(two -> Arguments.of(one, two)));
  }

  /// nf_tables alone: what others can do to a table besides rules.
  @Test
  void tableThatSleepsHangsElsewhereOrHoldsAStrangersChainIsMadeAnew() {
    TrafficRules rules = rules(RuleBackend.NFT);
    rules.install(net.pod(), PLAN);
    String whole = saved(RuleBackend.NFT);
    for (String change :
        List.of(
            "add table inet tailwater { flags dormant ; }",
            "add chain inet tailwater stranger { type nat hook output priority -150 ; }",
            "add chain inet tailwater stranger-ipv4",
            "delete table inet tailwater; add table inet tailwater; add chain inet tailwater"
                + " nat-output-ipv4 { type nat hook output priority 5 ; }")) {
      net.inPod("nft", change);
      assertThat(rules.verify(net.pod(), PLAN)).as(change).isInstanceOf(Drift.Changed.class);
      rules.install(net.pod(), PLAN);
      assertThat(saved(RuleBackend.NFT)).as(change).isEqualTo(whole);
    }
  }

  @Test
  void missingNamespaceIsSaid() {
    assertThatThrownBy(
            () -> rules(RuleBackend.IPTABLES_NFT).install(Path.of("/run/netns/tw-gone"), PLAN))
        .isInstanceOf(NetnsException.class)
        .hasMessageContaining("/run/netns/tw-gone");
  }

  private TrafficRules rules(RuleBackend backend) {
    return new TrafficRules(programs(backend), processes);
  }

  private RulePrograms programs(RuleBackend backend) {
    return RulePrograms.detect(Optional.of(backend), processes);
  }

  /// A machine whose IPv6 nat does not know the target: the real program complains, about a real
  /// line.
  private CommandRunner withoutNatForV6() {
    return (inside, command, input, environment) ->
        processes.run(
            inside,
            command,
            command.stream().anyMatch(word -> word.startsWith("ip6tables"))
                ? input.replace("-j REDIRECT", "-j REDIRECTED")
                : input.replaceAll("(nat-output-ipv6 .*)redirect ", "$1redirected "),
            environment);
  }

  private void addForeignRules(RuleBackend backend) {
    if (isNative(backend)) {
      net.inPod("nft", "add table inet foreign");
      net.inPod("nft", "add chain inet foreign output { type nat hook output priority -100 ; }");
      net.inPod("nft", "add rule inet foreign output tcp dport 7 accept comment \"some one else\"");
    }
    for (String family : FAMILIES) {
      String program = family + "-" + suffix(backend);
      net.inPod((program + " -t nat -A OUTPUT -p tcp --dport 7 -j ACCEPT").split(" "));
      net.inPod(
          program,
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
  }

  /// A table is there once it has been used, and stays, empty.
  private void useEveryTable(RuleBackend backend) {
    for (String family : FAMILIES) {
      for (String table : List.of("raw", "mangle", "nat", "filter")) {
        for (String how : List.of("-A", "-D")) {
          net.inPod(family + "-" + suffix(backend), "-t", table, how, "OUTPUT", "-j", "ACCEPT");
        }
      }
    }
  }

  private void flushNat(RuleBackend backend, IpFamily family) {
    if (isNative(backend)) {
      net.inPod("nft", "flush chain inet tailwater nat-output-" + ip(family));
    } else {
      net.inPod(program(backend, family), "-t", "nat", "-F", "TAILWATER_OUTPUT");
    }
  }

  private void unhookNat(RuleBackend backend, IpFamily family) {
    if (isNative(backend)) {
      net.inPod("nft", "flush chain inet tailwater nat-output-" + ip(family));
      net.inPod("nft", "delete chain inet tailwater nat-output-" + ip(family));
    } else {
      net.inPod(program(backend, family), "-t", "nat", "-D", "OUTPUT", "-j", "TAILWATER_OUTPUT");
    }
  }

  /// A rule for IPv4 that would let everything past.
  private void putAhead(RuleBackend backend) {
    if (isNative(backend)) {
      net.inPod("nft", "insert rule inet tailwater nat-output-ipv4 meta l4proto tcp accept");
    } else {
      net.inPod(
          (program(backend, IpFamily.V4) + " -t nat -I OUTPUT 1 -p tcp -j ACCEPT").split(" "));
    }
  }

  private static String program(RuleBackend backend, IpFamily family) {
    return (family == IpFamily.V4 ? "iptables-" : "ip6tables-") + suffix(backend);
  }

  private static String ip(IpFamily family) {
    return family == IpFamily.V4 ? "ipv4" : "ipv6";
  }

  private static boolean isNative(RuleBackend backend) {
    return backend == RuleBackend.NFT;
  }

  private static Stream<Arguments> backendsAndFamilies() {
    return Stream.of(RuleBackend.values())
        .flatMap(
            backend -> Stream.of(IpFamily.values()).map(family -> Arguments.of(backend, family)));
  }

  private String saved(RuleBackend backend) {
    if (isNative(backend)) {
      return net.inPod("nft", "-s", "list", "ruleset");
    }
    return FAMILIES.stream()
        .map(family -> net.inPod(family + "-" + suffix(backend) + "-save"))
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
        .filter(
            line -> line.startsWith("-A") || line.startsWith(":TAILWATER") || line.startsWith("\t"))
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

  private static String suffix(RuleBackend backend) {
    return backend == RuleBackend.IPTABLES_LEGACY ? "legacy" : "nft";
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
