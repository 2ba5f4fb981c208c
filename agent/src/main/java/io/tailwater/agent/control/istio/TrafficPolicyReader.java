package io.tailwater.agent.control.istio;

import io.tailwater.agent.control.source.FieldReader;
import io.tailwater.agent.traffic.CidrBlock;
import java.time.Duration;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// Reads a `trafficPolicy` with the rules of Istio's webhook. One thread.
final class TrafficPolicyReader {
  private static final String CONFIG_MAP = "configmap://";
  private static final int MOST_PORTS = 4096;

  private static final Map<String, Boolean> H2_UPGRADE =
      Map.of("DEFAULT", false, "DO_NOT_UPGRADE", false, "UPGRADE", true);

  /// The modes, with the spelling of Istio's blog.
  private static final Map<String, DestinationRule.Tls.Mode> MODES = modes();

  private static Map<String, DestinationRule.Tls.Mode> modes() {
    Map<String, DestinationRule.Tls.Mode> out = new LinkedHashMap<>();
    for (DestinationRule.Tls.Mode mode : DestinationRule.Tls.Mode.values()) {
      out.put(mode.name(), mode);
    }
    out.put("MUTUAL_TLS", DestinationRule.Tls.Mode.MUTUAL);
    return out;
  }

  private final String namespace;

  /// @param namespace the rule's
  TrafficPolicyReader(String namespace) {
    this.namespace = namespace;
  }

  DestinationRule.TrafficPolicy read(FieldReader policy) {
    DestinationRule.Settings settings = settings(policy);
    Map<Integer, DestinationRule.Settings> ports = new HashMap<>();
    IstioFields.mostItems(policy, "portLevelSettings", MOST_PORTS);
    for (FieldReader reader : policy.mappings("portLevelSettings")) {
      Optional<FieldReader> port = reader.mapping("port");
      Optional<Integer> number = port.flatMap(p -> p.integer("number", 1, 65535));
      port.ifPresent(FieldReader::finish);
      if (!reader.has("port") || (port.isPresent() && !port.get().has("number"))) {
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
            b.decimal("percent")
                .filter(n -> n < 0 || n > 100)
                .ifPresent(_ -> b.error("percent", "must be between 0 and 100"));
            IstioFields.unsigned(b, "minRetryConcurrency");
            GoDuration.readOrZero(b, "budgetInterval");
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

  private DestinationRule.Settings settings(FieldReader reader) {
    Optional<DestinationRule.Outlier> outlier =
        reader.mapping("outlierDetection").map(TrafficPolicyReader::outlier);
    return new DestinationRule.Settings(
        reader.mapping("loadBalancer").map(lb -> LoadBalancerReader.read(lb, outlier.isPresent())),
        reader.mapping("connectionPool").map(TrafficPolicyReader::pool),
        outlier,
        reader.mapping("tls").flatMap(tls -> tls(tls, namespace)));
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
      if (CidrBlock.parseAddress(h).isEmpty()) {
        IstioFields.notFullName(h)
            .ifPresent(why -> tunnel.error("targetHost", "\"" + h + "\" " + why));
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
            tcp.flatMap(TrafficPolicyReader::tcpIdle),
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

  /// Zero turns it off, and so does what is shorter than a millisecond.
  private static Optional<Duration> tcpIdle(FieldReader tcp) {
    Optional<Duration> idle = GoDuration.readOrZero(tcp, "idleTimeout");
    return idle.isPresent() && idle.get().toMillis() == 0
        ? Optional.of(Duration.ZERO)
        : idle.flatMap(_ -> GoDuration.read(tcp, "idleTimeout"));
  }

  private static Optional<Integer> limit(FieldReader reader, String key) {
    return reader.integer(key, 0, Integer.MAX_VALUE);
  }

  private static DestinationRule.KeepAlive keepAlive(FieldReader reader) {
    DestinationRule.KeepAlive out =
        new DestinationRule.KeepAlive(
            IstioFields.unsigned(reader, "probes").filter(n -> n > 0),
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
      for (String key : List.of("interval", "timeout")) {
        if (!k.has(key)) {
          k.error(key, "is missing; http2KeepAlive needs interval and timeout");
        }
        GoDuration.read(k, key);
      }
      k.finish();
      http.warning("http2KeepAlive", "is not honoured");
    });
    http.finish();
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
    Optional<Integer> local = IstioFields.unsigned(reader, "consecutiveLocalOriginFailures");
    if (!split && local.orElse(0) > 0) {
      reader.error("consecutiveLocalOriginFailures", "needs splitExternalLocalOriginErrors: true");
    }
    DestinationRule.Outlier out =
        new DestinationRule.Outlier(
            IstioFields.unsigned(reader, "consecutive5xxErrors"),
            IstioFields.unsigned(reader, "consecutiveGatewayErrors"),
            split ? local.or(() -> Optional.of(5)) : Optional.empty(),
            GoDuration.read(reader, "interval"),
            GoDuration.read(reader, "baseEjectionTime"),
            reader.integer("maxEjectionPercent", 0, 100),
            reader.integer("minHealthPercent", 0, 100));
    if (reader.has("outlierDetectionHttpErrorCodes")) {
      reader.integers("outlierDetectionHttpErrorCodes", 100, 599);
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
  ///
  /// @param namespace where a ConfigMap that it names must be
  static Optional<DestinationRule.Tls> tls(FieldReader tls, String namespace) {
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
      check(tls, out, namespace);
    }
    return Optional.of(out);
  }

  /// What is wrong with a name that says `configmap://`, or nothing.
  private static Optional<String> notConfigMap(String credential, String namespace) {
    if (!credential.startsWith(CONFIG_MAP)) {
      return Optional.empty();
    }
    String[] parts = credential.substring(CONFIG_MAP.length()).split("/", -1);
    if (parts.length != 2 || parts[0].isEmpty() || parts[1].isEmpty()) {
      return Optional.of("\"" + credential + "\" must be " + CONFIG_MAP + "NAMESPACE/NAME");
    }
    return parts[0].equals(namespace)
        ? Optional.empty()
        : Optional.of(
            "\""
                + credential
                + "\" is of another namespace; the ConfigMap must be in "
                + namespace
                + ", that of the rule");
  }

  private static boolean byFile(DestinationRule.Tls tls) {
    return tls.clientCertificate().isPresent()
        || tls.privateKey().isPresent()
        || tls.caCertificates().isPresent()
        || tls.caCrl().isPresent();
  }

  private static void check(FieldReader reader, DestinationRule.Tls tls, String namespace) {
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
          reader.warning(
              "mode",
              "ISTIO_MUTUAL uses the workload's own certificate: the ones that are named have no"
                  + " effect; use MUTUAL to show those");
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
    tls.credentialName()
        .flatMap(name -> notConfigMap(name, namespace))
        .ifPresent(why -> reader.error("credentialName", why));
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
