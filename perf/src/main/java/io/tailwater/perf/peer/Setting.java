package io.tailwater.perf.peer;

import io.tailwater.lab.NetLab;
import io.tailwater.lab.Place;

/// Where contestants work: the lab, the pod whose traffic they take, and the DNS server they ask.
/// Names under `domain` are allowed, all others are not.
public record Setting(NetLab lab, Place pod, String dnsServer, String domain) {
  /// Proxies run as this user or this group, and the redirect in the pod leaves connections of
  /// either alone. The number is in nobody's passwd; a name is not needed.
  public static final int USER = 64_339;
}
