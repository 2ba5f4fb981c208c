package io.tailwater.iptables.netlink;

import io.tailwater.iptables.netns.NetworkNamespace;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/// The node's ends of a pod's interfaces.
///
/// @param interfaces their names on the node
/// @param addresses those of the asked ones that the node routes to these interfaces: what the pod
///   has given itself is not among them
/// @param problems interfaces of the pod whose traffic cannot be met there, with what to do
public record HostSide(
    List<String> interfaces, List<InetAddress> addresses, List<String> problems) {
  public HostSide {
    interfaces = List.copyOf(interfaces);
    addresses = List.copyOf(addresses);
    problems = List.copyOf(problems);
  }

  /// Finds them from the pod's namespace: each interface of a pair names its other end, and the
  /// node's end must name the pod's.
  public static HostSide of(Routing node, NetworkNamespace pod, List<InetAddress> addresses) {
    List<Link> there;
    try (Routing inside = Routing.open(pod)) {
      there = inside.links();
    }
    List<Link> here = node.links();
    Optional<Integer> number = node.numberOf(pod);
    List<Link> found = new ArrayList<>();
    List<String> problems = new ArrayList<>();
    for (Link link : there) {
      if (link.name().equals("lo")) {
        continue;
      }
      Optional<Link> end =
          here.stream()
              .filter(host ->
                  link.isPair()
                      && host.isPair()
                      && host.index() == link.peer()
                      && host.peer() == link.index()
                      && number.isPresent()
                      && host.peerNamespace() == number.get())
              .findFirst();
      if (end.isEmpty()) {
        if (leadsOut(link, there)) {
          problems.add(
              "interface "
                  + link.name()
                  + (link.kind().isEmpty() ? "" : " (" + link.kind() + ")")
                  + " has no end on the node, so that its traffic does not come by there; use"
                  + " capture.mode in-pod");
        }
      } else if (end.get().master() != 0) {
        problems.add(
            "interface "
                + link.name()
                + " ends in "
                + end.get().name()
                + ", a port of "
                + nameOf(end.get().master(), here)
                + ", where pods share what they send by; capture.mode node needs routed interfaces,"
                + " use in-pod");
      } else {
        found.add(end.get());
      }
    }
    List<Integer> ways = found.stream().map(Link::index).toList();
    return new HostSide(
        found.stream().map(Link::name).toList(),
        addresses.stream()
            .filter(address -> node.wayTo(address).filter(ways::contains).isPresent())
            .toList(),
        problems);
  }

  /// Tunnels that every namespace is born with lead nowhere; what is stacked on another interface
  /// of the pod sends by that one.
  private static boolean leadsOut(Link link, List<Link> siblings) {
    boolean fallback =
        link.name().matches("(tunl|gre|gretap|erspan|ip_vti|ip6_vti|sit|ip6tnl|ip6gre)0");
    boolean stacked =
        link.peerNamespace() < 0
            && link.peer() != 0
            && siblings.stream().anyMatch(other -> other.index() == link.peer());
    boolean within =
        link.peerNamespace() < 0
            && List.of("bridge", "dummy", "ifb", "tun", "wireguard", "vxlan", "geneve", "vrf")
                .contains(link.kind());
    return !fallback && !stacked && !within;
  }

  private static String nameOf(int index, List<Link> links) {
    return links.stream()
        .filter(link -> link.index() == index)
        .map(link -> link.kind() + " " + link.name())
        .findFirst()
        .orElse("interface " + index);
  }
}
