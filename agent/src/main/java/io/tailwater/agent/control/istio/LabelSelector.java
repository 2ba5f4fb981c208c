package io.tailwater.agent.control.istio;

import java.util.List;
import java.util.Map;
import java.util.Set;

/// A Kubernetes label selector; an empty one matches everything. Immutable.
public record LabelSelector(Map<String, String> labels, List<Requirement> requirements) {
  public LabelSelector {
    labels = Map.copyOf(labels);
    requirements = List.copyOf(requirements);
  }

  /// One of `matchExpressions`.
  public record Requirement(String key, Operator operator, Set<String> values) {
    public Requirement {
      values = Set.copyOf(values);
    }
  }

  /// How a label is compared.
  public enum Operator {
    IN,
    NOT_IN,
    EXISTS,
    DOES_NOT_EXIST
  }

  /// Whether all of it holds.
  public boolean matches(Map<String, String> of) {
    return of.entrySet().containsAll(labels.entrySet())
        && requirements.stream()
            .allMatch(r ->
                switch (r.operator) {
                  case IN -> of.containsKey(r.key) && r.values.contains(of.get(r.key));
                  case NOT_IN -> !of.containsKey(r.key) || !r.values.contains(of.get(r.key));
                  case EXISTS -> of.containsKey(r.key);
                  case DOES_NOT_EXIST -> !of.containsKey(r.key);
                });
  }
}
