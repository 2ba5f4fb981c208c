package io.tailwater.agent.dataplane.flow;

import io.netty.channel.EventLoop;
import io.tailwater.agent.dataplane.accept.InterceptListener;
import io.tailwater.agent.dataplane.accept.Intercepted;
import io.tailwater.agent.dataplane.account.ConnectionRecord;
import io.tailwater.agent.dataplane.account.Outcome;
import io.tailwater.agent.dataplane.relay.PipePool;
import io.tailwater.agent.dataplane.transport.InPodSockets;
import io.tailwater.agent.dataplane.transport.SocketMaker;
import io.tailwater.agent.traffic.Direction;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.Refusal;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;

/// One loop with all that belongs to it: its socket maker, its pipes and its connections. Except
/// where said, loop thread only.
public final class Worker {
  /// How often live connections are looked at for idleness and byte counts. Only while there are
  /// any.
  private static final long TICK_SECONDS = 2;

  private final int number;
  private final EventLoop loop;
  private final SocketMaker maker;
  private final Stages stages;
  private final PipePool pipes = new PipePool();
  private final Set<Flow> flows = Collections.newSetFromMap(new IdentityHashMap<>());
  private boolean ticking;
  private long lastId;

  public Worker(int number, EventLoop loop, SocketMaker maker, Stages stages) {
    this.number = number;
    this.loop = loop;
    this.maker = maker;
    this.stages = stages;
  }

  /// Any thread.
  public EventLoop loop() {
    return loop;
  }

  SocketMaker maker() {
    return maker;
  }

  PipePool pipes() {
    return pipes;
  }

  Stages stages() {
    return stages;
  }

  /// What a pod's listener on this loop hands its connections to. Any thread.
  public InterceptListener.Line lineFor(ServedPod pod) {
    return new InterceptListener.Line(loop, accepted -> begin(pod, accepted));
  }

  /// What the listener for a pod's inbound connections on this loop hands them to. Any thread.
  ///
  /// @param place where sockets to the pod's own servers are born
  /// @param ownPorts where the agent itself listens in the pod
  public InterceptListener.Line inboundLineFor(
      ServedPod pod, InPodSockets place, Set<Integer> ownPorts) {
    return new InterceptListener.Line(
        loop,
        accepted ->
            new InboundFlow(
                    this,
                    pod,
                    place.inNameOf(accepted.client().address()),
                    accepted,
                    accepted.direct() || ownPorts.contains(accepted.dst().port()),
                    record(pod.pod(), Direction.INBOUND, accepted))
                .begin());
  }

  /// What the listener of the whole node on this loop hands its connections to. Any thread.
  public InterceptListener.Line lineFor(PodsByAddress pods) {
    return new InterceptListener.Line(
        loop,
        accepted ->
            pods.at(accepted.client().address())
                .ifPresentOrElse(pod -> begin(pod, accepted), () -> refuseStranger(accepted)));
  }

  private void begin(ServedPod pod, Intercepted accepted) {
    new ConnectionFlow(this, pod, accepted, record(pod.pod(), Direction.OUTBOUND, accepted))
        .begin();
  }

  /// Whose policy would apply is not known, so that none lets it pass.
  private void refuseStranger(Intercepted accepted) {
    ConnectionRecord record = record(Pod.UNKNOWN, Direction.OUTBOUND, accepted);
    stages.observer().accepted(record);
    accepted.socket().reset();
    record.stage("closed");
    stages.observer().ended(record, new Outcome.Refused(Refusal.UNKNOWN_SOURCE, ""));
  }

  private ConnectionRecord record(Pod pod, Direction direction, Intercepted accepted) {
    // Ids are unique over loops: the loop's number is in the low bits.
    long id = ++lastId << 8 | number;
    return new ConnectionRecord(
        id, pod, direction, accepted.client(), accepted.dst(), Instant.now(), System.nanoTime());
  }

  void add(Flow flow) {
    flows.add(flow);
    if (!ticking) {
      ticking = true;
      loop.schedule(this::tick, TICK_SECONDS, TimeUnit.SECONDS);
    }
  }

  void remove(Flow flow) {
    flows.remove(flow);
  }

  private void tick() {
    long now = System.nanoTime();
    try {
      for (Flow flow : List.copyOf(flows)) {
        flow.tick(now);
      }
    } finally {
      ticking = !flows.isEmpty();
      if (ticking) {
        loop.schedule(this::tick, TICK_SECONDS, TimeUnit.SECONDS);
      }
    }
  }

  /// Copies of the records of all live connections. Any thread.
  public CompletableFuture<List<ConnectionRecord>> snapshot() {
    CompletableFuture<List<ConnectionRecord>> answer = new CompletableFuture<>();
    loop.execute(() -> {
      try {
        List<ConnectionRecord> records = new ArrayList<>(flows.size());
        flows.forEach(flow -> records.add(flow.currentRecord()));
        answer.complete(records);
      } catch (RuntimeException e) {
        answer.completeExceptionally(e); // whoever waits must not wait for ever
      }
    });
    return answer;
  }

  /// Ends the connections that match, by reset. Any thread; completes when they have ended.
  public CompletableFuture<Void> endAll(Predicate<ServedPod> ofPod) {
    CompletableFuture<Void> done = new CompletableFuture<>();
    loop.execute(() -> {
      try {
        for (Flow flow : List.copyOf(flows)) {
          if (ofPod.test(flow.pod())) {
            flow.drain();
          }
        }
        done.complete(null);
      } catch (RuntimeException e) {
        done.completeExceptionally(e);
      }
    });
    return done;
  }

  /// Forgets what is kept ready for a pod that is gone. Any thread.
  public void forget(ServedPod pod) {
    loop.execute(() -> maker.forget(pod.place()));
  }

  /// Ends the maker and closes the pipes; the connections must have ended. Any thread.
  public void close() {
    maker.close();
    if (!loop.isShuttingDown()) {
      loop.execute(pipes::close);
    }
  }
}
