package io.tailwater.agent.cli;

import io.tailwater.agent.config.DurationText;
import io.tailwater.agent.control.compile.Explain;
import io.tailwater.agent.control.compile.Prediction;
import io.tailwater.agent.control.istio.EgressSettings;
import io.tailwater.agent.control.istio.GoDuration;
import io.tailwater.agent.control.istio.MeshSettings;
import io.tailwater.agent.control.istio.SettingsReader;
import io.tailwater.agent.control.source.FieldReader;
import io.tailwater.agent.control.source.FileResources;
import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.control.source.Problems;
import io.tailwater.agent.control.source.YamlDocument;
import io.tailwater.agent.control.source.YamlValue;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.Request;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.PodRef;
import java.io.IOException;
import java.net.InetAddress;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/// A policy test: configuration, a client, what DNS answers, and what must become of each probe.
/// Read strictly: what is not understood is an error, never left out. Immutable.
record PolicyTest(
    String name,
    MeshSettings mesh,
    EgressSettings egress,
    List<KubeObject> config,
    Pod workload,
    boolean dnsCapture,
    Map<HostName, List<InetAddress>> dns,
    boolean invalid,
    List<Probe> probes) {
  /// One connection. `expected` are the keys of `expect`, each with a text or a set of texts; what
  /// this version cannot answer at all is in `notBuilt`.
  record Probe(
      String title,
      int line,
      OriginalDst dst,
      Preface preface,
      Optional<Request> request,
      Optional<HostName> query,
      Map<String, Set<String>> expected,
      List<String> notBuilt) {}

  /// What reading came to: a test, or what is wrong with the file. `configProblems` are those of
  /// its `config`, which an invalid case is about.
  record Loaded(Optional<PolicyTest> test, List<Problem> problems, List<Problem> configProblems) {}

  private static final Set<String> PROTOCOLS = Set.of("tls", "http", "http2", "tcp", "dns");

  /// Reads a file. Never throws.
  static Loaded read(Path file) {
    Problems problems = new Problems(file.toString());
    Problems ofConfig = new Problems(file.toString());
    Optional<PolicyTest> test = Optional.empty();
    try {
      List<YamlDocument> documents = FileResources.documents(file);
      if (documents.size() != 1) {
        problems.error(
            0, "", "a policy test is one YAML document; this file has " + documents.size());
      } else {
        test =
            switch (documents.getFirst()) {
              case YamlDocument.Broken(int line, String why) -> {
                problems.error(line, "", why);
                yield Optional.empty();
              }
              case YamlDocument.Parsed(YamlValue.Mapping root) ->
                  Optional.of(
                      new Reading(new FieldReader(root, "", problems), problems, ofConfig).read());
              case YamlDocument.Parsed(YamlValue other) -> {
                problems.error(
                    other.line(), "", "a policy test is a mapping, not " + other.describe());
                yield Optional.empty();
              }
            };
      }
    } catch (IOException e) {
      problems.error(0, "", String.valueOf(e.getMessage()));
    }
    return new Loaded(
        problems.hasErrors() ? Optional.empty() : test, problems.list(), ofConfig.list());
  }

  private static final class Reading {
    private final FieldReader top;
    private final Problems problems;
    private final Problems ofConfig;

    Reading(FieldReader top, Problems problems, Problems ofConfig) {
      this.top = top;
      this.problems = problems;
      this.ofConfig = ofConfig;
    }

    PolicyTest read() {
      String name = top.string("name").orElse("");
      if (name.isEmpty()) {
        top.error("name", "is missing");
      }
      top.string("why");
      top.ignore("source", "mode", "tags", "note", "reason", "layer");
      MeshSettings mesh = mesh();
      EgressSettings egress =
          top.mapping("egress").map(SettingsReader::egress).orElse(EgressSettings.DEFAULTS);
      List<KubeObject> config = new ArrayList<>();
      for (FieldReader.Item item : top.items("config")) {
        config.addAll(KubeObject.read(item.value(), ofConfig));
      }
      boolean dnsCapture = top.mapping("workload").flatMap(w -> w.bool("dnsCapture")).orElse(false);
      Pod workload = workload();
      Map<HostName, List<InetAddress>> dns = dns();
      boolean invalid = top.bool("invalid").orElse(false);
      List<Probe> probes = new ArrayList<>();
      for (FieldReader probe : top.mappings("probes")) {
        probe(probe).ifPresent(probes::add);
      }
      if (!invalid && top.items("probes").isEmpty()) {
        top.error("probes", "is missing: a test without probes tests nothing");
      }
      top.finish();
      return new PolicyTest(name, mesh, egress, config, workload, dnsCapture, dns, invalid, probes);
    }

    private MeshSettings mesh() {
      Optional<FieldReader> reader = top.mapping("mesh");
      if (reader.isEmpty()) {
        return MeshSettings.DEFAULTS;
      }
      FieldReader mesh = reader.get();
      MeshSettings settings = SettingsReader.mesh(mesh);
      mesh.ignore("discoveryFlags");
      if (mesh.has("rootNamespace")) {
        mesh.error("rootNamespace", "is istio-system in policy tests");
      }
      mesh.finish();
      return settings;
    }

    private Pod workload() {
      Optional<FieldReader> reader = top.mapping("workload");
      if (reader.isEmpty()) {
        return new Pod(new PodRef("default", "client"), "default", Map.of(), List.of());
      }
      FieldReader workload = reader.get();
      PodRef ref =
          new PodRef(
              workload.string("namespace").orElse("default"),
              workload.string("name").orElse("client"));
      Optional<InetAddress> ip = address(workload, "ip");
      workload.ignore("dnsCapture");
      Map<String, String> labels = workload.stringMap("labels");
      workload.finish();
      return new Pod(
          ref,
          "default",
          labels,
          List.of(ip.orElseGet(() -> CidrBlock.parseAddress("10.1.0.10").orElseThrow())));
    }

    private static Optional<InetAddress> address(FieldReader reader, String key) {
      Optional<String> text = reader.string(key);
      Optional<InetAddress> address = text.flatMap(CidrBlock::parseAddress);
      if (text.isPresent() && address.isEmpty()) {
        reader.error(key, "\"" + text.get() + "\" is not an IP address");
      }
      return address;
    }

    private Map<HostName, List<InetAddress>> dns() {
      Map<HostName, List<InetAddress>> out = new LinkedHashMap<>();
      Optional<FieldReader> reader = top.mapping("dns");
      if (reader.isEmpty()) {
        return out;
      }
      FieldReader dns = reader.get();
      for (String key : dns.mapping().keys()) {
        if (!(HostName.parse(key) instanceof HostName.Parsed.Valid(HostName name, _))) {
          dns.error(key, "\"" + key + "\" is not a host name");
          continue;
        }
        List<InetAddress> addresses = new ArrayList<>();
        for (FieldReader.Text text : dns.strings(key)) {
          Optional<InetAddress> address = CidrBlock.parseAddress(text.text());
          if (address.isEmpty()) {
            problems.error(
                text.line(), text.path(), "\"" + text.text() + "\" is not an IP address");
          }
          address.ifPresent(addresses::add);
        }
        out.put(name, addresses);
      }
      return out;
    }

    private Optional<Probe> probe(FieldReader reader) {
      String protocol = reader.string("protocol").orElse("");
      if (!PROTOCOLS.contains(protocol)) {
        reader.error("protocol", "\"" + protocol + "\" is none of dns, http, http2, tcp, tls");
      }
      Optional<String> dst = reader.string("dst");
      Optional<String> sni = reader.string("sni");
      Optional<String> host = reader.string("host");
      Optional<String> method = reader.string("method");
      Optional<String> path = reader.string("path");
      Map<String, String> headers = new LinkedHashMap<>();
      reader
          .stringMap("headers")
          .forEach((key, value) -> headers.put(key.toLowerCase(Locale.ROOT), value));
      Optional<String> query = reader.string("query");
      Optional<String> title = reader.string("name");
      boolean inbound =
          reader.oneOf("direction", Map.of("inbound", true, "outbound", false)).orElse(false);
      reader.mapping("source").ifPresent(Reading::source);
      reader.ignore("note");
      List<String> notBuilt = new ArrayList<>();
      if (inbound) {
        notBuilt.add("inbound probes are not built yet");
      }
      Map<String, Set<String>> expected = new LinkedHashMap<>();
      Optional<FieldReader> expect = reader.mapping("expect");
      if (expect.isPresent()) {
        expect(expect.get(), expected);
      } else {
        reader.error("expect", "is missing");
      }
      reader.finish();
      Optional<OriginalDst> at = dst.flatMap(text -> destination(reader, text));
      Optional<HostName> question = Optional.empty();
      if (protocol.equals("dns")) {
        question = query.flatMap(text -> question(reader, text));
        if (query.isEmpty()) {
          reader.error("query", "is missing");
        }
      } else if (dst.isEmpty()) {
        reader.error("dst", "is missing");
      }
      Optional<Request> request =
          protocol.startsWith("http")
              ? Optional.of(
                  request(
                      host,
                      protocol.equals("http2"),
                      method.orElse("GET"),
                      path.orElse("/"),
                      headers))
              : Optional.empty();
      Preface preface =
          request
              .<Preface>map(
                  r -> new Preface.Http(r.host(), r.port(), r.http2(), r.method(), r.path()))
              .orElseGet(() ->
                  protocol.equals("tls")
                      ? sni.map(Explain::tls).orElseGet(Preface.TlsWithoutName::new)
                      : new Preface.Opaque());
      String shown =
          title.orElse(
              protocol
                  + dst.map(d -> " to " + d).orElse("")
                  + sni.map(s -> ", sni " + s).orElse("")
                  + host.map(h -> ", host " + h).orElse("")
                  + query.map(q -> " " + q).orElse(""));
      OriginalDst nowhere = new OriginalDst(CidrBlock.parseAddress("0.0.0.0").orElseThrow(), 0);
      return Optional.of(
          new Probe(
              shown,
              reader.mapping().line(),
              at.orElse(nowhere),
              preface,
              request,
              question,
              expected,
              notBuilt));
    }

    private static Optional<HostName> question(FieldReader reader, String text) {
      return switch (HostName.parse(text)) {
        case HostName.Parsed.Valid(HostName name, _) -> Optional.of(name);
        case HostName.Parsed.Invalid(String why) -> {
          reader.error("query", "\"" + text + "\" " + why);
          yield Optional.empty();
        }
      };
    }

    private static void source(FieldReader source) {
      source.string("principal");
      source.string("ip");
      source.finish();
    }

    private static Optional<OriginalDst> destination(FieldReader reader, String text) {
      try {
        Explain.Destination to = Explain.Destination.parse(text);
        if (to.address().isPresent()) {
          return Optional.of(new OriginalDst(to.address().get(), to.port()));
        }
      } catch (IllegalArgumentException _) {
        // Reported below in the words of the format.
      }
      reader.error("dst", "\"" + text + "\" is no ip:port");
      return Optional.empty();
    }

    private static Request request(
        Optional<String> host,
        boolean http2,
        String method,
        String path,
        Map<String, String> headers) {
      Optional<Request> read = host.map(Explain::request);
      return new Request(
          read.flatMap(Request::host),
          read.flatMap(Request::address),
          read.flatMap(Request::port),
          method,
          path,
          http2,
          headers::get);
    }

    private static void expect(FieldReader expect, Map<String, Set<String>> expected) {
      if (!expect.has("action")) {
        expect.error("action", "is missing");
      }
      for (String key :
          List.of(
              "action",
              "cluster",
              "upstreamHost",
              "service",
              "tunnel",
              "waypoint",
              "error",
              "resource",
              "grade")) {
        expect.string(key).ifPresent(text -> expected.put(key, Set.of(text)));
      }
      for (String key : List.of("wouldBlock", "suggestion")) {
        expect.bool(key).ifPresent(value -> expected.put(key, Set.of(String.valueOf(value))));
      }
      if (expect.has("upstreamAddresses")) {
        Set<String> addresses = new TreeSet<>();
        expect.strings("upstreamAddresses").forEach(t -> addresses.add(canonical(t.text())));
        expected.put("upstreamAddresses", addresses);
      }
      if (expect.has("answers")) {
        Set<String> answers = new TreeSet<>();
        for (FieldReader.Text text : expect.strings("answers")) {
          answers.add(
              CidrBlock.parseAddress(text.text()).map(AddressText::of).orElseGet(text::text));
        }
        expected.put("answers", answers);
      }
      if (expect.has("weighted")) {
        Set<String> weighted = new TreeSet<>();
        for (FieldReader choice : expect.mappings("weighted")) {
          weighted.add(
              choice.string("cluster").orElse("")
                  + " "
                  + choice.integer("weight", 0, Integer.MAX_VALUE).orElse(0));
          choice.finish();
        }
        expected.put("weighted", weighted);
      }
      expect.mapping("limits").ifPresent(limits -> limits(limits, expected));
      Optional<FieldReader> tls = expect.mapping("tls");
      if (tls.isPresent()) {
        tls(tls.get(), expected);
      } else if (expected.getOrDefault("action", Set.of()).equals(Set.of("forward"))) {
        expected.put("tls", Set.of());
      }
      expect.finish();
    }

    private static void limits(FieldReader limits, Map<String, Set<String>> expected) {
      for (String key : List.of("maxConnections", "maxRequests", "maxPendingRequests")) {
        limits
            .number(key, 0, ConnectionPolicy.Limits.UNLIMITED)
            .ifPresent(n -> expected.put("limits." + key, Set.of(String.valueOf(n))));
      }
      limits
          .string("connectTimeout")
          .ifPresent(text -> {
            Optional<Duration> duration = GoDuration.parse(text);
            if (duration.isEmpty()) {
              limits.error("connectTimeout", "\"" + text + "\" is not a duration like 5s");
            }
            duration.ifPresent(
                d -> expected.put("limits.connectTimeout", Set.of(DurationText.show(d))));
          });
      limits.finish();
    }

    private static void tls(FieldReader tls, Map<String, Set<String>> expected) {
      for (String key : List.of("mode", "sni")) {
        tls.string(key).ifPresent(text -> expected.put("tls." + key, Set.of(text)));
      }
      if (tls.has("sans")) {
        Set<String> sans = new TreeSet<>();
        tls.strings("sans").forEach(t -> sans.add(t.text()));
        expected.put("tls.sans", sans);
      }
      for (String key : List.of("autoSan", "insecureSkipVerify")) {
        tls.bool(key).ifPresent(value -> expected.put("tls." + key, Set.of(String.valueOf(value))));
      }
      tls.finish();
    }

    /// Addresses are compared as such: two spellings of one IPv6 address are the same.
    private static String canonical(String text) {
      try {
        Explain.Destination to = Explain.Destination.parse(text);
        return to.address().map(a -> new OriginalDst(a, to.port()).toString()).orElse(text);
      } catch (IllegalArgumentException _) {
        return text;
      }
    }
  }

  /// What a prediction says under a key of `expect`; inner keys follow a dot.
  static Set<String> actual(String key, Prediction p) {
    @Nullable Object value =
        switch (key) {
          case "action" -> p.action().text();
          case "cluster" -> p.cluster().orElse(null);
          case "upstreamHost" ->
              p.upstreamHosts().size() == 1 ? p.upstreamHosts().getFirst().text() : null;
          case "service" -> p.service().orElse(null);
          case "tunnel" -> p.tunnel().orElse(null);
          case "waypoint" -> p.waypoint().orElse(null);
          case "error" -> p.errorCode().orElse(null);
          case "resource" -> p.resource().map(Problem::show).orElse(null);
          case "grade" -> p.grade().map(g -> g.text()).orElse(null);
          case "wouldBlock" -> p.wouldBlock();
          case "suggestion" ->
              p.suggestion()
                  .map(s -> s instanceof io.tailwater.agent.dataplane.route.Suggestion.Yaml)
                  .orElse(false);
          case "tls" -> p.tls().map(t -> "TLS is originated: " + t.mode()).orElse(null);
          case "tls.mode" -> p.tls().map(Prediction.Tls::mode).orElse(null);
          case "tls.sni" -> p.tls().flatMap(Prediction.Tls::sni).orElse(null);
          case "tls.autoSan" -> p.tls().map(Prediction.Tls::autoSan).orElse(null);
          case "tls.insecureSkipVerify" ->
              p.tls().map(Prediction.Tls::insecureSkipVerify).orElse(null);
          case "limits.maxConnections" ->
              p.limits().map(Prediction.Limits::maxConnections).orElse(null);
          case "limits.maxRequests" -> p.limits().map(Prediction.Limits::maxRequests).orElse(null);
          case "limits.maxPendingRequests" ->
              p.limits().map(Prediction.Limits::maxPendingRequests).orElse(null);
          case "limits.connectTimeout" ->
              p.limits().map(l -> DurationText.show(l.connectTimeout())).orElse(null);
          default -> null;
        };
    return switch (key) {
      case "upstreamAddresses" -> new TreeSet<>(p.upstreamAddresses().orElse(List.of()));
      case "weighted" -> {
        Set<String> out = new TreeSet<>();
        p.weighted().forEach(w -> out.add(w.cluster() + " " + w.weight()));
        yield out;
      }
      case "tls.sans" -> new TreeSet<>(p.tls().map(Prediction.Tls::sans).orElse(List.of()));
      default -> value == null ? Set.of() : Set.of(value.toString());
    };
  }
}
