package io.tailwater.agent.control.compile;

import io.tailwater.agent.dataplane.resolve.AddressFilter;
import io.tailwater.agent.dataplane.resolve.Addresses;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.Explanation;
import io.tailwater.agent.dataplane.route.Suggestion;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.Grade;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.agent.traffic.ResourceRef;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/// What would become of a connection: a decision carried on through look-up and address filter, as
/// the data path would, without dialling. Policy tests compare it, `explain` shows it. Immutable.
///
/// @param upstreamHosts the names that are looked up
/// @param upstreamAddresses what may be dialled; empty where a name was not looked up
/// @param wouldBlock whether enforcement would refuse what audit lets pass
/// @param service the chosen destination as `namespace/host`
/// @param grade the best grade it could take, where bytes move and addresses are known
/// @param detail a sentence for people
public record Prediction(
    Action action,
    Optional<String> cluster,
    List<HostName> upstreamHosts,
    Optional<List<OriginalDst>> upstreamAddresses,
    Optional<Refusal> error,
    boolean wouldBlock,
    Optional<ResourceRef> resource,
    Optional<String> service,
    Optional<Grade> grade,
    Optional<Suggestion> suggestion,
    List<Explanation.Considered> considered,
    String detail) {
  public Prediction {
    upstreamHosts = List.copyOf(upstreamHosts);
    upstreamAddresses = upstreamAddresses.map(List::copyOf);
    considered = List.copyOf(considered);
  }

  /// The `action` of a policy test.
  public enum Action {
    FORWARD("forward"),
    PASSTHROUGH("passthrough"),
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

  /// Looks names up, or says nothing of a name because it does not ask.
  @FunctionalInterface
  public interface LookUp {
    /// Asks nobody.
    LookUp NONE = _ -> Optional.empty();

    Optional<Addresses> of(HostName name);
  }

  /// Whether the connection gets anywhere.
  public boolean passes() {
    return action == Action.FORWARD || action == Action.PASSTHROUGH;
  }

  /// The reason as policy tests name it: a missing name counts as unknown traffic there.
  public Optional<String> errorCode() {
    return error.map(e -> e == Refusal.NO_SNI ? Refusal.CONNECTION_CLOSED.code() : e.code());
  }

  /// Carries a decision on.
  ///
  /// @param namespace the client's, for the suggestion
  /// @param dst what was dialled; empty where only a name is known
  public static Prediction of(
      Explanation explanation,
      String namespace,
      OriginalDst dst,
      boolean dstKnown,
      Preface preface,
      LookUp lookUp,
      AddressFilter filter) {
    return new Making(explanation, namespace, dst, dstKnown, preface, lookUp, filter).make();
  }

  private record Making(
      Explanation explanation,
      String namespace,
      OriginalDst dst,
      boolean dstKnown,
      Preface preface,
      LookUp lookUp,
      AddressFilter filter) {
    Prediction make() {
      return switch (explanation.decision()) {
        case Decision.Forward forward -> forward(forward);
        case Decision.Passthrough(var wouldBlock, var resource) ->
            passthrough(wouldBlock, resource, suggestion(wouldBlock, List.of()));
        case Decision.Refuse(Refusal why, var cluster, var resource) ->
            refused(why, cluster, List.of(), resource, Optional.empty(), List.of(), why.sentence());
      };
    }

    private Prediction passthrough(
        Optional<Refusal> wouldBlock,
        Optional<ResourceRef> resource,
        Optional<Suggestion> suggestion) {
      return new Prediction(
          Action.PASSTHROUGH,
          Optional.of(Decision.PASSTHROUGH),
          List.of(),
          dstKnown ? Optional.of(List.of(dst)) : Optional.empty(),
          Optional.empty(),
          wouldBlock.isPresent(),
          resource,
          Optional.empty(),
          tlsGrade(Grade.KERNEL),
          suggestion,
          explanation.considered(),
          wouldBlock
              .map(why -> "passes only because of audit: " + why.sentence())
              .orElse("nothing configures it, and unknown destinations pass"));
    }

    private Optional<Grade> tlsGrade(Grade grade) {
      return preface instanceof Preface.Tls ? Optional.of(grade) : Optional.empty();
    }

    private Optional<Suggestion> suggestion(Optional<Refusal> why, List<InetAddress> filtered) {
      return why.map(w -> Suggestion.of(w, namespace, dst, preface, filtered));
    }

    private static Action refusalAction(Refusal why) {
      return switch (why) {
        case HTTP_502,
            CONNECTION_CLOSED,
            NO_SNI,
            MALFORMED_HELLO,
            HELLO_TIMEOUT,
            DIRECT_HIT,
            UDP,
            IPV6 ->
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

    private Prediction refused(
        Refusal why,
        Optional<String> cluster,
        List<HostName> hosts,
        Optional<ResourceRef> resource,
        Optional<String> service,
        List<InetAddress> filtered,
        String detail) {
      return new Prediction(
          refusalAction(why),
          cluster,
          hosts,
          Optional.empty(),
          Optional.of(why),
          false,
          resource,
          service,
          Optional.empty(),
          suggestion(Optional.of(why), filtered),
          explanation.considered(),
          detail);
    }

    private Prediction forward(Decision.Forward forward) {
      List<HostName> hosts = new ArrayList<>();
      Set<OriginalDst> found = new LinkedHashSet<>();
      List<String> failures = new ArrayList<>();
      boolean asked = true;
      switch (forward.target()) {
        case Target.Dialled(int port) -> {
          if (dstKnown) {
            found.add(new OriginalDst(dst.address(), port));
          } else {
            asked = false;
          }
        }
        case Target.Endpoints(List<Target.Endpoint> endpoints) -> {
          for (Target.Endpoint endpoint : endpoints) {
            asked &= endpoint(endpoint, hosts, found, failures);
          }
        }
      }
      if (!asked) {
        return forwarded(forward, hosts, Optional.empty());
      }
      if (found.isEmpty()) {
        return refused(
            Refusal.DNS_FAILURE,
            forward.cluster(),
            hosts,
            Optional.of(forward.resource()),
            Optional.of(service(forward)),
            List.of(),
            Refusal.DNS_FAILURE.sentence() + ": " + String.join("; ", failures));
      }
      AddressRule rule = forward.addressRule();
      List<OriginalDst> admitted =
          found.stream().filter(a -> filter.admits(a.address(), rule)).toList();
      return admitted.isEmpty()
          ? filtered(forward, hosts, List.copyOf(found))
          : forwarded(forward, hosts, Optional.of(admitted));
    }

    /// Whether the endpoint's addresses are known.
    private boolean endpoint(
        Target.Endpoint endpoint,
        List<HostName> hosts,
        Set<OriginalDst> found,
        List<String> failures) {
      switch (endpoint) {
        case Target.Endpoint.Address(InetSocketAddress address) -> {
          found.add(new OriginalDst(address.getAddress(), address.getPort()));
          return true;
        }
        case Target.Endpoint.Name(HostName name, int port) -> {
          hosts.add(name);
          Optional<Addresses> answer = lookUp.of(name);
          switch (answer.orElse(null)) {
            case null -> {
              return false;
            }
            case Addresses.Found(List<InetAddress> addresses, _) ->
                addresses.forEach(a -> found.add(new OriginalDst(a, port)));
            case Addresses.Failed(var failure, String detail) ->
                failures.add(name + ": " + failure + (detail.isEmpty() ? "" : " (" + detail + ")"));
          }
          return true;
        }
      }
    }

    private static String service(Decision.Forward forward) {
      return forward.to().namespace() + "/" + forward.to().host();
    }

    private Prediction forwarded(
        Decision.Forward forward, List<HostName> hosts, Optional<List<OriginalDst>> addresses) {
      Optional<Grade> grade =
          addresses.isPresent() && dstKnown
              ? tlsGrade(addresses.get().contains(dst) ? Grade.KERNEL : Grade.SPLICE)
              : Optional.empty();
      return new Prediction(
          Action.FORWARD,
          forward.cluster(),
          hosts,
          addresses,
          Optional.empty(),
          false,
          Optional.of(forward.resource()),
          Optional.of(service(forward)),
          grade,
          Optional.empty(),
          explanation.considered(),
          switch (forward.target()) {
            case Target.Dialled _ -> "goes to the dialled address, as resolution NONE says";
            case Target.Endpoints _ when !hosts.isEmpty() ->
                "goes to what its name resolves to, whatever address was dialled";
            case Target.Endpoints _ -> "goes to its endpoints";
          });
    }

    private Prediction filtered(
        Decision.Forward forward, List<HostName> hosts, List<OriginalDst> found) {
      AddressRule rule = forward.addressRule();
      List<InetAddress> exceptable = new ArrayList<>();
      List<String> reasons = new ArrayList<>();
      for (OriginalDst address : found) {
        reasons.add(
            AddressText.of(address.address()) + " " + filter.reason(address.address(), rule));
        AddressRule excepted = new AddressRule(rule.scope(), List.of(whole(address.address())));
        if (filter.admits(address.address(), excepted)) {
          exceptable.add(address.address());
        }
      }
      // Audit lets it pass to where the client wanted, never to an address that is filtered.
      boolean passes = forward.auditing() && dstKnown && filter.admits(dst.address(), rule);
      if (passes) {
        return passthrough(
            Optional.of(Refusal.ADDRESS_FILTERED),
            Optional.of(forward.resource()),
            suggestion(Optional.of(Refusal.ADDRESS_FILTERED), exceptable));
      }
      return refused(
          Refusal.ADDRESS_FILTERED,
          forward.cluster(),
          hosts,
          Optional.of(forward.resource()),
          Optional.of(service(forward)),
          exceptable,
          Refusal.ADDRESS_FILTERED.sentence() + ": " + String.join("; ", reasons));
    }

    private static io.tailwater.agent.traffic.CidrBlock whole(InetAddress address) {
      return new io.tailwater.agent.traffic.CidrBlock(address, address.getAddress().length * 8);
    }
  }
}
