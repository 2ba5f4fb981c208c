package io.tailwater.agent.dataplane.tls;

import io.tailwater.agent.dataplane.route.UpstreamTls;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;
import javax.net.ssl.SNIServerName;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.StandardConstants;

/// Everything about a destination's TLS that does not depend on the connection, read and ready. Any
/// thread.
public final class TlsContext {
  /// Sessions kept for resumption, so that a wildcard's many names cannot grow it.
  private static final int SESSIONS = 256;

  /// A resumed session's certificate is not judged again: it must not outlive it by long.
  private static final int SESSION_SECONDS = 300;

  private final UpstreamTls tls;
  private final SSLContext context;
  private final String[] versions;
  private final String[] suites;

  TlsContext(UpstreamTls tls, SSLContext context, List<String> versions, List<String> suites) {
    this.tls = tls;
    this.context = context;
    this.versions = versions.toArray(String[]::new);
    this.suites = suites.toArray(String[]::new);
    context.getClientSessionContext().setSessionCacheSize(SESSIONS);
    context.getClientSessionContext().setSessionTimeout(SESSION_SECONDS);
  }

  public UpstreamTls tls() {
    return tls;
  }

  /// An engine for one connection. `requested` is the name (or address) that the client asked for:
  /// the server name, unless one is configured, and what the certificate must carry; an address is
  /// no server name (RFC 6066 section 3). `alpn` may be empty.
  public SSLEngine engine(Optional<String> requested, int port, List<String> alpn) {
    SSLEngine engine =
        requested.isPresent()
            ? context.createSSLEngine(requested.get(), port)
            : context.createSSLEngine();
    engine.setUseClientMode(true);
    SSLParameters parameters = engine.getSSLParameters();
    parameters.setProtocols(versions);
    parameters.setCipherSuites(suites);
    Optional<String> name =
        tls.sni().or(() -> requested.filter(r -> SubjectNames.address(r) == null));
    parameters.setServerNames(
        name.<List<SNIServerName>>map(n -> List.of(new ServerName(n))).orElse(List.of()));
    parameters.setApplicationProtocols(alpn.toArray(String[]::new));
    engine.setSSLParameters(parameters);
    return engine;
  }

  /// A host name as it stands. The JDK's own type refuses the underscores of Istio's names.
  private static final class ServerName extends SNIServerName {
    ServerName(String name) {
      super(StandardConstants.SNI_HOST_NAME, name.getBytes(StandardCharsets.US_ASCII));
    }
  }
}
