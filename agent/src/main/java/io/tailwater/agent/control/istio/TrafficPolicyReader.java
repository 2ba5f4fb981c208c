package io.tailwater.agent.control.istio;

import io.tailwater.agent.control.source.FieldReader;
import io.tailwater.agent.control.source.YamlValue;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// Reads a `trafficPolicy` with the rules of Istio's webhook. One thread.
final class TrafficPolicyReader {
  private static final Map<String, Optional<DestinationRule.Balancer.Kind>> SIMPLE =
      Map.of(
          "UNSPECIFIED",
          Optional.of(DestinationRule.Balancer.Kind.LEAST_REQUEST),
          "LEAST_CONN",
          Optional.of(DestinationRule.Balancer.Kind.LEAST_REQUEST),
          "LEAST_REQUEST",
          Optional.of(DestinationRule.Balancer.Kind.LEAST_REQUEST),
          "ROUND_ROBIN",
          Optional.of(DestinationRule.Balancer.Kind.ROUND_ROBIN),
          "RANDOM",
          Optional.of(DestinationRule.Balancer.Kind.RANDOM),
          "PASSTHROUGH",
          Optional.of(DestinationRule.Balancer.Kind.PASSTHROUGH));
  private static final Map<String, Boolean> H2_UPGRADE =
      Map.of("DEFAULT", false, "DO_NOT_UPGRADE", false, "UPGRADE", true);

  /// The modes, with the spelling of Istio's blog.
  private static final Map<String, DestinationRule.Tls.Mode> MODES = modes();

  private static final int LARGEST_TABLE = 5_000_011;

  private static Map<String, DestinationRule.Tls.Mode> modes() {
    Map<String, DestinationRule.Tls.Mode> out = new LinkedHashMap<>();
    for (DestinationRule.Tls.Mode mode : DestinationRule.Tls.Mode.values()) {
      out.put(mode.name(), mode);
    }
    out.put("MUTUAL_TLS", DestinationRule.Tls.Mode.MUTUAL);
    return out;
  }

  DestinationRule.TrafficPolicy read(FieldReader policy) {
    DestinationRule.Settings settings = settings(policy);
    Map<Integer, DestinationRule.Settings> ports = new HashMap<>();
    for (FieldReader reader : policy.mappings("portLevelSettings")) {
      Optional<FieldReader> port = reader.mapping("port");
      Optional<Integer> number = port.flatMap(p -> p.integer("number", 1, 65535));
      port.ifPresent(FieldReader::finish);
      if (number.isEmpty() && (port.isEmpty() || !port.get().has("number"))) {
        reader.error("port", "is missing; write port: {number: N}");
      }
      DestinationRule.Settings own = settings(reader);
      if (isEmpty(reader)) {
        reader.error("sets nothing: one of " + BLOCKS + " is needed");
      }
      reader.finish();
      number.ifPresent(n -> {
        if (ports.putIfAbsent(n, own) != null) {
          reader.warning("port", "port " + n + " is there twice; the first one counts");
        }
      });
    }
    Optional<String> cannot = Optional.empty();
    Optional<FieldReader> tunnel = policy.mapping("tunnel");
    if (tunnel.isPresent()) {
      tunnel(tunnel.get());
      cannot = Optional.of("tunnel is not honoured");
    }
    Optional<FieldReader> proxyProtocol = policy.mapping("proxyProtocol");
    if (proxyProtocol.isPresent()) {
      proxyProtocol.get().oneOf("version", Map.of("V1", 1, "V2", 2));
      proxyProtocol.get().finish();
      cannot = Optional.of("proxyProtocol is not honoured");
    }
    if (tunnel.isPresent() && proxyProtocol.isPresent()) {
      policy.error("proxyProtocol", "and tunnel exclude each other");
    }
    if (policy.has("retryBudget")) {
      policy
          .mapping("retryBudget")
          .ifPresent(b -> {
            b.ignore("percent", "minRetryConcurrency");
            b.finish();
          });
      policy.warning("retryBudget", "is not honoured");
    }
    cannot.ifPresent(what ->
        policy.warning(what + ": connections to this host are refused (not_supported_yet)"));
    if (isEmpty(policy) && !policy.has("portLevelSettings") && cannot.isEmpty()) {
      policy.error("sets nothing: one of " + BLOCKS + ", portLevelSettings is needed");
    }
    policy.finish();
    return new DestinationRule.TrafficPolicy(settings, ports, cannot);
  }

  private static final String BLOCKS = "loadBalancer, connectionPool, outlierDetection, tls";

  private static boolean isEmpty(FieldReader reader) {
    return !reader.has("loadBalancer")
        && !reader.has("connectionPool")
        && !reader.has("outlierDetection")
        && !reader.has("tls")
        && !reader.has("retryBudget");
  }

  private static DestinationRule.Settings settings(FieldReader reader) {
    Optional<DestinationRule.Outlier> outlier =
        reader.mapping("outlierDetection").map(TrafficPolicyReader::outlier);
    return new DestinationRule.Settings(
        reader.mapping("loadBalancer").map(lb -> balancer(lb, outlier.isPresent())),
        reader.mapping("connectionPool").map(TrafficPolicyReader::pool),
        outlier,
        reader.mapping("tls").flatMap(TrafficPolicyReader::tls));
  }

  private static void tunnel(FieldReader tunnel) {
    tunnel
        .string("protocol")
        .filter(p -> !p.isEmpty() && !Set.of("CONNECT", "POST").contains(p))
        .ifPresent(p -> tunnel.error("protocol", "must be CONNECT or POST, not \"" + p + "\""));
    Optional<String> host = tunnel.string("targetHost");
    if (host.isEmpty() && !tunnel.has("targetHost")) {
      tunnel.error("targetHost", "is missing");
    }
    host.ifPresent(h -> {
      if (HostScope.read(h, "x") instanceof HostScope.Read.Invalid(String why)) {
        tunnel.error("targetHost", "\"" + h + "\" " + why);
      }
    });
    if (tunnel.integer("targetPort", 1, 65535).isEmpty() && !tunnel.has("targetPort")) {
      tunnel.error("targetPort", "is missing");
    }
    tunnel.finish();
  }

  // ---- connectionPool ----------------------------------------------------------------------

  static DestinationRule.Pool pool(FieldReader pool) {
    Optional<FieldReader> tcp = pool.mapping("tcp");
    Optional<FieldReader> http = pool.mapping("http");
    if (!pool.has("tcp") && !pool.has("http")) {
      pool.error("sets nothing: tcp or http is needed");
    }
    pool.finish();
    Optional<DestinationRule.KeepAlive> keepAlive =
        tcp.flatMap(t -> t.mapping("tcpKeepalive")).map(TrafficPolicyReader::keepAlive);
    DestinationRule.Pool out =
        new DestinationRule.Pool(
            tcp.flatMap(t -> GoDuration.read(t, "connectTimeout")),
            tcp.flatMap(t -> limit(t, "maxConnections")).orElse(0),
            tcp.flatMap(t -> GoDuration.read(t, "maxConnectionDuration")),
            tcp.flatMap(t -> GoDuration.readOrZero(t, "idleTimeout")),
            keepAlive,
            http.flatMap(h -> limit(h, "http2MaxRequests")).orElse(0),
            http.flatMap(h -> limit(h, "http1MaxPendingRequests")).orElse(0),
            http.flatMap(h -> limit(h, "maxRetries")).orElse(0),
            http.flatMap(h -> limit(h, "maxRequestsPerConnection")).orElse(0),
            http.flatMap(h -> GoDuration.read(h, "idleTimeout")),
            http.map(TrafficPolicyReader::spoken).orElse(DestinationRule.Pool.Http.BY_PORT));
    tcp.ifPresent(FieldReader::finish);
    http.ifPresent(TrafficPolicyReader::restOfHttp);
    return out;
  }

  private static Optional<Integer> limit(FieldReader reader, String key) {
    return reader.integer(key, 0, Integer.MAX_VALUE);
  }

  private static DestinationRule.KeepAlive keepAlive(FieldReader reader) {
    DestinationRule.KeepAlive out =
        new DestinationRule.KeepAlive(
            limit(reader, "probes").filter(n -> n > 0),
            GoDuration.read(reader, "time"),
            GoDuration.read(reader, "interval"));
    reader.finish();
    return out;
  }

  private static DestinationRule.Pool.Http spoken(FieldReader http) {
    boolean upgrade = http.oneOf("h2UpgradePolicy", H2_UPGRADE).orElse(false);
    boolean clients = http.bool("useClientProtocol").orElse(false);
    if (upgrade && clients) {
      http.error("useClientProtocol", "must not be true with h2UpgradePolicy UPGRADE");
    }
    return clients
        ? DestinationRule.Pool.Http.AS_CLIENT
        : upgrade ? DestinationRule.Pool.Http.UPGRADE : DestinationRule.Pool.Http.BY_PORT;
  }

  private static void restOfHttp(FieldReader http) {
    limit(http, "maxConcurrentStreams")
        .ifPresent(_ -> http.warning("maxConcurrentStreams", "is not honoured"));
    Optional<FieldReader> keepAlive = http.mapping("http2KeepAlive");
    keepAlive.ifPresent(k -> {
      GoDuration.read(k, "interval");
      GoDuration.read(k, "timeout");
      k.finish();
      http.warning("http2KeepAlive", "is not honoured");
    });
    http.finish();
  }

  // ---- loadBalancer ------------------------------------------------------------------------

  private static DestinationRule.Balancer balancer(FieldReader lb, boolean hasOutlier) {
    Optional<DestinationRule.Balancer.Kind> simple =
        lb.oneOf("simple", SIMPLE).flatMap(kind -> kind);
    Optional<DestinationRule.Balancer.Kind> hash =
        lb.mapping("consistentHash").map(h -> consistentHash(lb, h));
    if (lb.has("simple") && lb.has("consistentHash")) {
      lb.error("consistentHash", "and simple exclude each other");
    }
    Optional<Boolean> locality =
        lb.mapping("localityLbSetting").flatMap(l -> locality(l, hasOutlier));
    Optional<FieldReader> warmup = lb.mapping("warmup");
    warmup.ifPresent(w -> {
      if (!w.has("duration")) {
        w.error("duration", "is missing");
      }
      GoDuration.read(w, "duration");
      number(w, "minimumPercent")
          .filter(n -> n > 100)
          .ifPresent(_ -> w.error("minimumPercent", "must be at most 100"));
      number(w, "aggression")
          .filter(n -> n < 1)
          .ifPresent(_ -> w.error("aggression", "must be at least 1"));
      w.finish();
      lb.warning("warmup", "is not honoured");
    });
    GoDuration.read(lb, "warmupDurationSecs")
        .ifPresent(_ -> lb.warning("warmupDurationSecs", "is not honoured"));
    lb.finish();
    return new DestinationRule.Balancer(
        hash.or(() -> simple).orElse(DestinationRule.Balancer.Kind.LEAST_REQUEST), locality);
  }

  /// A number with or without a fraction.
  static Optional<Double> number(FieldReader reader, String key) {
    Optional<YamlValue> value = reader.value(key);
    if (value.orElse(null) instanceof YamlValue.Scalar(_, String text, YamlValue.Scalar.Kind kind)
        && (kind == YamlValue.Scalar.Kind.INTEGER || kind == YamlValue.Scalar.Kind.FLOAT)) {
      try {
        return Optional.of(Double.parseDouble(text));
      } catch (NumberFormatException _) {
        // Written in another base: reported like every other text.
      }
    }
    value.ifPresent(v -> reader.error(key, "must be a number, not " + v.describe()));
    return Optional.empty();
  }

  private static DestinationRule.Balancer.Kind consistentHash(FieldReader lb, FieldReader hash) {
    List<String> keys = new ArrayList<>();
    for (String key :
        List.of("useSourceIp", "httpHeaderName", "httpCookie", "httpQueryParameterName")) {
      if (hash.has(key)) {
        keys.add(key);
      }
    }
    if (keys.size() > 1) {
      hash.error(keys.get(1), "and " + keys.getFirst() + " exclude each other");
    }
    boolean source = hash.bool("useSourceIp").orElse(false);
    hash.string("httpHeaderName");
    hash.string("httpQueryParameterName");
    hash.mapping("httpCookie")
        .ifPresent(cookie -> {
          if (cookie.string("name").orElse("").isEmpty()) {
            cookie.error("name", "is missing");
          }
          cookie.string("path");
          GoDuration.readOrZero(cookie, "ttl");
          cookie.ignore("attributes");
          cookie.finish();
        });
    boolean size = hash.integer("minimumRingSize", 0, Integer.MAX_VALUE).orElse(0) != 0;
    boolean algorithm = hash.has("ringHash") || hash.has("maglev");
    if (size) {
      hash.warning("minimumRingSize", "is deprecated; use ringHash");
      if (algorithm) {
        hash.error("minimumRingSize", "and ringHash or maglev exclude each other");
      }
    }
    hash.mapping("ringHash")
        .ifPresent(ring -> {
          ring.integer("minimumRingSize", 0, Integer.MAX_VALUE);
          ring.finish();
        });
    hash.mapping("maglev")
        .ifPresent(maglev -> {
          int table = maglev.integer("tableSize", 0, Integer.MAX_VALUE).orElse(0);
          if (table == 0 || table >= LARGEST_TABLE || !isPrime(table)) {
            maglev.error("tableSize", "must be a prime number below " + LARGEST_TABLE);
          }
          maglev.finish();
        });
    hash.finish();
    if (source) {
      return DestinationRule.Balancer.Kind.SOURCE_HASH;
    }
    lb.warning(
        "consistentHash",
        "is honoured by source address (useSourceIp) alone; otherwise endpoints are chosen by least"
            + " requests");
    return DestinationRule.Balancer.Kind.LEAST_REQUEST;
  }

  private static boolean isPrime(int n) {
    for (int factor = 2; (long) factor * factor <= n; factor++) {
      if (n % factor == 0) {
        return false;
      }
    }
    return n > 1;
  }

  /// Whether it turns locality on or off, where it says so.
  private static Optional<Boolean> locality(FieldReader locality, boolean hasOutlier) {
    List<FieldReader> distribute = locality.mappings("distribute");
    List<FieldReader> failover = locality.mappings("failover");
    List<FieldReader.Text> priority = locality.strings("failoverPriority");
    if (!distribute.isEmpty() && !failover.isEmpty()) {
      locality.error("distribute", "and failover exclude each other");
    }
    for (FieldReader reader : distribute) {
      reader.string("from");
      Map<String, Integer> to = reader.integerMap("to", 1, 100);
      if (to.values().stream().mapToInt(Integer::intValue).sum() != 100) {
        reader.error("to", "the weights must add up to 100");
      }
      reader.finish();
    }
    if (!distribute.isEmpty()) {
      locality.warning("distribute", "is not honoured: the client's own locality comes first");
    }
    for (FieldReader reader : failover) {
      String from = reader.string("from").orElse("");
      String to = reader.string("to").orElse("");
      if (from.equals(to)) {
        reader.error("to", "must be another region than from");
      }
      if ((from + to).matches(".*[/*].*")) {
        reader.error("from", "and to must be regions, without zone or wildcard");
      }
      reader.finish();
    }
    if (!failover.isEmpty()) {
      locality.warning("failover", "is not honoured by region: any other locality comes next");
      boolean topology =
          priority.stream()
              .map(FieldReader.Text::text)
              .anyMatch(p -> p.startsWith("topology.") || p.startsWith("topology.istio.io/"));
      if (topology) {
        locality.error("failoverPriority", "with topology labels and failover exclude each other");
      }
    }
    if (!priority.isEmpty()) {
      locality.warning("failoverPriority", "is not honoured: localities decide");
    }
    if ((!failover.isEmpty() || !priority.isEmpty()) && !hasOutlier) {
      locality.warning("without outlierDetection there is no failover");
    }
    Optional<Boolean> enabled = locality.bool("enabled");
    locality.finish();
    return enabled.or(() -> Optional.of(true));
  }

  // ---- outlierDetection --------------------------------------------------------------------

  private static DestinationRule.Outlier outlier(FieldReader reader) {
    limit(reader, "consecutiveErrors")
        .filter(n -> n != 0)
        .ifPresent(_ ->
            reader.warning(
                "consecutiveErrors",
                "is deprecated and has no effect; use consecutiveGatewayErrors or"
                    + " consecutive5xxErrors"));
    boolean split = reader.bool("splitExternalLocalOriginErrors").orElse(false);
    Optional<Integer> local = limit(reader, "consecutiveLocalOriginFailures");
    if (!split && local.orElse(0) > 0) {
      reader.error("consecutiveLocalOriginFailures", "needs splitExternalLocalOriginErrors: true");
    }
    DestinationRule.Outlier out =
        new DestinationRule.Outlier(
            limit(reader, "consecutive5xxErrors"),
            limit(reader, "consecutiveGatewayErrors"),
            split ? local.or(() -> Optional.of(5)) : Optional.empty(),
            GoDuration.read(reader, "interval"),
            GoDuration.read(reader, "baseEjectionTime"),
            reader.integer("maxEjectionPercent", 0, 100),
            reader.integer("minHealthPercent", 0, 100));
    if (reader.has("outlierDetectionHttpErrorCodes")) {
      reader.warning("outlierDetectionHttpErrorCodes", "is not honoured");
    }
    reader.finish();
    return out;
  }

  // ---- tls ---------------------------------------------------------------------------------

  private static Optional<String> text(FieldReader reader, String key) {
    return reader.string(key).filter(t -> !t.isEmpty());
  }

  /// A `tls`; empty where it has no usable mode.
  static Optional<DestinationRule.Tls> tls(FieldReader tls) {
    Optional<DestinationRule.Tls.Mode> mode =
        tls.has("mode") ? tls.oneOf("mode", MODES) : Optional.of(DestinationRule.Tls.Mode.DISABLE);
    boolean spelledAsInBlog = tls.mapping().text("mode").orElse("").equals("MUTUAL_TLS");
    if (spelledAsInBlog) {
      tls.warning(
          "mode",
          "MUTUAL_TLS is not Istio's name for it; it is read as MUTUAL, which needs"
              + " clientCertificate and privateKey, or credentialName (ISTIO_MUTUAL shows the"
              + " workload's own certificate)");
    }
    List<String> sans = tls.strings("subjectAltNames").stream().map(t -> t.text()).toList();
    Optional<String> sni = text(tls, "sni");
    Optional<String> ca = text(tls, "caCertificates");
    Optional<String> certificate = text(tls, "clientCertificate");
    Optional<String> key = text(tls, "privateKey");
    Optional<String> credential = text(tls, "credentialName");
    Optional<String> crl = text(tls, "caCrl");
    boolean insecure = tls.bool("insecureSkipVerify").orElse(false);
    tls.finish();
    if (mode.isEmpty()) {
      return Optional.empty();
    }
    DestinationRule.Tls out =
        new DestinationRule.Tls(
            mode.get(), sni, sans, ca, certificate, key, credential, crl, insecure);
    if (!spelledAsInBlog || byFile(out) || credential.isPresent()) {
      check(tls, out);
    }
    return Optional.of(out);
  }

  private static boolean byFile(DestinationRule.Tls tls) {
    return tls.clientCertificate().isPresent()
        || tls.privateKey().isPresent()
        || tls.caCertificates().isPresent()
        || tls.caCrl().isPresent();
  }

  private static void check(FieldReader reader, DestinationRule.Tls tls) {
    DestinationRule.Tls.Mode mode = tls.mode();
    boolean byFile = byFile(tls);
    switch (mode) {
      case DISABLE -> {
        if (byFile || tls.credentialName().isPresent() || tls.sni().isPresent()) {
          reader.warning("mode", "is DISABLE, so the other settings have no effect");
        }
        return;
      }
      case ISTIO_MUTUAL -> {
        if (byFile || tls.credentialName().isPresent()) {
          reader.error(
              "mode", "ISTIO_MUTUAL uses the workload's own certificate: name no other one");
        }
        return;
      }
      case SIMPLE, MUTUAL -> {}
    }
    if (tls.insecureSkipVerify()) {
      if (!tls.subjectAltNames().isEmpty()) {
        reader.error("subjectAltNames", "cannot be set with insecureSkipVerify");
      }
      if (tls.caCertificates().isPresent()) {
        reader.error("caCertificates", "cannot be set with insecureSkipVerify");
      }
      if (mode == DestinationRule.Tls.Mode.SIMPLE && tls.credentialName().isPresent()) {
        reader.error("credentialName", "cannot be set with insecureSkipVerify and SIMPLE");
      }
    }
    if (tls.credentialName().isPresent()) {
      if (byFile) {
        reader.error(
            "credentialName",
            "and clientCertificate, privateKey, caCertificates or caCrl exclude each other");
      }
      return;
    }
    if (mode == DestinationRule.Tls.Mode.MUTUAL) {
      if (tls.clientCertificate().isEmpty()) {
        reader.error("clientCertificate", "is missing: MUTUAL needs it, or credentialName");
      }
      if (tls.privateKey().isEmpty()) {
        reader.error("privateKey", "is missing: MUTUAL needs it, or credentialName");
      }
    }
    if (tls.caCrl().isPresent() && tls.caCertificates().isEmpty()) {
      reader.warning("caCrl", "has no effect without caCertificates");
    }
  }
}
