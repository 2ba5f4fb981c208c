package io.tailwater.agent.dataplane.account;

import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.traffic.Direction;
import io.tailwater.agent.traffic.Pod;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

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

  private static final List<String> WORKLOAD = List.of("service.istio.io/workload-name");
  private static final List<String> CANONICAL_NAME =
      List.of("service.istio.io/canonical-name", "app.kubernetes.io/name", "app");
  private static final List<String> CANONICAL_REVISION =
      List.of("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version");

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
    String workload = label(pod, WORKLOAD, pod.ref().name());
    return new TrafficLabels(
        direction,
        workload,
        label(pod, CANONICAL_NAME, workload),
        label(pod, CANONICAL_REVISION, "latest"),
        pod.namespace(),
        service,
        serviceNamespace,
        service);
  }

  /// The first of the labels that the pod has.
  private static String label(Pod pod, List<String> names, String otherwise) {
    if (!pod.labels().isEmpty()) {
      for (String name : names) {
        String value = pod.labels().get(name);
        if (value != null && !value.isEmpty()) {
          return value;
        }
      }
    }
    return otherwise;
  }

  private static String orUnknown(String value) {
    return value.isEmpty() ? UNKNOWN : value;
  }

  /// Looked up for each connection, therefore by hand.
  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof TrafficLabels that
        && direction == that.direction
        && workload.equals(that.workload)
        && canonicalService.equals(that.canonicalService)
        && canonicalRevision.equals(that.canonicalRevision)
        && namespace.equals(that.namespace)
        && service.equals(that.service)
        && serviceNamespace.equals(that.serviceNamespace)
        && serviceName.equals(that.serviceName);
  }

  /// Of what differs between pods and destinations; the rest seldom does by itself.
  @Override
  public int hashCode() {
    return ((workload.hashCode() * 31 + namespace.hashCode()) * 31 + service.hashCode()) * 31
        + serviceNamespace.hashCode();
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
