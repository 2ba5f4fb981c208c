package io.tailwater.agent.dataplane.account;

import io.prometheus.client.Collector;
import io.prometheus.client.Collector.MetricFamilySamples;
import io.prometheus.client.Collector.MetricFamilySamples.Sample;
import io.prometheus.client.CounterMetricFamily;
import io.prometheus.client.GaugeMetricFamily;
import io.tailwater.agent.traffic.Pod;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.IntSupplier;
import org.jspecify.annotations.Nullable;

/// Counts captured DNS: ztunnel's names and labels where it has them. Added to on any loop without
/// a lock; empty, and absent from the page, where nothing was asked.
public final class DnsMetrics {
  /// Label sets; more are counted under `other`.
  private static final int MAX_SERIES = 2000;

  /// ztunnel's buckets, in nanoseconds.
  private static final long[] BUCKETS = {
    500_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 5_000_000_000L
  };

  private static final String[] BOUNDS = {"0.0005", "0.001", "0.01", "0.1", "1.0", "5.0", "+Inf"};

  private static final List<String> LABELS =
      List.of(
          "request_query_type",
          "request_protocol",
          "source_canonical_service",
          "source_canonical_revision");

  /// How a query was answered.
  public enum Answer {
    /// With addresses that policy gave.
    GIVEN,
    /// With real addresses of a host that policy knows.
    REAL,
    /// Every real address was refused by the address filter.
    FILTERED,
    /// As a server did.
    FORWARDED,
    /// As a server did before.
    CACHED,
    /// The same beyond its time, because no server answers now.
    STALE,
    /// Refused by policy.
    REFUSED,
    /// SERVFAIL: no server answered.
    FAILED,
    /// SERVFAIL: a limit.
    LIMITED,
    /// It was no query.
    MALFORMED
  }

  private record Labels(String type, String protocol, String service, String revision) {
    static final Labels OTHER = new Labels("other", "other", "other", "other");

    List<String> values() {
      return List.of(type, protocol, service, revision);
    }
  }

  private static final class Series {
    final LongAdder requests = new LongAdder();
    final LongAdder upstream = new LongAdder();
    final LongAdder failures = new LongAdder();
    private volatile LongAdder @Nullable [] buckets;
    private final LongAdder nanos = new LongAdder();

    void took(long duration) {
      LongAdder[] all = buckets();
      int i = 0;
      while (i < BUCKETS.length && duration > BUCKETS[i]) {
        i++;
      }
      all[i].increment();
      nanos.add(duration);
    }

    private synchronized LongAdder[] buckets() {
      LongAdder[] all = buckets;
      if (all == null) {
        all = new LongAdder[BUCKETS.length + 1];
        for (int i = 0; i < all.length; i++) {
          all[i] = new LongAdder();
        }
        buckets = all;
      }
      return all;
    }
  }

  private final ConcurrentHashMap<Labels, Series> series = new ConcurrentHashMap<>();
  private final ConcurrentHashMap<Answer, LongAdder> answers = new ConcurrentHashMap<>();
  private final ConcurrentHashMap<String, LongAdder> limited = new ConcurrentHashMap<>();
  private final ConcurrentHashMap<String, LongAdder> mismatches = new ConcurrentHashMap<>();
  private volatile IntSupplier cached = () -> 0;

  DnsMetrics() {}

  /// A query came.
  ///
  /// @param type one of few
  public void requested(Pod pod, String type, boolean tcp) {
    series(pod, type, tcp).requests.increment();
  }

  /// How it ended.
  public void answered(Answer how) {
    answers.computeIfAbsent(how, _ -> new LongAdder()).increment();
  }

  /// A pod asks more than it may.
  public void limited(String namespace) {
    limited.computeIfAbsent(namespace, _ -> new LongAdder()).increment();
  }

  /// A connection named a host that its pod was not told this address for.
  void mismatched(String namespace) {
    mismatches.computeIfAbsent(namespace, _ -> new LongAdder()).increment();
  }

  /// Who tells how many answers are cached.
  public void cached(IntSupplier count) {
    cached = count;
  }

  /// A query goes on to a server.
  public Upstream upstream(Pod pod, String type, boolean tcp) {
    Series one = series(pod, type, tcp);
    one.upstream.increment();
    return new Upstream(one);
  }

  /// One query that is with a server.
  public static final class Upstream {
    private final Series series;

    private Upstream(Series series) {
      this.series = series;
    }

    /// @param found whether there were records; ztunnel counts everything else as a failure
    public void ended(long nanos, boolean found) {
      series.took(nanos);
      if (!found) {
        series.failures.increment();
      }
    }
  }

  private Series series(Pod pod, String type, boolean tcp) {
    PodLabels source = PodLabels.of(pod);
    Labels labels =
        new Labels(
            type, tcp ? "tcp" : "udp", source.canonicalService(), source.canonicalRevision());
    Series known = series.get(labels);
    if (known != null) {
      return known;
    }
    Labels bounded = series.size() < MAX_SERIES ? labels : Labels.OTHER;
    return series.computeIfAbsent(bounded, _ -> new Series());
  }

  List<MetricFamilySamples> families() {
    CounterMetricFamily requests =
        new CounterMetricFamily("istio_dns_requests", "DNS queries of captured pods.", LABELS);
    CounterMetricFamily upstream =
        new CounterMetricFamily(
            "istio_dns_upstream_requests", "DNS queries that were passed on.", LABELS);
    CounterMetricFamily failures =
        new CounterMetricFamily(
            "istio_dns_upstream_failures", "Those of them that found no records.", LABELS);
    List<Sample> durations = new ArrayList<>();
    series.forEach((labels, s) -> {
      requests.addMetric(labels.values(), s.requests.doubleValue());
      if (s.upstream.sum() > 0) {
        upstream.addMetric(labels.values(), s.upstream.doubleValue());
        failures.addMetric(labels.values(), s.failures.doubleValue());
        durations(durations, labels, s);
      }
    });
    CounterMetricFamily how =
        new CounterMetricFamily(
            "tailwater_dns_answers", "How captured DNS queries were answered.", List.of("answer"));
    answers.forEach((answer, n) ->
        how.addMetric(List.of(answer.name().toLowerCase(Locale.ROOT)), n.doubleValue()));
    GaugeMetricFamily kept =
        new GaugeMetricFamily("tailwater_dns_answers_cached", "DNS answers kept.", List.of());
    if (!series.isEmpty()) {
      kept.addMetric(List.of(), cached.getAsInt());
    }
    return List.of(
        requests,
        upstream,
        failures,
        new MetricFamilySamples(
            DURATION,
            "seconds",
            Collector.Type.HISTOGRAM,
            "How long servers took to answer.",
            durations),
        how,
        kept,
        byNamespace(
            "tailwater_dns_limited", "DNS queries beyond dnsQueriesPerPodPerSecond.", limited),
        byNamespace(
            "tailwater_dns_mismatches",
            "Connections to a name at an address that their pod was not told for it.",
            mismatches));
  }

  private static final String DURATION = "istio_dns_upstream_request_duration_seconds";

  private static void durations(List<Sample> out, Labels labels, Series s) {
    LongAdder[] buckets = s.buckets;
    if (buckets == null) {
      return;
    }
    List<String> names = new ArrayList<>(LABELS);
    names.add("le");
    double sum = 0;
    for (int i = 0; i < buckets.length; i++) {
      sum += buckets[i].doubleValue();
      List<String> values = new ArrayList<>(labels.values());
      values.add(BOUNDS[i]);
      out.add(new Sample(DURATION + "_bucket", names, values, sum));
    }
    out.add(new Sample(DURATION + "_count", LABELS, labels.values(), sum));
    out.add(new Sample(DURATION + "_sum", LABELS, labels.values(), s.nanos.sum() / 1e9));
  }

  private static CounterMetricFamily byNamespace(
      String name, String help, Map<String, LongAdder> counts) {
    CounterMetricFamily family = new CounterMetricFamily(name, help, List.of("namespace"));
    counts.forEach((namespace, n) -> family.addMetric(List.of(namespace), n.doubleValue()));
    return family;
  }
}
