package io.tailwater.iptables.queue;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.tailwater.iptables.TestSockets;
import io.tailwater.iptables.TwoNamespaces;
import io.tailwater.iptables.apply.CommandRunner;
import io.tailwater.iptables.apply.Processes;
import io.tailwater.iptables.apply.ReleasableSet;
import io.tailwater.iptables.apply.RuleBackend;
import io.tailwater.iptables.apply.RulePrograms;
import io.tailwater.iptables.apply.TrafficRules;
import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.libc.Syscalls;
import io.tailwater.iptables.netlink.NetlinkPoller;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.queue.HeldPackets.Held;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.Drift;
import io.tailwater.iptables.rule.EarlierConnections;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.KernelPass;
import io.tailwater.iptables.rule.Mark;
import io.tailwater.iptables.rule.Strictness;
import io.tailwater.lab.NeedsRoot;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/// A connection of a pod to a server past the agent, through the real rules of a closed pod, with
/// the verdicts given by the test.
@NeedsRoot
class KernelPassTest {
  private static final Mark AGENT = new Mark(0x92345678, -1);
  private static final int PORT = 443;
  private static final CapturePlan PLAN =
      CapturePlan.egress()
          .withAgent(AGENT)
          .withEarlier(EarlierConnections.CUT)
          .withStrictness(Strictness.NONE.withClosed(true).withKnownProtocolsOnly(true))
          .withKernelPass(KernelPass.STANDARD);

  private final List<AutoCloseable> open = new ArrayList<>();
  private final List<Integer> sockets = new ArrayList<>();
  private final HeldPackets held = new HeldPackets();
  private TwoNamespaces net;
  private ReleasableSet set;
  private NetlinkPoller poller;
  private PacketQueue queue;
  private Conntrack conntrack;
  private InetSocketAddress server;
  private int listener;

  @BeforeAll
  static void warm() {
    NetworkNamespace.warmUp();
  }

  static Stream<Arguments> everywhere() {
    return Stream.of(RuleBackend.IPTABLES_NFT, RuleBackend.IPTABLES_LEGACY)
        .flatMap(
            backend -> Stream.of(IpFamily.values()).map(family -> Arguments.of(backend, family)));
  }

  static Stream<Arguments> families() {
    return Stream.of(IpFamily.values())
        .map(family -> Arguments.of(RuleBackend.IPTABLES_NFT, family));
  }

  private void build(RuleBackend backend, IpFamily family) {
    build(backend, family, PLAN);
  }

  private void build(RuleBackend backend, IpFamily family, CapturePlan plan) {
    net = keep(new TwoNamespaces());
    server =
        new InetSocketAddress(
            InetAddress.ofLiteral(
                family == IpFamily.V4 ? TwoNamespaces.SERVER_V4 : TwoNamespaces.SERVER_V6),
            PORT);
    Conntrack.prepare(net.pod());
    set = keep(ReleasableSet.inPod(net.pod(), backend));
    CommandRunner processes = new Processes();
    TrafficRules rules =
        new TrafficRules(RulePrograms.detect(Optional.of(backend), processes), processes);
    rules.install(net.pod(), plan);
    assertThat(rules.verify(net.pod(), plan)).isEqualTo(new Drift.None());
    assertThat(set.add(List.of(ReleasableSet.Element.of(server, 60)))).isZero();
    poller = keep(new NetlinkPoller("test-gate").start());
    queue = reader();
    conntrack = keep(Conntrack.open(net.pod()));
    listener = net.server().call(() -> TestSockets.listen(server));
    sockets.add(listener);
  }

  private PacketQueue reader() {
    return keep(
        PacketQueue.open(
                net.pod(), KernelPass.STANDARD.queue(), KernelPass.HELD, PacketQueue.Place.POD)
            .start(poller, held));
  }

  private <T extends AutoCloseable> T keep(T resource) {
    open.addFirst(resource);
    return resource;
  }

  @AfterEach
  void tearDown() throws Exception {
    sockets.forEach(Syscalls::close);
    for (AutoCloseable one : open) {
      one.close();
    }
  }

  /// Both ends of a connection whose SYN has been held and let pass.
  private record Connected(int client, int server, Held syn) {}

  private Connected connect() throws InterruptedException {
    int client = client();
    BlockingQueue<Integer> done = new LinkedBlockingQueue<>();
    Thread dialling =
        Thread.ofPlatform().start(() -> done.add(TestSockets.connect(client, server)));
    Held syn = held.next();
    assertThat(syn.isSyn()).isTrue();
    assertThat(queue.accept(syn.id())).isZero();
    dialling.join(5000);
    assertThat(done.poll(1, TimeUnit.SECONDS)).isZero();
    int accepted = TestSockets.accept(listener);
    assertThat(accepted).isNotNegative();
    sockets.add(accepted);
    return new Connected(client, accepted, syn);
  }

  private int client() {
    int client =
        net.pod().call(() -> TestSockets.socket(server.getAddress(), Syscalls.SOCK_STREAM));
    sockets.add(client);
    return client;
  }

  private void close(int socket) {
    sockets.remove(Integer.valueOf(socket));
    Syscalls.close(socket);
  }

  private static long write(int fd, String text) {
    byte[] bytes = text.getBytes(StandardCharsets.ISO_8859_1);
    return TestSockets.write(fd, ByteBuffer.allocateDirect(bytes.length).put(bytes).flip());
  }

  /// What is there, within two seconds; the error's number, with a minus, else.
  private static String read(int fd, int most) {
    ByteBuffer into = ByteBuffer.allocateDirect(most);
    long length = TestSockets.read(fd, into);
    if (length < 0) {
      return Errno.describe((int) -length);
    }
    byte[] bytes = new byte[(int) length];
    into.get(bytes);
    return new String(bytes, StandardCharsets.ISO_8859_1);
  }

  private static String readAll(int fd, int bytes) {
    StringBuilder all = new StringBuilder();
    while (all.length() < bytes) {
      String more = read(fd, bytes);
      if (more.isEmpty() || more.startsWith("E")) {
        return all + more;
      }
      all.append(more);
    }
    return all.toString();
  }

  private ConntrackEntry entry(Connected connection) {
    return conntrack.find(connection.syn().flow()).orElseThrow();
  }

  private Connected released() throws InterruptedException {
    Connected connection = connect();
    assertThat(write(connection.client(), "hello")).isEqualTo(5);
    Held hello = held.next();
    assertThat(queue.release(hello.id(), hello.flow())).isZero();
    assertThat(read(connection.server(), 100)).isEqualTo("hello");
    return connection;
  }

  @ParameterizedTest
  @MethodSource("everywhere")
  void whatIsSaidFirstIsHeldAndOnceReleasedNothingIsHeldAnyMore(
      RuleBackend backend, IpFamily family) throws Exception {
    build(backend, family);
    Connected connection = connect();
    assertThat(connection.syn().flow().destination()).isEqualTo(server);

    write(connection.client(), "hello");
    Held hello = held.next();
    assertThat(hello.payload()).isEqualTo("hello");
    assertThat(hello.sequence()).isEqualTo(connection.syn().sequence() + 1);
    assertThat(hello.partial()).as("made by a TCP socket").isTrue();
    write(connection.server(), "banner");
    assertThat(read(connection.client(), 100)).isEqualTo("banner");
    assertThat(held.isQuiet()).isTrue();
    assertThat(entry(connection).mark()).isEqualTo(0x4);

    assertThat(queue.release(hello.id(), hello.flow())).isZero();
    assertThat(read(connection.server(), 100)).isEqualTo("hello");
    assertThat(entry(connection).mark()).isEqualTo(0x6);
    String much = "x".repeat(100_000);
    for (int i = 0; i < 10; i++) {
      write(connection.client(), much);
      assertThat(readAll(connection.server(), much.length())).isEqualTo(much);
      write(connection.server(), much);
      assertThat(readAll(connection.client(), much.length())).isEqualTo(much);
    }
    assertThat(held.isQuiet()).isTrue();
    assertThat(queue.counters()).isEqualTo(new PacketQueue.Counters(2, 0, 0, 0, 0));
  }

  @ParameterizedTest
  @MethodSource("everywhere")
  void whoIsRefusedLearnsItAtOnceAndSoDoesTheServer(RuleBackend backend, IpFamily family)
      throws Exception {
    build(backend, family);
    Connected connection = connect();
    write(connection.client(), "secret");
    Held hello = held.next();

    assertThat(queue.refuse(hello.id(), hello.flow())).isZero();
    assertThat(read(connection.client(), 100)).startsWith("ECONNRESET");
    assertThat(entry(connection).mark()).isEqualTo(0x24);
    try (RawPackets raw = RawPackets.open(net.pod(), Optional.of(AGENT))) {
      assertThat(raw.reset(hello.flow(), hello.sequence(), hello.acknowledged())).isZero();
    }
    assertThat(read(connection.server(), 100)).startsWith("ECONNRESET");
    assertThat(held.isQuiet()).isTrue();
  }

  @ParameterizedTest
  @MethodSource("everywhere")
  void theEndIsLoggedWithTheNumbersThatTellTheBytes(RuleBackend backend, IpFamily family)
      throws Exception {
    build(backend, family);
    BlockingQueue<EndSegment> ends = new LinkedBlockingQueue<>();
    keep(EndLog.watch(net.pod(), poller, KernelPass.STANDARD.endGroup(), ends::add, () -> {}));
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
  void aResetIsLoggedToo(RuleBackend backend, IpFamily family) throws Exception {
    build(backend, family);
    BlockingQueue<EndSegment> ends = new LinkedBlockingQueue<>();
    keep(EndLog.watch(net.pod(), poller, KernelPass.STANDARD.endGroup(), ends::add, () -> {}));
    Connected connection = released();
    byte[] atOnce = {1, 0, 0, 0, 0, 0, 0, 0};
    Syscalls.setsockopt(connection.server(), Syscalls.SOL_SOCKET, 13, atOnce); // SO_LINGER
    close(connection.server());

    assertThat(read(connection.client(), 1)).startsWith("ECONNRESET");
    EndSegment reset = ends.poll(2, TimeUnit.SECONDS);
    assertThat(reset.isReset()).isTrue();
    assertThat(reset.flow()).isEqualTo(connection.syn().flow().reversed());
  }

  @ParameterizedTest
  @MethodSource("everywhere")
  void aRevokedConnectionEndsAtItsNextPacketOfEitherSide(RuleBackend backend, IpFamily family)
      throws Exception {
    build(backend, family);
    Connected speaks = released();
    Connected listens = released();
    List<FlowTuple> flows = new ArrayList<>();
    conntrack.list(KernelPass.RELEASED, entry -> flows.add(entry.flow()));
    assertThat(flows).containsExactlyInAnyOrder(speaks.syn().flow(), listens.syn().flow());

    flows.forEach(flow -> assertThat(conntrack.mark(flow, KernelPass.REVOKED)).isTrue());
    write(speaks.client(), "more");
    assertThat(read(speaks.client(), 1)).startsWith("ECONNRESET");
    write(listens.server(), "more");
    assertThat(read(listens.server(), 1)).startsWith("ECONNRESET");
    flows.clear();
    conntrack.list(KernelPass.RELEASED, entry -> flows.add(entry.flow()));
    assertThat(flows).isEmpty();
  }

  @ParameterizedTest
  @MethodSource("families")
  void anIdleConnectionIsEndedByItsSocket(RuleBackend backend, IpFamily family) throws Exception {
    build(backend, family);
    Connected connection = released();
    FlowTuple flow = connection.syn().flow();
    BlockingQueue<SocketBytes> ends = new LinkedBlockingQueue<>();
    keep(SocketDiag.watch(net.pod(), poller, ends::add, () -> {}));
    try (SocketDiag sockets = SocketDiag.open(net.pod())) {
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
  @MethodSource("families")
  void conntrackCountsAndTellsOfTheEndWhenAnEntryIsDeleted(RuleBackend backend, IpFamily family)
      throws Exception {
    build(backend, family);
    Connected connection = released();
    FlowTuple flow = connection.syn().flow();
    BlockingQueue<ConntrackEntry> ends = new LinkedBlockingQueue<>();
    keep(Conntrack.watch(net.pod(), poller, KernelPass.RELEASED, ends::add, () -> {}));
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

  @ParameterizedTest
  @MethodSource("families")
  void aQueueHasOneReaderAndWhatItHeldComesAgainToTheNext(RuleBackend backend, IpFamily family)
      throws Exception {
    build(backend, family);
    assertThatThrownBy(this::reader)
        .isInstanceOfSatisfying(
            SyscallException.class, e -> assertThat(e.errno()).isEqualTo(Errno.EBUSY))
        .hasMessageContaining("Another process");
    Connected old = released();
    Connected connection = connect();
    write(connection.client(), "hello");
    Held first = held.next();
    assertThat(QueueStatistics.of(net.pod(), queue.number()).orElseThrow().waiting()).isEqualTo(1);

    queue.close();
    assertThat(queue.accept(first.id())).isEqualTo(Errno.EBADF);
    assertThat(QueueStatistics.of(net.pod(), queue.number())).isEmpty();
    write(old.client(), "goes on");
    assertThat(read(old.server(), 100)).isEqualTo("goes on");
    queue = reader();
    Held again = held.next();
    assertThat(again.flow()).isEqualTo(first.flow());
    assertThat(again.sequence()).isEqualTo(first.sequence());
    assertThat(queue.release(again.id(), again.flow())).isZero();
    assertThat(read(connection.server(), 100)).isEqualTo("hello");
  }

  @ParameterizedTest
  @MethodSource("families")
  void aHelloLargerThanThePacketSizeIsHeldAsOne(RuleBackend backend, IpFamily family)
      throws Exception {
    build(backend, family);
    released(); // the neighbour is known now: a long round trip makes packets small
    Connected connection = connect();
    String large = "h".repeat(5000);
    write(connection.client(), large);
    Held hello = held.next();

    assertThat(hello.gso()).isTrue();
    assertThat(hello.payload()).isEqualTo(large);
    assertThat(queue.release(hello.id(), hello.flow())).isZero();
    assertThat(readAll(connection.server(), 5000)).isEqualTo(large);
    assertThat(held.isQuiet()).isTrue();
  }

  @ParameterizedTest
  @MethodSource("families")
  void segmentsThatWereCopiedAndDroppedGoOutByHandInOrder(RuleBackend backend, IpFamily family)
      throws Exception {
    build(backend, family);
    Connected connection = connect();
    noDelay(connection.client());
    write(connection.client(), "first,");
    Held first = held.next();
    write(connection.client(), "second");
    Held second = held.next();
    assertThat(queue.drop(first.id())).isZero();

    try (RawPackets raw = RawPackets.open(net.pod(), Optional.of(AGENT))) {
      ByteBuffer copy = first.packet().duplicate();
      Checksums.set(copy);
      assertThat(raw.send(copy)).isZero();
      assertThat(queue.release(second.id(), second.flow())).isZero();
      assertThat(readAll(connection.server(), 12)).isEqualTo("first,second");
    }
    write(connection.client(), "third");
    assertThat(read(connection.server(), 100)).isEqualTo("third");
    assertThat(held.isQuiet()).isTrue();
  }

  @ParameterizedTest
  @MethodSource("families")
  void aPacketMayBeReplacedByOneThatCarriesMore(RuleBackend backend, IpFamily family)
      throws Exception {
    build(backend, family);
    Connected connection = connect();
    noDelay(connection.client());
    write(connection.client(), "first,");
    Held first = held.next();
    write(connection.client(), "second");
    Held second = held.next();
    assertThat(queue.dropUpTo(first.id())).isZero();
    byte[] more = "second".getBytes(StandardCharsets.ISO_8859_1);
    ByteBuffer whole = ByteBuffer.allocate(first.packet().limit() + more.length);
    whole.put(first.packet().duplicate()).put(more).flip();
    if (family == IpFamily.V4) {
      whole.putShort(2, (short) whole.limit());
    } else {
      whole.putShort(4, (short) (whole.limit() - 40));
    }
    Checksums.set(whole);

    assertThat(queue.release(second.id(), second.flow(), whole)).isZero();
    assertThat(readAll(connection.server(), 12)).isEqualTo("first,second");
    write(connection.client(), "third");
    assertThat(read(connection.server(), 100)).isEqualTo("third");
  }

  /// Otherwise the second segment would wait until the first has left.
  private void noDelay(int socket) {
    net.inPod("sysctl", "-qw", "net.ipv4.tcp_autocorking=0");
    Syscalls.setsockopt(socket, Syscalls.IPPROTO_TCP, 1, 1);
  }

  @ParameterizedTest
  @MethodSource("families")
  void aNewBeginningOnALivingEntryIsHeldAgain(RuleBackend backend, IpFamily family)
      throws Exception {
    build(backend, family);
    Connected connection = released();
    ByteBuffer syn = ByteBuffer.allocate(connection.syn().packet().limit());
    syn.put(connection.syn().packet().duplicate()).flip();
    Checksums.set(syn);
    // As a pod's program with CAP_NET_RAW would: without the agent's mark.
    try (RawPackets raw = RawPackets.open(net.pod(), Optional.empty())) {
      assertThat(raw.send(syn)).isZero();
      Held again = held.next();
      assertThat(again.isSyn()).isTrue();
      assertThat(again.partial()).as("written by hand").isFalse();
      assertThat(entry(connection).mark()).isEqualTo(0x4);
      queue.drop(again.id());
    }
    write(connection.client(), "more");
    assertThat(held.next().payload()).isEqualTo("more");
  }

  @ParameterizedTest
  @MethodSource("families")
  void aPacketThatWouldNotReachTheServerDoesWhenItWasJudged(RuleBackend backend, IpFamily family)
      throws Exception {
    build(backend, family);
    Connected connection = connect();
    int level = family == IpFamily.V4 ? Syscalls.IPPROTO_IP : Syscalls.IPPROTO_IPV6;
    Syscalls.setsockopt(connection.client(), level, family == IpFamily.V4 ? 2 : 16, 1);
    String seen =
        "table inet seen { chain in { type filter hook prerouting priority -300;"
            + " tcp dport 443 ip ttl 64 counter name four;"
            + " tcp dport 443 ip6 hoplimit 64 counter name six; };"
            + " counter four {}; counter six {}; }";
    atServer("nft '" + seen + "'");
    write(connection.client(), "hello");
    Held hello = held.next();
    assertThat(hello.hops()).isEqualTo(1);

    assertThat(queue.release(hello.id(), hello.flow())).isZero();
    assertThat(read(connection.server(), 100)).isEqualTo("hello");
    assertThat(atServer("nft list counters")).containsPattern("packets 1 ");
  }

  private String atServer(String command) {
    return TwoNamespaces.run("nsenter", "--net=" + net.server().path(), "--", "sh", "-c", command);
  }

  @ParameterizedTest
  @MethodSource("families")
  void whatIsDialledElsewhereGoesToTheAgentAsBefore(RuleBackend backend, IpFamily family)
      throws Exception {
    build(backend, family);
    InetSocketAddress agent = new InetSocketAddress(server.getAddress(), 15001);
    InetSocketAddress local =
        new InetSocketAddress(
            InetAddress.ofLiteral(family == IpFamily.V4 ? "127.0.0.1" : "::1"), agent.getPort());
    int relay = net.pod().call(() -> TestSockets.listen(local));
    sockets.add(relay);
    int client = client();
    assertThat(TestSockets.connect(client, new InetSocketAddress(server.getAddress(), 80)))
        .isZero();
    int taken = TestSockets.accept(relay);
    sockets.add(taken);
    assertThat(TestSockets.originalDestination(taken, server.getAddress()).getPort()).isEqualTo(80);
    assertThat(held.size()).isZero();

    set.flush();
    int second = client();
    assertThat(TestSockets.connect(second, server)).isZero();
    int also = TestSockets.accept(relay);
    sockets.add(also);
    assertThat(TestSockets.originalDestination(also, server.getAddress())).isEqualTo(server);
    assertThat(held.size()).isZero();
  }

  @ParameterizedTest
  @MethodSource("families")
  void withBypassPacketsPassWhileNobodyReads(RuleBackend backend, IpFamily family)
      throws Exception {
    build(backend, family, PLAN.withKernelPass(KernelPass.STANDARD.withBypass(true)));
    queue.close();
    int client = client();
    assertThat(TestSockets.connect(client, server)).isZero();
    int accepted = TestSockets.accept(listener);
    sockets.add(accepted);
    write(client, "undecided");
    assertThat(read(accepted, 100)).isEqualTo("undecided");
  }

  @ParameterizedTest
  @MethodSource("families")
  void withoutBypassNothingPassesWhileNobodyReads(RuleBackend backend, IpFamily family)
      throws Exception {
    build(backend, family);
    Connected connection = connect();
    queue.close();
    write(connection.client(), "undecided");
    assertThat(read(connection.server(), 100)).startsWith("EAGAIN");
  }
}
