package io.tailwater.agent.dataplane.dns;

import io.tailwater.agent.dataplane.resolve.Addresses;
import io.tailwater.agent.dataplane.resolve.Resolver;
import io.tailwater.agent.dataplane.route.KnownName;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.PodRef;
import java.net.InetAddress;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Executor;
import java.util.function.Consumer;

/// Gathers the real addresses of a host: those that policy lists, and what its names resolve to.
/// The asking loop only.
final class RealAddresses {
  /// More are not told; they would not fit into an answer.
  private static final int MOST = 64;

  /// Of addresses that policy lists.
  private static final long LISTED_TTL = 30;

  /// RFC 8767 section 4.
  private static final long STALE_TTL = 30;

  private final Resolver resolver;
  private final Consumer<Found> then;
  private final Set<InetAddress> addresses = new LinkedHashSet<>();
  private Addresses.Failure failure = Addresses.Failure.NO_SUCH_NAME;
  private long ttl = Long.MAX_VALUE;
  private int missing;

  /// What came out. `failure` counts where there are no addresses.
  record Found(List<InetAddress> addresses, long ttlSeconds, Addresses.Failure failure) {}

  private RealAddresses(Resolver resolver, KnownName.Real host, Consumer<Found> then) {
    this.resolver = resolver;
    this.then = then;
    this.missing = host.names().size();
    if (!host.addresses().isEmpty()) {
      addresses.addAll(host.addresses());
      ttl = LISTED_TTL;
    }
  }

  /// Finds them; `then` runs on the loop, at once where nothing has to be waited for.
  static void find(
      Resolver resolver, PodRef pod, KnownName.Real host, Executor loop, Consumer<Found> then) {
    RealAddresses gathering = new RealAddresses(resolver, host, then);
    if (host.names().isEmpty()) {
      gathering.done();
      return;
    }
    for (HostName name : host.names()) {
      Addresses present = resolver.ifPresent(pod, name);
      if (present != null) {
        gathering.take(name, present);
      } else {
        resolver.resolve(pod, name, loop, answer -> gathering.take(name, answer));
      }
    }
  }

  private void take(HostName name, Addresses answer) {
    switch (answer) {
      case Addresses.Found(List<InetAddress> found, boolean stale) -> {
        addresses.addAll(found);
        ttl = Math.min(ttl, stale ? STALE_TTL : resolver.secondsLeft(name));
      }
      case Addresses.Failed(Addresses.Failure why, _) ->
          failure = rank(why) > rank(failure) ? why : failure;
    }
    if (--missing == 0) {
      done();
    }
  }

  /// What may pass tells more than what is certain.
  private static int rank(Addresses.Failure failure) {
    return switch (failure) {
      case NO_SUCH_NAME -> 0;
      case NO_ADDRESS -> 1;
      case SERVER, TIMEOUT, OVERFLOW -> 2;
    };
  }

  private void done() {
    List<InetAddress> told = addresses.stream().limit(MOST).toList();
    then.accept(new Found(told, told.isEmpty() ? 0 : Math.max(1, ttl), failure));
  }
}
