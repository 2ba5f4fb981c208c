package io.tailwater.agent.control.capture;

import io.tailwater.agent.dataplane.account.ConnectionRecord;
import io.tailwater.agent.dataplane.account.Metrics;
import io.tailwater.agent.dataplane.connect.Candidates;
import io.tailwater.agent.dataplane.dns.ToldListener;
import io.tailwater.agent.dataplane.flow.ServedPod;
import io.tailwater.agent.dataplane.flow.Stages;
import io.tailwater.agent.dataplane.gate.ClientHelloGate;
import io.tailwater.agent.dataplane.gate.DialledHomes;
import io.tailwater.agent.dataplane.gate.GateCounts;
import io.tailwater.agent.dataplane.gate.GatedPod;
import io.tailwater.agent.dataplane.gate.ReleasableAddresses;
import io.tailwater.agent.dataplane.gate.ReleasedConnections;
import io.tailwater.agent.dataplane.gate.ReleasedFile;
import io.tailwater.agent.dataplane.resolve.AddressFilter;
import io.tailwater.agent.dataplane.resolve.Resolver;
import io.tailwater.agent.dataplane.route.RouteTable;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.PodRef;
import io.tailwater.iptables.apply.RuleBackend;
import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netlink.NetlinkPoller;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.queue.EndSegment;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// The kernel pass of all pods: one thread that reads their queues, and the gate that judges what
/// comes there.
///
/// Pods come and go on the capture thread; what the gate and the released connections keep belongs
/// to the gate's thread.
public final class KernelPasses implements ToldListener, AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(KernelPasses.class);

  private static final long TICK_MILLIS = 250;
  private static final long KEEP = TimeUnit.SECONDS.toNanos(1);

  private static final int MOST_TOLD = 10;

  /// How long a queue that another agent reads is left alone.
  private static final long TRY_AGAIN = TimeUnit.MILLISECONDS.toNanos(100);

  private final Stages stages;
  private final AddressFilter filter;
  private final RuleBackend backend;
  private final boolean asked;
  private final NetlinkPoller poller = new NetlinkPoller("tailwater-gate");
  private final GateCounts counts = new GateCounts();
  private final LongAdder failures = new LongAdder();
  private final ReleasedFile file;
  private final ReleasedConnections released;
  private final ClientHelloGate gate;
  private final DialledHomes dialled;
  private final Map<PodRef, PodPass> passes = new ConcurrentHashMap<>();

  /// Why pods were found to be relayed. Capture thread.
  private final Set<String> told = new HashSet<>();

  /// Where all pods are in node mode. Capture thread.
  private @Nullable PassPlace onNode;

  private long nextKeep = System.nanoTime();

  /// @param candidates finds addresses as it does for the relay
  /// @param resolver where they are looked up
  /// @param filter which of them may be dialled
  /// @param asked whether the pass is asked for by name
  public KernelPasses(
      Stages stages,
      Candidates candidates,
      Resolver resolver,
      AddressFilter filter,
      RuleBackend backend,
      boolean asked,
      CaptureConfig.OnPolicyChange onPolicyChange,
      Path stateDir) {
    this.stages = stages;
    this.filter = filter;
    this.backend = backend;
    this.asked = asked;
    this.dialled = new DialledHomes(resolver, stages.routes(), System::nanoTime);
    this.file = ReleasedFile.in(stateDir, System::nanoTime);
    Clock clock = Clock.systemUTC();
    this.released =
        new ReleasedConnections(
            stages.clusters(),
            stages.observer(),
            counts,
            file,
            System::nanoTime,
            clock,
            onPolicyChange == CaptureConfig.OnPolicyChange.END);
    this.gate =
        new ClientHelloGate(
            stages, candidates, released, counts, poller::execute, System::nanoTime, clock);
    poller.every(TICK_MILLIS, this::tick);
  }

  /// Starts the thread. Call it from the agent's own namespace.
  public void start() {
    poller.start();
  }

  private void tick() {
    long now = System.nanoTime();
    gate.tick();
    if (now - nextKeep >= 0) {
      nextKeep = now + KEEP;
      released.keep();
      released.look();
    }
  }

  RuleBackend backend() {
    return backend;
  }

  // ---- pods

  /// Opens what the pass of a pod needs in its own namespace, ahead of its rules. Where the kernel
  /// lacks something the pod is relayed, and is not asked about again.
  void open(CapturedPod pod, NetworkNamespace namespace) {
    PodPass known = pod.pass;
    if (known != null) {
      known.place().renew();
      return;
    }
    PodGuard guard = pod.guard;
    if (guard != null && isDue(pod)) {
      tried(
          pod,
          () -> {
            PassPlace place = PassPlace.inPod(this, namespace, guard.marks().live());
            begin(pod, place, namespace);
          });
    }
  }

  /// The same in the node's namespace, where all pods share one place.
  void openOnNode(CapturedPod pod, NetworkNamespace namespace, NetworkNamespace node) {
    if (pod.pass == null && isDue(pod)) {
      tried(
          pod,
          () -> {
            PassPlace shared = onNode;
            begin(pod, shared != null ? shared : PassPlace.onNode(this, node), namespace);
          });
    }
  }

  private static boolean isDue(CapturedPod pod) {
    return !pod.unpassable && System.nanoTime() - pod.passTryNanos >= 0;
  }

  private void tried(CapturedPod pod, Runnable open) {
    try {
      open.run();
      pod.passProblem = "";
      pod.passWaits = false;
    } catch (SyscallException e) {
      waitOrGiveUp(pod, e);
    }
  }

  /// What another agent has is waited for: it is about to let go of it.
  private void waitOrGiveUp(CapturedPod pod, SyscallException e) {
    boolean taken = e.errno() == Errno.EBUSY;
    String why = taken ? "another program reads the queue" : String.valueOf(e.getMessage());
    pod.passTryNanos = System.nanoTime() + TRY_AGAIN;
    pod.unpassable = !taken;
    pod.passWaits = taken;
    if (!taken && !why.equals(pod.passProblem)) {
      tell(pod, why);
    }
    pod.passProblem = why;
  }

  /// A pod's connections are relayed, all of them. Who asked for better learns it of every pod; who
  /// did not, once.
  void tell(CapturedPod pod, String why) {
    if (asked) {
      LOG.warn("pod {}: no connection takes the kernel pass: {}", pod.spec.ref(), why);
    } else if (told.size() < MOST_TOLD && told.add(why)) {
      LOG.info(
          "relay: auto: connections of {}, and of others like it, are relayed: {}",
          pod.spec.ref(),
          why);
    }
  }

  private void begin(CapturedPod pod, PassPlace place, NetworkNamespace namespace) {
    boolean fresh = place != onNode;
    PodPass pass = null;
    boolean begun = false;
    try {
      if (fresh) {
        place.start(poller);
      }
      pass = new PodPass(this, place, Objects.requireNonNull(pod.served), namespace);
      place.add(pass);
      begun = true;
    } finally {
      if (!begun && fresh) {
        place.close();
      }
    }
    if (place.isNode()) {
      onNode = place;
    }
    pod.pass = pass;
    PodPass mine = pass;
    poller.execute(() -> released.adopt(mine.gated(), stages.routes().get()));
    passes.put(pass.gated().pod().pod().ref(), pass);
    mine.gated().pod().onRelayed(record -> dialled.relayed(mine.gated().addresses(), record));
  }

  GatedPod gated(ServedPod served, PodPass pass, boolean genuine) {
    ReleasableAddresses addresses =
        new ReleasableAddresses(served, filter, stages.routes().get(), pass);
    return new GatedPod(served, pass, pass, addresses, genuine);
  }

  /// The rules cannot have the pass, or go: from now on everything is relayed.
  void close(CapturedPod pod) {
    end(
        pod,
        pass -> {
          pass.flush();
          released.forget(pass.gated());
        });
  }

  /// The agent leaves. Released connections go on; new ones wait for the next agent if one comes at
  /// once, and go the way of all others if not.
  void leave(CapturedPod pod, boolean toAnother) {
    end(
        pod,
        pass -> {
          if (!toAnother) {
            pass.flush();
          }
          released.handOver(pass.gated());
        });
  }

  private void end(CapturedPod pod, Consumer<PodPass> last) {
    PodPass pass = pod.pass;
    pod.passWaits = false;
    if (pass == null) {
      return;
    }
    pod.pass = null;
    passes.remove(pass.gated().pod().pod().ref(), pass);
    pass.gated().pod().onRelayed(_ -> {});
    pass.gated().addresses().close();
    onThread(() -> {
      gate.close(pass.gated());
      last.accept(pass);
    });
    if (pass.place().remove(pass)) {
      pass.place().close();
      if (pass.place() == onNode) {
        onNode = null;
      }
    }
    pass.close();
  }

  /// Waits until it is done.
  private void onThread(Runnable task) {
    CompletableFuture<Void> done = new CompletableFuture<>();
    poller.execute(() -> {
      try {
        task.run();
        done.complete(null);
      } catch (RuntimeException e) {
        done.completeExceptionally(e);
      }
    });
    try {
      done.orTimeout(10, TimeUnit.SECONDS).join();
    } catch (RuntimeException e) {
      LOG.error("letting go of a pod's kernel pass", e);
    }
  }

  /// A packet waits. On the gate's thread, as the others.
  void held(PodPass pass, int id, ByteBuffer packet, boolean genuine, boolean several) {
    try {
      gate.packet(pass.gated(), id, packet, genuine, several);
    } catch (RuntimeException e) {
      LOG.error("a packet of {} could not be judged", pass.gated().pod().pod().ref(), e);
      pass.drop(id); // if it has its answer already, this one is late
    }
  }

  /// A connection has begun.
  void begun(PodPass pass, ByteBuffer packet) {
    try {
      gate.begun(pass.gated(), packet);
    } catch (RuntimeException e) {
      LOG.error("a SYN of {} could not be read", pass.gated().pod().pod().ref(), e);
      gate.close(pass.gated()); // what is known may be of a connection before
    }
  }

  void lost(PodPass pass) {
    gate.lost(pass.gated());
  }

  void recovered(PodPass pass) {
    gate.recovered(pass.gated());
  }

  /// Whether that was a connection of the pod.
  boolean ended(PodPass pass, EndSegment segment) {
    return released.ending(pass.gated(), segment);
  }

  /// The kernel did not do something. Any thread.
  void failed() {
    failures.increment();
  }

  // ---- what the pods are told, and policy

  @Override
  public void told(Pod pod, HostName name, List<InetAddress> addresses, Duration ttl) {
    @Nullable PodPass pass = passes.get(pod.ref());
    if (pass != null) {
      pass.gated()
          .addresses()
          .told(stages.routes().get(), name, addresses, ttl.toSeconds(), System.nanoTime());
    }
  }

  /// A table has come into force. Any thread.
  public void policyChanged() {
    RouteTable table = stages.routes().get();
    long now = System.nanoTime();
    passes.values().forEach(pass -> pass.gated().addresses().policyChanged(table, now));
    poller.execute(() -> released.policyChanged(table));
  }

  // ---- pages

  /// Copies of the records of all released connections. Any thread.
  public CompletableFuture<List<ConnectionRecord>> snapshot() {
    CompletableFuture<List<ConnectionRecord>> answer = new CompletableFuture<>();
    poller.execute(() -> {
      try {
        answer.complete(released.snapshot());
      } catch (RuntimeException e) {
        answer.completeExceptionally(e);
      }
    });
    return answer;
  }

  /// Released connections that live now. Any thread.
  public int count() {
    return released.count();
  }

  /// Whether another agent keeps released connections in the same file. Any thread.
  public void share(boolean withAnother) {
    file.share(withAnother);
  }

  /// Shows what is counted.
  public void register(Metrics metrics) {
    metrics.counter(
        "tailwater_kernel_pass_packets",
        "Packets that the kernel held for the agent.",
        counts::packets);
    metrics.counter(
        "tailwater_kernel_pass_released",
        "Connections that go on in the kernel alone.",
        counts::released);
    metrics.counter(
        "tailwater_kernel_pass_refused",
        "Connections that were refused by what their first packets said.",
        counts::refused);
    metrics.counter(
        "tailwater_kernel_pass_mismatched",
        "Of these, those whose name is not at home at the address.",
        counts::mismatched);
    metrics.counter(
        "tailwater_kernel_pass_overloaded",
        "Of these, those that a bound of the agent refused.",
        counts::overloaded);
    metrics.counters(
        "tailwater_kernel_pass_hellos",
        "Hellos of many segments: segments that were copied, and hellos that went on in new"
            + " packets.",
        "how",
        () ->
            Map.of(
                "copied", counts.copied(),
                "rewritten", counts.rewritten()));
    metrics.counter(
        "tailwater_kernel_pass_revoked",
        "Released connections that a change of policy ended.",
        counts::revoked);
    metrics.counter(
        "tailwater_kernel_pass_lost",
        "How often packets were lost because they came too fast; they are sent again.",
        () ->
            passes.values().stream()
                .map(PodPass::place)
                .distinct()
                .mapToLong(place -> place.counters().lost())
                .sum());
    metrics.counter(
        "tailwater_kernel_pass_failures",
        "What the kernel did not do that the gate asked it to.",
        failures::sum);
    metrics.gauge(
        "tailwater_kernel_pass_connections",
        "Connections that the kernel carries alone now.",
        this::count);
  }

  /// Ends the thread; every pod has been let go of.
  @Override
  public void close() {
    poller.close();
  }
}
