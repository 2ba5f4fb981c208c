package io.tailwater.agent.dataplane.connect;

import io.netty.channel.Channel;
import io.netty.channel.ChannelException;
import io.netty.channel.ChannelOption;
import io.netty.channel.EventLoop;
import io.tailwater.agent.dataplane.transport.StreamSocket;
import java.net.InetSocketAddress;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/// An upstream behind a TLS handshake that was made. It is a Netty channel and nothing else: bytes
/// are read and written there. Loop only.
final class SecuredSocket implements StreamSocket {
  private final StreamSocket raw;
  private final Channel channel;

  SecuredSocket(StreamSocket raw, Channel channel) {
    this.raw = raw;
    this.channel = channel;
  }

  @Override
  public EventLoop loop() {
    return channel.eventLoop();
  }

  @Override
  public void channel(Consumer<Channel> then) {
    then.accept(channel);
  }

  /// With close_notify, then FIN.
  @Override
  public void close() {
    channel.close();
  }

  /// Without close_notify: what is cut off must not look whole.
  @Override
  public void reset() {
    if (channel.isOpen()) {
      try {
        channel.config().setOption(ChannelOption.SO_LINGER, 0);
      } catch (ChannelException _) {
        // the peer has reset it already: there is nobody to tell
      }
      channel.unsafe().close(channel.unsafe().voidPromise());
    }
  }

  @Override
  public boolean isOpen() {
    return channel.isOpen();
  }

  @Override
  public @Nullable InetSocketAddress localAddress() {
    return (InetSocketAddress) channel.localAddress();
  }

  @Override
  public void keepAlive(int idleSeconds, int intervalSeconds, int probes) {
    raw.keepAlive(idleSeconds, intervalSeconds, probes);
  }

  @Override
  public boolean inputRead() {
    return false;
  }

  @Override
  public void reader(StreamSocket.@Nullable Reader reader) {
    throw onlyAChannel();
  }

  @Override
  public void read() {
    throw onlyAChannel();
  }

  @Override
  public void connect(EventLoop loop, InetSocketAddress to, Consumer<@Nullable Throwable> then) {
    throw onlyAChannel();
  }

  private static UnsupportedOperationException onlyAChannel() {
    return new UnsupportedOperationException("TLS is read and written through its channel");
  }
}
