package io.tailwater.iptables.rule;

/// How the node's own programs, the kubelet first, reach pods whose inbound connections are
/// captured: their connections come from an address that nobody else can have.
public final class ProbeRules {
  /// Istio's, so that network policies that allow its probes allow ours.
  private static final String SOURCE_4 = "169.254.7.127";

  private static final String SOURCE_6 = "fd16:9254:7127:1337:ffff:ffff:ffff:ffff";

  private ProbeRules() {}

  /// Where they come from.
  static String source(IpFamily family) {
    return switch (family) {
      case V4 -> SOURCE_4;
      case V6 -> SOURCE_6;
    };
  }
}
