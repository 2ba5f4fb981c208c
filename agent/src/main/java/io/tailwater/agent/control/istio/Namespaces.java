package io.tailwater.agent.control.istio;

import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Problems;
import io.tailwater.agent.traffic.EgressMode;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/// What is known of namespaces: their egress mode and their labels. Immutable.
public final class Namespaces {
  /// Tightens the egress mode of a namespace.
  static final String EGRESS_MODE = "tailwater.io/egress-mode";

  /// Kubernetes puts it on every namespace.
  private static final String NAME = "kubernetes.io/metadata.name";

  private final EgressSettings settings;
  private final Map<String, EgressMode> labelled;
  private final Map<String, Map<String, String>> labels;

  private Namespaces(
      EgressSettings settings,
      Map<String, EgressMode> labelled,
      Map<String, Map<String, String>> labels) {
    this.settings = settings;
    this.labelled = Map.copyOf(labelled);
    this.labels = Map.copyOf(labels);
  }

  /// Reads the `Namespace` objects. A bad label is reported and the last good one kept.
  public static Namespaces read(
      Iterable<KubeObject> objects,
      EgressSettings settings,
      Map<String, EgressMode> lastGood,
      java.util.List<io.tailwater.agent.control.source.Problem> problems) {
    Map<String, EgressMode> labelled = new HashMap<>();
    Map<String, Map<String, String>> labels = new HashMap<>();
    for (KubeObject object : objects) {
      Problems found = new Problems(object.file()).of(object.key().ref());
      String name = object.name();
      mode(object, settings, lastGood, found).ifPresent(m -> labelled.put(name, m));
      labels.put(name, withName(name, object.labels()));
      problems.addAll(found.list());
    }
    lastGood.clear();
    lastGood.putAll(labelled);
    return new Namespaces(settings, labelled, labels);
  }

  private static Optional<EgressMode> mode(
      KubeObject object,
      EgressSettings settings,
      Map<String, EgressMode> lastGood,
      Problems problems) {
    String text = object.labels().get(EGRESS_MODE);
    if (text == null) {
      return Optional.empty();
    }
    String field = "metadata.labels." + EGRESS_MODE;
    EgressMode mode = SettingsReader.MODES.get(text);
    if (mode == null) {
      Optional<EgressMode> kept = Optional.ofNullable(lastGood.get(object.name()));
      problems.error(
          object.line(),
          field,
          "\""
              + text
              + "\" is none of audit, enforce, off"
              + (kept.isPresent() ? "; the last good value stays in force" : ""));
      return kept;
    }
    EgressMode configured = settings.modeOf(object.name());
    if (mode.compareTo(configured) < 0) {
      problems.warning(
          object.line(),
          field,
          "has no effect: a label may only tighten, and the agent's configuration says "
              + configured.name().toLowerCase(Locale.ROOT));
      return Optional.empty();
    }
    return Optional.of(mode);
  }

  private static Map<String, String> withName(String name, Map<String, String> labels) {
    Map<String, String> out = new HashMap<>(labels);
    out.put(NAME, name);
    return Map.copyOf(out);
  }

  /// The labels of a namespace. Every namespace exists and carries its name.
  public Map<String, String> labels(String namespace) {
    Map<String, String> known = labels.get(namespace);
    return known != null ? known : Map.of(NAME, namespace);
  }

  /// The mode in force for the pods of a namespace.
  public EgressMode mode(String namespace) {
    EgressMode configured = settings.modeOf(namespace);
    EgressMode label = labelled.getOrDefault(namespace, EgressMode.OFF);
    return label.compareTo(configured) > 0 ? label : configured;
  }
}
