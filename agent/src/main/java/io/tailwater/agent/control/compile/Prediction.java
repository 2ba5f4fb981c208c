package io.tailwater.agent.control.compile;

import io.tailwater.agent.dataplane.gate.Releasable;
import io.tailwater.agent.dataplane.resolve.AddressFilter;
import io.tailwater.agent.dataplane.resolve.Addresses;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.Explanation;
import io.tailwater.agent.dataplane.route.Request;
import io.tailwater.agent.dataplane.route.Suggestion;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.dataplane.route.UpstreamTls;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.Grade;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.agent.traffic.ResourceRef;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/// What would become of a connection or request: a decision carried on through look-up and address
/// filter, as the data path would, without dialling. Policy tests compare it, `explain` shows it.
/// Immutable.
///
/// @param weighted the clusters among which weights choose; `cluster` is empty then
/// @param upstreamHosts the names that are looked up
/// @param upstreamAddresses what may be dialled, as `ip:port` or `pipe:/path`; empty where a name
///   was not looked up
/// @param tls TLS that the agent originates
/// @param limits what bounds the destination
/// @param tunnel `HBONE` or `NONE`, where it gets anywhere
/// @param waypoint the waypoint that it is sent to as `namespace/gateway`
/// @param wouldBlock whether enforcement would refuse what audit lets pass
/// @param service the chosen destination as `namespace/host`
/// @param grade the best grade it could take, where bytes move and addresses are known
/// @param notKernel why the kernel alone could not carry it, whatever its addresses are
/// @param applied the rules that have a say in it
/// @param detail a sentence for people
public record Prediction(
    Action action,
    Optional<String> cluster,
    List<WeightedCluster> weighted,
    List<HostName> upstreamHosts,
    Optional<List<String>> upstreamAddresses,
    Optional<Tls> tls,
    Optional<Limits> limits,
    Optional<String> tunnel,
    Optional<String> waypoint,
    Optional<Refusal> error,
    boolean wouldBlock,
    Optional<ResourceRef> resource,
    Optional<String> service,
    Optional<Grade> grade,
    Optional<String> notKernel,
    Optional<Suggestion> suggestion,
    List<Explanation.Considered> considered,
    List<Explanation.Applied> applied,
    String detail) {
  public Prediction {
    weighted = List.copyOf(weighted);
    upstreamHosts = List.copyOf(upstreamHosts);
    upstreamAddresses = upstreamAddresses.map(List::copyOf);
    considered = List.copyOf(considered);
    applied = List.copyOf(applied);
  }

  /// The `action` of a policy test.
  public enum Action {
    FORWARD("forward"),
    PASSTHROUGH("passthrough"),
    WAYPOINT("waypoint"),
    BLOCK("block"),
    REJECT("reject");

    private final String text;

    Action(String text) {
      this.text = text;
    }

    public String text() {
      return text;
    }
  }

  /// A cluster with its share.
  public record WeightedCluster(String cluster, int weight) {}

  /// Originated TLS as it would be for this connection or request.
  ///
  /// @param sni empty where none is sent
  /// @param sans names of which the certificate must carry one; without configured ones the
  ///   requested name
  /// @param autoSan whether it must carry the requested name in any case
  public record Tls(
      String mode,
      Optional<String> sni,
      List<String> sans,
      boolean autoSan,
      boolean insecureSkipVerify) {
    public Tls {
      sans = List.copyOf(sans);
    }
  }

  /// What bounds a destination.
  public record Limits(
      long maxConnections, long maxRequests, long maxPendingRequests, Duration connectTimeout) {}

  /// Istio's default, and the agent's.
  private static final Duration CONNECT_TIMEOUT = Duration.ofSeconds(10);

  private static final String HBONE = "HBONE";
  private static final String NO_TUNNEL = "NONE";

  /// Looks names up, or says nothing of a name because it does not ask.
  @FunctionalInterface
  public interface LookUp {
    /// Asks nobody.
    LookUp NONE = _ -> Optional.empty();

    Optional<Addresses> of(HostName name);
  }

  /// What is predicted for.
  ///
  /// @param namespace the client's, for the suggestion
  /// @param dst what was dialled
  /// @param dstKnown whether that is an address, or only its port
  /// @param request where the connection carries HTTP
  public record Asked(
      String namespace,
      OriginalDst dst,
      boolean dstKnown,
      Preface preface,
      Optional<Request> request) {}

  /// Whether the connection gets anywhere.
  public boolean passes() {
    return switch (action) {
      case FORWARD, PASSTHROUGH, WAYPOINT -> true;
      case BLOCK, REJECT -> false;
    };
  }

  /// The same where no connection takes the kernel pass, whatever policy lets go.
  ///
  /// @param why empty where they may
  Prediction relayed(Optional<String> why) {
    if (why.isEmpty() || action != Action.FORWARD || grade.filter(Grade.COPY::equals).isPresent()) {
      return this;
    }
    return new Prediction(
        action,
        cluster,
        weighted,
        upstreamHosts,
        upstreamAddresses,
        tls,
        limits,
        tunnel,
        waypoint,
        error,
        wouldBlock,
        resource,
        service,
        grade.map(_ -> Grade.SPLICE),
        notKernel.or(() -> why),
        suggestion,
        considered,
        applied,
        detail);
  }

  /// The reason as policy tests name it: a missing name counts as unknown traffic there.
  public Optional<String> errorCode() {
    return error.map(e -> e == Refusal.NO_SNI ? Refusal.CONNECTION_CLOSED.code() : e.code());
  }

  /// Carries a decision on.
  public static Prediction of(
      Explanation explanation, Asked asked, LookUp lookUp, AddressFilter filter) {
    Making making = new Making(explanation, asked, lookUp, filter);
    return explanation.weighted().isEmpty()
        ? making.make(explanation.decision())
        : making.weighted(explanation.weighted());
  }

  /// Collects what is known; what is not said stays empty.
  private static final class Draft {
    private final Action action;
    private final String detail;
    private Optional<String> cluster = Optional.empty();
    private List<WeightedCluster> weighted = List.of();
    private List<HostName> hosts = List.of();
    private Optional<List<String>> addresses = Optional.empty();
    private Optional<Tls> tls = Optional.empty();
    private Optional<Limits> limits = Optional.empty();
    private Optional<String> tunnel = Optional.empty();
    private Optional<String> waypoint = Optional.empty();
    private Optional<Refusal> error = Optional.empty();
    private boolean wouldBlock;
    private Optional<ResourceRef> resource = Optional.empty();
    private Optional<String> service = Optional.empty();
    private Optional<Grade> grade = Optional.empty();
    private Optional<String> notKernel = Optional.empty();
    private Optional<Suggestion> suggestion = Optional.empty();

    Draft(Action action, String detail) {
      this.action = action;
      this.detail = detail;
    }

    Prediction done(Explanation explanation) {
      return new Prediction(
          action,
          cluster,
          weighted,
          hosts,
          addresses,
          tls,
          limits,
          tunnel,
          waypoint,
          error,
          wouldBlock,
          resource,
          service,
          grade,
          notKernel,
          suggestion,
          explanation.considered(),
          explanation.applied(),
          detail);
    }
  }

  private record Making(Explanation explanation, Asked asked, LookUp lookUp, AddressFilter filter) {
    Prediction make(Decision decision) {
      return switch (decision) {
        case Decision.Forward forward -> forward(forward);
        case Decision.Passthrough(var wouldBlock, var resource) ->
            passthrough(wouldBlock, resource, suggestion(wouldBlock, List.of()));
        case Decision.Refuse refuse -> {
          Draft draft = refused(refuse.why(), sentence(refuse), List.of());
          draft.cluster = refuse.cluster();
          draft.resource = refuse.resource();
          draft.service = refuse.service();
          yield draft.done(explanation);
        }
        case Decision.ToWaypoint to -> {
          Draft draft = new Draft(Action.WAYPOINT, "goes to its waypoint, which decides the rest");
          draft.waypoint = Optional.of(to.waypoint());
          draft.service = to.service();
          draft.resource = Optional.of(to.resource());
          draft.tunnel = Optional.of(HBONE);
          draft.grade = Optional.of(Grade.COPY);
          yield draft.done(explanation);
        }
        case Decision.PerRequest _ ->
            new Draft(Action.FORWARD, "each HTTP request is decided by its own Host")
                .done(explanation);
        case Decision.ByName by -> {
          Draft draft = new Draft(Action.FORWARD, "goes to what the requested name resolves to");
          draft.cluster = by.cluster();
          draft.resource = Optional.of(by.resource());
          yield draft.done(explanation);
        }
      };
    }

    /// All that weights may choose, as one: what any of them may dial.
    Prediction weighted(List<Explanation.Weighted> choices) {
      List<Prediction> made = choices.stream().map(c -> make(c.decision())).toList();
      Prediction shown =
          made.stream().filter(Prediction::passes).findFirst().orElse(made.getFirst());
      Draft draft = new Draft(shown.action(), "one of several destinations, chosen by weight");
      draft.weighted = new ArrayList<>();
      Set<HostName> hosts = new LinkedHashSet<>();
      Set<String> addresses = new LinkedHashSet<>();
      boolean known = true;
      for (int i = 0; i < made.size(); i++) {
        Prediction one = made.get(i);
        draft.weighted.add(new WeightedCluster(one.cluster().orElse(""), choices.get(i).weight()));
        hosts.addAll(one.upstreamHosts());
        known &= one.upstreamAddresses().isPresent() || !one.passes();
        addresses.addAll(one.upstreamAddresses().orElse(List.of()));
      }
      draft.hosts = List.copyOf(hosts);
      draft.addresses = known ? Optional.of(List.copyOf(addresses)) : Optional.empty();
      draft.tls = shown.tls();
      draft.limits = shown.limits();
      draft.tunnel = shown.tunnel();
      draft.error = shown.error();
      draft.resource = shown.resource();
      draft.suggestion = shown.suggestion();
      draft.grade = shown.grade();
      draft.notKernel = shown.notKernel();
      return draft.done(explanation);
    }

    private Prediction passthrough(
        Optional<Refusal> wouldBlock,
        Optional<ResourceRef> resource,
        Optional<Suggestion> suggestion) {
      Draft draft =
          new Draft(
              Action.PASSTHROUGH,
              wouldBlock
                  .map(why -> "passes only because of audit: " + why.sentence())
                  .orElse("nothing configures it, and unknown destinations pass"));
      draft.cluster = Optional.of(Decision.PASSTHROUGH);
      draft.addresses =
          asked.dstKnown() ? Optional.of(List.of(asked.dst().toString())) : Optional.empty();
      draft.tunnel = Optional.of(NO_TUNNEL);
      draft.wouldBlock = wouldBlock.isPresent();
      draft.resource = resource;
      draft.grade = grade(Grade.KERNEL);
      draft.suggestion = suggestion;
      return draft.done(explanation);
    }

    /// Requests are always copied; else it is told for TLS only.
    private Optional<Grade> grade(Grade ofTls) {
      if (asked.request().isPresent()) {
        return Optional.of(Grade.COPY);
      }
      return asked.preface() instanceof Preface.Tls ? Optional.of(ofTls) : Optional.empty();
    }

    private Optional<Suggestion> suggestion(Optional<Refusal> why, List<InetAddress> filtered) {
      return why.map(w ->
          Suggestion.of(
              w, asked.namespace(), asked.dst(), asked.preface(), filtered, explanation.remedy()));
    }

    /// Of a known Host the port can be wrong, or none of its routes takes the request.
    private static String sentence(Decision.Refuse refuse) {
      if (refuse.noRoute().isPresent()) {
        return "none of the http routes of its VirtualService takes the request; answered with 404";
      }
      return refuse.why() == Refusal.HTTP_502 && refuse.resource().isPresent()
          ? "its entry does not list the port that Host names; answered with 502"
          : refuse.why().sentence();
    }

    private static Action refusalAction(Refusal why) {
      return switch (why) {
        case HTTP_502,
            CONNECTION_CLOSED,
            NO_SNI,
            MALFORMED_HELLO,
            HELLO_TIMEOUT,
            DIRECT_HIT,
            UNKNOWN_SOURCE,
            NAME_REFUSED,
            UDP,
            IPV6,
            MARK,
            ICMP,
            PROTOCOL,
            UNCAPTURED,
            PACKET_SOCKET ->
            Action.BLOCK;
        case CLUSTER_NOT_FOUND,
            NO_HEALTHY_UPSTREAM,
            DNS_FAILURE,
            POLICY_DENIED,
            ADDRESS_FILTERED,
            WAYPOINT_UNAVAILABLE,
            CONNECT_FAILED,
            LIMIT,
            RELEASED_ADDRESS_MISMATCH,
            NOT_SUPPORTED_YET ->
            Action.REJECT;
      };
    }

    private Draft refused(Refusal why, String detail, List<InetAddress> filtered) {
      Draft draft = new Draft(refusalAction(why), detail);
      draft.error = Optional.of(why);
      draft.suggestion = suggestion(Optional.of(why), filtered);
      return draft;
    }

    private static void known(Draft draft, Decision.Forward forward, List<HostName> hosts) {
      draft.cluster = forward.cluster();
      draft.resource = Optional.of(forward.resource());
      draft.service =
          forward.to().namespace().isEmpty()
              ? Optional.empty()
              : Optional.of(forward.to().service());
      draft.hosts = hosts;
    }

    /// What the target comes to.
    private static final class Found {
      final List<HostName> hosts = new ArrayList<>();
      final Set<OriginalDst> addresses = new LinkedHashSet<>();
      final Set<String> files = new LinkedHashSet<>();
      final List<String> failures = new ArrayList<>();
      boolean asked = true;
      boolean hbone;
    }

    private Prediction forward(Decision.Forward forward) {
      Found found = new Found();
      switch (forward.target()) {
        case Target.Dialled(int port) -> {
          if (asked.dstKnown()) {
            found.addresses.add(new OriginalDst(asked.dst().address(), port));
          } else {
            found.asked = false;
          }
        }
        case Target.Endpoints(List<Target.Endpoint> endpoints, _) ->
            endpoints.forEach(endpoint -> endpoint(endpoint, found));
      }
      if (!found.asked) {
        return forwarded(forward, found, Optional.empty());
      }
      if (found.addresses.isEmpty() && found.files.isEmpty()) {
        Draft draft =
            refused(
                Refusal.DNS_FAILURE,
                Refusal.DNS_FAILURE.sentence() + ": " + String.join("; ", found.failures),
                List.of());
        known(draft, forward, found.hosts);
        return draft.done(explanation);
      }
      AddressRule rule = forward.addressRule();
      List<OriginalDst> admitted =
          found.addresses.stream().filter(a -> filter.admits(a.address(), rule)).toList();
      return admitted.isEmpty() && found.files.isEmpty()
          ? filtered(forward, found)
          : forwarded(forward, found, Optional.of(admitted));
    }

    private void endpoint(Target.Endpoint endpoint, Found found) {
      found.hbone |= endpoint.traits().hbone();
      switch (endpoint) {
        case Target.Endpoint.Address(InetSocketAddress address, _) ->
            found.addresses.add(new OriginalDst(address.getAddress(), address.getPort()));
        case Target.Endpoint.Unix(String path, _) -> found.files.add("pipe:" + path);
        case Target.Endpoint.Name(HostName name, int port, _) -> {
          if (!found.hosts.contains(name)) {
            found.hosts.add(name);
          }
          Optional<Addresses> answer = lookUp.of(name);
          switch (answer.orElse(null)) {
            case null -> found.asked = false;
            case Addresses.Found(List<InetAddress> addresses, _) ->
                addresses.forEach(a -> found.addresses.add(new OriginalDst(a, port)));
            case Addresses.Failed(var failure, String detail) ->
                found.failures.add(
                    name + ": " + failure + (detail.isEmpty() ? "" : " (" + detail + ")"));
          }
        }
      }
    }

    private Prediction forwarded(
        Decision.Forward forward, Found found, Optional<List<OriginalDst>> addresses) {
      Draft draft =
          new Draft(
              Action.FORWARD,
              switch (forward.target()) {
                case Target.Dialled _ -> "goes to the dialled address, as resolution NONE says";
                case Target.Endpoints _ when !found.hosts.isEmpty() ->
                    "goes to what its name resolves to, whatever address was dialled";
                case Target.Endpoints _ -> "goes to its endpoints";
              });
      known(draft, forward, found.hosts);
      ConnectionPolicy policy = forward.to().policy();
      draft.addresses =
          addresses.map(list -> {
            List<String> out = new ArrayList<>(found.files);
            list.forEach(a -> out.add(a.toString()));
            return out;
          });
      draft.tls = policy.tls().map(this::tls);
      draft.limits =
          Optional.of(
              new Limits(
                  policy.limits().maxConnections(),
                  policy.limits().maxRequests(),
                  policy.limits().maxPendingRequests(),
                  policy.connectTimeout().orElse(CONNECT_TIMEOUT)));
      draft.tunnel = Optional.of(found.hbone ? HBONE : NO_TUNNEL);
      if (policy.tls().isPresent() || found.hbone || asked.request().isPresent()) {
        draft.grade = Optional.of(Grade.COPY);
      } else {
        draft.notKernel = Optional.ofNullable(Releasable.obstacle(forward, asked.dst().port()));
        if (addresses.isPresent() && asked.dstKnown()) {
          boolean home = addresses.get().contains(asked.dst());
          draft.grade = grade(home && draft.notKernel.isEmpty() ? Grade.KERNEL : Grade.SPLICE);
        }
      }
      return draft.done(explanation);
    }

    /// What is sent and demanded. Only HTTP tells a name that can be sent as server name.
    private Tls tls(UpstreamTls tls) {
      Optional<String> requested = asked.request().flatMap(Request::host).map(HostName::text);
      List<String> sans = tls.subjectAltNames();
      if (sans.isEmpty() && tls.autoSan()) {
        sans = requested.map(List::of).orElse(List.of());
      }
      return new Tls(
          tls.mode().name(),
          tls.autoSni() ? requested : tls.sni(),
          sans,
          tls.autoSan(),
          tls.insecureSkipVerify());
    }

    private Prediction filtered(Decision.Forward forward, Found found) {
      AddressRule rule = forward.addressRule();
      List<InetAddress> exceptable = new ArrayList<>();
      List<String> reasons = new ArrayList<>();
      for (OriginalDst address : found.addresses) {
        reasons.add(
            AddressText.of(address.address()) + " " + filter.reason(address.address(), rule));
        AddressRule excepted = new AddressRule(rule.scope(), List.of(whole(address.address())));
        if (filter.admits(address.address(), excepted)) {
          exceptable.add(address.address());
        }
      }
      // Audit lets it pass to where the client wanted, never to an address that is filtered.
      boolean passes =
          forward.auditing() && asked.dstKnown() && filter.admits(asked.dst().address(), rule);
      if (passes) {
        return passthrough(
            Optional.of(Refusal.ADDRESS_FILTERED),
            Optional.of(forward.resource()),
            suggestion(Optional.of(Refusal.ADDRESS_FILTERED), exceptable));
      }
      Draft draft =
          refused(
              Refusal.ADDRESS_FILTERED,
              Refusal.ADDRESS_FILTERED.sentence() + ": " + String.join("; ", reasons),
              exceptable);
      known(draft, forward, found.hosts);
      return draft.done(explanation);
    }

    private static CidrBlock whole(InetAddress address) {
      return new CidrBlock(address, address.getAddress().length * 8);
    }
  }
}
