package io.tailwater.iptables.queue;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.iptables.NodeNamespaces;
import io.tailwater.iptables.TestSockets;
import io.tailwater.iptables.TwoNamespaces;
import io.tailwater.iptables.apply.CommandRunner;
import io.tailwater.iptables.apply.Processes;
import io.tailwater.iptables.apply.ReleasableSet;
import io.tailwater.iptables.apply.RuleBackend;
import io.tailwater.iptables.apply.RulePrograms;
import io.tailwater.iptables.apply.TrafficRules;
import io.tailwater.iptables.libc.Errno;
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
import io.tailwater.iptables.rule.NamespaceRules;
import io.tailwater.iptables.rule.NodePlan;
import io.tailwater.iptables.rule.Strictness;
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

/// A pod, a server, and the rules of a closed pod between them, in the pod's namespace or on a node
/// that forwards; the verdicts are given by the test.
abstract class KernelPassFixture {
  static final Mark AGENT = new Mark(0x92345678, -1);
  private static final int SO_LINGER = 13;
  static final int PORT = 443;
  static final CapturePlan PLAN =
      CapturePlan.egress()
          .withAgent(AGENT)
          .withEarlier(EarlierConnections.CUT)
          .withStrictness(Strictness.NONE.withClosed(true).withKnownProtocolsOnly(true))
          .withKernelPass(KernelPass.STANDARD);

  final List<AutoCloseable> open = new ArrayList<>();
  final List<Integer> sockets = new ArrayList<>();
  final HeldPackets held = new HeldPackets();
  NetworkNamespace pod;
  NetworkNamespace home;
  NetworkNamespace outside;
  PacketQueue.Place place;
  ReleasableSet.Element element;
  Optional<Mark> agent;
  ReleasableSet set;
  NetlinkPoller poller;
  PacketQueue queue;
  Conntrack conntrack;
  InetSocketAddress server;
  int listener;

  @BeforeAll
  static void warm() {
    NetworkNamespace.warmUp();
  }

  /// Where the rules stand, and who keeps them.
  record Where(RuleBackend backend, IpFamily family, PacketQueue.Place place) {
    boolean four() {
      return family == IpFamily.V4;
    }

    boolean inPod() {
      return place == PacketQueue.Place.POD;
    }
  }

  static Stream<Where> everywhere() {
    return Stream.of(RuleBackend.IPTABLES_NFT, RuleBackend.IPTABLES_LEGACY)
        .flatMap(backend ->
            Stream.of(IpFamily.values())
                .flatMap(family ->
                    Stream.of(PacketQueue.Place.values())
                        .map(place -> new Where(backend, family, place))));
  }

  /// The same for what does not depend on who keeps the rules.
  static Stream<Where> families() {
    return everywhere().filter(where -> where.backend() == RuleBackend.IPTABLES_NFT);
  }

  static Stream<Where> inPods() {
    return families().filter(Where::inPod);
  }

  void build(Where where) {
    build(where, PLAN);
  }

  void build(Where where, CapturePlan plan) {
    CommandRunner processes = new Processes();
    TrafficRules rules =
        new TrafficRules(RulePrograms.detect(Optional.of(where.backend()), processes), processes);
    if (where.inPod()) {
      TwoNamespaces net = keep(new TwoNamespaces());
      pod = net.pod();
      home = pod;
      outside = net.server();
      server = at(where.four() ? TwoNamespaces.SERVER_V4 : TwoNamespaces.SERVER_V6);
      set = keep(ReleasableSet.inPod(home, where.backend()));
      element = ReleasableSet.Element.of(server, 60);
      agent = Optional.of(AGENT);
      prepare(rules, NamespaceRules.of(plan));
    } else {
      NodeNamespaces net = keep(new NodeNamespaces());
      pod = net.pod();
      home = net.node();
      outside = net.server();
      server = at(where.four() ? NodeNamespaces.SERVER_V4 : NodeNamespaces.SERVER_V6);
      set = keep(ReleasableSet.onNode(home, where.backend()));
      List<InetAddress> addresses =
          List.of(
              InetAddress.ofLiteral(NodeNamespaces.POD_V4),
              InetAddress.ofLiteral(NodeNamespaces.POD_V6));
      element = ReleasableSet.Element.of(addresses.get(where.four() ? 0 : 1), server, 60);
      agent = Optional.empty();
      NodePlan.Pod one = new NodePlan.Pod(List.of(NodeNamespaces.HOST_SIDE), addresses, plan);
      NodePlan node = new NodePlan(List.of(one), List.of(), Optional.empty());
      prepare(rules, NamespaceRules.of(node));
    }
    poller = keep(new NetlinkPoller("test-gate").start());
    place = where.place();
    queue = reader();
    conntrack = keep(Conntrack.open(home));
    listener = outside.call(() -> TestSockets.listen(server));
    sockets.add(listener);
  }

  static InetSocketAddress at(String address) {
    return new InetSocketAddress(InetAddress.ofLiteral(address), PORT);
  }

  void prepare(TrafficRules rules, NamespaceRules wanted) {
    Conntrack.prepare(home);
    rules.install(home, wanted);
    assertThat(rules.verify(home, wanted)).isEqualTo(new Drift.None());
    assertThat(set.add(List.of(element))).isZero();
  }

  PacketQueue reader() {
    return keep(
        PacketQueue.open(home, KernelPass.STANDARD, KernelPass.HELD, place).start(poller, held));
  }

  <T extends AutoCloseable> T keep(T resource) {
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

  /// Both ends of a connection whose SYN has been seen, and let pass where it was held.
  record Connected(int client, int server, Held syn) {}

  Connected connect() throws InterruptedException {
    return connect(client());
  }

  Connected connect(int client) throws InterruptedException {
    BlockingQueue<Integer> done = new LinkedBlockingQueue<>();
    Thread dialling =
        Thread.ofPlatform().start(() -> done.add(TestSockets.connect(client, server)));
    Held syn = held.next();
    assertThat(syn.isSyn()).isTrue();
    assertThat(syn.isLogged()).isEqualTo(place == PacketQueue.Place.POD);
    if (!syn.isLogged()) {
      assertThat(queue.accept(syn.id())).isZero();
    }
    dialling.join(5000);
    assertThat(done.poll(1, TimeUnit.SECONDS)).isZero();
    int accepted = TestSockets.accept(listener);
    assertThat(accepted).isNotNegative();
    sockets.add(accepted);
    return new Connected(client, accepted, syn);
  }

  /// With these address and port.
  int client(InetSocketAddress from) {
    int client = client();
    assertThat(TestSockets.bind(client, from)).isZero();
    return client;
  }

  int client() {
    int client = pod.call(() -> TestSockets.socket(server.getAddress(), Syscalls.SOCK_STREAM));
    sockets.add(client);
    return client;
  }

  void close(int socket) {
    sockets.remove(Integer.valueOf(socket));
    Syscalls.close(socket);
  }

  /// So that the other side is told by a reset.
  void reset(int socket) {
    byte[] atOnce = {1, 0, 0, 0, 0, 0, 0, 0};
    Syscalls.setsockopt(socket, Syscalls.SOL_SOCKET, SO_LINGER, atOnce);
    close(socket);
  }

  /// Has the pod say something at once, which is held.
  Held said(Connected connection, String text) throws InterruptedException {
    noDelay(connection.client());
    write(connection.client(), text);
    return held.next();
  }

  static long write(int fd, String text) {
    byte[] bytes = text.getBytes(StandardCharsets.ISO_8859_1);
    return TestSockets.write(fd, ByteBuffer.allocateDirect(bytes.length).put(bytes).flip());
  }

  /// What is there, within two seconds; the error's number, with a minus, else.
  static String read(int fd, int most) {
    ByteBuffer into = ByteBuffer.allocateDirect(most);
    long length = TestSockets.read(fd, into);
    if (length < 0) {
      return Errno.describe((int) -length);
    }
    byte[] bytes = new byte[(int) length];
    into.get(bytes);
    return new String(bytes, StandardCharsets.ISO_8859_1);
  }

  static String readAll(int fd, int bytes) {
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

  ConntrackEntry entry(Connected connection) {
    return conntrack.find(connection.syn().flow()).orElseThrow();
  }

  Connected released() throws InterruptedException {
    Connected connection = connect();
    assertThat(write(connection.client(), "hello")).isEqualTo(5);
    Held hello = held.next();
    assertThat(queue.release(hello.id(), hello.flow())).isZero();
    assertThat(read(connection.server(), 100)).isEqualTo("hello");
    return connection;
  }

  static String inside(NetworkNamespace namespace, String command) {
    return TwoNamespaces.run("nsenter", "--net=" + namespace.path(), "--", "sh", "-c", command);
  }

  /// Otherwise the second segment would wait until the first has left.
  void noDelay(int socket) {
    inside(pod, "sysctl -qw net.ipv4.tcp_autocorking=0");
    Syscalls.setsockopt(socket, Syscalls.IPPROTO_TCP, 1, 1);
  }
}
