package io.tailwater.agent.admin;

import com.fasterxml.jackson.core.JsonGenerator;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.CurrentRoutes;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.upstream.Clusters;
import io.tailwater.agent.dataplane.upstream.Endpoint;
import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.ClientAddress;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/// `/clusters`, as Envoy prints it, line for line: scripts grep it. Envoy v1.3x,
/// `source/server/admin/clusters_handler.cc`.
final class ClustersPage {
  /// Envoy's own for the high priority, which nothing uses.
  private static final ConnectionPolicy.Limits ENVOY_DEFAULT =
      new ConnectionPolicy.Limits(1024, 1024, 1024, 3, 0);

  private final Clusters clusters;
  private final CurrentRoutes routes;

  ClustersPage(Clusters clusters, CurrentRoutes routes) {
    this.clusters = clusters;
    this.routes = routes;
    // Istio has both always.
    clusters.cluster(Decision.BLACK_HOLE);
    clusters.cluster(Decision.PASSTHROUGH);
  }

  Response page(Request request) {
    return request.json() ? Response.json(json()) : Response.text(text());
  }

  /// A cluster as it is now. Limits are those of the last connection.
  private record Seen(ConnectionPolicy.Limits limits, List<Endpoint> endpoints) {
    static final Seen NOTHING = new Seen(ConnectionPolicy.Limits.NONE, List.of());
  }

  /// Those that carried something and those that policy knows, by name.
  private SortedMap<String, Seen> all() {
    SortedMap<String, Seen> all = new TreeMap<>();
    routes.get().configured().forEach(c -> all.put(c.cluster(), Seen.NOTHING));
    clusters.all().forEach(c -> all.put(c.name(), new Seen(c.limits(), c.endpoints())));
    return all;
  }

  String text() {
    StringBuilder out = new StringBuilder();
    for (Map.Entry<String, Seen> cluster : all().entrySet()) {
      String name = TextTable.clean(cluster.getKey());
      line(out, name, "observability_name", name);
      priority(out, name, "default_priority", cluster.getValue().limits());
      priority(out, name, "high_priority", ENVOY_DEFAULT);
      line(out, name, "added_via_api", true);
      for (Endpoint endpoint : cluster.getValue().endpoints()) {
        endpoint(out, name, endpoint);
      }
    }
    return out.toString();
  }

  private static void priority(
      StringBuilder out, String cluster, String priority, ConnectionPolicy.Limits limits) {
    line(out, cluster, priority + "::max_connections", limits.maxConnections());
    line(out, cluster, priority + "::max_pending_requests", limits.maxPendingRequests());
    line(out, cluster, priority + "::max_requests", limits.maxRequests());
    line(out, cluster, priority + "::max_retries", limits.maxRetries());
  }

  private static void endpoint(StringBuilder out, String name, Endpoint e) {
    String prefix = name + "::" + text(e.address());
    line(out, prefix, "cx_active", e.cxActive());
    line(out, prefix, "cx_connect_fail", e.cxConnectFail());
    line(out, prefix, "cx_total", e.cxTotal());
    line(out, prefix, "rq_active", e.rqActive());
    line(out, prefix, "rq_error", e.rqError());
    line(out, prefix, "rq_success", e.rqSuccess());
    line(out, prefix, "rq_timeout", e.rqTimeout());
    line(out, prefix, "rq_total", e.rqTotal());
    line(out, prefix, "hostname", TextTable.clean(hostname(name, e)));
    boolean rests = e.ejected(System.nanoTime());
    line(out, prefix, "health_flags", rests ? "/failed_outlier_check" : "healthy");
    line(out, prefix, "weight", 1);
    line(out, prefix, "region", "");
    line(out, prefix, "zone", "");
    line(out, prefix, "sub_zone", "");
    line(out, prefix, "canary", false);
    line(out, prefix, "priority", 0);
    line(out, prefix, "success_rate", -1);
    line(out, prefix, "local_origin_success_rate", -1);
  }

  private static void line(StringBuilder out, String prefix, String key, Object value) {
    out.append(prefix).append("::").append(key).append("::").append(value).append('\n');
  }

  private static String text(InetSocketAddress address) {
    return new ClientAddress(address.getAddress(), address.getPort()).toString();
  }

  /// As Envoy: with the port where a dynamic forward proxy found the name, without where it is
  /// configured, nothing for an address that the client dialled.
  private static String hostname(String cluster, Endpoint e) {
    if (cluster.equals(Decision.PASSTHROUGH)) {
      return "";
    }
    return cluster.contains("||*.") ? e.hostname() + ":" + e.address().getPort() : e.hostname();
  }

  String json() {
    return JsonText.of(json -> {
      json.writeStartObject();
      json.writeArrayFieldStart("cluster_statuses");
      for (Map.Entry<String, Seen> cluster : all().entrySet()) {
        json.writeStartObject();
        json.writeStringField("name", cluster.getKey());
        json.writeBooleanField("added_via_api", true);
        json.writeArrayFieldStart("host_statuses");
        for (Endpoint endpoint : cluster.getValue().endpoints()) {
          host(json, cluster.getKey(), endpoint);
        }
        json.writeEndArray();
        json.writeObjectFieldStart("circuit_breakers");
        json.writeArrayFieldStart("thresholds");
        thresholds(json, false, cluster.getValue().limits());
        thresholds(json, true, ENVOY_DEFAULT);
        json.writeEndArray();
        json.writeEndObject();
        json.writeStringField("observability_name", cluster.getKey());
        json.writeEndObject();
      }
      json.writeEndArray();
      json.writeEndObject();
    });
  }

  private static void thresholds(JsonGenerator json, boolean high, ConnectionPolicy.Limits limits)
      throws IOException {
    json.writeStartObject();
    if (high) {
      json.writeStringField("priority", "HIGH");
    }
    json.writeNumberField("max_connections", limits.maxConnections());
    json.writeNumberField("max_pending_requests", limits.maxPendingRequests());
    json.writeNumberField("max_requests", limits.maxRequests());
    json.writeNumberField("max_retries", limits.maxRetries());
    json.writeEndObject();
  }

  private static void host(JsonGenerator json, String cluster, Endpoint e) throws IOException {
    json.writeStartObject();
    json.writeObjectFieldStart("address");
    json.writeObjectFieldStart("socket_address");
    json.writeStringField("address", AddressText.of(e.address().getAddress()));
    json.writeNumberField("port_value", e.address().getPort());
    json.writeEndObject();
    json.writeEndObject();
    json.writeArrayFieldStart("stats");
    stat(json, false, e.cxConnectFail(), "cx_connect_fail");
    stat(json, false, e.cxTotal(), "cx_total");
    stat(json, false, e.rqError(), "rq_error");
    stat(json, false, e.rqSuccess(), "rq_success");
    stat(json, false, e.rqTimeout(), "rq_timeout");
    stat(json, false, e.rqTotal(), "rq_total");
    stat(json, true, e.cxActive(), "cx_active");
    stat(json, true, e.rqActive(), "rq_active");
    json.writeEndArray();
    json.writeObjectFieldStart("health_status");
    if (e.ejected(System.nanoTime())) {
      json.writeBooleanField("failed_outlier_check", true);
    }
    json.writeStringField("eds_health_status", "HEALTHY");
    json.writeEndObject();
    json.writeNumberField("weight", 1);
    String hostname = hostname(cluster, e);
    if (!hostname.isEmpty()) {
      json.writeStringField("hostname", hostname);
    }
    json.writeObjectFieldStart("locality");
    json.writeEndObject();
    json.writeEndObject();
  }

  /// As protobuf prints it: zero has no value, COUNTER has no type, 64 bits are a string.
  private static void stat(JsonGenerator json, boolean gauge, long value, String name)
      throws IOException {
    json.writeStartObject();
    if (gauge) {
      json.writeStringField("type", "GAUGE");
    }
    if (value != 0) {
      json.writeStringField("value", Long.toString(value));
    }
    json.writeStringField("name", name);
    json.writeEndObject();
  }
}
