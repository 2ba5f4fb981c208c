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

/// Reads a Gateway of the Gateway API as far as it can be a waypoint. What does not concern
/// waypoints is left alone. Stateless; any thread.
public final class WaypointReader {
  /// What a Gateway or GatewayClass serves.
  static final String WAYPOINT_FOR = "istio.io/waypoint-for";

  private static final String HBONE = "HBONE";
  private static final int HBONE_PORT = 15008;

  private enum From {
    ALL,
    SAME,
    SELECTOR,
    NONE
  }

  private static final Map<String, From> FROM =
      Map.of("All", From.ALL, "Same", From.SAME, "Selector", From.SELECTOR, "None", From.NONE);

  private static final Map<String, LabelSelector.Operator> OPERATORS =
      Map.of(
          "In", LabelSelector.Operator.IN,
          "NotIn", LabelSelector.Operator.NOT_IN,
          "Exists", LabelSelector.Operator.EXISTS,
          "DoesNotExist", LabelSelector.Operator.DOES_NOT_EXIST);

  private WaypointReader() {}

  /// Reads one; empty when it has errors.
  public static Optional<Waypoint> read(KubeObject object, Problems problems) {
    return IstioFields.read(
        object,
        problems,
        own -> {
          FieldReader top = new FieldReader(object.root(), "", own);
          Optional<FieldReader> spec = IstioFields.spec(top);
          List<String> addresses =
              top.mapping("status").map(WaypointReader::addresses).orElse(List.of());
          return spec.map(s ->
              new Waypoint(
                  object.key().ref(),
                  addresses,
                  serves(object),
                  s.string("gatewayClassName").orElse(""),
                  admission(s)));
        });
  }

  /// What the label of a Gateway or GatewayClass says; a value that Istio does not know serves
  /// neither services nor workloads.
  public static Optional<Waypoint.Serves> serves(KubeObject object) {
    return Optional.ofNullable(object.labels().get(WAYPOINT_FOR)).map(Waypoint.Serves::of);
  }

  private static List<String> addresses(FieldReader status) {
    List<String> out = new ArrayList<>();
    for (FieldReader address : status.mappings("addresses")) {
      address.string("value").filter(v -> !v.isEmpty()).ifPresent(out::add);
    }
    return out;
  }

  private static Waypoint.Admission admission(FieldReader spec) {
    for (FieldReader listener : spec.mappings("listeners")) {
      boolean hbone =
          listener.string("protocol").orElse("").equals(HBONE)
              && listener.integer("port", 1, 65535).orElse(0) == HBONE_PORT;
      if (hbone) {
        return listener
            .mapping("allowedRoutes")
            .flatMap(r -> r.mapping("namespaces"))
            .map(WaypointReader::admitted)
            .orElseGet(Waypoint.Admission.Same::new);
      }
    }
    return new Waypoint.Admission.Same();
  }

  private static Waypoint.Admission admitted(FieldReader namespaces) {
    From from = namespaces.oneOf("from", FROM).orElse(From.SAME);
    Optional<LabelSelector> selector = namespaces.mapping("selector").map(WaypointReader::selector);
    return switch (from) {
      case ALL -> new Waypoint.Admission.All();
      case SAME -> new Waypoint.Admission.Same();
      case NONE -> new Waypoint.Admission.Nobody();
      case SELECTOR -> {
        if (selector.isEmpty()) {
          namespaces.error("selector", "is missing; from: Selector needs one");
        }
        yield selector
            .<Waypoint.Admission>map(Waypoint.Admission.Selected::new)
            .orElseGet(Waypoint.Admission.Nobody::new);
      }
    };
  }

  /// A Kubernetes label selector.
  static LabelSelector selector(FieldReader selector) {
    Map<String, String> labels = selector.stringMap("matchLabels");
    List<LabelSelector.Requirement> requirements = new ArrayList<>();
    for (FieldReader expression : selector.mappings("matchExpressions")) {
      String key = expression.string("key").orElse("");
      if (key.isEmpty()) {
        expression.error("key", "is missing");
      }
      Optional<LabelSelector.Operator> operator = expression.oneOf("operator", OPERATORS);
      if (!expression.has("operator")) {
        expression.error("operator", "is missing");
      }
      Set<String> values = new HashSet<>();
      expression.strings("values").forEach(t -> values.add(t.text()));
      expression.finish();
      operator.ifPresent(o -> requirements.add(new LabelSelector.Requirement(key, o, values)));
    }
    selector.finish();
    return new LabelSelector(labels, requirements);
  }
}
