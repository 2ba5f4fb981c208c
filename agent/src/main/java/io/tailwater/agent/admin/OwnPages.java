package io.tailwater.agent.admin;

import com.fasterxml.jackson.core.JsonGenerator;
import io.tailwater.agent.control.capture.CapturedPods;
import io.tailwater.agent.dataplane.account.ConnectionRecord;
import io.tailwater.agent.dataplane.account.Denials;
import io.tailwater.agent.dataplane.account.Inventory;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.Remedy;
import io.tailwater.agent.dataplane.route.RouteTable;
import io.tailwater.agent.dataplane.route.Suggestion;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.ClientAddress;
import io.tailwater.agent.traffic.PodRef;
import io.tailwater.agent.traffic.Refusal;
import java.io.IOException;
import java.net.InetAddress;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.CompletionException;
import java.util.concurrent.TimeUnit;

/// The pages that Envoy has not: a table for people, `?format=json` for programs. `?namespace=` and
/// `?pod=` narrow them.
final class OwnPages {
  private static final int LOOPS_ANSWER_SECONDS = 5;

  private final AdminInputs in;

  OwnPages(AdminInputs in) {
    this.in = in;
  }

  private static boolean wanted(Request request, PodRef pod) {
    return request.parameter("namespace").map(pod.namespace()::equals).orElse(true)
        && request.parameter("pod").map(pod.name()::equals).orElse(true);
  }

  // ---- connections

  Response connections(Request request) {
    List<ConnectionRecord> all;
    try {
      all =
          in.live().snapshot().orTimeout(LOOPS_ANSWER_SECONDS, TimeUnit.SECONDS).join().stream()
              .filter(c -> wanted(request, c.pod().ref()))
              .toList();
    } catch (CompletionException _) {
      return Response.text(503, "the loops did not answer in time\n");
    }
    long now = System.nanoTime();
    if (request.json()) {
      return Response.json(
          list(
              all,
              (json, c) -> {
                json.writeNumberField("id", c.id());
                pod(json, c.pod().ref());
                json.writeStringField("direction", c.direction().text());
                json.writeStringField("client", c.client().toString());
                json.writeStringField("dst", c.dst().toString());
                json.writeStringField("name", name(c.preface()));
                json.writeStringField(
                    "dns_name", c.told().isEmpty() ? "" : c.told().getFirst().text());
                json.writeBooleanField("dns_mismatch", c.mismatched());
                json.writeStringField("cluster", cluster(c));
                json.writeStringField("upstream", upstream(c));
                json.writeStringField("grade", c.grade().map(g -> g.text()).orElse(""));
                json.writeStringField("stage", c.stage());
                json.writeNumberField("bytes_sent", c.bytesSent());
                json.writeNumberField("bytes_received", c.bytesReceived());
                json.writeStringField("opened_at", c.openedAt().toString());
              }));
    }
    TextTable table =
        new TextTable(
            "POD",
            "DIRECTION",
            "CLIENT",
            "DST",
            "NAME",
            "ASKED",
            "CLUSTER",
            "UPSTREAM",
            "GRADE",
            "STAGE",
            "SENT",
            "RECEIVED",
            "AGE");
    for (ConnectionRecord c : all) {
      table.row(
          c.pod().ref(),
          c.direction().text(),
          c.client(),
          c.dst(),
          name(c.preface()),
          asked(c),
          cluster(c),
          upstream(c),
          c.grade().map(g -> g.text()).orElse(""),
          c.stage(),
          c.bytesSent(),
          c.bytesReceived(),
          age(Duration.ofNanos(Math.max(0, now - c.openedNanos()))));
    }
    return Response.text(table.text());
  }

  /// The name that the pod asked DNS for to get the address.
  private static String asked(ConnectionRecord c) {
    String name = c.told().isEmpty() ? "" : c.told().getFirst().text();
    return !c.mismatched() ? name : name.isEmpty() ? "(nothing)" : name + " (another)";
  }

  private static String cluster(ConnectionRecord c) {
    return c.decision().flatMap(Decision::cluster).orElse("");
  }

  private static String upstream(ConnectionRecord c) {
    return c.upstream()
        .map(a -> new ClientAddress(a.getAddress(), a.getPort()).toString())
        .orElse("");
  }

  private static String name(Preface preface) {
    return switch (preface) {
      case Preface.Tls tls -> tls.sni().text();
      case Preface.Http http -> http.host().map(h -> h.text()).orElse("");
      case Preface.MalformedTls malformed -> malformed.shownName().orElse("");
      case Preface.TlsWithoutName _, Preface.Opaque _, Preface.Silent _ -> "";
    };
  }

  // ---- pods

  Response pods(Request request) {
    List<CapturedPods.Status> all =
        in.pods().status().stream().filter(s -> wanted(request, s.pod().ref())).toList();
    if (request.json()) {
      return Response.json(
          list(
              all,
              (json, s) -> {
                pod(json, s.pod().ref());
                json.writeStringField("state", s.state());
                json.writeStringField("problem", s.problem());
                json.writeStringField("netns", s.netns());
                json.writeStringField("backend", s.backend());
                json.writeStringField("ipv6", s.ipv6());
                json.writeStringField("drift", s.drift());
                json.writeStringField("knownBy", s.knownBy());
                json.writeStringField("guard", s.guard());
                json.writeStringField("grade", s.grade());
                json.writeNumberField("connections", s.connections());
                json.writeStringField("since", s.since().toString());
                json.writeArrayFieldStart("ips");
                for (InetAddress ip : s.pod().ips()) {
                  json.writeString(AddressText.of(ip));
                }
                json.writeEndArray();
              }));
    }
    TextTable table =
        new TextTable(
            "POD",
            "STATE",
            "CONNECTIONS",
            "BACKEND",
            "IPV6",
            "DRIFT",
            "AGENT BY",
            "GUARD",
            "GRADE",
            "NETNS",
            "SINCE",
            "PROBLEM");
    for (CapturedPods.Status s : all) {
      table.row(
          s.pod().ref(),
          s.state(),
          s.connections(),
          s.backend(),
          s.ipv6(),
          s.drift(),
          s.knownBy(),
          s.guard(),
          s.grade(),
          s.netns(),
          time(s.since()),
          s.problem());
    }
    return Response.text(table.text());
  }

  // ---- inventory

  Response inventory(Request request) {
    List<Inventory.Called> all =
        in.accounts().inventory().all().stream().filter(c -> wanted(request, c.pod())).toList();
    if (request.json()) {
      return Response.json(
          list(
              all,
              (json, c) -> {
                pod(json, c.pod());
                json.writeStringField("name", c.name());
                json.writeNumberField("port", c.port());
                json.writeStringField("protocol", c.protocol().name().toLowerCase(Locale.ROOT));
                json.writeNumberField("count", c.count());
                json.writeNumberField("refused", c.refused());
                json.writeStringField("first", c.first().toString());
                json.writeStringField("last", c.last().toString());
              }));
    }
    TextTable table =
        new TextTable("POD", "NAME", "PORT", "PROTOCOL", "COUNT", "REFUSED", "FIRST", "LAST");
    for (Inventory.Called c : all) {
      table.row(
          c.pod(),
          c.name(),
          c.port(),
          c.protocol().name().toLowerCase(Locale.ROOT),
          c.count(),
          c.refused(),
          time(c.first()),
          time(c.last()));
    }
    return Response.text(table.text());
  }

  // ---- denials

  Response denials(Request request) {
    List<Denials.Denial> all =
        in.accounts().denials().all().stream().filter(d -> wanted(request, d.pod().ref())).toList();
    RouteTable.Advisor advisor = in.routes().get().advisor();
    if (request.json()) {
      return Response.json(list(all, (json, d) -> denial(json, d, advisor)));
    }
    StringBuilder out = new StringBuilder();
    TextTable table =
        new TextTable("POD", "NAME", "DST", "REASON", "MODE", "COUNT", "FIRST", "LAST");
    for (Denials.Denial d : all) {
      table.row(
          d.pod().ref(),
          d.shownName(),
          d.dst(),
          d.reason().code(),
          mode(d),
          d.count(),
          time(d.first()),
          time(d.last()));
    }
    out.append(table.text());
    for (Denials.Denial d : all) {
      out.append('\n').append(TextTable.clean(heading(d))).append('\n');
      switch (suggestion(d, advisor)) {
        case Suggestion.Yaml(String yaml) -> {
          out.append("  this would allow it:\n");
          yaml.lines().forEach(l -> out.append("    ").append(TextTable.clean(l)).append('\n'));
        }
        case Suggestion.Cannot(String why) ->
            out.append("  nothing to suggest: ").append(TextTable.clean(why)).append('\n');
      }
    }
    return Response.text(out.toString());
  }

  private static String heading(Denials.Denial d) {
    String what =
        d.shownName().isEmpty() ? d.dst().toString() : d.shownName() + " (" + d.dst() + ")";
    String why = d.reason().code() + ", " + d.reason().sentence();
    return d.pod().ref()
        + " to "
        + what
        + ": "
        + why
        + (d.detail().isEmpty() ? "" : ": " + d.detail())
        + d.resource().map(r -> ", by " + r).orElse("");
  }

  private static void denial(JsonGenerator json, Denials.Denial d, RouteTable.Advisor advisor)
      throws IOException {
    pod(json, d.pod().ref());
    json.writeStringField("name", d.shownName());
    json.writeStringField("dst", d.dst().toString());
    json.writeStringField("reason", d.reason().code());
    json.writeStringField("sentence", d.reason().sentence());
    json.writeStringField("detail", d.detail());
    json.writeStringField("mode", mode(d));
    json.writeStringField("resource", d.resource().map(Object::toString).orElse(""));
    json.writeNumberField("count", d.count());
    json.writeStringField("first", d.first().toString());
    json.writeStringField("last", d.last().toString());
    switch (suggestion(d, advisor)) {
      case Suggestion.Yaml(String yaml) -> json.writeStringField("suggestion", yaml);
      case Suggestion.Cannot(String why) -> json.writeStringField("no_suggestion", why);
    }
  }

  private static String mode(Denials.Denial d) {
    return d.mode().name().toLowerCase(Locale.ROOT);
  }

  /// By the policy of now, as `/explain` has it.
  private static Suggestion suggestion(Denials.Denial d, RouteTable.Advisor advisor) {
    Optional<Remedy> remedy =
        Remedy.mayLift(d.reason())
            ? advisor.remedy(d.pod(), d.dst(), d.preface(), d.resource())
            : Optional.empty();
    return Suggestion.of(
        d.reason(), d.pod().namespace(), d.dst(), d.preface(), filtered(d), remedy);
  }

  /// The detail of a filtered address begins with the address.
  private static List<InetAddress> filtered(Denials.Denial d) {
    if (d.reason() != Refusal.ADDRESS_FILTERED) {
      return List.of();
    }
    Optional<InetAddress> address = CidrBlock.parseAddress(d.detail().split(" ", 2)[0]);
    return address.map(List::of).orElse(List.of());
  }

  // ---- all

  private interface Row<T> {
    void write(JsonGenerator json, T item) throws IOException;
  }

  private static <T> String list(List<T> items, Row<T> row) {
    return JsonText.of(json -> {
      json.writeStartArray();
      for (T item : items) {
        json.writeStartObject();
        row.write(json, item);
        json.writeEndObject();
      }
      json.writeEndArray();
    });
  }

  private static void pod(JsonGenerator json, PodRef pod) throws IOException {
    json.writeStringField("namespace", pod.namespace());
    json.writeStringField("pod", pod.name());
  }

  private static String time(Instant at) {
    return at.truncatedTo(ChronoUnit.SECONDS).toString();
  }

  private static String age(Duration d) {
    if (d.toHours() > 0) {
      return d.toHours() + "h" + d.toMinutesPart() + "m";
    }
    return d.toMinutes() > 0 ? d.toMinutes() + "m" + d.toSecondsPart() + "s" : d.toSeconds() + "s";
  }
}
