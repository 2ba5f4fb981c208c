package io.tailwater.agent.node;

import io.tailwater.agent.dataplane.transport.IoUringTransport;
import io.tailwater.iptables.apply.Processes;
import io.tailwater.iptables.apply.RuleBackend;
import io.tailwater.iptables.apply.RulePrograms;
import io.tailwater.iptables.apply.RulesException;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.lab.Place;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/// One way in which a connection can be captured and carried. The client speaks `family`, and so
/// does the server: names are looked up in that family alone.
///
/// @param mode as the configuration names it, `in-pod` or `node`
/// @param transport likewise, `epoll` or `io_uring`
record CaptureCombination(RuleBackend backend, String mode, IpFamily family, String transport) {
  private static final List<String> MODES = List.of("in-pod", "node");
  private static final List<String> TRANSPORTS = List.of("epoll", "io_uring");

  /// All 24.
  static List<CaptureCombination> product() {
    List<CaptureCombination> all = new ArrayList<>();
    for (RuleBackend backend : RuleBackend.values()) {
      for (String mode : MODES) {
        for (IpFamily family : IpFamily.values()) {
          for (String transport : TRANSPORTS) {
            all.add(new CaptureCombination(backend, mode, family, transport));
          }
        }
      }
    }
    return List.copyOf(all);
  }

  /// A few, with every two values together in one of them.
  static List<CaptureCombination> pairs() {
    return PairwiseCover.of(product(), CaptureCombination::values);
  }

  /// All but these.
  static List<CaptureCombination> rest() {
    List<CaptureCombination> rest = new ArrayList<>(product());
    rest.removeAll(pairs());
    return List.copyOf(rest);
  }

  List<Object> values() {
    return List.of(backend, mode, family, transport);
  }

  boolean isInPod() {
    return mode.equals("in-pod");
  }

  boolean isIpv6() {
    return family == IpFamily.V6;
  }

  /// The grade at which it carries a connection without HTTP.
  String grade() {
    return transport.equals("epoll") ? "splice" : "copy";
  }

  /// The address of a pod, in the family.
  String address(Place place) {
    return isIpv6() ? place.v6() : place.v4();
  }

  /// The address of a site, in the family.
  String address(String site) {
    return isIpv6() ? World.v6(site) : World.v4(site);
  }

  /// Keys of the agent's configuration.
  String yaml() {
    return """
    mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
    capture: {backend: %s, mode: %s}
    relay: %s
    transport: %s
    dns: {servers: [DNS], lookupFamily: %s}
    """
        .formatted(backend, mode, grade(), transport, isIpv6() ? "v6" : "v4");
  }

  /// Why this machine cannot do it.
  Optional<String> missing(World world) {
    if (isIpv6() && !world.lab.ipv6()) {
      return Optional.of("the kernel has no IPv6");
    }
    if (transport.equals("io_uring") && IoUringTransport.unavailable().isPresent()) {
      return IoUringTransport.unavailable().map(why -> "no io_uring: " + why);
    }
    try {
      RulePrograms.detect(Optional.of(backend), new Processes());
      return Optional.empty();
    } catch (RulesException e) {
      return Optional.of(e.getMessage());
    }
  }

  /// For the names of tests: `nft, node, IPv6, io_uring`.
  @Override
  public String toString() {
    return String.join(", ", values().stream().map(Object::toString).toList());
  }
}
