package io.tailwater.agent.control.capture;

import static org.assertj.core.api.Assertions.assertThat;

import io.netty.channel.EventLoop;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.tailwater.agent.dataplane.account.ConnectionObserver;
import io.tailwater.agent.dataplane.account.ConnectionRecord;
import io.tailwater.agent.dataplane.account.Outcome;
import io.tailwater.agent.dataplane.connect.Candidates;
import io.tailwater.agent.dataplane.connect.TestConnectors;
import io.tailwater.agent.dataplane.flow.Admission;
import io.tailwater.agent.dataplane.flow.FlowLimits;
import io.tailwater.agent.dataplane.flow.Stages;
import io.tailwater.agent.dataplane.flow.Worker;
import io.tailwater.agent.dataplane.flow.Workers;
import io.tailwater.agent.dataplane.resolve.AddressFilter;
import io.tailwater.agent.dataplane.resolve.Addresses;
import io.tailwater.agent.dataplane.resolve.Resolver;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.CurrentRoutes;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.RouteTable;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.dataplane.transport.SocketMaker;
import io.tailwater.agent.dataplane.transport.Transport;
import io.tailwater.agent.dataplane.upstream.Clusters;
import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.agent.traffic.Grade;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.PodRef;
import io.tailwater.iptables.apply.CommandRunner;
import io.tailwater.iptables.apply.EgressGuard;
import io.tailwater.iptables.apply.Processes;
import io.tailwater.iptables.apply.RuleBackend;
import io.tailwater.iptables.apply.RulePrograms;
import io.tailwater.iptables.apply.TrafficRules;
import io.tailwater.iptables.netlink.NetlinkPoller;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.Drift;
import io.tailwater.lab.NetLab;
import io.tailwater.lab.Place;
import io.tailwater.lab.Result;
import java.net.InetAddress;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/// The capture loop over real namespaces and rules, with a policy that lets everything pass.
final class CaptureRig implements AutoCloseable {
  /// Quick, so that a test need not wait half a minute for a repair.
  static final CapturePace QUICK =
      new CapturePace(
          TimeUnit.MILLISECONDS.toNanos(100),
          TimeUnit.MILLISECONDS.toNanos(300),
          TimeUnit.MILLISECONDS.toNanos(300),
          TimeUnit.MILLISECONDS.toNanos(50),
          TimeUnit.MILLISECONDS.toNanos(400));

  private static final long PATIENCE = TimeUnit.SECONDS.toNanos(30);

  /// What became of a connection.
  record Seen(OriginalDst dst, Outcome outcome) {}

  final NetLab lab = NetLab.create();
  final List<Seen> seen = new CopyOnWriteArrayList<>();

  /// What the kernel refused.
  final List<String> packets = new CopyOnWriteArrayList<>();

  final CurrentRoutes routes = new CurrentRoutes(new Everything(1, false));
  final TrafficRules rules;
  final RulePrograms tools;
  final CaptureLoop loop;
  private final NetlinkPoller netlink;
  private final MultiThreadIoEventLoopGroup group;
  private final Worker worker;
  private long generation = 1;

  CaptureRig(Transport transport) {
    this(transport, new Processes());
  }

  CaptureRig(Transport transport, CommandRunner runner) {
    this(transport, runner, Optional.empty(), QUICK);
  }

  CaptureRig(
      Transport transport, CommandRunner runner, Optional<RuleBackend> backend, CapturePace pace) {
    NetworkNamespace.warmUp();
    netlink = new NetlinkPoller("netlink");
    tools = RulePrograms.detect(backend, new Processes());
    rules = new TrafficRules(tools, runner);
    group = new MultiThreadIoEventLoopGroup(1, transport.ioHandlers());
    EventLoop eventLoop = group.next();
    eventLoop.submit(() -> {}).syncUninterruptibly(); // born at home
    SocketMaker maker = new SocketMaker(eventLoop, "sockets");
    maker.start();
    Admission admission = new Admission(FlowLimits.DEFAULTS, 10_000);
    Clusters clusters = new Clusters();
    Stages stages =
        new Stages(
            FlowLimits.DEFAULTS,
            admission,
            routes,
            TestConnectors.connector(
                new Candidates(new NoNames(), new NoFilter()),
                clusters,
                FlowLimits.DEFAULTS.connectTimeout()),
            clusters,
            new Recorder(),
            transport.splices() ? Grade.SPLICE : Grade.COPY);
    worker = new Worker(1, eventLoop, maker, stages);
    Workers workers = new Workers(List.of(worker), admission);
    loop =
        new CaptureLoop(
            new CaptureConfig(
                CaptureConfig.Mode.IN_POD,
                CaptureConfig.Backend.AUTO,
                List.of(),
                false,
                CaptureConfig.Udp.AUTO,
                false,
                CaptureConfig.OnFailure.CLOSED,
                CaptureConfig.OnPolicyChange.END),
            rules,
            transport,
            workers,
            routes,
            netlink,
            Optional.empty(),
            new PodGuards(
                lab.folder("state"),
                new EgressGuard(new Processes()),
                netlink,
                (packet, why, detail) ->
                    packets.add(why.code() + " " + packet.dst() + " " + detail),
                workers,
                AgentGroup.NONE,
                new PodGuards.Numbers()),
            Optional.empty(),
            "",
            pace);
    netlink.start();
    loop.start();
  }

  static PodRef ref(String name) {
    return new PodRef("default", name);
  }

  void want(String name, Path netns) {
    loop.accept(
        new PodEvent.Wanted(
            new PodSpec(ref(name), "default", Map.of(), netns.toString(), List.of())));
  }

  void capture(Place pod) {
    want(pod.name(), pod.path());
    awaitState(pod.name(), "captured");
  }

  /// How the rules in a pod differ from those that the loop has installed.
  Drift drift(Place pod) {
    return rules.verify(pod.path(), inForce(pod.name()));
  }

  /// The plan that the loop has brought into force for a pod; the plain one for a pod without.
  CapturePlan inForce(String name) {
    return loop.inForce(ref(name)).join().orElse(CapturePlan.egress());
  }

  /// From now on unknown destinations count as refused (or not) by policy.
  void registryOnly(boolean on) {
    routes.publish(new Everything(++generation, on));
    loop.policyChanged();
    loop.settled().join();
  }

  CapturedPods.Status status(String name) {
    return loop.status().stream()
        .filter(s -> s.pod().ref().equals(ref(name)))
        .findFirst()
        .orElseThrow();
  }

  void awaitState(String name, String state) {
    loop.settled().join();
    await(
        () -> name + " " + state + ": " + loop.status(), () -> status(name).state().equals(state));
  }

  static void await(java.util.function.Supplier<String> what, BooleanSupplier condition) {
    long deadline = System.nanoTime() + PATIENCE;
    while (!condition.getAsBoolean()) {
      assertThat(System.nanoTime() - deadline).as(what).isNegative();
      LockSupport.parkNanos(5_000_000);
    }
  }

  /// Says a line to an echo server from inside a place; the output is what came back.
  Result echo(Place from, String address, int port) {
    return lab.exec(
        from,
        "timeout",
        "10",
        "bash",
        "-c",
        "exec 3<>/dev/tcp/"
            + address
            + "/"
            + port
            + " && echo hello >&3 && read -r -t 8 line <&3"
            + " && echo \"$line\"");
  }

  /// A command in this machine's own namespace.
  static void run(String... command) throws Exception {
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    String output =
        new String(
            process.getInputStream().readAllBytes(), java.nio.charset.StandardCharsets.UTF_8);
    assertThat(process.waitFor()).as(output).isZero();
  }

  @Override
  public void close() {
    try {
      loop.leave(CaptureLoop.Leave.UNINSTALL);
      netlink.close();
      worker.close();
      group.shutdownGracefully(0, 5, TimeUnit.SECONDS).syncUninterruptibly();
    } finally {
      lab.close();
    }
  }

  private record Everything(long generation, boolean registryOnly)
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
    public Ask ask(OriginalDst dst) {
      return Ask.NOTHING;
    }

    @Override
    public Decision decide(OriginalDst dst, Preface preface) {
      return new Decision.Passthrough(Optional.empty(), Optional.empty());
    }
  }

  private final class Recorder implements ConnectionObserver {
    @Override
    public void accepted(ConnectionRecord connection) {
      // the end tells all
    }

    @Override
    public void opened(ConnectionRecord connection) {
      // the end tells all
    }

    @Override
    public void opened(ConnectionRecord connection, Decision first) {
      // the end tells all
    }

    @Override
    public void progress(ConnectionRecord connection, long sent, long received) {
      // the end tells all
    }

    @Override
    public void request(ConnectionRecord request, Outcome outcome) {
      // the end tells all
    }

    @Override
    public void ended(ConnectionRecord connection, Outcome outcome) {
      seen.add(new Seen(connection.dst(), outcome));
    }
  }

  private static final class NoNames implements Resolver {
    @Override
    public @Nullable Addresses ifPresent(PodRef tenant, HostName name) {
      throw new AssertionError("no name is looked up here: " + name);
    }

    @Override
    public void resolve(PodRef tenant, HostName name, Executor loop, Consumer<Addresses> answer) {
      throw new AssertionError("no name is looked up here: " + name);
    }
  }

  private static final class NoFilter implements AddressFilter {
    @Override
    public boolean admits(InetAddress address, AddressRule rule) {
      return true;
    }

    @Override
    public String reason(InetAddress address, AddressRule rule) {
      throw new AssertionError("everything is admitted");
    }
  }
}
