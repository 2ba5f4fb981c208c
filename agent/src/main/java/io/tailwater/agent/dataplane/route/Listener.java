package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// What is configured for one port at some addresses, as Istio's listeners have it: TLS by name,
/// TLS of any name, HTTP by Host, and what takes everything else. Immutable.
public final class Listener {
  private final HostIndex<Action> tls;
  private final @Nullable Action anyTls;
  private final HostIndex<Action> http;
  private final boolean speaksHttp;
  private final @Nullable Action rest;

  /// @param tls by SNI
  /// @param anyTls TLS whatever the name, where the address tells the destination
  /// @param http by Host
  /// @param speaksHttp whether the port has an HTTP listener
  /// @param rest all that is not taken by name
  public Listener(
      Map<HostPattern, Action> tls,
      Optional<Action> anyTls,
      Map<HostPattern, Action> http,
      boolean speaksHttp,
      Optional<Action> rest) {
    this.tls = HostIndex.of(tls);
    this.anyTls = anyTls.orElse(null);
    this.http = HostIndex.of(http);
    this.speaksHttp = speaksHttp;
    this.rest = rest.orElse(null);
  }

  /// Whether the client's bytes decide anything here. HTTP hosts are known and not yet honoured:
  /// where unknown destinations pass they pass alike, so nothing is held up for them.
  boolean readsPreface(boolean registryOnly) {
    return !tls.isEmpty() || anyTls != null || (speaksHttp && registryOnly);
  }

  /// For a ClientHello with a name.
  @Nullable Action tls(HostName sni) {
    @Nullable Action named = tls.find(sni);
    return named != null ? named : tlsWithoutName();
  }

  /// For a ClientHello without a name.
  @Nullable Action tlsWithoutName() {
    return anyTls != null ? anyTls : rest;
  }

  /// For a request with this Host, or with none.
  @Nullable Action http(@Nullable HostName host) {
    if (!speaksHttp) {
      return rest;
    }
    return host == null ? null : http.find(host);
  }

  /// For everything else.
  @Nullable Action rest() {
    return rest;
  }
}
