package io.tailwater.iptables.queue;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.iptables.NodeNamespaces;
import io.tailwater.iptables.TestSockets;
import io.tailwater.iptables.libc.Syscalls;
import io.tailwater.iptables.rule.KernelPass;
import io.tailwater.lab.NeedsRoot;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/// What released connections cost, and how their bytes and ends are known.
@NeedsRoot
class KernelPassAccountTest extends KernelPassFixture {
  @ParameterizedTest
  @MethodSource("everywhere")
  void theEndIsLoggedWithTheNumbersThatTellTheBytes(Where where) throws Exception {
    build(where);
    BlockingQueue<EndSegment> ends = new LinkedBlockingQueue<>();
    keep(EndLog.watch(home, poller, KernelPass.STANDARD.endGroup(), ends::add, () -> {}));
    Connected connection = released();
    write(connection.client(), "x".repeat(70_000));
    readAll(connection.server(), 70_000);
    write(connection.server(), "y".repeat(90_001));
    readAll(connection.client(), 90_001);
    Syscalls.shutdown(connection.client(), Syscalls.SHUT_WR);
    assertThat(read(connection.server(), 1)).isEmpty();
    Syscalls.shutdown(connection.server(), Syscalls.SHUT_WR);
    assertThat(read(connection.client(), 1)).isEmpty();

    EndSegment up = ends.poll(2, TimeUnit.SECONDS);
    assertThat(up.flow()).isEqualTo(connection.syn().flow());
    assertThat(up.isFin()).isTrue();
    assertThat(up.end() - (connection.syn().sequence() + 1)).isEqualTo(70_005);
    EndSegment down = ends.poll(2, TimeUnit.SECONDS);
    assertThat(down.flow()).isEqualTo(connection.syn().flow().reversed());
    assertThat(down.end() - (up.acknowledgement() - 90_001)).isEqualTo(90_001);
    assertThat(ends.poll(200, TimeUnit.MILLISECONDS)).isNull();
  }

  @ParameterizedTest
  @MethodSource("families")
  void aResetIsLoggedToo(Where where) throws Exception {
    build(where);
    BlockingQueue<EndSegment> ends = new LinkedBlockingQueue<>();
    keep(EndLog.watch(home, poller, KernelPass.STANDARD.endGroup(), ends::add, () -> {}));
    Connected connection = released();
    reset(connection.server());

    assertThat(read(connection.client(), 1)).startsWith("ECONNRESET");
    EndSegment reset = ends.poll(2, TimeUnit.SECONDS);
    assertThat(reset.isReset()).isTrue();
    assertThat(reset.flow()).isEqualTo(connection.syn().flow().reversed());
  }

  @ParameterizedTest
  @MethodSource("families")
  void anIdleConnectionIsEndedByItsSocket(Where where) throws Exception {
    build(where);
    Connected connection = released();
    FlowTuple flow = connection.syn().flow();
    BlockingQueue<SocketBytes> ends = new LinkedBlockingQueue<>();
    keep(SocketDiag.watch(pod, poller, ends::add, () -> {}));
    try (SocketDiag sockets = SocketDiag.open(pod)) {
      SocketBytes bytes = sockets.bytes(flow).orElseThrow();
      assertThat(bytes.flow()).isEqualTo(flow);
      assertThat(bytes.acknowledged()).as("SYN and hello").isEqualTo(6);
      write(connection.server(), "banner");
      assertThat(read(connection.client(), 10)).isEqualTo("banner");
      assertThat(sockets.bytes(flow).orElseThrow().received()).isEqualTo(6);

      assertThat(sockets.destroy(flow)).isEqualTo(SocketDiag.Ended.YES);
      assertThat(read(connection.client(), 1)).startsWith("ECONNABORTED");
      assertThat(read(connection.server(), 1)).startsWith("ECONNRESET");
      assertThat(sockets.destroy(flow)).isEqualTo(SocketDiag.Ended.NO_SOCKET);
      assertThat(sockets.bytes(flow)).isEmpty();
    }
    close(connection.client());
    SocketBytes end = ends.poll(2, TimeUnit.SECONDS);
    assertThat(end.flow()).isEqualTo(flow);
    assertThat(end.received()).isEqualTo(6);
  }

  @ParameterizedTest
  @MethodSource("inPods")
  void aSocketThatWasListedIsEndedAndNoOtherThatHasItsPort(Where where) throws Exception {
    build(where);
    Connected connection = released();
    FlowTuple flow = connection.syn().flow();
    InetSocketAddress any =
        new InetSocketAddress(InetAddress.ofLiteral(where.four() ? "0.0.0.0" : "::"), PORT);
    sockets.add(pod.call(() -> TestSockets.listen(any)));
    Syscalls.setsockopt(connection.client(), Syscalls.SOL_SOCKET, 36, 0x123); // SO_MARK
    try (SocketDiag diag = SocketDiag.open(pod)) {
      assertThat(diag.list())
          .filteredOn(TcpSocket::isListening)
          .singleElement()
          .satisfies(one -> assertThat(one.flow().sourcePort()).isEqualTo(PORT));
      TcpSocket listed =
          diag.list().stream().filter(one -> one.flow().equals(flow)).findFirst().orElseThrow();
      assertThat(listed.mark()).isEqualTo(0x123);
      assertThat(listed.isListening()).isFalse();

      assertThat(diag.destroy(listed)).isEqualTo(SocketDiag.Ended.YES);
      assertThat(read(connection.client(), 1)).startsWith("ECONNABORTED");
      assertThat(diag.destroy(listed)).isEqualTo(SocketDiag.Ended.NO_SOCKET);
      assertThat(diag.list()).singleElement().matches(TcpSocket::isListening);
    }
  }

  @ParameterizedTest
  @MethodSource("inPods")
  void aSocketOfIpv6ThatSpeaksIpv4IsListedAsWhatItSpeaks(Where where) throws Exception {
    build(where);
    int listening =
        pod.call(
            () -> TestSockets.listen(new InetSocketAddress(InetAddress.ofLiteral("::"), 8080)));
    sockets.add(listening);
    int client =
        pod.call(
            () -> TestSockets.socket(InetAddress.ofLiteral("127.0.0.1"), Syscalls.SOCK_STREAM));
    sockets.add(client);
    InetSocketAddress to = new InetSocketAddress(InetAddress.ofLiteral("127.0.0.1"), 8080);
    assertThat(TestSockets.connect(client, to)).isZero();
    int accepted = TestSockets.accept(listening);
    sockets.add(accepted);
    try (SocketDiag diag = SocketDiag.open(pod)) {
      TcpSocket server =
          diag.list().stream()
              .filter(one -> !one.isListening() && one.flow().source().equals(to))
              .findFirst()
              .orElseThrow();
      assertThat(diag.destroy(server)).isEqualTo(SocketDiag.Ended.YES);
      assertThat(read(accepted, 1)).startsWith("ECONNABORTED");
    }
  }

  @ParameterizedTest
  @MethodSource("families")
  void conntrackCountsAndTellsOfTheEndWhenAnEntryIsDeleted(Where where) throws Exception {
    build(where);
    Connected connection = released();
    FlowTuple flow = connection.syn().flow();
    BlockingQueue<ConntrackEntry> ends = new LinkedBlockingQueue<>();
    keep(Conntrack.watch(home, poller, KernelPass.RELEASED, ends::add, () -> {}));
    write(connection.client(), "x".repeat(1000));
    readAll(connection.server(), 1000);

    ConntrackEntry entry = conntrack.find(flow).orElseThrow();
    assertThat(entry.payloadUp()).isEqualTo(1005);
    assertThat(entry.payloadDown()).isZero();
    assertThat(entry.tcpState()).as("ESTABLISHED").isEqualTo(3);
    assertThat(entry.startedNanos() / 1_000_000_000).isPositive();
    assertThat(conntrack.delete(flow)).isTrue();
    ConntrackEntry end = ends.poll(2, TimeUnit.SECONDS);
    assertThat(end.flow()).isEqualTo(flow);
    assertThat(end.payloadUp()).isEqualTo(1005);
    assertThat(end.stoppedNanos()).isGreaterThan(end.startedNanos());
    assertThat(conntrack.delete(flow)).isFalse();
    assertThat(conntrack.mark(flow, KernelPass.RELEASED)).isFalse();
    assertThat(conntrack.find(flow)).isEmpty();

    write(connection.server(), "into the void");
    assertThat(read(connection.server(), 1))
        .as("the middle of a connection that nobody knows")
        .startsWith("ECONNRESET");
  }

  /// The rules with a counter that has moved between two listings, without jumps from built-in
  /// chains.
  private static List<String> moved(String before, String after) {
    List<String> then = before.lines().toList();
    return after
        .lines()
        .filter(line -> line.startsWith("[") && line.contains("-A TAILWATER_"))
        .filter(line -> !then.contains(line))
        .map(line -> line.substring(line.indexOf("-A ")))
        .toList();
  }

  @ParameterizedTest
  @MethodSource("everywhere")
  void aPacketOfAReleasedConnectionMeetsOneRuleInEachPlace(Where where) throws Exception {
    build(where);
    Connected connection = released();
    String save =
        (where.four() ? "iptables" : "ip6tables") + where.backend().toString().substring(8);
    String before = inside(home, save + "-save -c");
    for (int i = 0; i < 20; i++) {
      write(connection.client(), "x".repeat(10_000));
      readAll(connection.server(), 10_000);
      write(connection.server(), "y".repeat(10_000));
      readAll(connection.client(), 10_000);
    }

    List<String> moved = moved(before, inside(home, save + "-save -c"));
    String fast =
        " -p tcp -m tcp --tcp-flags FIN,SYN,RST NONE -m connmark --mark 0x2/0x2 -j RETURN";
    String unmarked = "-A TAILWATER_POSTRT -m mark --mark 0x0 -j RETURN";
    if (where.inPod()) {
      assertThat(moved)
          .containsExactlyInAnyOrder(
              unmarked, "-A TAILWATER_OUTPUT" + fast, "-A TAILWATER_INPUT" + fast);
    } else {
      assertThat(moved)
          .contains("-A TAILWATER_PRERT" + fast, "-A TAILWATER_FORWARD" + fast)
          .filteredOn(rule -> !rule.contains(fast) && !rule.contains("ipv6-icmp"))
          .as("in raw, where connections are not known yet")
          .containsExactlyInAnyOrder(
              "-A TAILWATER_PRERT -i pod0 -g TAILWATER_FROM_pod0",
              "-A TAILWATER_FROM_pod0 -s %s -j RETURN".formatted(source(where)));
    }
  }

  private static String source(Where where) {
    return where.four() ? NodeNamespaces.POD_V4 + "/32" : NodeNamespaces.POD_V6 + "/128";
  }
}
