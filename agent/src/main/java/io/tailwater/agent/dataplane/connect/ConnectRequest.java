package io.tailwater.agent.dataplane.connect;

import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.dataplane.route.UpstreamTls;
import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.OriginalDst;
import java.util.List;
import java.util.Optional;

/// What a connection is wanted to.
public sealed interface ConnectRequest {
  /// The name under which it is counted.
  String cluster();

  /// The name under which its endpoints are counted.
  String hostname();

  /// How it is made.
  ConnectionPolicy policy();

  /// To the dialled address, as it is.
  record ToDialled(OriginalDst dst) implements ConnectRequest {
    @Override
    public String cluster() {
      return Decision.PASSTHROUGH;
    }

    @Override
    public String hostname() {
      return dst.toString();
    }

    @Override
    public ConnectionPolicy policy() {
      return ConnectionPolicy.DEFAULT;
    }
  }

  /// To a configured destination.
  ///
  /// @param tls what is originated
  /// @param requested the name or address of the Host; empty where the client's bytes are opaque
  /// @param alpn what is offered, best first
  /// @param auditing whether a filtered destination is passed to the dialled address instead
  record ToDestination(
      Decision.Destination to,
      String hostname,
      Target target,
      AddressRule rule,
      Optional<UpstreamTls> tls,
      Optional<String> requested,
      List<String> alpn,
      boolean auditing)
      implements ConnectRequest {
    @Override
    public String cluster() {
      return to.cluster();
    }

    @Override
    public ConnectionPolicy policy() {
      return to.policy();
    }
  }

  /// For a connection whose bytes go on as they are. Where TLS is originated, it is a second one
  /// around the client's own.
  static ToDestination forBytes(Decision.Forward forward) {
    Optional<UpstreamTls> tls = forward.to().policy().tls().map(UpstreamTls::forBytes);
    return of(forward, tls, Optional.empty(), Optional.empty());
  }

  /// For HTTP requests of one Host, without its port. What is originated offers HTTP/2 where the
  /// destination speaks it, and nothing otherwise, as Istio does.
  static ToDestination forHttp(Decision.Forward forward, Optional<String> host) {
    Optional<String> protocol = forward.to().http2() ? Optional.of("h2") : Optional.empty();
    return of(forward, forward.to().policy().tls(), host, protocol);
  }

  private static ToDestination of(
      Decision.Forward forward,
      Optional<UpstreamTls> tls,
      Optional<String> requested,
      Optional<String> protocol) {
    return new ToDestination(
        forward.to(),
        forward.upstreamHost(),
        forward.target(),
        forward.addressRule(),
        tls,
        requested,
        tls.isPresent() ? protocol.map(List::of).orElse(List.of()) : List.of(),
        forward.auditing());
  }
}
