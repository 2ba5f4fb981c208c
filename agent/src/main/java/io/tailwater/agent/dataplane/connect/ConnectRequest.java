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
  /// ALPN's name of it (RFC 9113 section 3.2).
  String HTTP2 = "h2";

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
  /// @param http whether it is for HTTP requests
  /// @param tls what is originated
  /// @param requested the name or address of the Host; empty where the client's bytes are opaque
  /// @param alpn what is offered, best first
  /// @param auditing whether a filtered destination is passed to the dialled address instead
  record ToDestination(
      Decision.Destination to,
      String hostname,
      Target target,
      AddressRule rule,
      boolean http,
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
    return of(forward, false, tls, Optional.empty(), List.of());
  }

  /// For HTTP requests of one Host, without its port. What is originated offers HTTP/2, and HTTP/1
  /// to fall back on, where requests are to go on as HTTP/2; and nothing otherwise, as Istio does.
  static ToDestination forHttp(Decision.Forward forward, Optional<String> host, boolean http2) {
    return of(
        forward,
        true,
        forward.to().policy().tls(),
        host,
        http2 ? List.of(HTTP2, "http/1.1") : List.of());
  }

  private static ToDestination of(
      Decision.Forward forward,
      boolean http,
      Optional<UpstreamTls> tls,
      Optional<String> requested,
      List<String> alpn) {
    return new ToDestination(
        forward.to(),
        forward.upstreamHost(),
        forward.target(),
        forward.addressRule(),
        http,
        tls,
        requested,
        tls.isPresent() ? alpn : List.of(),
        forward.auditing());
  }
}
