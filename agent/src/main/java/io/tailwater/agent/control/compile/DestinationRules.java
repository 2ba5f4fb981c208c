package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.DestinationRule;
import io.tailwater.agent.control.istio.HostScope;
import io.tailwater.agent.control.istio.Visibility;
import io.tailwater.agent.traffic.HostPattern;
import io.tailwater.agent.traffic.ResourceRef;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Predicate;

/// The DestinationRules of all namespaces and who is found for whom (Istio
/// `pilot/pkg/model/push_context.go`, `destination_rule.go`). Immutable; any thread.
///
/// Namespaces come first: the client's, the service's, the root namespace. The first one with a
/// rule that holds ends the search, and in it the most specific host wins. A wildcard service is
/// only found by wildcards that contain it.
final class DestinationRules {
  /// Oldest first.
  static final Comparator<DestinationRule> AGE =
      Comparator.comparing(DestinationRule::age)
          .thenComparing(DestinationRule::name)
          .thenComparing(DestinationRule::namespace);

  /// The rules for one host of one namespace with the same audience, as one: the oldest
  /// `trafficPolicy` whole, and all subsets, the first of a name.
  record Merged(
      ResourceRef ref,
      HostScope host,
      Visibility visibility,
      Optional<Map<String, String>> selector,
      Optional<DestinationRule.TrafficPolicy> policy,
      Map<String, DestinationRule.Subset> subsets) {
    Merged {
      subsets = Map.copyOf(subsets);
    }

    private Merged and(DestinationRule younger) {
      Map<String, DestinationRule.Subset> all = new HashMap<>(subsets);
      younger.subsets().forEach(s -> all.putIfAbsent(s.name(), s));
      return new Merged(ref, host, visibility, selector, policy.or(younger::trafficPolicy), all);
    }

    private Merged and(Merged other) {
      Map<String, DestinationRule.Subset> all = new HashMap<>(subsets);
      other.subsets.forEach(all::putIfAbsent);
      return new Merged(ref, host, visibility, selector, policy.or(other::policy), all);
    }
  }

  private record Audience(Visibility visibility, Optional<Map<String, String>> selector) {}

  /// Of one namespace: hosts with their rules, wildcards in the order of specificity.
  private record Namespace(
      Map<HostScope, List<Merged>> names, TreeMap<HostScope, List<Merged>> wildcards) {}

  private final Map<String, Namespace> namespaces = new HashMap<>();
  private final String rootNamespace;

  DestinationRules(List<DestinationRule> rules, String rootNamespace) {
    this.rootNamespace = rootNamespace;
    Map<String, Map<HostScope, Map<Audience, Merged>>> merged = new LinkedHashMap<>();
    for (DestinationRule rule : rules.stream().sorted(AGE).toList()) {
      Audience audience =
          new Audience(
              Visibility.of(rule.exportTo(), rule.namespace(), List.of("*")),
              rule.workloadSelector());
      merged
          .computeIfAbsent(rule.namespace(), _ -> new LinkedHashMap<>())
          .computeIfAbsent(rule.host(), _ -> new LinkedHashMap<>())
          .merge(audience, alone(rule, audience), (older, _) -> older.and(rule));
    }
    merged.forEach((namespace, hosts) -> {
      Namespace of = new Namespace(new HashMap<>(), new TreeMap<>(HostScope.SPECIFICITY));
      hosts.forEach((host, byAudience) ->
          (host.below() ? of.wildcards : of.names).put(host, List.copyOf(byAudience.values())));
      namespaces.put(namespace, of);
    });
  }

  private static Merged alone(DestinationRule rule, Audience audience) {
    Map<String, DestinationRule.Subset> subsets = new HashMap<>();
    rule.subsets().forEach(s -> subsets.putIfAbsent(s.name(), s));
    return new Merged(
        rule.ref(),
        rule.host(),
        audience.visibility(),
        audience.selector(),
        rule.trafficPolicy(),
        subsets);
  }

  boolean isEmpty() {
    return namespaces.isEmpty();
  }

  /// The namespaces that have rules.
  Set<String> namespaces() {
    return namespaces.keySet();
  }

  /// The rule for a service, as a client sees it.
  ///
  /// @param selected whether labels that a rule selects are the client's
  Optional<Merged> find(
      String client,
      Predicate<Map<String, String>> selected,
      String serviceNamespace,
      HostPattern host) {
    Optional<Merged> found = Optional.empty();
    if (!client.equals(rootNamespace)) {
      found = in(client, client, true, selected, host);
    }
    if (found.isEmpty()) {
      found = in(serviceNamespace, client, false, selected, host);
    }
    return found.isPresent() ? found : in(rootNamespace, client, false, selected, host);
  }

  private Optional<Merged> in(
      String namespace,
      String client,
      boolean own,
      Predicate<Map<String, String>> selected,
      HostPattern host) {
    Namespace rules = namespaces.get(namespace);
    if (rules == null) {
      return Optional.empty();
    }
    HostScope service = HostScope.of(host);
    Predicate<Merged> holds =
        rule ->
            (own || rule.visibility.covers(client))
                && rule.selector
                    .map(labels -> namespace.equals(client) && selected.test(labels))
                    .orElse(true);
    Optional<Merged> exact = best(rules.names.getOrDefault(service, List.of()), holds);
    if (exact.isPresent()) {
      return exact;
    }
    for (Map.Entry<HostScope, List<Merged>> wildcard : rules.wildcards.entrySet()) {
      if (wildcard.getKey().contains(service)) {
        Optional<Merged> found = best(wildcard.getValue(), holds);
        if (found.isPresent()) {
          return found;
        }
      }
    }
    return Optional.empty();
  }

  /// Who selects the client before who selects everybody; of several of these the youngest, which
  /// is what Istio ends with where their audiences differ.
  private static Optional<Merged> best(List<Merged> rules, Predicate<Merged> holds) {
    List<Merged> fitting = new ArrayList<>(rules.stream().filter(holds).toList());
    Optional<Merged> selecting = fitting.stream().filter(r -> r.selector.isPresent()).findFirst();
    Optional<Merged> general =
        fitting.stream().filter(r -> r.selector.isEmpty()).reduce((_, younger) -> younger);
    return selecting.map(s -> general.map(s::and).orElse(s)).or(() -> general);
  }
}
