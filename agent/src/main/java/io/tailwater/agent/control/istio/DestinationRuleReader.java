package io.tailwater.agent.control.istio;

import io.tailwater.agent.control.source.FieldReader;
import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Problems;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// Reads and validates a DestinationRule with the rules of Istio's webhook
/// (`pkg/config/validation`), every problem at once. What is valid and not honoured is a warning,
/// or refuses the destination where leaving it out would do what nobody asked for. One use, one
/// thread.
public final class DestinationRuleReader {
  private final KubeObject object;
  private final Problems problems;

  private DestinationRuleReader(KubeObject object, Problems problems) {
    this.object = object;
    this.problems = problems;
  }

  /// Reads one; empty when it has errors. `problems` collects errors and warnings.
  public static Optional<DestinationRule> read(KubeObject object, Problems problems) {
    return IstioFields.read(object, problems, own -> new DestinationRuleReader(object, own).read());
  }

  private Optional<DestinationRule> read() {
    Optional<FieldReader> specReader = IstioFields.spec(object, problems);
    if (specReader.isEmpty()) {
      return Optional.empty();
    }
    FieldReader spec = specReader.get();
    Optional<HostScope> host = host(spec);
    TrafficPolicyReader policies = new TrafficPolicyReader(object.namespace());
    Optional<DestinationRule.TrafficPolicy> policy =
        spec.mapping("trafficPolicy").map(policies::read);
    List<DestinationRule.Subset> subsets = subsets(spec, policies);
    Optional<Map<String, String>> selector = selector(spec);
    List<String> exportTo = Visibility.readExportTo(spec, object.namespace(), selector.isPresent());
    spec.finish();
    return host.map(h ->
        new DestinationRule(
            object.key().ref(), object.age(), h, policy, subsets, exportTo, selector));
  }

  private Optional<HostScope> host(FieldReader spec) {
    Optional<String> text = spec.string("host");
    if (!spec.has("host")) {
      spec.error("host", "is missing");
      return Optional.empty();
    }
    if (text.isEmpty()) {
      return Optional.empty();
    }
    return switch (HostScope.read(text.get(), object.namespace())) {
      case HostScope.Read.Scope(HostScope hosts) -> Optional.of(hosts);
      case HostScope.Read.Address(String address) -> {
        spec.error(
            "host",
            "\""
                + address
                + "\" is an address, and rules are found by host name: write the host of the"
                + " ServiceEntry that has it");
        yield Optional.empty();
      }
      case HostScope.Read.Invalid(String why) -> {
        spec.error("host", "\"" + text.get() + "\" " + why);
        yield Optional.empty();
      }
    };
  }

  private List<DestinationRule.Subset> subsets(FieldReader spec, TrafficPolicyReader policies) {
    List<DestinationRule.Subset> out = new ArrayList<>();
    Set<String> names = new HashSet<>();
    for (FieldReader reader : spec.mappings("subsets")) {
      Optional<String> name = reader.string("name");
      if (!reader.has("name") || name.map(String::isEmpty).orElse(false)) {
        reader.error("name", "is missing; every subset has a name");
      } else if (name.isPresent()) {
        if (!IstioFields.isDnsLabel(name.get())) {
          reader.error("name", "\"" + name.get() + "\" is not a DNS label");
        } else if (!names.add(name.get())) {
          reader.error("name", "the subset \"" + name.get() + "\" is already defined in this rule");
        }
      }
      Map<String, String> labels = reader.stringMap("labels");
      IstioFields.checkLabels(reader, "labels", labels);
      Optional<DestinationRule.TrafficPolicy> policy =
          reader.mapping("trafficPolicy").map(policies::read);
      reader.finish();
      name.ifPresent(n -> out.add(new DestinationRule.Subset(n, labels, policy)));
    }
    return out;
  }

  private static Optional<Map<String, String>> selector(FieldReader spec) {
    Optional<FieldReader> reader = spec.mapping("workloadSelector");
    if (reader.isEmpty()) {
      return Optional.empty();
    }
    Map<String, String> labels = reader.get().stringMap("matchLabels");
    reader.get().finish();
    if (labels.isEmpty()
        && reader.get().mapping().keys().stream().allMatch("matchLabels"::equals)) {
      spec.warning("workloadSelector", "has no matchLabels, so it selects every pod");
    }
    IstioFields.checkSelected(spec, labels);
    return Optional.of(labels);
  }
}
