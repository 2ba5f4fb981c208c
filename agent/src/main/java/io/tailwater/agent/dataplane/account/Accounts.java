package io.tailwater.agent.dataplane.account;

import io.tailwater.agent.dataplane.route.CurrentRoutes;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.RouteTable;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.Direction;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.PodRef;
import io.tailwater.agent.traffic.Refusal;
import java.time.Clock;
import java.time.Duration;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.LongSupplier;

/// Tells everybody who counts: metrics, access log, denials, inventory. On the connections' loops;
/// nothing here waits.
public final class Accounts implements ConnectionObserver, PacketObserver {
  private final Metrics metrics;
  private final AccessLog log;
  private final Denials denials = new Denials();
  private final Inventory inventory = new Inventory();
  private final CurrentRoutes routes;
  private final Clock clock;
  private final LongSupplier nanos;
  private final ConcurrentHashMap<PodRef, ModeOfPod> modes = new ConcurrentHashMap<>();

  /// A pod's mode under one generation of the table.
  private record ModeOfPod(long generation, Pod pod, EgressMode mode) {}

  public Accounts(Metrics metrics, AccessLog log, CurrentRoutes routes) {
    this(metrics, log, routes, Clock.systemUTC(), System::nanoTime);
  }

  /// With clocks of a test.
  Accounts(Metrics metrics, AccessLog log, CurrentRoutes routes, Clock clock, LongSupplier nanos) {
    this.metrics = metrics;
    this.log = log;
    this.routes = routes;
    this.clock = clock;
    this.nanos = nanos;
    metrics.counter(
        "tailwater_access_log_dropped", "Access-log records that were lost.", log::dropped);
    metrics.counter(
        "tailwater_access_log_suppressed",
        "Refusals beyond what is logged per pod and name.",
        log::suppressed);
    metrics.counter(
        "tailwater_inventory_overflow",
        "Calls for which the inventory had no room.",
        inventory::overflow);
  }

  public Metrics metrics() {
    return metrics;
  }

  public DnsMetrics dnsMetrics() {
    return metrics.dns();
  }

  public Denials denials() {
    return denials;
  }

  public Inventory inventory() {
    return inventory;
  }

  @Override
  public void accepted(ConnectionRecord connection) {
    metrics.accepted(connection.direction());
  }

  @Override
  public void opened(ConnectionRecord connection) {
    connection.series = metrics.opened(connection, connection.decision());
    if (connection.decision().orElse(null) instanceof Decision.Passthrough p
        && p.wouldBlock().isPresent()) {
      denied(connection, p.wouldBlock().get(), EgressMode.AUDIT, "");
    }
    takeStock(connection, false);
  }

  @Override
  public void opened(ConnectionRecord connection, Decision first) {
    TrafficSeries series = metrics.opened(connection, Optional.of(first));
    series.received.add(connection.bytesSent());
    series.sent.add(connection.bytesReceived());
    connection.series = series;
  }

  @Override
  public void progress(ConnectionRecord connection, long sent, long received) {
    TrafficSeries series = connection.series;
    if (series != null) {
      series.received.add(sent);
      series.sent.add(received);
    }
    takeStock(connection, false);
  }

  @Override
  public void request(ConnectionRecord request, Outcome outcome) {
    inventory.called(request, clock.instant());
    countMismatch(request);
    if (request.decision().orElse(null) instanceof Decision.Passthrough p
        && p.wouldBlock().isPresent()) {
      denied(request, p.wouldBlock().get(), EgressMode.AUDIT, "");
    }
    tell(request, outcome);
  }

  @Override
  public void ended(ConnectionRecord connection, Outcome outcome) {
    metrics.ended(connection.direction());
    TrafficSeries series = connection.series;
    if (series != null) {
      (clean(outcome) ? series.closed : series.failed).increment();
    }
    takeStock(connection, true);
    // Of a connection that is routed request by request its requests have been told.
    if (!(connection.decision().orElse(null) instanceof Decision.PerRequest)
        || outcome instanceof Outcome.Refused) {
      tell(connection, outcome);
    }
  }

  @Override
  public void refused(ConnectionRecord packet, Refusal why, String detail) {
    denied(packet, why, EgressMode.ENFORCE, detail);
    log.add(
        new AccessRecord(
            packet,
            new Outcome.Refused(why, detail),
            mode(packet.pod()),
            clock.instant(),
            Duration.ZERO));
  }

  private void tell(ConnectionRecord connection, Outcome outcome) {
    if (outcome instanceof Outcome.Refused(Refusal why, String detail)) {
      if (connection.direction() == Direction.OUTBOUND) {
        inventory.refused(connection, clock.instant());
      }
      if (why.isDenial()) {
        denied(connection, why, EgressMode.ENFORCE, detail);
      } else {
        metrics.failed(connection.pod().namespace(), why);
      }
    }
    log.add(
        new AccessRecord(
            connection,
            outcome,
            mode(connection.pod()),
            clock.instant(),
            Duration.ofNanos(Math.max(0, nanos.getAsLong() - connection.openedNanos()))));
  }

  /// ztunnel's `-`: it ended as TCP connections do.
  private static boolean clean(Outcome outcome) {
    return switch (outcome) {
      case Outcome.Finished _,
          Outcome.Reset _,
          Outcome.IdleTimeout _,
          Outcome.TimeLimit _,
          Outcome.ClientGone _ ->
          true;
      case Outcome.Drained _, Outcome.Refused _ -> false;
    };
  }

  private void denied(ConnectionRecord c, Refusal why, EgressMode mode, String detail) {
    metrics.denied(c.pod().namespace(), why, mode);
    if (c.direction() == Direction.OUTBOUND) { // they are of what the pod called
      denials.add(c, why, mode, withAsked(c, detail), clock.instant());
    }
  }

  /// What the pod had asked for, where it says another name now.
  private static String withAsked(ConnectionRecord c, String detail) {
    if (!c.mismatched()) {
      return detail;
    }
    String asked =
        c.told().isEmpty()
            ? "DNS told the pod this address for no name"
            : "DNS told the pod this address for " + c.told().getFirst();
    return detail.isEmpty() ? asked : detail + "; " + asked;
  }

  /// Captured DNS did not answer a name, or would not have in audit mode.
  public void nameRefused(Pod pod, String name, Refusal why, EgressMode mode, String detail) {
    metrics.denied(pod.namespace(), why, mode);
    denials.addName(pod, name, why, mode, detail, clock.instant());
  }

  private void countMismatch(ConnectionRecord c) {
    if (c.mismatched()) {
      metrics.dns().mismatched(c.pod().namespace());
    }
  }

  /// Once per connection, as soon as its name is known; at its end at the latest.
  private void takeStock(ConnectionRecord c, boolean over) {
    if (c.direction() == Direction.INBOUND) {
      return; // the pod called nobody
    }
    if (c.decision().orElse(null) instanceof Decision.PerRequest) {
      return; // its requests are taken stock of, each by its own name
    }
    if (!c.inventoried && (over || !(c.preface() instanceof Preface.Silent))) {
      c.inventoried = true;
      countMismatch(c);
      inventory.called(c, clock.instant());
    }
  }

  /// A view is not to be looked up for each connection: one look per pod and generation.
  private EgressMode mode(Pod pod) {
    RouteTable table = routes.get();
    ModeOfPod known = modes.get(pod.ref());
    if (known != null && known.generation == table.generation() && known.pod.equals(pod)) {
      return known.mode;
    }
    EgressMode mode = table.view(pod).mode();
    modes.put(pod.ref(), new ModeOfPod(table.generation(), pod, mode));
    return mode;
  }

  /// Forgets every other pod. A last connection may bring one back until it is called again. Any
  /// thread.
  public void keepOnly(Set<PodRef> pods) {
    modes.keySet().retainAll(pods);
    metrics.keepOnly(pods);
  }
}
