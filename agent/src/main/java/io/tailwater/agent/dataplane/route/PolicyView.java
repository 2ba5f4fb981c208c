package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.agent.traffic.ResourceRef;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// Decides: configured destinations out of a `DestinationPolicy`, everything else by the outbound
/// traffic policy and the egress mode. Immutable; any thread.
public final class PolicyView implements ClientView {
  private static final Decision PASS = new Decision.Passthrough(Optional.empty(), Optional.empty());

  private final EgressMode mode;
  private final boolean registryOnly;
  private final DestinationPolicy policy;

  public PolicyView(EgressMode mode, boolean registryOnly, DestinationPolicy policy) {
    this.mode = mode;
    this.registryOnly = registryOnly;
    this.policy = policy;
  }

  @Override
  public EgressMode mode() {
    return mode;
  }

  @Override
  public boolean registryOnly() {
    return registryOnly;
  }

  @Override
  public Ask ask(OriginalDst dst) {
    if (mode == EgressMode.OFF || policy.byAddress(dst) != null) {
      return Ask.NOTHING;
    }
    @Nullable Listener listener = policy.listener(dst);
    return listener != null && listener.readsPreface(registryOnly) ? Ask.PREFACE : Ask.NOTHING;
  }

  @Override
  public Decision decide(OriginalDst dst, Preface preface) {
    if (mode == EgressMode.OFF) {
      return PASS;
    }
    @Nullable Action byAddress = policy.byAddress(dst);
    if (byAddress != null) {
      return carryOut(byAddress, null);
    }
    @Nullable Listener listener = policy.listener(dst);
    if (listener == null) {
      return unknown(Refusal.CONNECTION_CLOSED);
    }
    if (!listener.readsPreface(registryOnly)) {
      return orUnknown(listener.rest(), null, Refusal.CONNECTION_CLOSED);
    }
    return switch (preface) {
      case Preface.Tls(HostName sni, _) ->
          orUnknown(listener.tls(sni), sni, Refusal.CONNECTION_CLOSED);
      case Preface.TlsWithoutName _ -> orUnknown(listener.tlsWithoutName(), null, Refusal.NO_SNI);
      case Preface.MalformedTls _ -> malformed();
      case Preface.Http(Optional<HostName> host, _, _, _, _) ->
          orUnknown(listener.http(host.orElse(null)), host.orElse(null), Refusal.CONNECTION_CLOSED);
      case Preface.Opaque _ -> orUnknown(listener.rest(), null, Refusal.CONNECTION_CLOSED);
      case Preface.Silent _ -> orUnknown(listener.rest(), null, Refusal.HELLO_TIMEOUT);
    };
  }

  private Decision orUnknown(@Nullable Action action, @Nullable HostName name, Refusal refusal) {
    return action == null ? unknown(refusal) : carryOut(action, name);
  }

  private Decision carryOut(Action action, @Nullable HostName name) {
    boolean audit = mode == EgressMode.AUDIT;
    return switch (action) {
      case Action.Go(Decision.Forward enforced, Decision.Forward audited) ->
          audit ? audited : enforced;
      case Action.ByName by ->
          name == null
              ? unknown(Refusal.NO_SNI)
              : new Decision.Forward(
                  by.to(),
                  name.text(),
                  new Target.Endpoints(List.of(new Target.Endpoint.Name(name, by.to().port()))),
                  by.rule(),
                  by.resource(),
                  audit);
      case Action.ToDialled to ->
          new Decision.Forward(
              to.to(),
              name == null ? to.to().host() : name.text(),
              to.target(),
              to.rule(),
              to.resource(),
              audit);
      case Action.CannotReach(Decision.Destination to, Refusal why, ResourceRef resource) ->
          new Decision.Refuse(why, Optional.of(to.cluster()), Optional.of(resource));
      case Action.NotHonoured(Decision.Destination to, _, ResourceRef resource) ->
          notHonoured(to, resource);
    };
  }

  private Decision notHonoured(Decision.Destination to, ResourceRef resource) {
    if (!registryOnly) {
      return PASS;
    }
    return mode == EgressMode.AUDIT
        ? new Decision.Passthrough(Optional.of(Refusal.NOT_SUPPORTED_YET), Optional.of(resource))
        : new Decision.Refuse(
            Refusal.NOT_SUPPORTED_YET, Optional.of(to.cluster()), Optional.of(resource));
  }

  private Decision unknown(Refusal refusal) {
    return registryOnly ? refused(refusal) : PASS;
  }

  /// What could not be parsed is never allowed, under ALLOW_ANY neither.
  private Decision malformed() {
    return refused(Refusal.MALFORMED_HELLO);
  }

  private Decision refused(Refusal refusal) {
    return mode == EgressMode.AUDIT
        ? new Decision.Passthrough(Optional.of(refusal), Optional.empty())
        : new Decision.Refuse(refusal, Optional.of(Decision.BLACK_HOLE), Optional.empty());
  }
}
