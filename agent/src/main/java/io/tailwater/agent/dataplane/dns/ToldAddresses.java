package io.tailwater.agent.dataplane.dns;

import io.tailwater.agent.traffic.HostName;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// What one pod was told: for which names an address was the answer. Bounded; whatever was told
/// longest ago goes first. Any thread; a short lock that nothing is done under.
///
/// Clients keep answers longer than they should, so a name counts for [#GRACE_SECONDS] beyond its
/// TTL.
public final class ToldAddresses {
  static final int ADDRESSES = 2048;

  /// Names of one address; the newest are kept. Content networks serve thousands from one.
  static final int NAMES = 8;

  static final long GRACE_SECONDS = 600;

  private record Told(HostName name, long untilNanos) {}

  private @Nullable LinkedHashMap<InetAddress, Told[]> byAddress;

  void add(HostName name, List<InetAddress> addresses, long ttlSeconds, long now) {
    if (addresses.isEmpty()) {
      return;
    }
    Told told = new Told(name, now + (ttlSeconds + GRACE_SECONDS) * 1_000_000_000L);
    synchronized (this) {
      LinkedHashMap<InetAddress, Told[]> all = byAddress;
      if (all == null) { // most pods of a node never ask
        all = new LinkedHashMap<>();
        byAddress = all;
      }
      for (InetAddress address : addresses) {
        Told[] before = all.remove(address);
        all.put(address, with(before, told, now));
        if (all.size() > ADDRESSES) {
          all.pollFirstEntry();
        }
      }
    }
  }

  private static Told[] with(Told @Nullable [] before, Told told, long now) {
    if (before == null) {
      return new Told[] {told};
    }
    List<Told> out = new ArrayList<>(before.length + 1);
    out.add(told);
    for (Told one : before) {
      if (out.size() < NAMES && !one.name.equals(told.name) && one.untilNanos - now > 0) {
        out.add(one);
      }
    }
    return out.toArray(Told[]::new);
  }

  /// The names that the address was told for, the newest first.
  public List<HostName> names(InetAddress address) {
    return names(address, System.nanoTime());
  }

  List<HostName> names(InetAddress address, long now) {
    Told[] told;
    synchronized (this) {
      told = byAddress == null ? null : byAddress.get(address);
    }
    if (told == null) {
      return List.of();
    }
    List<HostName> names = new ArrayList<>(told.length);
    for (Told one : told) {
      if (one.untilNanos - now > 0) {
        names.add(one.name);
      }
    }
    return names;
  }

  synchronized int size() {
    return byAddress == null ? 0 : byAddress.size();
  }
}
