package io.tailwater.agent.control.istio;

import io.tailwater.agent.control.source.FieldReader;
import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.EgressMode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// Reads the `mesh` and `egress` mappings of an agent configuration or a policy test. What is wrong
/// is reported, and its default used so that the rest is checked too. Any thread.
public final class SettingsReader {
  /// The egress modes by their spelling in configuration and labels.
  public static final Map<String, EgressMode> MODES =
      Map.of("enforce", EgressMode.ENFORCE, "audit", EgressMode.AUDIT, "off", EgressMode.OFF);

  private static final Map<String, ServiceEntryVisibility.Scope> VISIBILITIES =
      Map.of(
          "UNSPECIFIED", ServiceEntryVisibility.Scope.PUBLIC,
          "PUBLIC", ServiceEntryVisibility.Scope.PUBLIC,
          "NAMESPACE", ServiceEntryVisibility.Scope.NAMESPACE,
          "NONE", ServiceEntryVisibility.Scope.NONE);

  private SettingsReader() {}

  /// Reads `mesh`. The caller calls `finish`, for it may know further keys.
  public static MeshSettings mesh(FieldReader mesh) {
    String root = namespace(mesh, "rootNamespace", MeshSettings.DEFAULTS.rootNamespace());
    String trustDomain =
        mesh.string("trustDomain")
            .filter(t -> !t.isEmpty())
            .orElse(MeshSettings.DEFAULTS.trustDomain());
    Optional<FieldReader> policy = mesh.mapping("outboundTrafficPolicy");
    MeshSettings.OutboundTrafficPolicy mode =
        policy
            .map(SettingsReader::outboundTrafficPolicy)
            .orElse(MeshSettings.DEFAULTS.outboundTrafficPolicy());
    Optional<DestinationRule.Tls> tls =
        policy.flatMap(p -> p.mapping("tls")).flatMap(SettingsReader::outboundTls);
    policy.ifPresent(FieldReader::finish);
    ServiceEntryVisibility visibility =
        mesh.mapping("serviceEntryVisibility")
            .map(SettingsReader::serviceEntryVisibility)
            .orElse(ServiceEntryVisibility.PUBLIC);
    List<String> exportTo =
        mesh.strings("defaultServiceExportTo").stream().map(FieldReader.Text::text).toList();
    return new MeshSettings(
        root,
        trustDomain,
        mode,
        tls,
        exportTo.isEmpty() ? MeshSettings.DEFAULTS.defaultServiceExportTo() : exportTo,
        visibility);
  }

  private static String namespace(FieldReader reader, String key, String byDefault) {
    String name = reader.string(key).orElse(byDefault);
    if (!KubeObject.isLabel(name)) {
      reader.error(key, "\"" + name + "\" is not a valid namespace name");
      return byDefault;
    }
    return name;
  }

  /// An absent mapping means ALLOW_ANY to Istio, an empty one REGISTRY_ONLY.
  private static MeshSettings.OutboundTrafficPolicy outboundTrafficPolicy(FieldReader policy) {
    Map<String, MeshSettings.OutboundTrafficPolicy> modes = new LinkedHashMap<>();
    for (MeshSettings.OutboundTrafficPolicy mode : MeshSettings.OutboundTrafficPolicy.values()) {
      modes.put(mode.name(), mode);
    }
    return policy.oneOf("mode", modes).orElse(MeshSettings.OutboundTrafficPolicy.REGISTRY_ONLY);
  }

  /// Reads `outboundTrafficPolicy.tls`, whole. What cannot be honoured is an error: the connections
  /// that it is about must not go without.
  public static Optional<DestinationRule.Tls> outboundTls(FieldReader tls) {
    Optional<DestinationRule.Tls> read = TrafficPolicyReader.tls(tls, "");
    if (read.flatMap(DestinationRule.Tls::caCrl).isPresent()) {
      tls.error("caCrl", "is not honoured");
    }
    return read;
  }

  /// Reads `serviceEntryVisibility`, whole.
  public static ServiceEntryVisibility serviceEntryVisibility(FieldReader reader) {
    List<ServiceEntryVisibility.Policy> policies = new ArrayList<>();
    for (FieldReader policy : reader.mappings("policies")) {
      List<LabelSelector> namespaces = new ArrayList<>();
      for (FieldReader rule : policy.mappings("matchingRules")) {
        Optional<FieldReader> selector = rule.mapping("namespaceSelector");
        if (selector.isEmpty()) {
          rule.error("namespaceSelector", "is missing: a rule without it matches nothing");
        }
        selector.map(WaypointReader::selector).ifPresent(namespaces::add);
        rule.finish();
      }
      policies.add(
          new ServiceEntryVisibility.Policy(
              policy.oneOf("visibility", VISIBILITIES).orElse(ServiceEntryVisibility.Scope.PUBLIC),
              namespaces));
      policy.finish();
    }
    ServiceEntryVisibility out =
        new ServiceEntryVisibility(
            reader
                .oneOf("defaultVisibility", VISIBILITIES)
                .orElse(ServiceEntryVisibility.Scope.PUBLIC),
            policies,
            reader.bool("applyToSidecars").orElse(false));
    reader.finish();
    return out;
  }

  /// Reads `egress`, whole.
  public static EgressSettings egress(FieldReader egress) {
    EgressMode mode = egress.oneOf("mode", MODES).orElse(EgressMode.ENFORCE);
    Map<String, EgressMode> namespaces = new LinkedHashMap<>();
    Optional<FieldReader> perNamespace = egress.mapping("namespaces");
    if (perNamespace.isPresent()) {
      FieldReader reader = perNamespace.get();
      for (String namespace : reader.mapping().keys()) {
        if (!KubeObject.isLabel(namespace)) {
          reader.error(namespace, "\"" + namespace + "\" is not a valid namespace name");
        }
        reader.oneOf(namespace, MODES).ifPresent(m -> namespaces.put(namespace, m));
      }
    }
    List<CidrBlock> allow =
        egress.mapping("addressFilter").map(SettingsReader::allowed).orElse(List.of());
    egress.finish();
    return new EgressSettings(mode, namespaces, allow);
  }

  private static List<CidrBlock> allowed(FieldReader filter) {
    List<CidrBlock> out = new ArrayList<>();
    for (FieldReader.Text text : filter.strings("allow")) {
      Optional<CidrBlock> block = CidrBlock.parse(text.text());
      if (block.isEmpty()) {
        filter
            .problems()
            .error(
                text.line(),
                text.path(),
                "\"" + text.text() + "\" is not an address or block like 10.0.0.0/8");
      }
      block.ifPresent(out::add);
    }
    filter.finish();
    return out;
  }
}
