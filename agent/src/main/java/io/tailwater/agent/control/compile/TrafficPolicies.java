package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.DestinationRule;
import io.tailwater.agent.control.istio.Protocol;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.LoadBalancing;
import io.tailwater.agent.dataplane.route.OutlierDetection;
import io.tailwater.agent.dataplane.route.UpstreamHttp;
import io.tailwater.agent.dataplane.route.UpstreamTls;
import java.time.Duration;
import java.util.List;
import java.util.Optional;

/// Composes what a DestinationRule says of one port and subset, with Istio's defaults where it is
/// silent (Istio `pilot/pkg/networking/core/cluster_traffic_policy.go`, `cluster_tls.go`). Pure.
final class TrafficPolicies {
  /// What the rule is applied to.
  ///
  /// @param dynamic whether the requested name is resolved (DYNAMIC_DNS)
  /// @param dialled whether the dialled address is kept (resolution NONE)
  /// @param serverNames the ServiceEntry's `subjectAltNames`
  record Of(
      String host,
      int port,
      Protocol.Family family,
      boolean dynamic,
      boolean dialled,
      List<String> serverNames) {}

  private static final String TLS_1_2 = "TLSv1.2";
  private static final String TLS_1_3 = "TLSv1.3";

  /// As good as never, where 0 turns a timeout off.
  private static final Duration NEVER = Duration.ofDays(3650);

  private static final int CONSECUTIVE = 5;
  private static final Duration OUTLIER_INTERVAL = Duration.ofSeconds(10);
  private static final Duration OUTLIER_EJECTION = Duration.ofSeconds(30);
  private static final int OUTLIER_PERCENT = 10;

  private TrafficPolicies() {}

  /// The policy for a destination.
  static ConnectionPolicy compose(
      DestinationRules.Merged rule, Optional<DestinationRule.Subset> subset, Of of) {
    DestinationRule.Settings settings = settings(rule, subset, of.port());
    Optional<DestinationRule.Pool> pool = settings.pool();
    boolean endpoints = !of.dynamic() && !of.dialled();
    return new ConnectionPolicy(
        settings
            .tls()
            .flatMap(tls -> tls(tls, of, subset.map(DestinationRule.Subset::name).orElse(""))),
        pool.map(TrafficPolicies::limits).orElse(ConnectionPolicy.Limits.NONE),
        pool.flatMap(DestinationRule.Pool::connectTimeout),
        pool.flatMap(p -> idle(p.tcpIdleTimeout())),
        pool.flatMap(DestinationRule.Pool::maxConnectionDuration),
        pool.flatMap(DestinationRule.Pool::keepAlive)
            .map(k -> new ConnectionPolicy.KeepAlive(k.probes(), k.time(), k.interval())),
        endpoints ? balancing(settings) : LoadBalancing.DEFAULT,
        endpoints ? settings.outlier().map(TrafficPolicies::outlier) : Optional.empty(),
        pool.map(p -> http(p, of.family())).orElse(ConnectionPolicy.Http.DEFAULT));
  }

  /// What cannot be honoured for a destination, as a clause after "because".
  static Optional<String> cannot(
      DestinationRules.Merged rule, Optional<DestinationRule.Subset> subset) {
    return subset
        .flatMap(DestinationRule.Subset::trafficPolicy)
        .flatMap(DestinationRule.TrafficPolicy::cannot)
        .or(() -> rule.policy().flatMap(DestinationRule.TrafficPolicy::cannot));
  }

  /// A port's settings replace the rule's whole. A subset replaces block by block what it sets, and
  /// by its own settings of the port all of it.
  static DestinationRule.Settings settings(
      DestinationRules.Merged rule, Optional<DestinationRule.Subset> subset, int port) {
    DestinationRule.Settings general =
        rule.policy().map(p -> p.of(port)).orElse(DestinationRule.Settings.NONE);
    Optional<DestinationRule.TrafficPolicy> own =
        subset.flatMap(DestinationRule.Subset::trafficPolicy);
    if (own.isEmpty()) {
      return general;
    }
    if (own.get().ports().containsKey(port)) {
      return own.get().of(port);
    }
    DestinationRule.Settings narrow = own.get().settings();
    return new DestinationRule.Settings(
        narrow.balancer().or(general::balancer),
        narrow.pool().or(general::pool),
        narrow.outlier().or(general::outlier),
        narrow.tls().or(general::tls));
  }

  // ---- TLS ---------------------------------------------------------------------------------

  private static Optional<UpstreamTls> tls(DestinationRule.Tls tls, Of of, String subset) {
    if (tls.mode() == DestinationRule.Tls.Mode.DISABLE) {
      return Optional.empty();
    }
    UpstreamTls.Mode mode = UpstreamTls.Mode.valueOf(tls.mode().name());
    boolean mutual = mode == UpstreamTls.Mode.ISTIO_MUTUAL;
    Optional<String> sni = tls.sni();
    if (mutual && !of.dynamic() && sni.isEmpty()) {
      sni = Optional.of("outbound_." + of.port() + "_." + subset + "_." + of.host());
    }
    List<String> names =
        tls.insecureSkipVerify()
            ? List.of()
            : tls.subjectAltNames().isEmpty() && !of.dynamic() && !mutual
                ? of.serverNames()
                : tls.subjectAltNames();
    return Optional.of(
        new UpstreamTls(
            mode,
            sni,
            names,
            autoSan(tls, of),
            tls.caCertificates(),
            tls.clientCertificate(),
            tls.privateKey(),
            tls.credentialName(),
            tls.insecureSkipVerify(),
            TLS_1_2,
            TLS_1_3,
            List.of(),
            tls.caCrl()));
  }

  /// Whether the certificate must carry the requested name. Under a dynamic host always; else only
  /// where the rule names neither SNI nor names. Bytes that carry no plaintext name ask for none.
  private static boolean autoSan(DestinationRule.Tls tls, Of of) {
    boolean named =
        switch (of.family()) {
          case HTTP, UNSET -> true;
          case TLS, TCP, UDP -> false;
        };
    if (tls.insecureSkipVerify() || !named) {
      return false;
    }
    return of.dynamic()
        || (tls.mode() != DestinationRule.Tls.Mode.ISTIO_MUTUAL
            && tls.sni().isEmpty()
            && tls.subjectAltNames().isEmpty());
  }

  // ---- the other blocks --------------------------------------------------------------------

  private static ConnectionPolicy.Limits limits(DestinationRule.Pool pool) {
    return new ConnectionPolicy.Limits(
        threshold(pool.maxConnections()),
        threshold(pool.maxRequests()),
        threshold(pool.maxPendingRequests()),
        threshold(pool.maxRetries()),
        pool.maxRequestsPerConnection());
  }

  /// An upgrade is for ports that say HTTP: what is detected may be something else (Istio's
  /// `shouldH2Upgrade`).
  private static ConnectionPolicy.Http http(DestinationRule.Pool pool, Protocol.Family family) {
    Optional<UpstreamHttp> spoken =
        switch (pool.http()) {
          case BY_PORT -> Optional.empty();
          case AS_CLIENT -> Optional.of(UpstreamHttp.CLIENTS);
          case UPGRADE ->
              family == Protocol.Family.HTTP ? Optional.of(UpstreamHttp.HTTP2) : Optional.empty();
        };
    return new ConnectionPolicy.Http(spoken, idle(pool.httpIdleTimeout().or(pool::tcpIdleTimeout)));
  }

  private static long threshold(int limit) {
    return limit == 0 ? ConnectionPolicy.Limits.UNLIMITED : limit;
  }

  private static Optional<Duration> idle(Optional<Duration> said) {
    return said.map(d -> d.isZero() ? NEVER : d);
  }

  /// Locality counts where outlier detection tells who is out, as in Istio.
  private static LoadBalancing balancing(DestinationRule.Settings settings) {
    Optional<DestinationRule.Balancer> balancer = settings.balancer();
    LoadBalancing.Kind kind =
        balancer
            .map(b ->
                switch (b.kind()) {
                  case LEAST_REQUEST -> LoadBalancing.Kind.LEAST_REQUEST;
                  case ROUND_ROBIN -> LoadBalancing.Kind.ROUND_ROBIN;
                  case RANDOM -> LoadBalancing.Kind.RANDOM;
                  case PASSTHROUGH -> LoadBalancing.Kind.PASSTHROUGH;
                  case SOURCE_HASH -> LoadBalancing.Kind.SOURCE_HASH;
                })
            .orElse(LoadBalancing.DEFAULT.kind());
    boolean locality =
        settings.outlier().isPresent()
            && balancer.flatMap(DestinationRule.Balancer::locality).orElse(true);
    return new LoadBalancing(kind, locality);
  }

  /// Istio ejects for errors of a gateway only where it is told to.
  private static OutlierDetection outlier(DestinationRule.Outlier outlier) {
    return new OutlierDetection(
        outlier.consecutive5xx().orElse(CONSECUTIVE),
        outlier.consecutiveGateway().orElse(0),
        outlier.consecutiveLocal(),
        outlier.interval().orElse(OUTLIER_INTERVAL),
        outlier.baseEjectionTime().orElse(OUTLIER_EJECTION),
        outlier.maxEjectionPercent().orElse(OUTLIER_PERCENT),
        outlier.minHealthPercent().orElse(0));
  }
}
