package io.tailwater.agent.dataplane.resolve;

import java.net.InetAddress;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;

/// RFC 8305 section 4: the order in which the addresses of a name are tried. Pure.
final class AddressOrder {
  private AddressOrder() {}

  /// The families in turns, IPv6 first, each in the order of its answer; what is left of the longer
  /// one follows. An address that is listed twice counts once.
  static List<InetAddress> alternating(List<InetAddress> v6, List<InetAddress> v4) {
    var order = new LinkedHashSet<InetAddress>();
    for (int i = 0; i < Math.max(v6.size(), v4.size()); i++) {
      if (i < v6.size()) {
        order.add(v6.get(i));
      }
      if (i < v4.size()) {
        order.add(v4.get(i));
      }
    }
    return new ArrayList<>(order);
  }
}
