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
import java.util.Optional;
import java.util.function.LongSupplier;

/// Learns from connections that are relayed. A pod that got its addresses elsewhere, or keeps them
/// longer than it was told, dials what no [ReleasableAddresses] know of; but where the look-up that
/// the relay has just made for the name has that very address, the pod's next connection there may
/// go out as itself, as if the pod had asked us.
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
    if (!(record.preface() instanceof Preface.Tls tls)
        || addresses.isToldNow(tls.sni(), dst.address(), nanos.getAsLong())) {
      return;
    }
    record
        .decision()
        .filter(decision -> Releasable.obstacle(decision, dst.port()) == null)
        .flatMap(DialledHomes::lookedUp)
        .ifPresent(name -> learn(addresses, record.pod().ref(), tls.sni(), name, dst));
  }

  /// The name that was looked up for it.
  private static Optional<HostName> lookedUp(Decision decision) {
    return decision instanceof Decision.Forward forward
            && forward.target() instanceof Target.Endpoints(var endpoints, _)
            && endpoints.getFirst() instanceof Target.Endpoint.Name(HostName name, _, _)
        ? Optional.of(name)
        : Optional.empty();
  }

  private void learn(
      ReleasableAddresses addresses, PodRef pod, HostName said, HostName name, OriginalDst dst) {
    long seconds = resolver.secondsLeft(name);
    if (seconds > 0
        && resolver.ifPresent(pod, name) instanceof Addresses.Found(var found, boolean stale)
        && !stale
        && found.contains(dst.address())) {
      addresses.told(
          routes.get(),
          said,
          List.of(dst.address()),
          Math.min(seconds, ReleasableAddresses.LONGEST),
          nanos.getAsLong());
    }
  }
}
