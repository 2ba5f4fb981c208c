package io.tailwater.agent.dataplane.account;

import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.traffic.Direction;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;

/// The labels of a connection's series: ztunnel's, in its order, with `unknown` where nothing is
/// known. The values come from the pod and from policy, never from the wire.
record TrafficLabels(Direction direction, PodLabels pod, String service, String serviceNamespace) {

  private static final String UNKNOWN = "unknown";

  /// Where label sets beyond the bound are counted.
  static final TrafficLabels OTHER =
      new TrafficLabels(
          Direction.OUTBOUND, new PodLabels("other", "other", "other", "other"), "other", "other");

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
  static TrafficLabels from(PodLabels pod, Optional<Decision> decision) {
    if (decision.orElse(null) instanceof Decision.Forward forward) {
      Decision.Destination to = forward.to();
      return new TrafficLabels(Direction.OUTBOUND, pod, to.host(), orUnknown(to.namespace()));
    }
    boolean passes = decision.orElse(null) instanceof Decision.Passthrough;
    String service = passes ? Decision.PASSTHROUGH : UNKNOWN;
    return new TrafficLabels(Direction.OUTBOUND, pod, service, UNKNOWN);
  }

  /// Of a connection that was made to the pod.
  static TrafficLabels to(PodLabels pod) {
    return new TrafficLabels(Direction.INBOUND, pod, UNKNOWN, UNKNOWN);
  }

  private static String orUnknown(String value) {
    return value.isEmpty() ? UNKNOWN : value;
  }

  /// The values in the order of `NAMES`.
  List<String> values(String responseFlags) {
    List<String> own =
        List.of(
            pod.workload(),
            pod.canonicalService(),
            pod.canonicalRevision(),
            pod.namespace(),
            UNKNOWN,
            pod.canonicalService(),
            pod.canonicalRevision(),
            UNKNOWN);
    List<String> other = Collections.nCopies(own.size(), UNKNOWN);
    boolean outbound = direction == Direction.OUTBOUND;
    List<String> values = new ArrayList<>(NAMES.size());
    values.add(direction.reporter());
    values.addAll(outbound ? own : other);
    values.addAll(List.of(service, serviceNamespace, service));
    values.addAll(outbound ? other : own);
    values.addAll(List.of("tcp", responseFlags, UNKNOWN));
    return values;
  }

  // by hand, as in PodRef
  @Override
  public boolean equals(Object other) {
    return this == other
        || (other instanceof TrafficLabels that
            && direction == that.direction
            && pod.equals(that.pod)
            && service.equals(that.service)
            && serviceNamespace.equals(that.serviceNamespace));
  }

  @Override
  public int hashCode() {
    return (31 * pod.hashCode() + service.hashCode()) * 31 + direction.hashCode();
  }
}
