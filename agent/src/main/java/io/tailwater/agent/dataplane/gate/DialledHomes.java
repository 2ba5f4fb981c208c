package io.tailwater.agent.dataplane.gate;

import io.tailwater.agent.dataplane.account.ConnectionRecord;
import io.tailwater.agent.dataplane.resolve.Addresses;
import io.tailwater.agent.dataplane.resolve.Resolver;
import io.tailwater.agent.dataplane.route.CurrentRoutes;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.PodRef;
import java.util.List;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/// Learns from connections that are relayed. A pod that got its addresses elsewhere, or keeps them
/// longer than it was told, dials what no [ReleasableAddresses] know of; but where the look-up that
/// the relay has just made for the name has that very address, the pod's next connection there may
/// go out as itself, as if the pod had asked us.
///
/// And where it has not, a connection there that names it would be reset at the gate, for nothing
/// can be moved to the relay any more: so the address is left to the relay, as long as the pod goes
/// on dialling it like that.
///
/// Nothing else is opened by what a pod dials: an address comes in by our own look-up of an allowed
/// name alone, and is judged like those that were told. Any thread.
public final class DialledHomes {
  private final Resolver resolver;
  private final CurrentRoutes routes;
  private final LongSupplier nanos;

  public DialledHomes(Resolver resolver, CurrentRoutes routes, LongSupplier nanos) {
    this.resolver = resolver;
    this.routes = routes;
    this.nanos = nanos;
  }

  /// A connection of the pod is about to be dialled.
  public void relayed(ReleasableAddresses addresses, ConnectionRecord record) {
    OriginalDst dst = record.dst();
    long now = nanos.getAsLong();
    if (record.preface() instanceof Preface.Tls(HostName said, _)
        && record.decision().orElse(null) instanceof Decision.Forward forward
        && !addresses.isToldNow(said, dst.address(), now)) {
      if (Releasable.obstacle(forward, dst.port()) != null) {
        leave(addresses, said, dst, now);
        return;
      }
      HostName name = lookedUp(forward);
      if (name != null) {
        learn(addresses, record.pod().ref(), said, name, dst, now);
      }
    }
  }

  /// The name that was looked up for it; null where it goes to the dialled address anyway.
  private static @Nullable HostName lookedUp(Decision.Forward forward) {
    return forward.target() instanceof Target.Endpoints(var endpoints, _)
            && endpoints.getFirst() instanceof Target.Endpoint.Name(HostName name, _, _)
        ? name
        : null;
  }

  private void learn(
      ReleasableAddresses addresses,
      PodRef pod,
      HostName said,
      HostName name,
      OriginalDst dst,
      long now) {
    long seconds = resolver.secondsLeft(name);
    if (seconds > 0
        && resolver.ifPresent(pod, name) instanceof Addresses.Found(var found, boolean stale)
        && !stale) {
      if (found.contains(dst.address())) {
        long time = Math.min(seconds, ReleasableAddresses.LONGEST);
        addresses.told(routes.get(), said, List.of(dst.address()), time, now);
      } else {
        leave(addresses, said, dst, now);
      }
    }
  }

  /// At the gate it would have been reset: whoever dials like that goes on being relayed.
  private static void leave(
      ReleasableAddresses addresses, HostName said, OriginalDst dst, long now) {
    if (!addresses.isHome(said, dst.address(), now)) {
      addresses.away(dst.address(), dst.port(), now);
    }
  }
}
