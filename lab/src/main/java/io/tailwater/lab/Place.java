package io.tailwater.lab;

import java.nio.file.Path;
import java.util.List;

/// A network namespace of the lab: the node, a pod or a host in the outside world. A value, any
/// thread.
///
/// `name` is the short one given by the test, `namespace` the one that `ip netns` knows,
/// `addresses` what its interface carries, IPv4 and IPv6 mixed, in the order given.
public record Place(String name, String namespace, List<String> addresses) {
  public Place {
    addresses = List.copyOf(addresses);
  }

  /// The bind mount that stands for the namespace: what an agent's configuration wants as `netns`.
  public Path path() {
    return Path.of("/run/netns", namespace);
  }

  /// The first IPv4 address.
  public String v4() {
    return first(false);
  }

  /// The first IPv6 address, without brackets.
  public String v6() {
    return first(true);
  }

  private String first(boolean six) {
    return addresses.stream()
        .filter(address -> isV6(address) == six)
        .findFirst()
        .orElseThrow(() ->
            new LabException(name + " has no IPv" + (six ? 6 : 4) + " address: " + addresses));
  }

  static boolean isV6(String address) {
    return address.indexOf(':') >= 0;
  }
}
