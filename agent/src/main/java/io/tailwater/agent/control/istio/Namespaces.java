package io.tailwater.agent.control.istio;

import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Problems;
import io.tailwater.agent.traffic.EgressMode;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/// What is known of namespaces: their egress mode and their waypoint. Immutable.
public final class Namespaces {
  /// Tightens the egress mode of a namespace.
  static final String EGRESS_MODE = "tailwater.io/egress-mode";

  private final EgressSettings settings;
  private final Map<String, EgressMode> labelled;
  private final Map<String, String> waypoints;

  private Namespaces(
      EgressSettings settings, Map<String, EgressMode> labelled, Map<String, String> waypoints) {
    this.settings = settings;
    this.labelled = Map.copyOf(labelled);
    this.waypoints = Map.copyOf(waypoints);
  }

  /// Reads the `Namespace` objects. A bad label is reported and the last good one kept.
  public static Namespaces read(
      Iterable<KubeObject> objects,
      EgressSettings settings,
      Map<String, EgressMode> lastGood,
      java.util.List<io.tailwater.agent.control.source.Problem> problems) {
    Map<String, EgressMode> labelled = new HashMap<>();
    Map<String, String> waypoints = new HashMap<>();
    for (KubeObject object : objects) {
      Problems found = new Problems(object.file()).of(object.key().ref());
      String name = object.name();
      mode(object, settings, lastGood, found).ifPresent(m -> labelled.put(name, m));
      String waypoint = object.labels().getOrDefault(ServiceEntryReader.USE_WAYPOINT, "");
      if (isWaypoint(waypoint)) {
        waypoints.put(name, waypoint);
      }
      problems.addAll(found.list());
    }
    lastGood.clear();
    lastGood.putAll(labelled);
    return new Namespaces(settings, labelled, waypoints);
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

  static boolean isWaypoint(String label) {
    return !label.isEmpty() && !label.toLowerCase(Locale.ROOT).equals("none");
  }

  /// The mode in force for the pods of a namespace.
  public EgressMode mode(String namespace) {
    EgressMode configured = settings.modeOf(namespace);
    EgressMode label = labelled.getOrDefault(namespace, EgressMode.OFF);
    return label.compareTo(configured) > 0 ? label : configured;
  }

  /// By what label an entry is bound to a waypoint, if it is: its own, else its namespace's.
  public Optional<String> waypointLabel(ServiceEntry entry) {
    String own = entry.labels().get(ServiceEntryReader.USE_WAYPOINT);
    if (own != null && !own.isEmpty()) {
      return isWaypoint(own)
          ? Optional.of("its label " + ServiceEntryReader.USE_WAYPOINT + ": " + own)
          : Optional.empty();
    }
    String inherited = waypoints.get(entry.namespace());
    return inherited == null
        ? Optional.empty()
        : Optional.of(
            "the label "
                + ServiceEntryReader.USE_WAYPOINT
                + ": "
                + inherited
                + " of its namespace");
  }
}
