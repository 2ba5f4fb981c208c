package io.tailwater.iptables.rule;

import java.net.Inet4Address;
import java.net.InetAddress;
import java.util.Collection;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/// How the node's own programs, the kubelet first, reach pods whose inbound connections are
/// captured: their connections come from an address that nobody else has, and which the pods' rules
/// leave alone. Rules of the node's namespace. Pure.
///
/// What the node merely forwards (a NodePort, masqueraded) has no socket here and stays captured,
/// though it has an address of the node's too.
public final class ProbeRules {
  private static final String PROBES = Chain.PREFIX + "PROBES";

  /// Istio's, so that network policies that allow its probes allow ours.
  private static final String SOURCE_4 = "169.254.7.127";

  private static final String SOURCE_6 = "fd16:9254:7127:1337:ffff:ffff:ffff:ffff";

  private ProbeRules() {}

  /// The rules of the node's namespace, for pods with these addresses. None without addresses.
  public static NamespaceRules of(Collection<InetAddress> pods) {
    return new NamespaceRules(family(pods, IpFamily.V4), family(pods, IpFamily.V6));
  }

  private static RuleSet family(Collection<InetAddress> pods, IpFamily family) {
    Target snat = new Target.SourceNat(InetAddress.ofLiteral(source(family)));
    List<Rule> probes =
        pods.stream()
            .filter(pod -> pod instanceof Inet4Address == (family == IpFamily.V4))
            .map(pod -> Cidr.of(pod.getHostAddress()))
            .map(pod ->
                // -d 10.244.0.2/32 -j SNAT --to-source 169.254.7.127
                Rule.of("a pod whose inbound is captured", snat, new Match.Destination(pod)))
            .toList();
    if (probes.isEmpty()) {
      return RuleSet.none(family);
    }
    // -p tcp -m owner --socket-exists -j TAILWATER_PROBES
    Rule own =
        Rule.of(
            "only what a program of the node itself has begun; what is forwarded is not",
            new Target.Jump(PROBES),
            new Match.Protocol(IpProtocol.TCP),
            new Match.OwnerExists());
    Map<Table, List<Chain>> tables = new EnumMap<>(Table.class);
    tables.put(
        Table.NAT,
        List.of(
            new Chain(Chain.POSTROUTING, "POSTROUTING", List.of(own)),
            Chain.called(PROBES, probes)));
    return new RuleSet(family, tables);
  }

  /// Where they come from.
  static String source(IpFamily family) {
    return switch (family) {
      case V4 -> SOURCE_4;
      case V6 -> SOURCE_6;
    };
  }
}
