package io.tailwater.agent.control.istio;

import io.tailwater.agent.traffic.ResourceRef;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// A valid DestinationRule. `exportTo` is as written, empty where absent; a `workloadSelector`
/// limits it to the pods of its namespace that have these labels.
public record DestinationRule(
    ResourceRef ref,
    Instant age,
    HostScope host,
    Optional<TrafficPolicy> trafficPolicy,
    List<Subset> subsets,
    List<String> exportTo,
    Optional<Map<String, String>> workloadSelector) {
  public DestinationRule {
    subsets = List.copyOf(subsets);
    exportTo = List.copyOf(exportTo);
    workloadSelector = workloadSelector.map(Map::copyOf);
  }

  /// Endpoints of the host that have certain labels, under a name that routes use.
  public record Subset(
      String name, Map<String, String> labels, Optional<TrafficPolicy> trafficPolicy) {
    public Subset {
      labels = Map.copyOf(labels);
    }
  }

  /// A `trafficPolicy`. What `ports` holds for a port replaces `settings` whole there.
  ///
  /// @param cannot what of it is not honoured and cannot be left out, as a clause after "because"
  public record TrafficPolicy(
      Settings settings, Map<Integer, Settings> ports, Optional<String> cannot) {
    public TrafficPolicy {
      ports = Map.copyOf(ports);
    }

    /// What holds for a port.
    public Settings of(int port) {
      return ports.getOrDefault(port, settings);
    }
  }

  /// The blocks that Istio composes, whole each.
  public record Settings(
      Optional<Balancer> balancer,
      Optional<Pool> pool,
      Optional<Outlier> outlier,
      Optional<Tls> tls) {
    public static final Settings NONE =
        new Settings(Optional.empty(), Optional.empty(), Optional.empty(), Optional.empty());
  }

  /// A `loadBalancer`; `locality` tells whether locality is turned off or on, where it says so.
  public record Balancer(Kind kind, Optional<Boolean> locality) {
    /// How endpoints are chosen.
    public enum Kind {
      LEAST_REQUEST,
      ROUND_ROBIN,
      RANDOM,
      PASSTHROUGH,
      SOURCE_HASH
    }
  }

  /// A `connectionPool`; 0 of a limit is none.
  public record Pool(
      Optional<Duration> connectTimeout,
      int maxConnections,
      Optional<Duration> maxConnectionDuration,
      Optional<Duration> tcpIdleTimeout,
      Optional<KeepAlive> keepAlive,
      int maxRequests,
      int maxPendingRequests,
      int maxRetries,
      int maxRequestsPerConnection,
      Optional<Duration> httpIdleTimeout,
      Http http) {
    /// Which HTTP is spoken to the destination.
    public enum Http {
      BY_PORT,
      /// `useClientProtocol`.
      AS_CLIENT,
      /// `h2UpgradePolicy: UPGRADE`.
      UPGRADE
    }
  }

  /// A `tcpKeepalive`.
  public record KeepAlive(
      Optional<Integer> probes, Optional<Duration> time, Optional<Duration> interval) {}

  /// An `outlierDetection`; what is empty has Envoy's default.
  ///
  /// @param consecutiveLocal set where errors of local origin are counted apart
  public record Outlier(
      Optional<Integer> consecutive5xx,
      Optional<Integer> consecutiveGateway,
      Optional<Integer> consecutiveLocal,
      Optional<Duration> interval,
      Optional<Duration> baseEjectionTime,
      Optional<Integer> maxEjectionPercent,
      Optional<Integer> minHealthPercent) {}

  /// A `tls` (Istio's `ClientTLSSettings`).
  ///
  /// @param caCrl a revocation list; empty where there is none
  public record Tls(
      Mode mode,
      Optional<String> sni,
      List<String> subjectAltNames,
      Optional<String> caCertificates,
      Optional<String> clientCertificate,
      Optional<String> privateKey,
      Optional<String> credentialName,
      Optional<String> caCrl,
      boolean insecureSkipVerify) {
    public Tls {
      subjectAltNames = List.copyOf(subjectAltNames);
    }

    /// Who shows a certificate.
    public enum Mode {
      DISABLE,
      SIMPLE,
      MUTUAL,
      ISTIO_MUTUAL
    }
  }

  /// Its namespace.
  public String namespace() {
    return ref.namespace();
  }

  /// Its name.
  public String name() {
    return ref.name();
  }
}
