package io.tailwater.agent.dataplane.gate;

import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.LoadBalancing;
import io.tailwater.agent.dataplane.route.Target;
import java.util.List;
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
