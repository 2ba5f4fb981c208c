package io.tailwater.agent.dataplane.resolve;

import io.tailwater.agent.traffic.AddressRule;
import java.net.InetAddress;

/// Counts what another filter refuses. Any thread.
///
/// @param filter decides
/// @param stats gets `dns_address_filter_out`
public record CountingFilter(AddressFilter filter, ResolveStats stats) implements AddressFilter {
  @Override
  public boolean admits(InetAddress address, AddressRule rule) {
    boolean admits = filter.admits(address, rule);
    if (!admits) {
      stats.addressFilteredOut();
    }
    return admits;
  }

  @Override
  public String reason(InetAddress address, AddressRule rule) {
    return filter.reason(address, rule);
  }
}
