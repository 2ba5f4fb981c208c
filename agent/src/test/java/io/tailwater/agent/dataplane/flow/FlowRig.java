package io.tailwater.agent.dataplane.flow;

import static org.assertj.core.api.Assertions.assertThat;

import io.netty.channel.EventLoop;
import io.netty.channel.IoHandlerFactory;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.tailwater.agent.dataplane.accept.InterceptListener;
import io.tailwater.agent.dataplane.account.ConnectionObserver;
import io.tailwater.agent.dataplane.account.ConnectionRecord;
import io.tailwater.agent.dataplane.account.Outcome;
import io.tailwater.agent.dataplane.connect.Candidates;
import io.tailwater.agent.dataplane.connect.TestConnectors;
import io.tailwater.agent.dataplane.resolve.AddressFilter;
import io.tailwater.agent.dataplane.resolve.Addresses;
import io.tailwater.agent.dataplane.resolve.Resolver;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.CurrentRoutes;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.RouteTable;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.dataplane.transport.EpollTransport;
import io.tailwater.agent.dataplane.transport.ListeningPlace;
import io.tailwater.agent.dataplane.transport.ListeningSocket;
import io.tailwater.agent.dataplane.transport.NioTransport;
import io.tailwater.agent.dataplane.transport.SocketMaker;
import io.tailwater.agent.dataplane.transport.SocketPlace;
import io.tailwater.agent.dataplane.transport.StreamSocket;
import io.tailwater.agent.dataplane.transport.Transport;
import io.tailwater.agent.dataplane.transport.UdpSocket;
import io.tailwater.agent.dataplane.upstream.Clusters;
import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.agent.traffic.Grade;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.PodRef;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.agent.traffic.ResourceRef;
import io.tailwater.iptables.libc.Syscalls;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.StandardProtocolFamily;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.LongAdder;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/// One worker behind a loopback listener, with a script in place of policy, DNS, address filter and
/// capture. What the script does not foresee fails the connection and is kept in [#surprises].
final class FlowRig implements AutoCloseable {
  static final InetAddress LOOPBACK = InetAddress.ofLiteral("127.0.0.1");
  static final String CLUSTER = "outbound|443||*.example.com";
  static final Duration PATIENCE = Duration.ofSeconds(20);

  /// Copying on NIO, or splicing on epoll.
  enum Way {
    NIO,
    EPOLL
  }

  /// One connection as the observer was told of it.
  static final class Told {
    final ConnectionRecord record;
    final List<String> events = new CopyOnWriteArrayList<>();
    final LongAdder sent = new LongAdder();
    final LongAdder received = new LongAdder();
    volatile @Nullable Outcome outcome;

    Told(ConnectionRecord record) {
      this.record = record;
    }
  }

  final List<String> surprises = new CopyOnWriteArrayList<>();
  final List<Told> told = new CopyOnWriteArrayList<>();
  final List<Told> requests = new CopyOnWriteArrayList<>();
  final Map<HostName, Addresses> dns = new ConcurrentHashMap<>();
  final List<Runnable> laterAnswers = new CopyOnWriteArrayList<>();
  final Clusters clusters = new Clusters();
  final CurrentRoutes routes;
  final Admission admission;
  final Workers workers;
  final ServedPod pod;
  private final MultiThreadIoEventLoopGroup group;
  private final Worker worker;
  private final InterceptListener listener;
  private final int port;
  volatile OriginalDst dialled = new OriginalDst(InetAddress.ofLiteral("203.0.113.9"), 443);
  volatile boolean dnsIsSlow;

  FlowRig(Way way, FlowLimits limits, RouteTable first) throws IOException {
    Syscalls.warmUp();
    Transport real =
        way == Way.EPOLL ? new EpollTransport() : new NioTransport(_ -> Optional.empty());
    Transport transport = new Redirecting(real);
    group = new MultiThreadIoEventLoopGroup(1, transport.ioHandlers());
    EventLoop loop = group.next();
    SocketMaker maker = new SocketMaker(loop, "sockets");
    maker.start();
    routes = new CurrentRoutes(first);
    admission = new Admission(limits, 1_000_000);
    Stages stages =
        new Stages(
            limits,
            admission,
            routes,
            TestConnectors.connector(
                new Candidates(new Script(), new TenIsPrivate()),
                clusters,
                limits.connectTimeout()),
            clusters,
            new Recorder(),
            way == Way.EPOLL ? Grade.SPLICE : Grade.COPY);
    worker = new Worker(1, loop, maker, stages);
    workers = new Workers(List.of(worker), admission);
    Loopback place = new Loopback(transport);
    pod =
        new ServedPod(
            new Pod(new PodRef("default", "ratings"), "default", Map.of(), List.of()),
            place,
            first);
    try (ServerSocket free = new ServerSocket(0)) {
      port = free.getLocalPort();
    }
    listener = InterceptListener.open(place, port, List.of(worker.lineFor(pod)));
  }

  static FlowRig of(Way way, RouteTable table) throws IOException {
    return new FlowRig(way, FlowLimits.DEFAULTS, table);
  }

  static FlowLimits limits(int connections, int perPod, int handshakes) {
    return new FlowLimits(
        connections,
        perPod,
        handshakes,
        16384,
        Duration.ofSeconds(20),
        Duration.ofSeconds(20),
        Duration.ofHours(1));
  }

  /// Short times, for what is to pass.
  static FlowLimits hasty() {
    return new FlowLimits(
        0, 100, 100, 16384, Duration.ofMillis(150), Duration.ofMillis(700), Duration.ofHours(1));
  }

  // ---- policy

  /// A table with one view for everybody.
  record Table(long generation, ClientView.Ask asked, Function<Preface, Decision> judge)
      implements RouteTable, ClientView {
    @Override
    public ClientView view(Pod pod) {
      return this;
    }

    @Override
    public EgressMode mode() {
      return EgressMode.ENFORCE;
    }

    @Override
    public boolean registryOnly() {
      return true;
    }

    @Override
    public Ask ask(OriginalDst dst) {
      return asked;
    }

    @Override
    public Decision decide(OriginalDst dst, Preface preface) {
      return judge.apply(preface);
    }
  }

  /// By name: TLS goes on to the name at `port`, everything else is refused.
  static Table byName(int port) {
    return new Table(
        1,
        ClientView.Ask.PREFACE,
        preface ->
            switch (preface) {
              case Preface.Tls(HostName sni, _) ->
                  forward(sni.toString(), false, new Target.Endpoint.Name(sni, port));
              case Preface.MalformedTls _ -> refuse(Refusal.MALFORMED_HELLO);
              case Preface.TlsWithoutName _ -> refuse(Refusal.NO_SNI);
              case Preface.Silent _ -> refuse(Refusal.HELLO_TIMEOUT);
              case Preface.Http _, Preface.Opaque _ -> refuse(Refusal.CONNECTION_CLOSED);
            });
  }

  /// Decides at once, whatever the client says.
  static Table atOnce(Decision decision) {
    return new Table(
        1,
        ClientView.Ask.NOTHING,
        preface -> {
          assertThat(preface).isEqualTo(new Preface.Silent());
          return decision;
        });
  }

  static Decision passthrough() {
    return new Decision.Passthrough(Optional.empty(), Optional.empty());
  }

  static Decision refuse(Refusal why) {
    return new Decision.Refuse(why, Optional.of(Decision.BLACK_HOLE), Optional.empty());
  }

  static Decision forward(String host, boolean auditing, Target.Endpoint... endpoints) {
    return new Decision.Forward(
        new Decision.Destination(CLUSTER, "*.example.com", "default", 443),
        host,
        new Target.Endpoints(List.of(endpoints)),
        new AddressRule(AddressRule.Scope.NEVER_LIST_AND_PRIVATE, List.of()),
        new ResourceRef("ServiceEntry", "default", "example"),
        auditing);
  }

  /// Goes to endpoints as a DestinationRule says.
  static Decision forward(ConnectionPolicy policy, Target.Endpoint... endpoints) {
    return new Decision.Forward(
        new Decision.Destination(CLUSTER, "api.example.com", "default", 443, policy),
        "api.example.com",
        new Target.Endpoints(List.of(endpoints)),
        new AddressRule(AddressRule.Scope.NEVER_LIST_AND_PRIVATE, List.of()),
        new ResourceRef("ServiceEntry", "default", "example"),
        false);
  }

  static Target.Endpoint address(int port) {
    return new Target.Endpoint.Address(new InetSocketAddress(LOOPBACK, port));
  }

  // ---- peers

  SocketChannel connect() throws IOException {
    return SocketChannel.open(new InetSocketAddress(LOOPBACK, port));
  }

  static ServerSocketChannel upstream() throws IOException {
    return ServerSocketChannel.open().bind(new InetSocketAddress(LOOPBACK, 0));
  }

  static int port(ServerSocketChannel upstream) throws IOException {
    return ((InetSocketAddress) upstream.getLocalAddress()).getPort();
  }

  /// A port where nobody listens.
  static int closedPort() throws IOException {
    try (ServerSocket free = new ServerSocket(0)) {
      return free.getLocalPort();
    }
  }

  static void write(SocketChannel to, byte[] bytes) throws IOException {
    ByteBuffer buffer = ByteBuffer.wrap(bytes);
    while (buffer.hasRemaining()) {
      to.write(buffer);
    }
  }

  static byte[] readToEnd(SocketChannel from) throws IOException {
    var all = new java.io.ByteArrayOutputStream();
    ByteBuffer buffer = ByteBuffer.allocate(64 << 10);
    while (from.read(buffer.clear()) >= 0) {
      all.write(buffer.array(), 0, buffer.position());
    }
    return all.toByteArray();
  }

  static byte[] read(SocketChannel from, int length) throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate(length);
    while (buffer.hasRemaining()) {
      assertThat(from.read(buffer)).as("bytes before FIN").isNotNegative();
    }
    return buffer.array();
  }

  static void reset(SocketChannel channel) throws IOException {
    channel.setOption(StandardSocketOptions.SO_LINGER, 0);
    channel.close();
  }

  // ---- what happened

  Told only() {
    await("one connection", () -> told.size() == 1);
    return told.getFirst();
  }

  void awaitRelaying() {
    await(
        "relaying",
        () -> workers.snapshot().join().stream().anyMatch(r -> r.stage().equals("relaying")));
  }

  /// The only connection, after its end: told in order, exactly once, and counted back.
  Told ended() {
    Told one = only();
    await("the end", () -> one.outcome != null);
    assertNothingIsLeft();
    assertThat(one.events).startsWith("accepted").endsWith("ended");
    assertThat(one.events.stream().filter("ended"::equals)).hasSize(1);
    assertThat(one.record.stage()).isEqualTo("closed");
    return one;
  }

  Outcome refusedWith(Refusal why) {
    Told one = ended();
    assertThat(one.outcome).isInstanceOf(Outcome.Refused.class);
    assertThat(((Outcome.Refused) one.outcome).why()).isEqualTo(why);
    return one.outcome;
  }

  void assertNothingIsLeft() {
    await(
        "limits counted back", () -> admission.connections() == 0 && pod.connections().get() == 0);
    assertThat(admission.handshakes()).isZero();
    assertThat(workers.snapshot().join()).isEmpty();
    assertThat(surprises).isEmpty();
  }

  static void await(String what, BooleanSupplier condition) {
    long deadline = System.nanoTime() + PATIENCE.toNanos();
    while (!condition.getAsBoolean()) {
      assertThat(System.nanoTime() - deadline).as("waiting for: %s", what).isNegative();
      LockSupport.parkNanos(500_000);
    }
  }

  @Override
  public void close() {
    listener.close();
    workers.endAll();
    worker.close();
    group.shutdownGracefully(0, 5, TimeUnit.SECONDS).syncUninterruptibly();
    assertThat(surprises).isEmpty();
  }

  // ---- the scripted neighbours

  private final class Recorder implements ConnectionObserver {
    private final Map<ConnectionRecord, Told> known = new ConcurrentHashMap<>();

    @Override
    public void accepted(ConnectionRecord connection) {
      Told one = new Told(connection);
      known.put(connection, one);
      one.events.add("accepted");
      told.add(one);
    }

    @Override
    public void opened(ConnectionRecord connection) {
      known.get(connection).events.add("opened");
    }

    @Override
    public void opened(ConnectionRecord connection, Decision first) {
      known.get(connection).events.add("opened to " + first.cluster().orElse("nothing"));
    }

    @Override
    public void progress(ConnectionRecord connection, long sent, long received) {
      Told one = known.get(connection);
      one.sent.add(sent);
      one.received.add(received);
      if (one.outcome != null) {
        surprises.add("progress after the end");
      }
    }

    @Override
    public void request(ConnectionRecord request, Outcome outcome) {
      Told one = new Told(request);
      one.outcome = outcome;
      requests.add(one);
    }

    @Override
    public void ended(ConnectionRecord connection, Outcome outcome) {
      Told one = known.get(connection);
      one.events.add("ended");
      one.outcome = outcome;
    }
  }

  private final class Script implements Resolver {
    @Override
    public @Nullable Addresses ifPresent(PodRef tenant, HostName name) {
      return null;
    }

    @Override
    public void resolve(PodRef tenant, HostName name, Executor loop, Consumer<Addresses> answer) {
      Addresses known = dns.get(name);
      if (known == null) {
        surprises.add("nobody should look up " + name);
        known = new Addresses.Failed(Addresses.Failure.NO_SUCH_NAME, "not in the script");
      }
      Addresses result = known;
      if (dnsIsSlow) {
        laterAnswers.add(() -> loop.execute(() -> answer.accept(result)));
      } else {
        loop.execute(() -> answer.accept(result));
      }
    }
  }

  /// 10.0.0.0/8 is refused, loopback is where the test's upstreams are.
  private static final class TenIsPrivate implements AddressFilter {
    @Override
    public boolean admits(InetAddress address, AddressRule rule) {
      return address.getAddress()[0] != 10;
    }

    @Override
    public String reason(InetAddress address, AddressRule rule) {
      return "is in 10.0.0.0/8";
    }
  }

  private record Loopback(Transport transport) implements SocketPlace, ListeningPlace {
    @Override
    public List<InetAddress> addresses() {
      return List.of(InetAddress.ofLiteral("0.0.0.0"));
    }

    @Override
    public boolean isTransparent() {
      return false;
    }

    @Override
    public ListeningSocket listener(InetAddress at) {
      return transport.listener(StandardProtocolFamily.INET, 0);
    }

    @Override
    public void sockets(StandardProtocolFamily family, int count, List<StreamSocket> made) {
      for (int i = 0; i < count; i++) {
        made.add(transport.socket(family, 0));
      }
    }

    @Override
    public boolean hasIpv6() {
      return false;
    }
  }

  /// Says of each connection that it was dialled to where the test wants.
  private final class Redirecting implements Transport {
    private final Transport real;

    Redirecting(Transport real) {
      this.real = real;
    }

    @Override
    public String name() {
      return real.name();
    }

    @Override
    public IoHandlerFactory ioHandlers() {
      return real.ioHandlers();
    }

    @Override
    public ListeningSocket listener(StandardProtocolFamily family, int mark) {
      ListeningSocket listener = real.listener(family, mark);
      return new ListeningSocket() {
        @Override
        public void open(EventLoop loop, InetSocketAddress address, int backlog, Intake intake)
            throws Exception {
          listener.open(loop, address, backlog, redirecting(intake));
        }

        @Override
        public void pause() {
          listener.pause();
        }

        @Override
        public void resume() {
          listener.resume();
        }

        @Override
        public void close() {
          listener.close();
        }
      };
    }

    @Override
    public ListeningSocket transparentListener(StandardProtocolFamily family, int mark) {
      throw new UnsupportedOperationException("this rig redirects");
    }

    @Override
    public StreamSocket socketAt(InetAddress source, int mark) {
      throw new UnsupportedOperationException("this rig redirects");
    }

    private ListeningSocket.Intake redirecting(ListeningSocket.Intake intake) {
      return new ListeningSocket.Intake() {
        @Override
        public void accepted(
            StreamSocket socket, InetSocketAddress peer, Optional<OriginalDst> redirected) {
          intake.accepted(socket, peer, Optional.ofNullable(dialled.port() == 0 ? null : dialled));
        }

        @Override
        public void failed(Throwable why) {
          intake.failed(why);
        }
      };
    }

    @Override
    public StreamSocket socket(StandardProtocolFamily family, int mark) {
      return real.socket(family, mark);
    }

    @Override
    public UdpSocket udp(StandardProtocolFamily family, int mark) {
      return real.udp(family, mark);
    }

    @Override
    public boolean splices() {
      return real.splices();
    }
  }
}
