package io.tailwater.agent.dataplane.account;

import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.traffic.Direction;
import io.tailwater.agent.traffic.Pod;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;

/// The labels of a connection's series: ztunnel's, in its order, with `unknown` where nothing is
/// known. The values come from the pod and from policy, never from the wire.
record TrafficLabels(
    Direction direction,
    String workload,
    String canonicalService,
    String canonicalRevision,
    String namespace,
    String service,
    String serviceNamespace,
    String serviceName) {

  private static final String UNKNOWN = "unknown";

  /// Where label sets beyond the bound are counted.
  static final TrafficLabels OTHER =
      new TrafficLabels(
          Direction.OUTBOUND, "other", "other", "other", "other", "other", "other", "other");

  /// ztunnel's names. The four of regions and zones are left out, as it does where neither side is
  /// known.
  static final List<String> NAMES =
      List.of(
          "reporter",
          "source_workload",
          "source_canonical_service",
          "source_canonical_revision",
          "source_workload_namespace",
          "source_principal",
          "source_app",
          "source_version",
          "source_cluster",
          "destination_service",
          "destination_service_namespace",
          "destination_service_name",
          "destination_workload",
          "destination_canonical_service",
          "destination_canonical_revision",
          "destination_workload_namespace",
          "destination_principal",
          "destination_app",
          "destination_version",
          "destination_cluster",
          "request_protocol",
          "response_flags",
          "connection_security_policy");

  /// Of a connection that the pod made.
  static TrafficLabels from(Pod pod, Optional<Decision> decision) {
    String service = UNKNOWN;
    String serviceNamespace = UNKNOWN;
    if (decision.orElse(null) instanceof Decision.Forward forward) {
      service = forward.to().host();
      serviceNamespace = orUnknown(forward.to().namespace());
    } else if (decision.orElse(null) instanceof Decision.Passthrough) {
      service = Decision.PASSTHROUGH;
    }
    return of(pod, Direction.OUTBOUND, service, serviceNamespace);
  }

  /// Of a connection that was made to the pod.
  static TrafficLabels to(Pod pod) {
    return of(pod, Direction.INBOUND, UNKNOWN, UNKNOWN);
  }

  private static TrafficLabels of(
      Pod pod, Direction direction, String service, String serviceNamespace) {
    String workload =
        label(pod, "service.istio.io/workload-name").orElseGet(() -> pod.ref().name());
    return new TrafficLabels(
        direction,
        workload,
        label(pod, "service.istio.io/canonical-name")
            .or(() -> label(pod, "app.kubernetes.io/name"))
            .or(() -> label(pod, "app"))
            .orElse(workload),
        label(pod, "service.istio.io/canonical-revision")
            .or(() -> label(pod, "app.kubernetes.io/version"))
            .or(() -> label(pod, "version"))
            .orElse("latest"),
        pod.namespace(),
        service,
        serviceNamespace,
        service);
  }

  private static Optional<String> label(Pod pod, String name) {
    return Optional.ofNullable(pod.labels().get(name)).filter(v -> !v.isEmpty());
  }

  private static String orUnknown(String value) {
    return value.isEmpty() ? UNKNOWN : value;
  }

  /// The values in the order of `NAMES`.
  List<String> values(String responseFlags) {
    List<String> own =
        List.of(
            workload,
            canonicalService,
            canonicalRevision,
            namespace,
            UNKNOWN,
            canonicalService,
            canonicalRevision,
            UNKNOWN);
    List<String> other = Collections.nCopies(own.size(), UNKNOWN);
    boolean outbound = direction == Direction.OUTBOUND;
    List<String> values = new ArrayList<>(NAMES.size());
    values.add(direction.reporter());
    values.addAll(outbound ? own : other);
    values.addAll(List.of(service, serviceNamespace, serviceName));
    values.addAll(outbound ? other : own);
    values.addAll(List.of("tcp", responseFlags, UNKNOWN));
    return values;
  }
}
