package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.agent.traffic.ResourceRef;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.ToIntFunction;
import org.jspecify.annotations.Nullable;

/// Decides: configured destinations out of a `DestinationPolicy`, everything else by the outbound
/// traffic policy and the egress mode. Immutable; any thread.
public final class PolicyView implements ClientView {
  private static final Decision PASS = new Decision.Passthrough(Optional.empty(), Optional.empty());
  private static final Decision PER_REQUEST = new Decision.PerRequest();

  /// Which choice of a split is taken.
  private static final ToIntFunction<Action.Split> BY_WEIGHT = PolicyView::byWeight;

  private final EgressMode mode;
  private final OutboundPolicy outbound;
  private final boolean registryOnly;
  private final DestinationPolicy policy;
  private final String searchDomain;
  private final Names names;

  /// What captured DNS knows.
  public interface Names {
    /// Nothing.
    Names NONE = _ -> Optional.empty();

    /// Empty where no resource knows the name.
    Optional<KnownName> find(HostName name);
  }

  public PolicyView(EgressMode mode, OutboundPolicy outbound, DestinationPolicy policy) {
    this(mode, outbound, policy, "", Names.NONE);
  }

  /// @param searchDomain what completes a Host of one label, as the resolver of the pod does; empty
  ///   for nothing
  public PolicyView(
      EgressMode mode,
      OutboundPolicy outbound,
      DestinationPolicy policy,
      String searchDomain,
      Names names) {
    this.searchDomain = searchDomain;
    this.names = names;
    this.mode = mode;
    this.outbound = outbound;
    this.registryOnly = outbound instanceof OutboundPolicy.RegistryOnly;
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
  public Optional<KnownName> known(HostName name) {
    return names.find(name);
  }

  @Override
  public List<Integer> ports() {
    return policy.ports();
  }

  @Override
  public Ask ask(OriginalDst dst) {
    if (mode == EgressMode.OFF || policy.before(dst) != null) {
      return Ask.NOTHING;
    }
    @Nullable Listener listener = policy.listener(dst);
    boolean reads =
        listener != null
            ? listener.readsPreface()
            : outbound instanceof OutboundPolicy.AllowAnyDynamicDns && policy.after(dst) == null;
    return reads ? Ask.PREFACE : Ask.NOTHING;
  }

  @Override
  public Decision decide(OriginalDst dst, Preface preface) {
    return decide(dst, preface, BY_WEIGHT);
  }

  private Decision decide(OriginalDst dst, Preface preface, ToIntFunction<Action.Split> pick) {
    if (mode == EgressMode.OFF) {
      return PASS;
    }
    @Nullable Action taken = policy.before(dst);
    if (taken != null) {
      return carryOut(taken, dst, null, pick);
    }
    @Nullable Listener listener = policy.listener(dst);
    if (listener == null) {
      return preface instanceof Preface.Http
              && outbound instanceof OutboundPolicy.AllowAnyDynamicDns
              && policy.after(dst) == null
          ? PER_REQUEST
          : unknown(dst, Refusal.CONNECTION_CLOSED, pick);
    }
    if (!listener.readsPreface()) {
      return orUnknown(listener.rest(), dst, Refusal.CONNECTION_CLOSED, pick);
    }
    return switch (preface) {
      case Preface.Tls(HostName sni, _) ->
          orUnknown(listener.tls(sni), dst, Refusal.CONNECTION_CLOSED, pick);
      case Preface.TlsWithoutName _ ->
          orUnknown(
              listener.tlsWithoutName(),
              dst,
              listener.needsSni() ? Refusal.NO_SNI : Refusal.CONNECTION_CLOSED,
              pick);
      case Preface.MalformedTls _ -> malformed();
      case Preface.Http _ ->
          listener.speaksHttp()
              ? PER_REQUEST
              : orUnknown(listener.rest(), dst, Refusal.CONNECTION_CLOSED, pick);
      case Preface.Opaque _ -> orUnknown(listener.rest(), dst, Refusal.CONNECTION_CLOSED, pick);
      case Preface.Silent _ -> orUnknown(listener.rest(), dst, Refusal.HELLO_TIMEOUT, pick);
    };
  }

  @Override
  public Decision decide(OriginalDst dst, Request request) {
    return decide(dst, request, BY_WEIGHT);
  }

  private Decision decide(OriginalDst dst, Request request, ToIntFunction<Action.Split> pick) {
    if (mode == EgressMode.OFF) {
      return PASS;
    }
    @Nullable Action taken = policy.before(dst);
    if (taken != null) {
      return carryOut(taken, dst, request, pick);
    }
    @Nullable Listener listener = policy.listener(dst);
    @Nullable Action action =
        listener == null ? null : listener.http(request, shortName(request, searchDomain));
    return action != null ? carryOut(action, dst, request, pick) : unknown(dst, request, pick);
  }

  private static @Nullable HostName shortName(Request request, String searchDomain) {
    if (searchDomain.isEmpty() || request.host().isEmpty()) {
      return null;
    }
    String host = request.host().get().text();
    return host.indexOf('.') < 0
            && HostName.parse(host + "." + searchDomain)
                instanceof HostName.Parsed.Valid(HostName name, _)
        ? name
        : null;
  }

  /// All that weights may choose for a connection, or for its request; empty where they have no
  /// part in the decision. For people.
  public List<Explanation.Weighted> weighted(
      OriginalDst dst, Preface preface, Optional<Request> request) {
    List<Action.Split> found = new ArrayList<>();
    ToIntFunction<Action.Split> look =
        split -> {
          found.add(split);
          return 0;
        };
    if (request.isPresent()) {
      Decision _ = decide(dst, request.get(), look);
    } else {
      Decision _ = decide(dst, preface, look);
    }
    if (found.isEmpty()) {
      return List.of();
    }
    List<Action.Choice> choices = found.getFirst().choices();
    List<Explanation.Weighted> out = new ArrayList<>();
    for (int i = 0; i < choices.size(); i++) {
      int index = i;
      Decision decision =
          request.isPresent()
              ? decide(dst, request.get(), _ -> index)
              : decide(dst, preface, _ -> index);
      out.add(new Explanation.Weighted(choices.get(i).weight(), decision));
    }
    return out;
  }

  private static int byWeight(Action.Split split) {
    int at = ThreadLocalRandom.current().nextInt(split.total());
    int index = 0;
    for (Action.Choice choice : split.choices()) {
      at -= choice.weight();
      if (at < 0) {
        return index;
      }
      index++;
    }
    throw new IllegalStateException("weights changed");
  }

  private Decision orUnknown(
      @Nullable Action action, OriginalDst dst, Refusal refusal, ToIntFunction<Action.Split> pick) {
    return action == null ? unknown(dst, refusal, pick) : carryOut(action, dst, null, pick);
  }

  /// @param request null where a connection is decided
  private Decision carryOut(
      Action action, OriginalDst dst, @Nullable Request request, ToIntFunction<Action.Split> pick) {
    boolean audit = mode == EgressMode.AUDIT;
    return switch (action) {
      case Action.Go(Decision.Forward enforced, Decision.Forward audited) ->
          audit ? audited : enforced;
      case Action.ByName by -> {
        Decision.ByName decision = audit ? by.audited() : by.enforced();
        yield request == null ? decision : byHost(by, decision, request);
      }
      case Action.Split split ->
          carryOut(split.choices().get(pick.applyAsInt(split)).action(), dst, request, pick);
      case Action.Cases cases -> firstCase(cases, dst, request, pick);
      case Action.ToWorkload workload -> toWorkload(workload, dst, audit);
      case Action.NoRoute(ResourceRef resource) -> refused502(Optional.of(resource));
      case Action.ToWaypoint(Decision.ToWaypoint decision) -> decision;
      case Action.CannotReach(Decision.Refuse decision, _) -> decision;
      case Action.NotHonoured(String cluster, _, ResourceRef resource) ->
          notHonoured(cluster, resource);
    };
  }

  private static Decision toWorkload(Action.ToWorkload workload, OriginalDst dst, boolean audit) {
    InetSocketAddress at = new InetSocketAddress(dst.address(), dst.port());
    return new Decision.Forward(
        workload.to(),
        workload.to().host(),
        new Target.Endpoints(List.of(new Target.Endpoint.Address(at, workload.traits()))),
        workload.rule(),
        workload.resource(),
        audit);
  }

  private Decision firstCase(
      Action.Cases cases,
      OriginalDst dst,
      @Nullable Request request,
      ToIntFunction<Action.Split> pick) {
    for (Action.Case one : cases.cases()) {
      if (one.condition().holds(dst, request)) {
        Decision decision = carryOut(one.action(), dst, request, pick);
        return decision instanceof Decision.Forward forward
                && !one.request().equals(RequestPolicy.NONE)
            ? forward.with(one.request())
            : decision;
      }
    }
    if (cases.otherwise().isPresent()) {
      return carryOut(cases.otherwise().get(), dst, request, pick);
    }
    return request == null
        ? unknown(dst, Refusal.CONNECTION_CLOSED, pick)
        : unknown(dst, request, pick);
  }

  /// Host may name one of the ports that are configured, and no other.
  private Decision byHost(Action.ByName by, Decision.ByName decision, Request request) {
    int port = request.port().orElse(decision.port());
    if (request.port().isPresent() && !by.anyPort() && !by.hostPorts().contains(port)) {
      return refused502(Optional.of(by.resource()));
    }
    if (request.host().isPresent()) {
      return decision.forward(request.host().get(), port);
    }
    if (request.address().isPresent() && by.anyPort()) {
      return literal(decision, request.address().get(), port);
    }
    return refused502(Optional.empty());
  }

  private static Decision literal(Decision.ByName by, InetAddress address, int port) {
    InetSocketAddress at = new InetSocketAddress(address, port);
    return new Decision.Forward(
        by.to(),
        AddressText.of(address),
        new Target.Endpoints(List.of(new Target.Endpoint.Address(at))),
        by.addressRule(),
        by.resource(),
        by.auditing());
  }

  private Decision notHonoured(String cluster, ResourceRef resource) {
    if (!registryOnly) {
      return PASS;
    }
    return mode == EgressMode.AUDIT
        ? new Decision.Passthrough(Optional.of(Refusal.NOT_SUPPORTED_YET), Optional.of(resource))
        : new Decision.Refuse(
            Refusal.NOT_SUPPORTED_YET, Optional.of(cluster), Optional.of(resource));
  }

  private Decision unknown(OriginalDst dst, Refusal refusal, ToIntFunction<Action.Split> pick) {
    @Nullable Action known = policy.after(dst);
    if (known != null) {
      return carryOut(known, dst, null, pick);
    }
    if (outbound instanceof OutboundPolicy.ThroughProxy(Action proxy)) {
      return carryOut(proxy, dst, null, pick);
    }
    return registryOnly ? refused(refusal) : PASS;
  }

  private Decision unknown(OriginalDst dst, Request request, ToIntFunction<Action.Split> pick) {
    @Nullable Action known = policy.after(dst);
    if (known != null) {
      return carryOut(known, dst, request, pick);
    }
    return switch (outbound) {
      case OutboundPolicy.RegistryOnly _ -> refused502(Optional.empty());
      case OutboundPolicy.AllowAny _ -> PASS;
      case OutboundPolicy.AllowAnyDynamicDns(Action.ByName byHost) ->
          carryOut(byHost, dst, request, pick);
      case OutboundPolicy.ThroughProxy(Action proxy) -> carryOut(proxy, dst, request, pick);
    };
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

  private Decision refused502(Optional<ResourceRef> resource) {
    return mode == EgressMode.AUDIT
        ? new Decision.Passthrough(Optional.of(Refusal.HTTP_502), resource)
        : new Decision.Refuse(Refusal.HTTP_502, Optional.empty(), resource);
  }
}
