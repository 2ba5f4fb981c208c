package io.tailwater.perf.code;

import io.tailwater.agent.dataplane.account.ConnectionObserver;
import io.tailwater.agent.dataplane.account.ConnectionRecord;
import io.tailwater.agent.dataplane.account.Outcome;
import io.tailwater.agent.dataplane.connect.Candidates;
import io.tailwater.agent.dataplane.connect.Connector;
import io.tailwater.agent.dataplane.connect.TlsOrigination;
import io.tailwater.agent.dataplane.flow.Admission;
import io.tailwater.agent.dataplane.flow.FlowLimits;
import io.tailwater.agent.dataplane.flow.ServedPod;
import io.tailwater.agent.dataplane.flow.Stages;
import io.tailwater.agent.dataplane.gate.ClientHelloGate;
import io.tailwater.agent.dataplane.gate.GateCounts;
import io.tailwater.agent.dataplane.gate.GatedPod;
import io.tailwater.agent.dataplane.gate.ReleasableAddresses;
import io.tailwater.agent.dataplane.gate.ReleasedConnections;
import io.tailwater.agent.dataplane.gate.ReleasedFile;
import io.tailwater.agent.dataplane.resolve.AddressFilter;
import io.tailwater.agent.dataplane.resolve.Addresses;
import io.tailwater.agent.dataplane.resolve.Resolver;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.CurrentRoutes;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.RouteTable;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.dataplane.tls.Credentials;
import io.tailwater.agent.dataplane.tls.TlsContexts;
import io.tailwater.agent.dataplane.transport.SocketPlace;
import io.tailwater.agent.dataplane.transport.StreamSocket;
import io.tailwater.agent.dataplane.upstream.AnyThreadRandom;
import io.tailwater.agent.dataplane.upstream.Clusters;
import io.tailwater.agent.dataplane.upstream.EndpointPicker;
import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.agent.traffic.Grade;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.PodRef;
import io.tailwater.agent.traffic.ResourceRef;
import io.tailwater.iptables.queue.Checksums;
import io.tailwater.iptables.queue.EndSegment;
import io.tailwater.iptables.queue.FlowTuple;
import io.tailwater.iptables.queue.SocketDiag;
import io.tailwater.perf.wire.ClientHello;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.StandardProtocolFamily;
import java.nio.ByteBuffer;
import java.time.Clock;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;

/// The life of a connection that the kernel carries in a pod, as the gate's thread lives it: its
/// SYN is told, its hello is held, read, decided and released, both its ends are told. The kernel
/// says yes to everything and costs nothing.
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class GateBenchmark {
  private static final int SYN = 2;
  private static final int FIN_ACK = 17;
  private static final int PSH_ACK = 24;
  private static final int PORTS = 20_000;
  private static final int FIRST_PORT = 30_000;
  private static final int ISN = 1_000;

  private static final HostName NAME = HostName.of("www.some-name.example.com");
  private static final InetAddress POD = InetAddress.ofLiteral("10.244.0.2");
  private static final InetAddress SERVER = InetAddress.ofLiteral("198.51.100.10");

  private final ByteBuffer syn = segment(ISN, SYN, new byte[0]);
  private final byte[] record = ClientHello.record(NAME.text(), 7);
  private final ByteBuffer hello = segment(ISN + 1, PSH_ACK, record);
  private final YesKernel kernel = new YesKernel(record.length);
  private @Nullable ClientHelloGate gate;
  private @Nullable GatedPod pod;
  private @Nullable ReleasedConnections released;
  private int connections;
  private int at;

  /// Nanoseconds; a tenth of a millisecond for each connection.
  private long now = TimeUnit.HOURS.toNanos(1);

  /// One pod whose only name has one address.
  @Setup
  public void open() {
    Resolver resolver = new OneName();
    AddressFilter filter = new AnyAddress();
    Candidates candidates = new Candidates(resolver, filter);
    Clusters clusters = new Clusters();
    Nobody observer = new Nobody();
    GateCounts counts = new GateCounts();
    RouteTable table = new OneDecision();
    Executor threads = Runnable::run;
    Stages stages =
        new Stages(
            FlowLimits.DEFAULTS,
            new Admission(FlowLimits.DEFAULTS, 1_000_000),
            new CurrentRoutes(table),
            new Connector(
                candidates,
                clusters,
                new EndpointPicker(new AnyThreadRandom()),
                new TlsOrigination(
                    new TlsContexts(Credentials.NONE, threads, System::nanoTime), threads),
                FlowLimits.DEFAULTS.connectTimeout()),
            clusters,
            observer,
            Grade.KERNEL);
    ServedPod served =
        new ServedPod(
            new Pod(new PodRef("default", "client"), "default", Map.of(), List.of(POD)),
            new NoSockets(),
            table);
    ReleasedConnections ends =
        new ReleasedConnections(
            clusters,
            observer,
            counts,
            ReleasedFile.none(() -> 0),
            () -> now,
            Clock.systemUTC(),
            true);
    pod =
        new GatedPod(
            served, kernel, kernel, new ReleasableAddresses(served, filter, table, kernel), true);
    gate =
        new ClientHelloGate(
            stages, candidates, ends, counts, threads, () -> now, Clock.systemUTC());
    released = ends;
  }

  private static ByteBuffer segment(int seq, int flags, byte[] payload) {
    ByteBuffer packet = ByteBuffer.allocateDirect(40 + payload.length);
    packet.put(0, (byte) 0x45).putShort(2, (short) packet.capacity());
    packet.putShort(6, (short) 0x4000).put(8, (byte) 64).put(9, (byte) 6);
    packet.put(12, POD.getAddress()).put(16, SERVER.getAddress());
    packet.putShort(20, (short) FIRST_PORT).putShort(22, (short) 443);
    packet.putInt(24, seq).putInt(28, flags == SYN ? 0 : 5001);
    packet.put(32, (byte) 0x50).put(33, (byte) flags).putShort(34, (short) 502);
    packet.put(40, payload);
    Checksums.set(packet);
    return packet;
  }

  /// One connection after the other, from 20,000 ports in turn.
  @Benchmark
  public int releasedConnection() {
    ClientHelloGate through = Objects.requireNonNull(gate);
    GatedPod from = Objects.requireNonNull(pod);
    int port = FIRST_PORT + connections++ % PORTS;
    syn.putShort(20, (short) port);
    hello.putShort(20, (short) port);
    through.begun(from, syn);
    int before = kernel.releases;
    through.packet(from, ++at, hello, true, false);
    if (kernel.releases != before + 1) {
      throw new IllegalStateException("not released");
    }
    FlowTuple tuple =
        FlowTuple.of(new InetSocketAddress(POD, port), new InetSocketAddress(SERVER, 443));
    ReleasedConnections ends = Objects.requireNonNull(released);
    ends.ending(from, new EndSegment(tuple, ISN + 1 + record.length, 6001, 0, FIN_ACK));
    ends.ending(from, new EndSegment(tuple.reversed(), 6001, ISN + 2 + record.length, 0, FIN_ACK));
    now += 100_000;
    if (connections % 1000 == 0) {
      through.tick();
    }
    return ends.count();
  }

  private static final class YesKernel
      implements io.tailwater.agent.dataplane.gate.Verdicts,
          io.tailwater.agent.dataplane.gate.KernelConnections,
          ReleasableAddresses.KernelSet {
    private final SocketDiag.Sent sent;
    private int releases;

    /// @param sent what its sockets say to have sent
    private YesKernel(int sent) {
      this.sent = new SocketDiag.Sent(sent, false);
    }

    @Override
    public void accept(int id) {}

    @Override
    public void accept(int id, ByteBuffer instead) {}

    @Override
    public void drop(int id) {}

    @Override
    public void release(FlowTuple tuple, int id) {
      releases++;
    }

    @Override
    public void release(FlowTuple tuple, int id, ByteBuffer instead) {
      releases++;
    }

    @Override
    public void release(FlowTuple tuple) {
      releases++;
    }

    @Override
    public void send(ByteBuffer packet) {}

    @Override
    public void refuse(FlowTuple tuple, int id, int seq, int ack) {}

    @Override
    public void refuse(FlowTuple tuple, int seq, int ack) {}

    @Override
    public boolean isOpen(FlowTuple tuple) {
      return true;
    }

    @Override
    public Optional<Bytes> bytes(FlowTuple tuple) {
      return Optional.empty();
    }

    @Override
    public SocketDiag.Sent sent(FlowTuple tuple) {
      return sent;
    }

    @Override
    public Map<FlowTuple, Bytes> released() {
      return Map.of();
    }

    @Override
    public void end(FlowTuple tuple) {}

    @Override
    public void add(InetAddress address, int port, long seconds) {}

    @Override
    public void remove(InetAddress address, int port) {}
  }

  private static final class OneDecision implements RouteTable, ClientView {
    private static final Decision FORWARD =
        new Decision.Forward(
            new Decision.Destination(
                "outbound|443||*.example.com", "*.example.com", "default", 443),
            NAME.text(),
            new Target.Endpoints(List.of(new Target.Endpoint.Name(NAME, 443))),
            new AddressRule(AddressRule.Scope.NEVER_LIST_AND_PRIVATE, List.of()),
            new ResourceRef("ServiceEntry", "default", "example"),
            false);

    @Override
    public long generation() {
      return 1;
    }

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
      return Ask.PREFACE;
    }

    @Override
    public Decision decide(OriginalDst dst, Preface preface) {
      return FORWARD;
    }
  }

  private static final class OneName implements Resolver {
    private final Addresses found = new Addresses.Found(List.of(SERVER), false);

    @Override
    public long secondsLeft(HostName name) {
      return 30;
    }

    @Override
    public Addresses ifPresent(PodRef tenant, HostName name) {
      return found;
    }

    @Override
    public void resolve(PodRef tenant, HostName name, Executor loop, Consumer<Addresses> answer) {
      answer.accept(found);
    }
  }

  private static final class AnyAddress implements AddressFilter {
    @Override
    public boolean admits(InetAddress address, AddressRule rule) {
      return true;
    }

    @Override
    public String reason(InetAddress address, AddressRule rule) {
      return "";
    }
  }

  private static final class NoSockets implements SocketPlace {
    @Override
    public void sockets(StandardProtocolFamily family, int count, List<StreamSocket> made) {
      throw new IllegalStateException("the gate makes no sockets");
    }

    @Override
    public boolean hasIpv6() {
      return true;
    }
  }

  private static final class Nobody implements ConnectionObserver {
    @Override
    public void accepted(ConnectionRecord connection) {}

    @Override
    public void opened(ConnectionRecord connection) {}

    @Override
    public void opened(ConnectionRecord connection, Decision first) {}

    @Override
    public void progress(ConnectionRecord connection, long sent, long received) {}

    @Override
    public void request(ConnectionRecord request, Outcome outcome) {}

    @Override
    public void ended(ConnectionRecord connection, Outcome outcome) {}
  }
}
