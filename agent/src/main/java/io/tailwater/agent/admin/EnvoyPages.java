package io.tailwater.agent.admin;

import com.fasterxml.jackson.core.JsonGenerator;
import io.tailwater.agent.control.capture.CapturedPods;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.RouteTable;
import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SortedSet;
import java.util.TreeSet;

/// The smaller pages of Envoy: `/ready`, `/server_info`, `/listeners`, `/config_dump`.
final class EnvoyPages {
  /// Where pods' outbound connections are taken.
  private static final int CAPTURE_PORT = 15001;

  private static final String TYPE = "type.googleapis.com/envoy.";

  private final AdminInputs in;
  private final Instant started;

  EnvoyPages(AdminInputs in, Instant started) {
    this.in = in;
    this.started = started;
  }

  private String state() {
    if (in.drain().draining()) {
      return "DRAINING";
    }
    return in.pending().get().isEmpty() ? "LIVE" : "INITIALIZING";
  }

  Response ready(Request request) {
    String state = state();
    return Response.text(state.equals("LIVE") ? 200 : 503, state + "\n");
  }

  Response serverInfo(Request request) {
    long uptime = Duration.between(started, Instant.now()).toSeconds();
    return Response.json(
        JsonText.of(json -> {
          json.writeStartObject();
          json.writeStringField(
              "version",
              (in.build().commit().isEmpty() ? "unknown" : in.build().commit())
                  + "/"
                  + in.build().version()
                  + "/Clean/RELEASE/Tailwater");
          json.writeStringField("state", state());
          json.writeStringField("uptime_current_epoch", uptime + "s");
          json.writeStringField("uptime_all_epochs", uptime + "s");
          json.writeStringField("hot_restart_version", "disabled");
          json.writeObjectFieldStart("command_line_options");
          json.writeNumberField("concurrency", Runtime.getRuntime().availableProcessors());
          json.writeEndObject();
          json.writeObjectFieldStart("node");
          json.writeStringField("id", in.config().node());
          json.writeStringField("user_agent_name", "tailwater");
          json.writeStringField("user_agent_version", in.build().version());
          json.writeEndObject();
          json.writeEndObject();
        }));
  }

  /// The captured pods: one listener each, in the pod's own namespace.
  private List<CapturedPods.Status> listening() {
    return in.pods().status().stream().filter(s -> s.state().equals("captured")).toList();
  }

  int listenerCount() {
    return listening().size();
  }

  private static String listenerName(CapturedPods.Status s) {
    return "virtualOutbound|" + s.pod().ref();
  }

  Response listeners(Request request) {
    if (request.json()) {
      return Response.json(
          JsonText.of(json -> {
            json.writeStartObject();
            json.writeArrayFieldStart("listener_statuses");
            for (CapturedPods.Status s : listening()) {
              json.writeStartObject();
              json.writeStringField("name", listenerName(s));
              json.writeFieldName("local_address");
              socketAddress(json);
              json.writeEndObject();
            }
            json.writeEndArray();
            json.writeEndObject();
          }));
    }
    StringBuilder out = new StringBuilder();
    for (CapturedPods.Status s : listening()) {
      out.append(TextTable.clean(listenerName(s)))
          .append("::0.0.0.0:")
          .append(CAPTURE_PORT)
          .append('\n');
    }
    return Response.text(out.toString());
  }

  private static void socketAddress(JsonGenerator json) throws IOException {
    json.writeStartObject();
    json.writeObjectFieldStart("socket_address");
    json.writeStringField("address", "0.0.0.0");
    json.writeNumberField("port_value", CAPTURE_PORT);
    json.writeEndObject();
    json.writeEndObject();
  }

  Response configDump(Request request) {
    RouteTable table = in.routes().get();
    String version = Long.toString(table.generation());
    return Response.json(
        JsonText.of(json -> {
          json.writeStartObject();
          json.writeArrayFieldStart("configs");
          clusters(json, version);
          listeners(json, version);
          ours(json, table);
          json.writeEndArray();
          json.writeEndObject();
        }));
  }

  private void clusters(JsonGenerator json, String version) throws IOException {
    json.writeStartObject();
    json.writeStringField("@type", TYPE + "admin.v3.ClustersConfigDump");
    json.writeStringField("version_info", version);
    json.writeArrayFieldStart("dynamic_active_clusters");
    SortedSet<String> names = new TreeSet<>();
    in.clusters().all().forEach(c -> names.add(c.name()));
    in.routes().get().configured().forEach(c -> names.add(c.cluster()));
    for (String name : names) {
      json.writeStartObject();
      json.writeStringField("version_info", version);
      json.writeObjectFieldStart("cluster");
      json.writeStringField("@type", TYPE + "config.cluster.v3.Cluster");
      json.writeStringField("name", name);
      json.writeStringField(
          "connect_timeout", in.config().limits().connectTimeout().toMillis() / 1000.0 + "s");
      json.writeEndObject();
      json.writeStringField("last_updated", time(started));
      json.writeEndObject();
    }
    json.writeEndArray();
    json.writeEndObject();
  }

  private void listeners(JsonGenerator json, String version) throws IOException {
    json.writeStartObject();
    json.writeStringField("@type", TYPE + "admin.v3.ListenersConfigDump");
    json.writeStringField("version_info", version);
    json.writeArrayFieldStart("dynamic_listeners");
    for (CapturedPods.Status s : listening()) {
      json.writeStartObject();
      json.writeStringField("name", listenerName(s));
      json.writeObjectFieldStart("active_state");
      json.writeStringField("version_info", version);
      json.writeObjectFieldStart("listener");
      json.writeStringField("@type", TYPE + "config.listener.v3.Listener");
      json.writeStringField("name", listenerName(s));
      json.writeFieldName("address");
      socketAddress(json);
      json.writeStringField("traffic_direction", "OUTBOUND");
      json.writeEndObject();
      json.writeStringField("last_updated", time(s.since()));
      json.writeEndObject();
      json.writeEndObject();
    }
    json.writeEndArray();
    json.writeEndObject();
  }

  /// What is in force: configuration by key, and policy as each pod's view has it.
  private void ours(JsonGenerator json, RouteTable table) throws IOException {
    json.writeStartObject();
    json.writeStringField("@type", "tailwater.io/ConfigDump");
    json.writeObjectFieldStart("config");
    for (Map.Entry<String, String> e : in.config().effective().entrySet()) {
      json.writeStringField(e.getKey(), e.getValue());
    }
    json.writeEndObject();
    json.writeObjectFieldStart("routes");
    json.writeNumberField("generation", table.generation());
    json.writeArrayFieldStart("configured");
    for (RouteTable.Configured c : table.configured()) {
      json.writeStartObject();
      json.writeStringField("cluster", c.cluster());
      json.writeStringField("host", c.host());
      json.writeNumberField("port", c.port());
      json.writeStringField("protocol", c.protocol());
      json.writeStringField("export_to", c.exportTo());
      json.writeStringField("action", c.action());
      json.writeStringField("resource", c.resource().toString());
      json.writeEndObject();
    }
    json.writeEndArray();
    json.writeArrayFieldStart("pods");
    for (CapturedPods.Status s : in.pods().status()) {
      ClientView view = table.view(s.pod());
      json.writeStartObject();
      json.writeStringField("namespace", s.pod().namespace());
      json.writeStringField("pod", s.pod().ref().name());
      json.writeStringField("mode", view.mode().name().toLowerCase(Locale.ROOT));
      json.writeBooleanField("registry_only", view.registryOnly());
      json.writeEndObject();
    }
    json.writeEndArray();
    json.writeEndObject();
    json.writeEndObject();
  }

  private static String time(Instant at) {
    return at.truncatedTo(ChronoUnit.MILLIS).toString();
  }
}
