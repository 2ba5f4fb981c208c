package io.tailwater.iptables.apply;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.iptables.TwoNamespaces;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.KernelPass;
import io.tailwater.iptables.rule.NodePlan;
import io.tailwater.iptables.rule.Strictness;
import io.tailwater.iptables.rule.UdpPolicy;
import io.tailwater.lab.NeedsRoot;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// What a closed pod reaches while none of the rules is there. The server's namespace is the node,
/// its `eth0` the pod's interface.
@NeedsRoot(commands = {"nft", "python3"})
class NodeGuardTest {
  /// Answers on TCP 8443 when something was said, on UDP with what was asked, until it is killed.
  private static final String SERVER =
      """
      import select, socket, sys
      def of(kind, address, port):
        s = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET, kind)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((address, port))
        if kind == socket.SOCK_STREAM: s.listen(16)
        return s
      streams = [of(socket.SOCK_STREAM, a, 8443) for a in sys.argv[1:]]
      datagrams = [of(socket.SOCK_DGRAM, a, p) for a in sys.argv[1:] for p in (53, 443, 9999)]
      talking = []
      print('ready', flush=True)
      while True:
        for s in select.select(streams + datagrams + talking, [], [])[0]:
          if s in streams: talking.append(s.accept()[0])
          elif s in datagrams: s.sendto(*s.recvfrom(100))
          else:
            data = s.recv(100)
            if data: s.sendall(b'answer')
            else:
              talking.remove(s)
              s.close()
      """;

  /// Says `connected`, `answered`, or neither.
  private static final String CLIENT =
      """
      import socket, sys
      kind = socket.SOCK_STREAM if sys.argv[1] == 'tcp' else socket.SOCK_DGRAM
      s = socket.socket(socket.AF_INET6 if ':' in sys.argv[2] else socket.AF_INET, kind)
      s.settimeout(0.7)
      try:
        s.connect((sys.argv[2], int(sys.argv[3])))
        if sys.argv[1] == 'tcp': print('connected')
        s.sendall(b'hello')
        if s.recv(100): print('answered')
      except OSError as e: print(type(e).__name__)
      """;

  private TwoNamespaces net;
  private NodeGuard guard;
  private final List<Process> servers = new ArrayList<>();

  @BeforeAll
  static void warm() {
    NetworkNamespace.warmUp();
  }

  @BeforeEach
  void build() throws Exception {
    net = new TwoNamespaces();
    guard = new NodeGuard(net.server());
    serve(net.server(), TwoNamespaces.SERVER_V4, TwoNamespaces.SERVER_V6);
    serve(net.pod(), TwoNamespaces.POD_V4, TwoNamespaces.POD_V6);
  }

  @AfterEach
  void tearDown() {
    guard.close();
    servers.forEach(Process::destroyForcibly);
    net.close();
  }

  private void serve(NetworkNamespace where, String v4, String v6) throws IOException {
    Process server =
        new ProcessBuilder(
                "nsenter", "--net=" + where.path(), "--", "python3", "-c", SERVER, v4, v6)
            .redirectErrorStream(true)
            .start();
    servers.add(server);
    assertThat(server.inputReader().readLine()).isEqualTo("ready");
  }

  private String onNode(String... command) {
    return TwoNamespaces.run(
        IntStream.range(-3, command.length)
            .mapToObj(i ->
                i < 0
                    ? List.of("nsenter", "--net=" + net.server().path(), "--").get(i + 3)
                    : command[i])
            .toArray(String[]::new));
  }

  private String fromPod(String protocol, String address, int port) {
    return net.inPod("python3", "-c", CLIENT, protocol, address, Integer.toString(port));
  }

  private static NodePlan plan(CapturePlan pod, String... strangers) {
    return plan(List.of("eth0"), pod, strangers);
  }

  private static NodePlan plan(List<String> interfaces, CapturePlan pod, String... strangers) {
    return new NodePlan(
        List.of(new NodePlan.Pod(interfaces, List.of(), pod)),
        List.of(strangers),
        Optional.of(1337));
  }

  private static CapturePlan closed(UdpPolicy udp) {
    return CapturePlan.egress().toBuilder()
        .udp(udp)
        .dnsPort(Optional.of(CapturePlan.DNS_PORT))
        .strictness(Strictness.NONE.withClosed(true).withKnownProtocolsOnly(true))
        .build();
  }

  @ParameterizedTest
  @ValueSource(strings = {TwoNamespaces.SERVER_V4, TwoNamespaces.SERVER_V6})
  void closedPodBeginsNothingThatItsRulesWouldNotLetPass(String server) {
    guard.guard(plan(closed(UdpPolicy.QUIC)), false);
    onNode("nft", "flush", "ruleset"); // which does not concern it
    assertThat(fromPod("tcp", server, 8443)).isEqualTo("TimeoutError\n");
    assertThat(fromPod("udp", server, 53)).isEqualTo("TimeoutError\n");
    assertThat(fromPod("udp", server, 443)).isEqualTo("TimeoutError\n");
    assertThat(fromPod("udp", server, 9999)).isEqualTo("answered\n");

    guard.guard(plan(closed(UdpPolicy.ALL)), false);
    assertThat(fromPod("udp", server, 9999)).isEqualTo("TimeoutError\n");

    guard.guard(plan(CapturePlan.egress()), false);
    assertThat(onNode("nft", "list", "ruleset")).isBlank();
    assertThat(fromPod("tcp", server, 8443)).contains("answered");
  }

  @Test
  void whatItAnswersAndWhatTheRulesBringToTheAgentPasses() {
    guard.guard(plan(closed(UdpPolicy.ALL)), false);
    for (String address : List.of(TwoNamespaces.POD_V4, TwoNamespaces.POD_V6)) {
      assertThat(
              List.of(
                  onNode("python3", "-c", CLIENT, "tcp", address, "8443"),
                  onNode("python3", "-c", CLIENT, "udp", address, "9999")))
          .containsExactly("connected\nanswered\n", "answered\n");
    }
    inMangle("meta mark set 0x200");
    assertThat(fromPod("tcp", TwoNamespaces.SERVER_V4, 8443)).contains("answered");
    assertThat(fromPod("udp", TwoNamespaces.SERVER_V4, 53)).contains("answered");
  }

  private void inMangle(String rule) {
    onNode("nft", "flush ruleset; table inet test");
    onNode("nft", "add chain inet test c { type filter hook prerouting priority mangle ; }");
    onNode("nft", "add rule inet test c iifname eth0 " + rule);
  }

  /// Released by the agent, held by it, or neither.
  @Test
  void onlyAReleasedConnectionCarriesDataPastTheAgent() {
    guard.guard(
        plan(
            closed(UdpPolicy.QUIC).toBuilder()
                .kernelPass(Optional.of(KernelPass.STANDARD))
                .build()),
        false);
    for (String address : List.of(TwoNamespaces.SERVER_V4, TwoNamespaces.SERVER_V6)) {
      inMangle("ct mark set 0x6");
      assertThat(fromPod("tcp", address, 8443)).isEqualTo("connected\nanswered\n");
      inMangle("ct mark set 0x4");
      assertThat(fromPod("tcp", address, 8443)).isEqualTo("connected\nTimeoutError\n");
      inMangle("ct mark set 0x1");
      assertThat(fromPod("tcp", address, 8443)).isEqualTo("TimeoutError\n");
    }
  }

  @Test
  void strangersReachNothingAndPodsOfTheSameNameDo() {
    guard.guard(plan(List.of("eth7"), CapturePlan.egress(), "eth+"), false);
    assertThat(fromPod("udp", TwoNamespaces.SERVER_V4, 9999)).isEqualTo("TimeoutError\n");
    guard.guard(plan(List.of("eth7"), CapturePlan.egress(), "eth", "et0+", "eth00"), false);
    assertThat(fromPod("udp", TwoNamespaces.SERVER_V4, 9999)).isEqualTo("answered\n");
    guard.guard(plan(CapturePlan.egress(), "eth+"), false);
    assertThat(fromPod("udp", TwoNamespaces.SERVER_V4, 9999)).isEqualTo("answered\n");
  }

  @Test
  void thousandsOfInterfacesAreNotTooMany() {
    List<String> many = IntStream.range(0, 2500).mapToObj(i -> "cali" + i).toList();
    guard.guard(plan(many, closed(UdpPolicy.QUIC), "cali+"), false);
    assertThat(onNode("nft", "list", "ruleset")).contains("\"cali0\"").contains("\"cali2499\"");
    assertThat(fromPod("tcp", TwoNamespaces.SERVER_V4, 8443)).contains("answered");
    guard.guard(plan(closed(UdpPolicy.QUIC)), false);
    assertThat(onNode("nft", "list", "ruleset")).doesNotContain("cali");
  }
}
