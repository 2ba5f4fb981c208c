package io.tailwater.agent.dataplane.gate;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.account.ConnectionObserver;
import io.tailwater.agent.dataplane.account.ConnectionRecord;
import io.tailwater.agent.dataplane.account.Outcome;
import io.tailwater.agent.dataplane.connect.Candidates;
import io.tailwater.agent.dataplane.connect.TestConnectors;
import io.tailwater.agent.dataplane.flow.Admission;
import io.tailwater.agent.dataplane.flow.FlowLimits;
import io.tailwater.agent.dataplane.flow.ServedPod;
import io.tailwater.agent.dataplane.flow.Stages;
import io.tailwater.agent.dataplane.resolve.AddressFilter;
import io.tailwater.agent.dataplane.resolve.Addresses;
import io.tailwater.agent.dataplane.resolve.Resolver;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.CurrentRoutes;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.RouteTable;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.dataplane.transport.SocketPlace;
import io.tailwater.agent.dataplane.transport.StreamSocket;
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
import io.tailwater.iptables.queue.EndSegment;
import io.tailwater.iptables.queue.FlowTuple;
import io.tailwater.iptables.queue.SocketDiag;
import java.net.InetAddress;
import java.net.StandardProtocolFamily;
import java.nio.ByteBuffer;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.function.BiFunction;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/// A gate with a script in place of kernel, policy, DNS and time. Everything on the test's thread.
final class GateRig {
  static final String CLUSTER = "outbound|443||*.example.com";
  static final FlowTuple TUPLE = FlowTuple.of(Packets.POD, Packets.SERVER);
  static final PodRef RATINGS = new PodRef("default", "ratings");

  /// Sequence number of the SYN: near the wrap, so that every test crosses it.
  static final int ISN = -200;

  static final int FIRST = ISN + 1;

  /// What the server has sent before: its SYN.
  static final int ACKED = 5001;

  /// Of every look-up, in seconds.
  static final long TTL = 30;

  long now = TimeUnit.HOURS.toNanos(1);
  final List<String> verdicts = new ArrayList<>();
  final List<byte[]> rewritten = new ArrayList<>();
  final List<Told> told = new ArrayList<>();
  final Map<HostName, Addresses> dns = new HashMap<>();
  final ArrayDeque<Runnable> tasks = new ArrayDeque<>();
  final Map<FlowTuple, KernelConnections.Bytes> inKernel = new HashMap<>();
  final List<String> inSet = new ArrayList<>();
  final Clusters clusters = new Clusters();
  final GateCounts counts = new GateCounts();
  final CurrentRoutes routes;
  final Admission admission;
  final FlowLimits limits;
  final ServedPod served;
  final ReleasableAddresses addresses;
  final ReleasedConnections released;
  final ClientHelloGate gate;
  final GatedPod pod;
  boolean open = true;
  boolean present = true;

  /// What the pod's socket says to have sent; less than 0: what was seen.
  long sent = -1;

  /// Whether the pod's socket says that its timer has run out.
  boolean again;

  /// Nothing is written down.
  boolean quiet;

  private int lastId;

  /// One connection as the observer was told of it.
  static final class Told {
    final ConnectionRecord record;
    final List<String> events = new ArrayList<>();
    long sent;
    long received;
    @Nullable Outcome outcome;

    Told(ConnectionRecord record) {
      this.record = record;
    }
  }

  GateRig(FlowLimits limits, RouteTable table, ReleasedFile file, boolean genuine) {
    this(limits, table, file, genuine, true);
  }

  GateRig(
      FlowLimits limits, RouteTable table, ReleasedFile file, boolean genuine, boolean revokes) {
    this.limits = limits;
    routes = new CurrentRoutes(table);
    admission = new Admission(limits, 1_000_000);
    Candidates candidates = new Candidates(new Script(), new TenIsPrivate());
    Recorder observer = new Recorder();
    Stages stages =
        new Stages(
            limits,
            admission,
            routes,
            TestConnectors.connector(candidates, clusters, limits.connectTimeout()),
            clusters,
            observer,
            Grade.KERNEL);
    served =
        new ServedPod(
            new Pod(RATINGS, "default", Map.of(), List.of(Packets.POD.getAddress())),
            new Nowhere(),
            table);
    addresses = new ReleasableAddresses(served, new TenIsPrivate(), table, new Set());
    Kernel kernel = new Kernel();
    pod = new GatedPod(served, kernel, kernel, addresses, genuine);
    Clock clock = Clock.fixed(Instant.parse("2026-11-21T18:00:00Z"), ZoneOffset.UTC);
    released = new ReleasedConnections(clusters, observer, counts, file, () -> now, clock, revokes);
    gate = new ClientHelloGate(stages, candidates, released, counts, tasks::add, () -> now, clock);
  }

  GateRig(RouteTable table) {
    this(FlowLimits.DEFAULTS, table, ReleasedFile.none(() -> 0), true);
  }

  /// `*.example.com` may be dialled on 443, whatever else is refused; DNS has one address for it.
  static GateRig usual() {
    return new GateRig(table());
  }

  static RouteTable table() {
    return table(1, (_, preface) -> byName(preface));
  }

  static RouteTable table(long generation, BiFunction<OriginalDst, Preface, Decision> judge) {
    return new Table(generation, judge);
  }

  static Decision byName(Preface preface) {
    return switch (preface) {
      case Preface.Tls(HostName sni, _) when sni.text().endsWith(".example.com") -> forward(sni);
      case Preface.MalformedTls _ -> refuse(Refusal.MALFORMED_HELLO);
      case Preface.TlsWithoutName _ -> refuse(Refusal.NO_SNI);
      case Preface.Silent _ -> refuse(Refusal.HELLO_TIMEOUT);
      case Preface.Tls _, Preface.Http _, Preface.Opaque _ -> refuse(Refusal.CONNECTION_CLOSED);
    };
  }

  static Decision refuse(Refusal why) {
    return new Decision.Refuse(why, Optional.of(Decision.BLACK_HOLE), Optional.empty());
  }

  static Decision.Forward forward(HostName name) {
    return forward(new Target.Endpoint.Name(name, 443), name.text());
  }

  static Decision.Forward forward(Target.Endpoint endpoint, String host) {
    return new Decision.Forward(
        new Decision.Destination(CLUSTER, "*.example.com", "default", 443),
        host,
        new Target.Endpoints(List.of(endpoint)),
        new AddressRule(AddressRule.Scope.NEVER_LIST_AND_PRIVATE, List.of()),
        new ResourceRef("ServiceEntry", "default", "example"),
        false);
  }

  record Table(long generation, BiFunction<OriginalDst, Preface, Decision> judge)
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
    public List<Integer> ports() {
      return List.of(443);
    }

    @Override
    public Ask ask(OriginalDst dst) {
      return dst.port() == 443 ? Ask.PREFACE : Ask.NOTHING;
    }

    @Override
    public Decision decide(OriginalDst dst, Preface preface) {
      return judge.apply(dst, preface);
    }
  }

  void found(String name, String... at) {
    dns.put(
        HostName.of(name),
        new Addresses.Found(
            java.util.Arrays.stream(at).map(InetAddress::ofLiteral).toList(), false));
  }

  // ---- packets

  int packet(int seq, int flags, byte[] payload) {
    return packet(seq, flags, payload, true, false);
  }

  int packet(int seq, int flags, byte[] payload, boolean genuine, boolean several) {
    byte[] options = (flags & Packets.SYN) != 0 ? Packets.SYN_OPTIONS : Packets.OPTIONS;
    ByteBuffer packet =
        Packets.segment(Packets.POD, Packets.SERVER, seq, ACKED, flags, options, payload);
    return packet(packet, genuine, several);
  }

  int packet(ByteBuffer packet, boolean genuine, boolean several) {
    gate.packet(pod, ++lastId, packet, genuine, several);
    return lastId;
  }

  int syn() {
    return packet(ISN, Packets.SYN, new byte[0]);
  }

  /// A SYN that has gone on, as the kernel logs it in a pod's namespace.
  void begun(int seq) {
    gate.begun(
        pod,
        Packets.segment(
            Packets.POD, Packets.SERVER, seq, 0, Packets.SYN, Packets.SYN_OPTIONS, new byte[0]));
  }

  /// Payload at a place of the stream.
  int data(int at, byte[] payload) {
    return packet(FIRST + at, Packets.ACK | Packets.PSH, payload);
  }

  /// FIN or RST of a released connection as the kernel logs them.
  void logged(boolean byPod, int seq, int ack, int payload, int flags) {
    released.ending(
        pod, new EndSegment(byPod ? TUPLE : TUPLE.reversed(), seq, ack, payload, flags));
  }

  void runTasks() {
    while (!tasks.isEmpty()) {
      tasks.remove().run();
    }
  }

  void pass(Duration time) {
    now += time.toNanos();
    gate.tick();
  }

  private long seen(FlowTuple tuple) {
    GatedConnection one = java.util.Objects.requireNonNull(pod.connections.get(tuple));
    return java.util.Objects.requireNonNull(one.read()).seen;
  }

  // ---- what came out

  Told only() {
    assertThat(told).hasSize(1);
    return told.getFirst();
  }

  void assertRefused(Refusal why) {
    Told one = told.getLast();
    assertThat(one.outcome).isInstanceOf(Outcome.Refused.class);
    assertThat(((Outcome.Refused) java.util.Objects.requireNonNull(one.outcome)).why())
        .isEqualTo(why);
    assertThat(one.events).containsExactly("accepted", "ended");
  }

  /// Every packet was answered exactly once, and nothing is waited for.
  void assertNothingIsLeft() {
    assertThat(admission.handshakes()).isZero();
    assertThat(gate.waiting()).isZero();
    List<Integer> answered =
        verdicts.stream()
            .filter(v -> v.contains("#"))
            .map(v -> Integer.valueOf(v.replaceAll(".*#(\\d+).*", "$1")))
            .sorted()
            .toList();
    assertThat(answered)
        .as("one verdict for each packet: %s", verdicts)
        .isEqualTo(java.util.stream.IntStream.rangeClosed(1, lastId).boxed().toList());
  }

  private final class Kernel implements Verdicts, KernelConnections {
    @Override
    public void accept(int id) {
      if (!quiet) {
        verdicts.add("accept #" + id);
      }
    }

    @Override
    public void accept(int id, ByteBuffer instead) {
      verdicts.add("accept other #" + id);
      keep(instead);
    }

    @Override
    public void drop(int id) {
      verdicts.add("drop #" + id);
    }

    @Override
    public void release(FlowTuple tuple, int id) {
      if (!quiet) {
        verdicts.add("release #" + id);
        inKernel.put(tuple, new Bytes(0, 0, false));
      }
    }

    @Override
    public void release(FlowTuple tuple, int id, ByteBuffer instead) {
      verdicts.add("release other #" + id);
      inKernel.put(tuple, new Bytes(0, 0, false));
      keep(instead);
    }

    @Override
    public void release(FlowTuple tuple) {
      verdicts.add("release");
      inKernel.put(tuple, new Bytes(0, 0, false));
    }

    @Override
    public void send(ByteBuffer packet) {
      verdicts.add("send");
      keep(packet);
    }

    @Override
    public void refuse(FlowTuple tuple, int id, int seq, int ack) {
      verdicts.add("refuse #" + id + " at " + (seq - FIRST) + "," + (ack - ACKED));
    }

    @Override
    public void refuse(FlowTuple tuple, int seq, int ack) {
      verdicts.add("refuse at " + (seq - FIRST));
    }

    @Override
    public boolean isOpen(FlowTuple tuple) {
      return open;
    }

    @Override
    public Optional<Bytes> bytes(FlowTuple tuple) {
      return Optional.ofNullable(inKernel.get(tuple));
    }

    @Override
    public SocketDiag.Sent sent(FlowTuple tuple) {
      return new SocketDiag.Sent(sent < 0 ? seen(tuple) : sent, again);
    }

    @Override
    public Map<FlowTuple, Bytes> released() {
      return Map.copyOf(inKernel);
    }

    @Override
    public void end(FlowTuple tuple) {
      verdicts.add("end");
      inKernel.remove(tuple);
    }

    private void keep(ByteBuffer packet) {
      byte[] bytes = new byte[packet.remaining()];
      packet.duplicate().get(bytes);
      rewritten.add(bytes);
    }
  }

  private final class Set implements ReleasableAddresses.KernelSet {
    @Override
    public void add(InetAddress address, int port, long seconds) {
      inSet.add("add " + new OriginalDst(address, port) + " " + seconds);
    }

    @Override
    public void remove(InetAddress address, int port) {
      inSet.add("remove " + new OriginalDst(address, port));
    }
  }

  private final class Recorder implements ConnectionObserver {
    private Told of(ConnectionRecord record) {
      return told.stream().filter(t -> t.record == record).findFirst().orElseThrow();
    }

    @Override
    public void accepted(ConnectionRecord connection) {
      Told one = new Told(connection);
      one.events.add("accepted");
      if (!quiet) {
        told.add(one);
      }
    }

    @Override
    public void opened(ConnectionRecord connection) {
      if (!quiet) {
        of(connection).events.add("opened");
      }
    }

    @Override
    public void opened(ConnectionRecord connection, Decision first) {
      throw new AssertionError("no requests here");
    }

    @Override
    public void progress(ConnectionRecord connection, long sent, long received) {
      if (quiet) {
        return;
      }
      Told one = of(connection);
      one.sent += sent;
      one.received += received;
    }

    @Override
    public void request(ConnectionRecord request, Outcome outcome) {
      throw new AssertionError("no requests here");
    }

    @Override
    public void ended(ConnectionRecord connection, Outcome outcome) {
      if (quiet) {
        return;
      }
      Told one = of(connection);
      assertThat(one.outcome).isNull();
      one.events.add("ended");
      one.outcome = outcome;
    }
  }

  /// What DNS says, as [#dns].
  Resolver resolver() {
    return new Script();
  }

  private final class Script implements Resolver {
    @Override
    public long secondsLeft(HostName name) {
      return dns.get(name) instanceof Addresses.Found ? TTL : 0;
    }

    @Override
    public @Nullable Addresses ifPresent(PodRef tenant, HostName name) {
      return present ? dns.get(name) : null;
    }

    @Override
    public void resolve(PodRef tenant, HostName name, Executor loop, Consumer<Addresses> answer) {
      Addresses known = dns.get(name);
      assertThat(known).as("nobody should look up %s", name).isNotNull();
      loop.execute(() -> answer.accept(java.util.Objects.requireNonNull(known)));
    }
  }

  /// 10.0.0.0/8 is refused.
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

  private static final class Nowhere implements SocketPlace {
    @Override
    public void sockets(StandardProtocolFamily family, int count, List<StreamSocket> made) {
      throw new AssertionError("the gate makes no sockets");
    }

    @Override
    public boolean hasIpv6() {
      return true;
    }
  }
}
