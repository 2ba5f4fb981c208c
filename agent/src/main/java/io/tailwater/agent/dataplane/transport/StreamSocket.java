package io.tailwater.agent.dataplane.transport;

import io.netty.buffer.ByteBuf;
import io.netty.channel.Channel;
import io.netty.channel.EventLoop;
import java.net.InetSocketAddress;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/// One TCP connection, a client's or one to an upstream. It reads only when asked and keeps nothing
/// that was not asked for. Except where said, on its loop's thread only.
///
/// Implementations: [EpollSocket], a descriptor and nothing more, and [ChannelSocket] over a Netty
/// channel.
public interface StreamSocket {
  /// Is told what comes in.
  interface Reader {
    /// Some bytes; the reader's now.
    void bytes(ByteBuf bytes);

    /// The peer has sent FIN, and all bytes before it were delivered.
    void inputEnded();

    /// The connection is no more. It is closed.
    void lost(Throwable why);
  }

  /// The loop that it is on.
  EventLoop loop();

  /// Tells `reader` from now on; null for nobody.
  void reader(@Nullable Reader reader);

  /// Asks for bytes once. The reader may be told before this returns.
  void read();

  /// Whether the reader was told of the peer's FIN.
  boolean inputRead();

  /// Connects, on this loop from now on. `then` gets null or why not, perhaps before this returns,
  /// and never after [#close].
  void connect(EventLoop loop, InetSocketAddress to, Consumer<@Nullable Throwable> then);

  /// Sets when and how TCP keep-alive probes are sent (tcp(7)); 0 leaves what the kernel does.
  /// Before or after [#connect], on any thread before.
  void keepAlive(int idleSeconds, int intervalSeconds, int probes);

  /// The own address of the connection, or null where the peer has reset it already.
  @Nullable InetSocketAddress localAddress();

  boolean isOpen();

  /// Closes with FIN, when what was written is delivered. Before [#connect], any thread.
  void close();

  /// Closes with RST.
  void reset();

  /// Hands the connection to a Netty channel that does not read by itself, for those who need a
  /// pipeline: TLS, HTTP, copying. The reader is told nothing any more. `then` may run before this
  /// returns; the channel is closed where the connection was lost meanwhile.
  void channel(Consumer<Channel> then);
}
