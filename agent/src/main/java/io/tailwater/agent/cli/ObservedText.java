package io.tailwater.agent.cli;

import com.fasterxml.jackson.core.JsonGenerator;
import io.tailwater.agent.dataplane.route.NarrowEntry;
import java.io.IOException;
import java.time.LocalDate;
import java.time.ZoneOffset;
import java.util.List;
import java.util.stream.Collectors;

/// Writes observed entries as YAML with comments for people, or as JSON that `kubectl apply` takes
/// too. Pure.
final class ObservedText {
  private static final int PODS_SHOWN = 3;

  private ObservedText() {}

  static String yaml(ObservedEntries all) {
    StringBuilder out = new StringBuilder();
    comment(out, "ServiceEntries for what pods were seen to call; read them before they are used.");
    if (all.allowed() > 0) {
      comment(
          out,
          all.allowed()
              + (all.allowed() == 1 ? " destination is" : " destinations are")
              + " allowed already and left out.");
    }
    if (all.entries().isEmpty()) {
      comment(out, "There is nothing to allow by name.");
    }
    for (ObservedEntries.Entry entry : all.entries()) {
      out.append("---\n");
      comment(out, seen(entry.seen()));
      for (ObservedEntries.Port port : entry.ports()) {
        port.other()
            .ifPresent(other ->
                comment(
                    out,
                    "port %d carried %s too, which stays unknown"
                        .formatted(port.number(), other.name())));
      }
      out.append(
          NarrowEntry.yaml(
              entry.name(),
              entry.namespace(),
              entry.host(),
              entry.location(),
              entry.ports().stream()
                  .map(p -> new NarrowEntry.Port(p.number(), p.name(), p.protocol().name()))
                  .toList()));
    }
    if (!all.cannot().isEmpty()) {
      out.append("---\n");
      comment(out, "These cannot be allowed by name:");
      for (ObservedEntries.Cannot one : all.cannot()) {
        comment(
            out,
            "  %s: %s port %d, %s: %s (%s)"
                .formatted(
                    one.namespace(),
                    one.name(),
                    one.port(),
                    one.protocol().name(),
                    one.why(),
                    seen(one.seen())));
      }
    }
    for (ObservedEntries.Wider wider : all.wider()) {
      out.append("---\n");
      comment(
          out,
          "Only if whoever hands out names below %s may be trusted with all of them: instead of"
                  .formatted(wider.domain())
              + " %d entries of %s, hosts: [\"*.%s\"] with resolution: DYNAMIC_DNS"
                  .formatted(wider.names().size(), wider.namespace(), wider.domain()));
    }
    return out.toString();
  }

  /// What other programs called is shown, never passed through.
  private static void comment(StringBuilder out, String text) {
    out.append("# ");
    text.chars().forEach(c -> out.append(c < ' ' || c > '~' ? '?' : (char) c));
    out.append('\n');
  }

  private static String seen(ObservedEntries.Seen seen) {
    List<String> pods = List.copyOf(seen.pods());
    String shown = pods.stream().limit(PODS_SHOWN).collect(Collectors.joining(", "));
    LocalDate first = LocalDate.ofInstant(seen.first(), ZoneOffset.UTC);
    LocalDate last = LocalDate.ofInstant(seen.last(), ZoneOffset.UTC);
    return seen.count()
        + (seen.count() == 1 ? " connection" : " connections")
        + (seen.refused() > 0 ? " (" + seen.refused() + " refused)" : "")
        + " by "
        + shown
        + (pods.size() > PODS_SHOWN ? " and " + (pods.size() - PODS_SHOWN) + " more" : "")
        + ", "
        + (first.equals(last) ? first.toString() : first + " to " + last);
  }

  static String json(ObservedEntries all) {
    return Printed.json(json -> {
      json.writeStartObject();
      json.writeStringField("apiVersion", "v1");
      json.writeStringField("kind", "List");
      json.writeArrayFieldStart("items");
      for (ObservedEntries.Entry entry : all.entries()) {
        item(json, entry);
      }
      json.writeEndArray();
      json.writeNumberField("allowedAlready", all.allowed());
      json.writeArrayFieldStart("cannot");
      for (ObservedEntries.Cannot one : all.cannot()) {
        json.writeStartObject();
        json.writeStringField("namespace", one.namespace());
        json.writeStringField("name", one.name());
        json.writeNumberField("port", one.port());
        json.writeStringField("protocol", one.protocol().name());
        json.writeStringField("why", one.why());
        json.writeNumberField("count", one.seen().count());
        json.writeEndObject();
      }
      json.writeEndArray();
      json.writeArrayFieldStart("wildcards");
      for (ObservedEntries.Wider wider : all.wider()) {
        json.writeStartObject();
        json.writeStringField("namespace", wider.namespace());
        json.writeStringField("host", "*." + wider.domain());
        json.writeArrayFieldStart("names");
        for (String name : wider.names()) {
          json.writeString(name);
        }
        json.writeEndArray();
        json.writeEndObject();
      }
      json.writeEndArray();
      json.writeEndObject();
    });
  }

  private static void item(JsonGenerator json, ObservedEntries.Entry entry) throws IOException {
    json.writeStartObject();
    json.writeStringField("apiVersion", "networking.istio.io/v1");
    json.writeStringField("kind", "ServiceEntry");
    json.writeObjectFieldStart("metadata");
    json.writeStringField("name", entry.name());
    json.writeStringField("namespace", entry.namespace());
    json.writeEndObject();
    json.writeObjectFieldStart("spec");
    json.writeArrayFieldStart("hosts");
    json.writeString(entry.host().text());
    json.writeEndArray();
    json.writeArrayFieldStart("exportTo");
    json.writeString(".");
    json.writeEndArray();
    json.writeStringField("location", entry.location());
    json.writeStringField("resolution", "DNS");
    json.writeArrayFieldStart("ports");
    for (ObservedEntries.Port port : entry.ports()) {
      json.writeStartObject();
      json.writeNumberField("number", port.number());
      json.writeStringField("name", port.name());
      json.writeStringField("protocol", port.protocol().name());
      json.writeEndObject();
    }
    json.writeEndArray();
    json.writeEndObject();
    json.writeEndObject();
  }
}
