package io.tailwater.agent.dataplane.account;

import io.prometheus.client.Collector;
import io.prometheus.client.CollectorRegistry;
import io.prometheus.client.CounterMetricFamily;
import io.prometheus.client.GaugeMetricFamily;
import io.prometheus.client.exporter.common.TextFormat;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.traffic.Direction;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.PodRef;
import io.tailwater.agent.traffic.Refusal;
import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.LongSupplier;
import java.util.function.Supplier;

/// What Prometheus scrapes. Counters are added to on any loop without a lock; families are made
/// when somebody asks. ztunnel's names and labels where it has one, `tailwater_` for our own.
public final class Metrics {
  /// Label sets of traffic; more are counted under `other`. A node has some hundred pods, each with
  /// some dozen destinations.
  static final int MAX_SERIES = 10_000;

  private static final String NO_FLAG = "-";
  private static final String CONNECT_FLAG = "CONNECT";

  private final ConcurrentHashMap<TrafficLabels, TrafficSeries> series = new ConcurrentHashMap<>();
  private final ConcurrentHashMap<PodRef, LabelsOfPod> pods = new ConcurrentHashMap<>();
  private final ConcurrentHashMap<DenialLabels, LongAdder> denials = new ConcurrentHashMap<>();
  private final ConcurrentHashMap<DenialLabels, LongAdder> failures = new ConcurrentHashMap<>();
  private final LongAdder outboundOpen = new LongAdder();
  private final LongAdder inboundOpen = new LongAdder();

  /// Written by any loop, once: where inbound connections are not captured there is no number.
  private volatile boolean inboundSeen;

  private final Map<String, Added> added = new ConcurrentSkipListMap<>();
  private final DnsMetrics dns = new DnsMetrics();
  private final CollectorRegistry registry = new CollectorRegistry(true);
  private final String version;

  private record LabelsOfPod(Pod pod, PodLabels labels) {}

  private record DenialLabels(String namespace, Refusal reason, EgressMode mode) {}

  /// A number that another room counts. `name` is without `_total`.
  private record Added(
      boolean counter,
      String name,
      String help,
      List<String> labels,
      Supplier<Map<List<String>, Long>> values) {}

  public Metrics(String version) {
    this.version = version;
    registry.register(
        new Collector() {
          @Override
          public List<MetricFamilySamples> collect() {
            return families();
          }
        });
    registry.register(new ProcessMetrics());
  }

  /// Adds a counter that another room keeps. `name` is without `_total`.
  public void counter(String name, String help, LongSupplier value) {
    add(new Added(true, name, help, List.of(), () -> Map.of(List.of(), value.getAsLong())));
  }

  /// Adds a gauge that another room keeps.
  public void gauge(String name, String help, LongSupplier value) {
    add(new Added(false, name, help, List.of(), () -> Map.of(List.of(), value.getAsLong())));
  }

  /// Adds counters with one label. `name` is without `_total`; the label's values must be few.
  public void counters(String name, String help, String label, Supplier<Map<String, Long>> values) {
    add(new Added(true, name, help, List.of(label), () -> oneLabel(values.get())));
  }

  /// Adds gauges with one label, whose values must be few.
  public void gauges(String name, String help, String label, Supplier<Map<String, Long>> values) {
    add(new Added(false, name, help, List.of(label), () -> oneLabel(values.get())));
  }

  /// The same name again replaces.
  private void add(Added one) {
    added.put(one.name(), one);
  }

  private static Map<List<String>, Long> oneLabel(Map<String, Long> values) {
    Map<List<String>, Long> out = new java.util.TreeMap<>(Comparator.comparing(List::getFirst));
    values.forEach((k, v) -> out.put(List.of(k), v));
    return out;
  }

  /// What is counted of captured DNS.
  DnsMetrics dns() {
    return dns;
  }

  void accepted(Direction direction) {
    open(direction).increment();
    if (direction == Direction.INBOUND && !inboundSeen) {
      inboundSeen = true;
    }
  }

  void ended(Direction direction) {
    open(direction).decrement();
  }

  private LongAdder open(Direction direction) {
    return switch (direction) {
      case OUTBOUND -> outboundOpen;
      case INBOUND -> inboundOpen;
    };
  }

  /// @param decision of the connection, or of its first request
  TrafficSeries opened(ConnectionRecord connection, Optional<Decision> decision) {
    TrafficLabels labels =
        switch (connection.direction()) {
          case OUTBOUND -> TrafficLabels.from(labels(connection.pod()), decision);
          case INBOUND -> TrafficLabels.to(labels(connection.pod()));
        };
    TrafficSeries known = series.get(labels);
    if (known == null) {
      TrafficLabels bounded = series.size() < MAX_SERIES ? labels : TrafficLabels.OTHER;
      known = series.computeIfAbsent(bounded, _ -> new TrafficSeries());
    }
    known.opened.increment();
    return known;
  }

  /// They are not to be found out for each connection.
  private PodLabels labels(Pod pod) {
    LabelsOfPod known = pods.get(pod.ref());
    if (known == null || !known.pod.equals(pod)) {
      known = new LabelsOfPod(pod, PodLabels.of(pod));
      pods.put(pod.ref(), known);
    }
    return known.labels;
  }

  /// Forgets what every other pod is called, not what it did. Any thread.
  void keepOnly(Set<PodRef> present) {
    pods.keySet().retainAll(present);
  }

  void denied(String namespace, Refusal reason, EgressMode mode) {
    denials
        .computeIfAbsent(new DenialLabels(namespace, reason, mode), _ -> new LongAdder())
        .increment();
  }

  void failed(String namespace, Refusal reason) {
    failures
        .computeIfAbsent(
            new DenialLabels(namespace, reason, EgressMode.ENFORCE), _ -> new LongAdder())
        .increment();
  }

  /// The page, in the format that the Accept header asks for.
  public Page page(String accept) {
    String contentType = TextFormat.chooseContentType(accept);
    StringWriter out = new StringWriter();
    try {
      TextFormat.writeFormat(contentType, out, registry.metricFamilySamples());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return new Page(contentType, out.toString());
  }

  /// A page and its content type.
  public record Page(String contentType, String body) {}

  private List<Collector.MetricFamilySamples> families() {
    List<Collector.MetricFamilySamples> out = new ArrayList<>(traffic());
    GaugeMetricFamily sockets =
        new GaugeMetricFamily(
            "istio_tcp_sockets_open", "Captured connections that are open.", List.of("reporter"));
    sockets.addMetric(List.of(Direction.OUTBOUND.reporter()), outboundOpen.doubleValue());
    if (inboundSeen) {
      sockets.addMetric(List.of(Direction.INBOUND.reporter()), inboundOpen.doubleValue());
    }
    out.add(sockets);
    GaugeMetricFamily build =
        new GaugeMetricFamily("istio_build", "Version of this build.", List.of("component", "tag"));
    out.add(build.addMetric(List.of("tailwater", version), 1));
    CounterMetricFamily denied =
        new CounterMetricFamily(
            "tailwater_denials",
            "Connections that policy or a limit refused, or would have refused in audit mode.",
            List.of("namespace", "reason", "mode"));
    denials.forEach((k, v) ->
        denied.addMetric(
            List.of(k.namespace(), k.reason().code(), k.mode().name().toLowerCase(Locale.ROOT)),
            v.doubleValue()));
    out.add(denied);
    CounterMetricFamily failed =
        new CounterMetricFamily(
            "tailwater_connection_failures",
            "Connections that were allowed and did not reach their destination.",
            List.of("namespace", "reason"));
    failures.forEach(
        (k, v) -> failed.addMetric(List.of(k.namespace(), k.reason().code()), v.doubleValue()));
    out.add(failed);
    out.addAll(dns.families());
    added.values().forEach(a -> out.add(family(a)));
    // As ztunnel: a family without a sample is left out.
    out.removeIf(f -> f.samples.isEmpty());
    return out;
  }

  private List<Collector.MetricFamilySamples> traffic() {
    CounterMetricFamily opened =
        traffic("istio_tcp_connections_opened", "Connections that were let on.");
    CounterMetricFamily closed = traffic("istio_tcp_connections_closed", "Connections that ended.");
    CounterMetricFamily failed =
        traffic("istio_tcp_connections_failed", "Connections that ended with an error.");
    CounterMetricFamily received =
        traffic("istio_tcp_received_bytes", "Payload bytes from clients to servers.");
    CounterMetricFamily sent =
        traffic("istio_tcp_sent_bytes", "Payload bytes from servers to clients.");
    series.forEach((labels, s) -> {
      List<String> clean = labels.values(NO_FLAG);
      opened.addMetric(clean, s.opened.doubleValue());
      closed.addMetric(clean, s.closed.doubleValue());
      received.addMetric(clean, s.received.doubleValue());
      sent.addMetric(clean, s.sent.doubleValue());
      long failures = s.failed.sum();
      if (failures > 0) {
        List<String> flagged = labels.values(CONNECT_FLAG);
        closed.addMetric(flagged, (double) failures);
        failed.addMetric(flagged, (double) failures);
      }
    });
    return List.of(opened, closed, failed, received, sent);
  }

  private static CounterMetricFamily traffic(String name, String help) {
    return new CounterMetricFamily(name, help, TrafficLabels.NAMES);
  }

  private static Collector.MetricFamilySamples family(Added a) {
    if (a.counter()) {
      CounterMetricFamily family = new CounterMetricFamily(a.name(), a.help(), a.labels());
      a.values().get().forEach((labels, value) -> family.addMetric(labels, value.doubleValue()));
      return family;
    }
    GaugeMetricFamily family = new GaugeMetricFamily(a.name(), a.help(), a.labels());
    a.values().get().forEach((labels, value) -> family.addMetric(labels, value.doubleValue()));
    return family;
  }
}
