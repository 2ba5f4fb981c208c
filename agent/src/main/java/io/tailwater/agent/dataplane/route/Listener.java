package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import java.net.InetAddress;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// What is configured for one port at some addresses, as Istio's listeners have it: TLS by name,
/// TLS of any name, HTTP by Host, HTTP of any Host, and what takes everything else. Immutable.
public final class Listener {
  private final HostIndex<Action> tls;
  private final @Nullable Action anyTls;
  private final boolean speaksHttp;
  private final HostIndex<Action> http;
  private final Map<InetAddress, Action> httpAddresses;
  private final @Nullable Action anyHttp;
  private final @Nullable Action rest;
  private final @Nullable Listener names;

  private Listener(Builder from, @Nullable Listener names) {
    this.tls = HostIndex.of(from.tls);
    this.anyTls = from.anyTls;
    this.speaksHttp = from.speaksHttp || from.anyHttp != null;
    this.http = HostIndex.of(from.http);
    this.httpAddresses = Map.copyOf(from.httpAddresses);
    this.anyHttp = from.anyHttp;
    this.rest = from.rest;
    this.names = names;
  }

  /// Collects what a listener has; the first one that takes something keeps it.
  public static final class Builder {
    private final Map<HostPattern, Action> tls = new HashMap<>();
    private final Map<HostPattern, Action> http = new HashMap<>();
    private final Map<InetAddress, Action> httpAddresses = new HashMap<>();
    private boolean speaksHttp;
    private @Nullable Action anyTls;
    private @Nullable Action anyHttp;
    private @Nullable Action rest;

    /// TLS by SNI.
    public void tls(HostPattern sni, Action action) {
      tls.putIfAbsent(sni, action);
    }

    /// TLS whatever the name, where the address tells the destination.
    public void anyTls(Action action) {
      if (anyTls == null && rest == null) {
        anyTls = action;
      }
    }

    /// HTTP by Host. From now on the port has an HTTP listener.
    public void http(HostPattern host, Action action) {
      speaksHttp = true;
      http.putIfAbsent(host, action);
    }

    /// Whether the port has an HTTP listener by now.
    public boolean speaksHttp() {
      return speaksHttp;
    }

    /// HTTP whose Host is an address.
    public void http(InetAddress host, Action action) {
      speaksHttp = true;
      httpAddresses.putIfAbsent(host, action);
    }

    /// HTTP of any Host, request by request.
    public void anyHttp(Action action) {
      if (anyHttp == null) {
        anyHttp = action;
      }
    }

    /// All that is not taken by name.
    public void rest(Action action) {
      if (rest == null && anyTls == null) {
        rest = action;
      }
    }

    /// The same with more hosts, which come before its own.
    public Builder withHosts(Map<HostPattern, Action> hosts, Map<InetAddress, Action> addresses) {
      Builder out = new Builder();
      out.tls.putAll(tls);
      out.http.putAll(http);
      out.http.putAll(hosts);
      out.httpAddresses.putAll(httpAddresses);
      out.httpAddresses.putAll(addresses);
      out.speaksHttp = speaksHttp || !hosts.isEmpty() || !addresses.isEmpty();
      out.anyTls = anyTls;
      out.anyHttp = anyHttp;
      out.rest = rest;
      return out;
    }

    public Listener build() {
      return new Listener(this, null);
    }

    /// A listener before which the names of another one come: that of an allocated address, which
    /// takes no name away.
    public Listener buildBehind(Listener names) {
      return new Listener(this, names);
    }
  }

  /// Whether the client's bytes decide anything here.
  boolean readsPreface() {
    return !tls.isEmpty()
        || anyTls != null
        || speaksHttp
        || (names != null && names.readsPreface());
  }

  /// Whether a missing server name is what is wrong with a ClientHello that nothing takes.
  boolean needsSni() {
    return !tls.isEmpty() || (names != null && names.needsSni());
  }

  /// For a ClientHello with a name.
  @Nullable Action tls(HostName sni) {
    @Nullable Action named = tls.find(sni);
    if (named == null && names != null) {
      named = names.tls.find(sni);
    }
    return named != null ? named : tlsWithoutName();
  }

  /// For a ClientHello without a name.
  @Nullable Action tlsWithoutName() {
    if (anyTls != null) {
      return anyTls;
    }
    return rest();
  }

  /// Whether HTTP is decided request by request.
  boolean speaksHttp() {
    return speaksHttp || (names != null && names.speaksHttp);
  }

  /// For a request, where HTTP is spoken.
  ///
  /// @param completed the Host as the pod's search domain completes it, where it is a short name
  @Nullable Action http(Request request, @Nullable HostName completed) {
    @Nullable Action named = byHost(request, completed);
    if (named == null && names != null) {
      named = names.byHost(request, completed);
    }
    if (named == null) {
      named = anyHttp;
    }
    // What takes all bytes of an allocated address takes the requests that nobody else knows.
    return named == null && names != null ? rest : named;
  }

  private @Nullable Action byHost(Request request, @Nullable HostName completed) {
    if (request.host().isPresent()) {
      @Nullable Action found = http.find(request.host().get());
      return found == null && completed != null ? http.find(completed) : found;
    }
    return request.address().isPresent() ? httpAddresses.get(request.address().get()) : null;
  }

  /// For everything else.
  @Nullable Action rest() {
    return rest == null && names != null ? names.rest : rest;
  }
}
