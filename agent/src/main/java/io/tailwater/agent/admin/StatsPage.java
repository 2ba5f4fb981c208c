package io.tailwater.agent.admin;

import io.tailwater.agent.dataplane.flow.LiveConnections;
import io.tailwater.agent.dataplane.resolve.ResolveStats;
import io.tailwater.agent.dataplane.upstream.Cluster;
import io.tailwater.agent.dataplane.upstream.Clusters;
import io.tailwater.agent.dataplane.upstream.Endpoint;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.LongSupplier;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/// `/stats` under Envoy's names, in its three formats. Counters and gauges; the agent has no
/// histograms and no text readouts.
final class StatsPage {
  private static final int LONGEST_FILTER = 256;
  private static final Duration FILTER_TIME = Duration.ofSeconds(1);
  private static final String CLUSTER = "cluster.";

  private final Clusters clusters;
  private final ResolveStats dns;
  private final LiveConnections live;
  private final LongSupplier listeners;
  private final Instant started;

  /// One value. `tag` is the cluster, which the Prometheus format takes out of the name.
  private record Stat(String name, boolean counter, long value, Optional<String> tag) {}

  StatsPage(
      Clusters clusters,
      ResolveStats dns,
      LiveConnections live,
      LongSupplier listeners,
      Instant started) {
    this.clusters = clusters;
    this.dns = dns;
    this.live = live;
    this.listeners = listeners;
    this.started = started;
  }

  Response page(Request request) {
    String format = request.parameter("format").orElse("text");
    String type = request.parameter("type").orElse("All").toLowerCase(Locale.ROOT);
    if (!List.of("all", "counters", "gauges", "histograms", "textreadouts").contains(type)) {
      return Response.text(
          400, "invalid &type= param; counters, gauges, histograms, textreadouts or all\n");
    }
    List<Stat> stats = stats();
    stats.removeIf(s ->
        type.equals("histograms")
            || type.equals("textreadouts")
            || (type.equals("counters") && !s.counter())
            || (type.equals("gauges") && s.counter()));
    if (request.has("usedonly")) {
      stats.removeIf(s -> s.value() == 0);
    }
    Optional<String> filter = request.parameter("filter");
    if (filter.isPresent()) {
      try {
        filter(stats, filter.get());
      } catch (PatternSyntaxException e) {
        return Response.text(
            400, "Invalid re2 regex: " + TextTable.clean(e.getDescription()) + "\n");
      } catch (TooSlowException _) {
        return Response.text(400, "Invalid re2 regex: it takes too long\n");
      }
    }
    return switch (format) {
      case "text" -> Response.text(text(stats));
      case "json" -> Response.json(json(stats));
      case "prometheus" -> prometheus(stats);
      default -> Response.text(400, "usage: /stats?format=text|json|prometheus\n");
    };
  }

  Response prometheusPage(Request request) {
    List<Stat> stats = stats();
    if (request.has("usedonly")) {
      stats.removeIf(s -> s.value() == 0);
    }
    return prometheus(stats);
  }

  /// A pattern of a stranger may take for ever; this text stops it.
  private record Timed(String text, long deadline) implements CharSequence {
    @Override
    public int length() {
      return text.length();
    }

    @Override
    public char charAt(int index) {
      if (System.nanoTime() - deadline > 0) {
        throw new TooSlowException();
      }
      return text.charAt(index);
    }

    @Override
    public CharSequence subSequence(int start, int end) {
      return new Timed(text.substring(start, end), deadline);
    }

    @Override
    public String toString() {
      return text;
    }
  }

  private static final class TooSlowException extends RuntimeException {}

  private static void filter(List<Stat> stats, String filter) {
    if (filter.length() > LONGEST_FILTER) {
      throw new PatternSyntaxException("pattern too large", filter, -1);
    }
    Pattern pattern = Pattern.compile(filter);
    long deadline = System.nanoTime() + FILTER_TIME.toNanos();
    stats.removeIf(s -> !pattern.matcher(new Timed(s.name(), deadline)).find());
  }

  private List<Stat> stats() {
    List<Stat> out = new ArrayList<>();
    List<Cluster> all = clusters.all();
    for (Cluster cluster : all) {
      cluster(out, cluster);
    }
    dns.counters().forEach((name, value) -> counter(out, "dns_cache.tailwater." + name, value));
    gauge(out, "dns_cache.tailwater.num_hosts", dns.numHosts());
    gauge(out, "cluster_manager.active_clusters", all.size());
    gauge(out, "listener_manager.total_listeners_active", listeners.getAsLong());
    gauge(out, "server.concurrency", Runtime.getRuntime().availableProcessors());
    gauge(out, "server.live", 1);
    gauge(out, "server.total_connections", live.count());
    gauge(out, "server.uptime", Duration.between(started, Instant.now()).toSeconds());
    out.sort(Comparator.comparing(Stat::name));
    return out;
  }

  private static void cluster(List<Stat> out, Cluster cluster) {
    List<Endpoint> endpoints = cluster.endpoints();
    String prefix = CLUSTER + TextTable.clean(cluster.name()).replace(':', '_') + ".";
    Optional<String> tag = Optional.of(TextTable.clean(cluster.name()).replace(':', '_'));
    long total = endpoints.stream().mapToLong(Endpoint::cxTotal).sum();
    long active = endpoints.stream().mapToLong(Endpoint::cxActive).sum();
    long failed = endpoints.stream().mapToLong(Endpoint::cxConnectFail).sum();
    long requests = endpoints.stream().mapToLong(Endpoint::rqTotal).sum();
    long nowNanos = System.nanoTime();
    long resting = endpoints.stream().filter(e -> e.ejected(nowNanos)).count();
    out.add(new Stat(prefix + "membership_healthy", false, endpoints.size() - resting, tag));
    out.add(new Stat(prefix + "membership_total", false, endpoints.size(), tag));
    out.add(new Stat(prefix + "outlier_detection.ejections_active", false, resting, tag));
    out.add(
        new Stat(
            prefix + "outlier_detection.ejections_enforced_total",
            true,
            cluster.ejectionCount(),
            tag));
    out.add(
        new Stat(
            prefix + "outlier_detection.ejections_overflow",
            true,
            cluster.ejectionOverflowCount(),
            tag));
    out.add(new Stat(prefix + "upstream_cx_active", false, active, tag));
    out.add(new Stat(prefix + "upstream_cx_connect_fail", true, failed, tag));
    out.add(
        new Stat(prefix + "upstream_cx_connect_timeout", true, cluster.connectTimeoutCount(), tag));
    out.add(new Stat(prefix + "upstream_cx_idle_timeout", true, cluster.idleTimeoutCount(), tag));
    out.add(new Stat(prefix + "upstream_cx_none_healthy", true, cluster.noneHealthyCount(), tag));
    out.add(
        new Stat(prefix + "upstream_cx_overflow", true, cluster.connectionOverflowCount(), tag));
    out.add(new Stat(prefix + "upstream_cx_rx_bytes_total", true, cluster.bytesToClient(), tag));
    out.add(new Stat(prefix + "upstream_cx_total", true, total, tag));
    out.add(new Stat(prefix + "upstream_cx_tx_bytes_total", true, cluster.bytesToUpstream(), tag));
    long requesting = endpoints.stream().mapToLong(Endpoint::rqActive).sum();
    out.add(new Stat(prefix + "upstream_rq_active", false, requesting, tag));
    out.add(new Stat(prefix + "upstream_rq_pending_active", false, cluster.pendingCount(), tag));
    out.add(
        new Stat(
            prefix + "upstream_rq_pending_overflow", true, cluster.requestOverflowCount(), tag));
    out.add(
        new Stat(prefix + "upstream_rq_retry_overflow", true, cluster.retryOverflowCount(), tag));
    out.add(new Stat(prefix + "upstream_rq_total", true, requests, tag));
  }

  private static void counter(List<Stat> out, String name, long value) {
    out.add(new Stat(name, true, value, Optional.empty()));
  }

  private static void gauge(List<Stat> out, String name, long value) {
    out.add(new Stat(name, false, value, Optional.empty()));
  }

  private static String text(List<Stat> stats) {
    StringBuilder out = new StringBuilder();
    stats.forEach(s -> out.append(s.name()).append(": ").append(s.value()).append('\n'));
    return out.toString();
  }

  private static String json(List<Stat> stats) {
    return JsonText.of(json -> {
      json.writeStartObject();
      json.writeArrayFieldStart("stats");
      for (Stat stat : stats) {
        json.writeStartObject();
        json.writeStringField("name", stat.name());
        json.writeNumberField("value", stat.value());
        json.writeEndObject();
      }
      json.writeEndArray();
      json.writeEndObject();
    });
  }

  /// Envoy's exposition: `envoy_` before the name, the cluster as a tag, one TYPE line, no HELP.
  private static Response prometheus(List<Stat> stats) {
    StringBuilder out = new StringBuilder();
    for (boolean counters : new boolean[] {true, false}) {
      List<Stat> kind =
          stats.stream()
              .filter(s -> s.counter() == counters)
              .sorted(Comparator.comparing(StatsPage::extracted).thenComparing(Stat::name))
              .toList();
      String last = "";
      for (Stat stat : kind) {
        String name = extracted(stat);
        if (!name.equals(last)) {
          out.append("# TYPE ").append(name).append(counters ? " counter\n" : " gauge\n");
          last = name;
        }
        out.append(name).append('{');
        stat.tag()
            .ifPresent(tag -> out.append("envoy_cluster_name=\"").append(label(tag)).append('"'));
        out.append("} ").append(stat.value()).append('\n');
      }
    }
    return new Response(200, "text/plain; version=0.0.4; charset=UTF-8", out.toString());
  }

  private static String extracted(Stat stat) {
    String name =
        stat.tag()
            .map(tag -> "cluster" + stat.name().substring(CLUSTER.length() + tag.length()))
            .orElse(stat.name());
    return "envoy_" + name.replaceAll("[^A-Za-z0-9_]", "_");
  }

  private static String label(String value) {
    return value.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n");
  }
}
