package io.tailwater.agent.node;

import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.lab.Place;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/// A server in a pod whose every byte the test decides: a listening socket of this process that was
/// born in the pod's namespace, of both families. One test thread; waits are bounded.
final class PodServer implements AutoCloseable {
  private final ServerSocketChannel listening;

  private PodServer(ServerSocketChannel listening) {
    this.listening = listening;
  }

  static PodServer listen(Place pod, int port) {
    try (NetworkNamespace namespace = NetworkNamespace.open(pod.path())) {
      return new PodServer(
          namespace.call(() -> ServerSocketChannel.open().bind(new InetSocketAddress(port))));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  int port() {
    return listening.socket().getLocalPort();
  }

  /// The next connection, which must come within ten seconds.
  Session accept() {
    CompletableFuture<SocketChannel> next = new CompletableFuture<>();
    Thread.ofVirtual()
        .start(() -> {
          try {
            next.complete(listening.accept());
          } catch (IOException e) {
            next.completeExceptionally(e);
          }
        });
    return new Session(next.orTimeout(10, TimeUnit.SECONDS).join());
  }

  /// The server's side of one connection.
  static final class Session implements AutoCloseable {
    private final SocketChannel channel;

    private Session(SocketChannel channel) {
      this.channel = channel;
    }

    /// Who dialled, as the server sees it.
    InetSocketAddress client() {
      try {
        return (InetSocketAddress) channel.getRemoteAddress();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    Session send(String text) {
      try {
        channel.write(ByteBuffer.wrap(text.getBytes(StandardCharsets.ISO_8859_1)));
        return this;
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    /// Ends what the server says.
    void shutdownOutput() {
      try {
        channel.shutdownOutput();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    /// All that comes until the client's end, within ten seconds.
    String readAll() {
      CompletableFuture<String> all = new CompletableFuture<>();
      Thread.ofVirtual()
          .start(() -> {
            try {
              StringBuilder text = new StringBuilder();
              ByteBuffer buffer = ByteBuffer.allocate(4096);
              while (channel.read(buffer.clear()) >= 0) {
                text.append(StandardCharsets.ISO_8859_1.decode(buffer.flip()));
              }
              all.complete(text.toString());
            } catch (IOException e) {
              all.completeExceptionally(e);
            }
          });
      return all.orTimeout(Duration.ofSeconds(10).toMillis(), TimeUnit.MILLISECONDS).join();
    }

    /// Ends it with a reset.
    void reset() {
      try {
        channel.setOption(StandardSocketOptions.SO_LINGER, 0);
        channel.close();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    @Override
    public void close() {
      try {
        channel.close();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  @Override
  public void close() {
    try {
      listening.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
