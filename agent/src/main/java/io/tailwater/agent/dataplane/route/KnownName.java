package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.HostName;
import java.net.InetAddress;
import java.util.List;

/// What captured DNS answers for a name that policy knows. Immutable.
public sealed interface KnownName {
  /// The addresses that tell the destination, of both families: allocated ones, those that a user
  /// wrote, the address of a Kubernetes Service or of its pods. None: the name exists without any.
  record Given(List<InetAddress> addresses) implements KnownName {
    public Given {
      addresses = List.copyOf(addresses);
    }
  }

  /// The client's bytes carry the name, so any address will do: the real ones, filtered.
  ///
  /// @param addresses those of endpoints that policy lists
  /// @param names what is looked up besides; empty where `addresses` are all
  /// @param rule which of them may be told
  record Real(List<InetAddress> addresses, List<HostName> names, AddressRule rule)
      implements KnownName {
    public Real {
      addresses = List.copyOf(addresses);
      names = List.copyOf(names);
    }
  }
}
