package io.tailwater.agent.dataplane.connect;

import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.handler.ssl.SslHandler;
import io.tailwater.agent.dataplane.route.UpstreamTls;
import io.tailwater.agent.dataplane.tls.HandshakeFailure;
import io.tailwater.agent.dataplane.tls.TlsContext;
import io.tailwater.agent.dataplane.tls.TlsContexts;
import io.tailwater.agent.traffic.PodRef;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Executor;
import java.util.function.Consumer;
import javax.net.ssl.SSLEngine;

/// TLS that the agent originates on a connected upstream: the client half of Istio's
/// `ClientTLSSettings`. First [#prepare], which reads what the settings name and needs no
/// connection; then [#begin] on the connected channel. What cannot be read or does not verify ends
/// in a clause for people, never in plaintext. Calls and answers are on the loop.
public final class TlsOrigination {
  private final TlsContexts contexts;
  private final Executor crypto;

  /// `crypto` runs what a handshake computes (signatures, certificate chains), which takes
  /// milliseconds that a loop does not have.
  public TlsOrigination(TlsContexts contexts, Executor crypto) {
    this.contexts = contexts;
    this.crypto = crypto;
  }

  /// Gets the settings ready; `then` is called at once where they are, else on `loop`.
  public void prepare(
      UpstreamTls tls, PodRef client, Executor loop, Consumer<TlsContexts.Prepared> then) {
    contexts.prepare(tls, client, loop, then);
  }

  /// What one handshake is about.
  ///
  /// @param requested the name or address that the client asked for; empty where the client's bytes
  ///   are opaque
  /// @param alpn the protocols to offer, best first; may be empty
  /// @param timeout for the whole handshake
  public record Handshake(
      TlsContext context, Optional<String> requested, List<String> alpn, Duration timeout) {}

  /// Is told on the loop; exactly one of the two comes.
  public interface Listener {
    /// Bytes written to the channel from now on are encrypted. `protocol` is what ALPN chose, or
    /// empty. Handlers must be added before this returns: the server may have spoken already.
    void secured(Channel upstream, String protocol);

    /// The channel is closed. `why` is a clause for people.
    void failed(String why);
  }

  /// Makes the handshake. The channel is connected and does not read by itself; it is the
  /// listener's again when it is told.
  public void begin(Channel upstream, Handshake handshake, Listener listener) {
    int port = upstream.remoteAddress() instanceof InetSocketAddress remote ? remote.getPort() : -1;
    SSLEngine engine = handshake.context().engine(handshake.requested(), port, handshake.alpn());
    SslHandler ssl = new SslHandler(engine, false, crypto);
    ssl.setHandshakeTimeoutMillis(handshake.timeout().toMillis());
    Quiet last = new Quiet();
    upstream.pipeline().addLast(ssl, last);
    ssl.handshakeFuture()
        .addListener(done -> {
          if (done.isSuccess()) {
            upstream.pipeline().remove(last);
            String protocol = engine.getApplicationProtocol();
            listener.secured(upstream, protocol == null ? "" : protocol);
          } else {
            upstream.close();
            listener.failed(HandshakeFailure.sentence(done.cause(), handshake.context()));
          }
        });
    upstream.read();
  }

  /// While the handshake lasts nobody else is behind it: its failure is told by its future.
  private static final class Quiet extends ChannelInboundHandlerAdapter {
    @Override
    public void exceptionCaught(ChannelHandlerContext ctx, Throwable cause) {
      // told by the future
    }
  }
}
