package io.tailwater.agent.control.compile;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import io.tailwater.agent.dataplane.gate.Releasable;
import io.tailwater.agent.dataplane.resolve.AddressFilter;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.Explanation;
import io.tailwater.agent.dataplane.route.KnownName;
import io.tailwater.agent.dataplane.route.Request;
import io.tailwater.agent.dataplane.route.RouteTable;
import io.tailwater.agent.dataplane.route.Suggestion;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.Grade;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.ResourceRef;
import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/// Says what would happen to a connection and why: the one code behind `explain --config`, the
/// agent's `/explain` page and policy tests. Pure but for the look-up that it is given; any thread.
public final class Explain {
  private Explain() {}

  /// A destination as people write it: `en.wikipedia.org:443`, `192.0.2.1:443`,
  /// `[2001:db8::1]:443`. Exactly one of `host` and `address` is there.
  public record Destination(Optional<HostName> host, Optional<InetAddress> address, int port) {
    /// Reads one.
    ///
    /// @throws IllegalArgumentException with what is wrong, for people
    public static Destination parse(String text) {
      int colon = text.lastIndexOf(':');
      if (colon <= 0) {
        throw new IllegalArgumentException(
            "\"" + text + "\" is no HOST_OR_IP:PORT: the port is missing");
      }
      String port = text.substring(colon + 1);
      String host = text.substring(0, colon);
      if (!port.matches("[0-9]{1,5}")
          || Integer.parseInt(port) < 1
          || Integer.parseInt(port) > 65535) {
        throw new IllegalArgumentException(
            "\"" + text + "\" is no HOST_OR_IP:PORT: the port must be between 1 and 65535");
      }
      boolean bracketed = host.startsWith("[") && host.endsWith("]");
      String bare = bracketed ? host.substring(1, host.length() - 1) : host;
      Optional<InetAddress> address = CidrBlock.parseAddress(bare);
      if (address.isPresent() && (bracketed || bare.indexOf(':') < 0)) {
        return new Destination(Optional.empty(), address, Integer.parseInt(port));
      }
      return switch (HostName.parse(host)) {
        case HostName.Parsed.Valid(HostName name, _) ->
            new Destination(Optional.of(name), Optional.empty(), Integer.parseInt(port));
        case HostName.Parsed.Invalid(String why) ->
            throw new IllegalArgumentException(
                "\"" + text + "\" is no HOST_OR_IP:PORT: the name " + why);
      };
    }
  }

  /// What is asked. `sni` and `host` are what the client would send; without them the destination's
  /// name is taken, by what its port speaks.
  public record Question(Pod pod, Destination to, Optional<String> sni, Optional<String> host) {}

  /// The answer with what it was given for.
  public record Answer(Question question, OriginalDst dst, Preface preface, Prediction prediction) {
    /// The same for a client none of whose connections takes the kernel pass.
    ///
    /// @param why empty where they may
    public Answer relayed(Optional<String> why) {
      return new Answer(question, dst, preface, prediction.relayed(why));
    }
  }

  private static Optional<InetAddress> told(RouteTable table, Pod pod, HostName name) {
    return table.view(pod).known(name).orElse(null) instanceof KnownName.Given(var addresses)
        ? addresses.stream().findFirst()
        : Optional.empty();
  }

  /// Answers. With a name as destination, the first address that captured DNS tells the client,
  /// else that of the Kubernetes Service of that name, else the first that a look-up answers, is
  /// taken for the one that the client dials.
  public static Answer run(
      RouteTable table, Question question, Prediction.LookUp lookUp, AddressFilter filter) {
    Destination to = question.to();
    Optional<InetAddress> dialled =
        to.address()
            .or(() -> to.host().flatMap(name -> told(table, question.pod(), name)))
            .or(() -> to.host().flatMap(name -> table.vip(question.pod(), name)))
            .or(() ->
                to.host().flatMap(lookUp::of).stream()
                    .filter(io.tailwater.agent.dataplane.resolve.Addresses.Found.class::isInstance)
                    .map(io.tailwater.agent.dataplane.resolve.Addresses.Found.class::cast)
                    .map(found -> found.addresses().getFirst())
                    .findFirst());
    OriginalDst dst =
        new OriginalDst(
            dialled.orElseGet(() -> CidrBlock.parseAddress("0.0.0.0").orElseThrow()), to.port());
    Preface preface = preface(table, question);
    Optional<Request> request =
        preface instanceof Preface.Http http
            ? Optional.of(question.host().map(Explain::request).orElseGet(() -> Request.of(http)))
            : Optional.empty();
    Explanation explanation = table.explain(question.pod(), dst, preface, request);
    Prediction prediction =
        Prediction.of(
            explanation,
            new Prediction.Asked(
                question.pod().namespace(), dst, dialled.isPresent(), preface, request),
            lookUp,
            filter);
    return new Answer(question, dst, preface, prediction)
        .relayed(notKernelAt(table.view(question.pod()), dst, preface));
  }

  private static Optional<String> notKernelAt(ClientView view, OriginalDst dst, Preface preface) {
    Optional<HostName> said =
        preface instanceof Preface.Tls tls ? Optional.of(tls.sni()) : Optional.empty();
    return Optional.ofNullable(Releasable.obstacleAt(view, dst, said));
  }

  private static Preface preface(RouteTable table, Question question) {
    if (question.sni().isPresent()) {
      return tls(question.sni().get());
    }
    if (question.host().isPresent()) {
      return http(question.host().get());
    }
    Optional<HostName> name = question.to().host();
    return switch (table.speaks(question.pod(), name, question.to().port())) {
      case TLS ->
          name.<Preface>map(n -> new Preface.Tls(n, false)).orElseGet(Preface.TlsWithoutName::new);
      case HTTP -> new Preface.Http(name, Optional.empty(), false, "GET", "/");
      case OTHER -> new Preface.Opaque();
    };
  }

  /// A ClientHello with a server name as a client might write it.
  public static Preface tls(String sni) {
    return switch (HostName.parse(sni)) {
      case HostName.Parsed.Valid(HostName name, _) -> new Preface.Tls(name, false);
      case HostName.Parsed.Invalid(String why) ->
          new Preface.MalformedTls("the server name " + why, Optional.of(sni));
    };
  }

  /// What the first bytes of a request with that Host tell.
  public static Preface.Http http(String host) {
    Request request = request(host);
    return new Preface.Http(request.host(), request.port(), false, "GET", "/");
  }

  /// A request with a Host, which may carry a port, as a client might write it.
  public static Request request(String host) {
    int colon = host.lastIndexOf(':');
    boolean hasPort = colon > 0 && host.substring(colon + 1).matches("[0-9]{1,5}");
    Optional<Integer> port =
        hasPort ? Optional.of(Integer.parseInt(host.substring(colon + 1))) : Optional.empty();
    String bare = hasPort ? host.substring(0, colon) : host;
    boolean bracketed = bare.startsWith("[") && bare.endsWith("]");
    Optional<InetAddress> address =
        CidrBlock.parseAddress(bracketed ? bare.substring(1, bare.length() - 1) : bare);
    Optional<HostName> name =
        HostName.parse(bare) instanceof HostName.Parsed.Valid(HostName valid, _)
            ? Optional.of(valid)
            : Optional.empty();
    return new Request(name, address, port, "GET", "/", false, _ -> null);
  }

  // ---- showing -----------------------------------------------------------------------------

  /// For people.
  public static String text(Answer answer) {
    return text(answer, Optional.empty());
  }

  /// For people, with a note on what the answer does not take into account.
  public static String text(Answer answer, Optional<String> note) {
    Prediction p = answer.prediction();
    StringBuilder out = new StringBuilder();
    out.append(answer.question().pod().ref())
        .append(" -> ")
        .append(showDestination(answer.question().to()))
        .append("  (")
        .append(showPreface(answer.preface()))
        .append(")\n");
    line(out, p.action().text(), p.detail());
    p.error().ifPresent(e -> line(out, "error", e.code()));
    p.cluster().ifPresent(c -> line(out, "cluster", c));
    for (Prediction.WeightedCluster w : p.weighted()) {
      line(out, "weight " + w.weight(), w.cluster());
    }
    p.waypoint().ifPresent(w -> line(out, "waypoint", w));
    p.resource().ifPresent(r -> line(out, "decided by", show(r)));
    for (Explanation.Applied a : p.applied()) {
      line(out, "rule", show(a.resource()) + " (" + a.host() + ") " + a.what());
    }
    if (!p.upstreamHosts().isEmpty()) {
      line(out, "looks up", join(p.upstreamHosts()));
    }
    p.upstreamAddresses().ifPresent(a -> line(out, "dials", join(a)));
    p.tls().ifPresent(t -> line(out, "tls", show(t, requested(answer))));
    limits(p).ifPresent(l -> line(out, "limits", l));
    boolean request = answer.preface() instanceof Preface.Http && p.tls().isEmpty();
    p.grade().ifPresent(g -> line(out, "grade", request ? BY_REQUEST : show(g, p.notKernel())));
    if (p.action() == Prediction.Action.FORWARD && p.grade().isEmpty()) {
      line(
          out,
          "grade",
          p.notKernel()
              .map(why -> "splice; not kernel: " + why)
              .orElse("kernel where one of its addresses is dialled, else splice"));
    }
    if (!p.considered().isEmpty()) {
      out.append("  considered\n");
      for (Explanation.Considered c : p.considered()) {
        out.append("    ")
            .append(show(c.resource()))
            .append(" (")
            .append(c.host())
            .append(") ")
            .append(c.why())
            .append('\n');
      }
    }
    note.ifPresent(n -> line(out, "note", n));
    // Last, so that it can be copied to the end.
    p.suggestion().ifPresent(s -> suggestion(out, s));
    return out.toString();
  }

  private static Optional<String> requested(Answer answer) {
    return answer
        .question()
        .host()
        .flatMap(h -> request(h).host())
        .or(() -> answer.question().to().host())
        .map(HostName::text);
  }

  private static String show(Prediction.Tls tls, Optional<String> requested) {
    StringBuilder out = new StringBuilder(tls.mode());
    out.append(tls.sni().map(n -> ", server name " + n).orElse(", no server name"));
    if (tls.insecureSkipVerify()) {
      out.append(", the certificate is not verified (insecureSkipVerify)");
    } else if (!tls.sans().isEmpty()) {
      out.append(", the certificate must be for ").append(String.join(" or ", tls.sans()));
      if (tls.autoSan() && !requested.map(tls.sans()::contains).orElse(false)) {
        out.append(", and for the requested name");
      }
    } else {
      out.append(", the certificate may be for any name");
    }
    return out.toString();
  }

  /// What differs from no limit at all.
  private static Optional<String> limits(Prediction p) {
    List<String> parts = new ArrayList<>();
    p.limits()
        .ifPresent(l -> {
          bound(parts, "connections", l.maxConnections());
          bound(parts, "requests", l.maxRequests());
          bound(parts, "pending requests", l.maxPendingRequests());
          if (!l.connectTimeout().equals(CONNECT_TIMEOUT)) {
            parts.add("connect timeout " + show(l.connectTimeout()));
          }
        });
    return parts.isEmpty() ? Optional.empty() : Optional.of(String.join(", ", parts));
  }

  private static void bound(List<String> parts, String what, long limit) {
    if (limit != ConnectionPolicy.Limits.UNLIMITED) {
      parts.add(limit + " " + what);
    }
  }

  private static void line(StringBuilder out, String key, String value) {
    out.append("  ").append(key).append(" ".repeat(Math.max(1, 12 - key.length()))).append(value);
    out.append('\n');
  }

  private static String join(List<?> items) {
    return String.join(", ", items.stream().map(Object::toString).toList());
  }

  private static String show(ResourceRef ref) {
    return io.tailwater.agent.control.source.Problem.show(ref);
  }

  /// Istio's default, which goes without saying.
  private static final Duration CONNECT_TIMEOUT = Duration.ofSeconds(10);

  private static final String BY_REQUEST = "copy: each of its requests is decided for itself";

  /// The best grade that the connection allows, and why not a better one.
  private static String show(Grade grade, Optional<String> notKernel) {
    return switch (grade) {
      case KERNEL -> "kernel: the client's own bytes, to the address that it dialled";
      case SPLICE ->
          "splice: the client's own bytes; not kernel: "
              + notKernel.orElse("they go to another address than it dialled");
      case COPY -> "copy: the agent changes the bytes";
    };
  }

  private static String showDestination(Destination to) {
    return to.host()
            .map(HostName::text)
            .orElseGet(() ->
                new OriginalDst(to.address().orElseThrow(), 0).toString().replaceAll(":0$", ""))
        + ":"
        + to.port();
  }

  private static String showPreface(Preface preface) {
    return switch (preface) {
      case Preface.Tls(HostName sni, _) -> "TLS, server name " + sni;
      case Preface.TlsWithoutName _ -> "TLS without a server name";
      case Preface.MalformedTls(String why, _) -> "malformed TLS: " + why;
      case Preface.Http http ->
          "HTTP, " + http.host().map(h -> "Host " + h).orElse("no usable Host");
      case Preface.Opaque _ -> "neither TLS nor HTTP";
      case Preface.Silent _ -> "silent";
    };
  }

  private static void suggestion(StringBuilder out, Suggestion suggestion) {
    switch (suggestion) {
      case Suggestion.Yaml(String yaml) ->
          out.append("  this would allow it:\n").append(yaml.indent(4));
      case Suggestion.Cannot(String why) -> line(out, "suggestion", "none: " + why);
    }
  }

  /// The keys of a policy test's `expect`, plus `resource`, `considered` and `suggestion`.
  public static String json(Answer answer) {
    StringWriter out = new StringWriter();
    try (JsonGenerator json = new JsonFactory().createGenerator(out).useDefaultPrettyPrinter()) {
      write(json, answer.prediction());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return out.toString();
  }

  /// Writes the object of `json`.
  public static void write(JsonGenerator json, Prediction p) throws IOException {
    json.writeStartObject();
    json.writeStringField("action", p.action().text());
    optional(json, "cluster", p.cluster());
    if (!p.weighted().isEmpty()) {
      json.writeArrayFieldStart("weighted");
      for (Prediction.WeightedCluster w : p.weighted()) {
        json.writeStartObject();
        json.writeStringField("cluster", w.cluster());
        json.writeNumberField("weight", w.weight());
        json.writeEndObject();
      }
      json.writeEndArray();
    }
    if (p.upstreamHosts().size() == 1) {
      json.writeStringField("upstreamHost", p.upstreamHosts().getFirst().text());
    }
    if (p.upstreamAddresses().isPresent()) {
      strings(json, "upstreamAddresses", p.upstreamAddresses().get());
    }
    if (p.tls().isPresent()) {
      Prediction.Tls tls = p.tls().get();
      json.writeObjectFieldStart("tls");
      json.writeStringField("mode", tls.mode());
      optional(json, "sni", tls.sni());
      strings(json, "sans", tls.sans());
      json.writeBooleanField("autoSan", tls.autoSan());
      json.writeBooleanField("insecureSkipVerify", tls.insecureSkipVerify());
      json.writeEndObject();
    }
    if (p.limits().isPresent()) {
      Prediction.Limits limits = p.limits().get();
      json.writeObjectFieldStart("limits");
      json.writeNumberField("maxConnections", limits.maxConnections());
      json.writeNumberField("maxRequests", limits.maxRequests());
      json.writeNumberField("maxPendingRequests", limits.maxPendingRequests());
      json.writeStringField("connectTimeout", show(limits.connectTimeout()));
      json.writeEndObject();
    }
    optional(json, "waypoint", p.waypoint());
    optional(json, "service", p.service());
    optional(json, "tunnel", p.tunnel());
    optional(json, "error", p.error().map(io.tailwater.agent.traffic.Refusal::code));
    json.writeBooleanField("wouldBlock", p.wouldBlock());
    optional(json, "grade", p.grade().map(Grade::text));
    optional(json, "notKernel", p.notKernel());
    optional(json, "resource", p.resource().map(Explain::show));
    json.writeStringField("detail", p.detail());
    json.writeArrayFieldStart("considered");
    for (Explanation.Considered c : p.considered()) {
      json.writeStartObject();
      json.writeStringField("resource", show(c.resource()));
      json.writeStringField("host", c.host());
      json.writeStringField("why", c.why());
      json.writeEndObject();
    }
    json.writeEndArray();
    json.writeArrayFieldStart("rules");
    for (Explanation.Applied a : p.applied()) {
      json.writeStartObject();
      json.writeStringField("resource", show(a.resource()));
      json.writeStringField("host", a.host());
      json.writeStringField("what", a.what());
      json.writeEndObject();
    }
    json.writeEndArray();
    switch (p.suggestion().orElse(null)) {
      case null -> json.writeNullField("suggestion");
      case Suggestion.Yaml(String yaml) -> json.writeStringField("suggestion", yaml);
      case Suggestion.Cannot(String why) -> {
        json.writeNullField("suggestion");
        json.writeStringField("noSuggestion", why);
      }
    }
    json.writeEndObject();
  }

  private static String show(Duration duration) {
    return duration.toMillisPart() == 0 ? duration.toSeconds() + "s" : duration.toMillis() + "ms";
  }

  private static void strings(JsonGenerator json, String key, List<String> values)
      throws IOException {
    json.writeArrayFieldStart(key);
    for (String value : values) {
      json.writeString(value);
    }
    json.writeEndArray();
  }

  private static void optional(JsonGenerator json, String key, Optional<String> value)
      throws IOException {
    if (value.isPresent()) {
      json.writeStringField(key, value.get());
    }
  }
}
