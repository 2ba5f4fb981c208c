package io.tailwater.agent.control.istio;

import io.tailwater.agent.traffic.ResourceRef;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// A Gateway of the Gateway API, read as what it may be for a client: a waypoint.
///
/// @param addresses what `status.addresses` holds; without any it does not exist yet
/// @param serves what of the label `istio.io/waypoint-for`; empty where it does not say
/// @param gatewayClass the class, which may say it instead
/// @param admission whose objects may be bound to it
public record Waypoint(
    ResourceRef ref,
    List<String> addresses,
    Optional<Serves> serves,
    String gatewayClass,
    Admission admission) {
  public Waypoint {
    addresses = List.copyOf(addresses);
  }

  /// Whose traffic a waypoint takes.
  public enum Serves {
    /// What is addressed to services.
    SERVICE,
    /// What is addressed to workloads.
    WORKLOAD,
    ALL,
    /// Neither: a value that is not known.
    NEITHER;

    /// Reads the label's value.
    static Serves of(String text) {
      return switch (text) {
        case "service" -> SERVICE;
        case "workload" -> WORKLOAD;
        case "all" -> ALL;
        default -> NEITHER;
      };
    }

    public boolean services() {
      return this == SERVICE || this == ALL;
    }

    public boolean workloads() {
      return this == WORKLOAD || this == ALL;
    }
  }

  /// Which namespaces are admitted (`allowedRoutes.namespaces` of the HBONE listener).
  public sealed interface Admission {
    /// The Gateway's own.
    record Same() implements Admission {}

    /// Every one.
    record All() implements Admission {}

    /// Those whose labels match.
    record Selected(LabelSelector selector) implements Admission {}

    /// None.
    record Nobody() implements Admission {}
  }

  /// Whether it is there to be used.
  public boolean ready() {
    return !addresses.isEmpty();
  }

  /// Whether objects of a namespace may be bound to it.
  public boolean admits(String namespace, Map<String, String> namespaceLabels) {
    return switch (admission) {
      case Admission.Same _ -> namespace.equals(ref.namespace());
      case Admission.All _ -> true;
      case Admission.Selected(LabelSelector selector) -> selector.matches(namespaceLabels);
      case Admission.Nobody _ -> false;
    };
  }

  /// As policy tests and people name it.
  public String name() {
    return ref.namespace() + "/" + ref.name();
  }
}
