package io.tailwater.iptables.rule;

import java.net.InetAddress;
import java.util.List;

/// What istio-cni captures in a pod of ambient mode, for an agent that stands in ztunnel's place
/// and leaves the rules to it. Ports and marks are Istio's and fixed.
///
/// @param inbound false for pods with `ambient.istio.io/bypass-inbound-capture`
/// @param dns whether DNS is captured (`ambient.istio.io/dns-capture`, `AMBIENT_DNS_CAPTURE`)
/// @param ipv6 whether IPv6 is captured (`AMBIENT_IPV6`); without it, it passes
/// @param virtualInterfaces of `istio.io/reroute-virtual-interfaces`: what comes from there is
///   outbound
/// @param probe source of the kubelet's probes (`HOST_PROBE_SNAT_IP`), which are not captured
/// @param probe6 the same for IPv6
public record IstioPlan(
    boolean inbound,
    boolean dns,
    boolean ipv6,
    List<String> virtualInterfaces,
    InetAddress probe,
    InetAddress probe6) {
  /// Istio's default of `HOST_PROBE_SNAT_IP`.
  public static final InetAddress PROBE = InetAddress.ofLiteral("169.254.7.127");

  /// Istio's default of `HOST_PROBE_SNAT_IPV6`.
  public static final InetAddress PROBE6 =
      InetAddress.ofLiteral("fd16:9254:7127:1337:ffff:ffff:ffff:ffff");

  /// Istio's defaults: everything, both families.
  public static final IstioPlan DEFAULT = new IstioPlan(true, true, true, List.of(), PROBE, PROBE6);

  public IstioPlan {
    virtualInterfaces = List.copyOf(virtualInterfaces);
    virtualInterfaces.forEach(Names::checkOneInterface);
    if (probe.getAddress().length != 4 || probe6.getAddress().length != 16) {
      throw new IllegalArgumentException(
          "The sources of probes are one address of each family, not "
              + probe.getHostAddress()
              + " and "
              + probe6.getHostAddress());
    }
  }

  public IstioPlan withInbound(boolean yes) {
    return new IstioPlan(yes, dns, ipv6, virtualInterfaces, probe, probe6);
  }

  public IstioPlan withDns(boolean yes) {
    return new IstioPlan(inbound, yes, ipv6, virtualInterfaces, probe, probe6);
  }

  public IstioPlan withIpv6(boolean yes) {
    return new IstioPlan(inbound, dns, yes, virtualInterfaces, probe, probe6);
  }

  /// @throws IllegalArgumentException for what cannot be the name of an interface: it is written
  ///   into scripts that a privileged program reads
  public IstioPlan withVirtualInterfaces(List<String> names) {
    return new IstioPlan(inbound, dns, ipv6, names, probe, probe6);
  }

  public IstioPlan withProbes(InetAddress v4, InetAddress v6) {
    return new IstioPlan(inbound, dns, ipv6, virtualInterfaces, v4, v6);
  }

  InetAddress probe(IpFamily family) {
    return switch (family) {
      case V4 -> probe;
      case V6 -> probe6;
    };
  }

  List<IpFamily> families() {
    return ipv6 ? List.of(IpFamily.V4, IpFamily.V6) : List.of(IpFamily.V4);
  }
}
