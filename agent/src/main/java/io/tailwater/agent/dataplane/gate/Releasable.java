package io.tailwater.agent.dataplane.gate;

import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.LoadBalancing;
import io.tailwater.agent.dataplane.route.Request;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// Which decisions the kernel can carry out alone: those that let the bytes go as they are to one
/// of the addresses of one name, at the dialled port, and ask nothing that only somebody on the way
/// can do. Pure.
public final class Releasable {
  private Releasable() {}

  /// Null where the kernel can; else why not, as a clause.
  ///
  /// @param port the dialled one
  public static @Nullable String obstacle(Decision decision, int port) {
    return switch (decision) {
      case Decision.Passthrough _ -> null;
      case Decision.Forward forward -> {
        String policy = obstacle(forward.to().policy());
        yield policy == null ? obstacle(forward.target(), port) : policy;
      }
      case Decision.ByName byName -> {
        String policy = obstacle(byName.to().policy());
        yield policy == null && byName.port() != port ? "it goes to another port" : policy;
      }
      case Decision.PerRequest _ -> "each request is decided for itself";
      case Decision.ToWaypoint _ -> "it goes to a waypoint";
      case Decision.Refuse _ -> "it is refused";
    };
  }

  /// Null where connections to that place may be the kernel's at all; else why not, as a clause.
  ///
  /// @param name that the client says
  public static @Nullable String obstacleAt(
      ClientView view, OriginalDst dst, Optional<HostName> name) {
    if (!readsNames(view, dst)) {
      return "no name is read at that port";
    }
    return name.isPresent() && takesRequests(view, dst, name.get())
        ? "plaintext HTTP with that name goes on from that port, too"
        : null;
  }

  /// Whether what clients say first decides there. Otherwise the relay is as good, and sees whoever
  /// waits for the server to speak.
  static boolean readsNames(ClientView view, OriginalDst dst) {
    return view.ask(dst) == ClientView.Ask.PREFACE;
  }

  /// Whether plaintext HTTP with that name goes somewhere from there, too, which only the relay can
  /// do: nobody knows which of both the next client will speak.
  static boolean takesRequests(ClientView view, OriginalDst dst, HostName name) {
    Preface.Http http = new Preface.Http(Optional.of(name), Optional.empty(), false, "GET", "/");
    return view.decide(dst, http) instanceof Decision.PerRequest
        && switch (view.decide(dst, Request.of(http))) {
          case Decision.Refuse _, Decision.Passthrough _ -> false;
          case Decision.Forward _,
              Decision.ByName _,
              Decision.PerRequest _,
              Decision.ToWaypoint _ ->
              true;
        };
  }

  private static @Nullable String obstacle(ConnectionPolicy policy) {
    if (policy.tls().isPresent()) {
      return "TLS is originated";
    }
    if (policy.outlier().isPresent()) {
      return "outlierDetection has to see how connections do";
    }
    if (policy.balancing().kind() == LoadBalancing.Kind.SOURCE_HASH) {
      return "consistentHash chooses the endpoint";
    }
    if (policy.maxConnectionDuration().isPresent()) {
      return "maxConnectionDuration ends it";
    }
    if (policy.idleTimeout().isPresent()) {
      return "idleTimeout of the destination ends it";
    }
    return policy.keepAlive().isPresent() ? "tcpKeepalive is set for it" : null;
  }

  private static @Nullable String obstacle(Target target, int port) {
    return switch (target) {
      case Target.Dialled(int to) -> to == port ? null : "it goes to another port";
      case Target.Endpoints(List<Target.Endpoint> endpoints, _) -> {
        if (target.tunnelled()) {
          yield "it goes through a tunnel";
        }
        if (endpoints.size() > 1) {
          yield "the destination has several endpoints";
        }
        yield switch (endpoints.getFirst()) {
          case Target.Endpoint.Name(_, int to, _) -> to == port ? null : "it goes to another port";
          case Target.Endpoint.Address _ -> "its endpoint is configured by address";
          case Target.Endpoint.Unix _ -> "its endpoint is a socket file";
        };
      }
    };
  }
}
