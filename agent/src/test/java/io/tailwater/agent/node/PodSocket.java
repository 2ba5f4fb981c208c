package io.tailwater.agent.node;

import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.lab.Place;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/// A client in a pod whose every byte the test decides: a socket of this process that was born in
/// the pod's namespace. One test thread; reads are bounded.
final class PodSocket implements AutoCloseable {
  /// How a server's side of a connection came to its end.
  enum End {
    CLOSED,
    RESET,
    STILL_OPEN
  }

  private final SocketChannel channel;

  private PodSocket(SocketChannel channel) {
    this.channel = channel;
  }

  /// Connects from a pod. The agent accepts every captured connection, so this succeeds whatever
  /// comes of it.
  static PodSocket connect(Place pod, String address, int port) {
    try (NetworkNamespace namespace = NetworkNamespace.open(pod.path())) {
      InetSocketAddress to = new InetSocketAddress(InetAddress.ofLiteral(address), port);
      return new PodSocket(namespace.call(() -> SocketChannel.open(to)));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// The same from a port of the test's choice.
  static PodSocket connectFrom(Place pod, int own, String address, int port) {
    try (NetworkNamespace namespace = NetworkNamespace.open(pod.path())) {
      InetSocketAddress to = new InetSocketAddress(InetAddress.ofLiteral(address), port);
      SocketChannel channel = namespace.call(() -> SocketChannel.open());
      channel.setOption(StandardSocketOptions.SO_REUSEADDR, true);
      channel.bind(new InetSocketAddress(own)).connect(to);
      return new PodSocket(channel);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// Where it stands.
  InetSocketAddress localAddress() {
    try {
      return (InetSocketAddress) channel.getLocalAddress();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  PodSocket send(byte[] bytes) {
    try {
      ByteBuffer left = ByteBuffer.wrap(bytes);
      while (left.hasRemaining()) {
        channel.write(left);
      }
      return this;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  PodSocket send(String text) {
    return send(text.getBytes(StandardCharsets.ISO_8859_1));
  }

  PodSocket shutdownOutput() {
    try {
      channel.shutdownOutput();
      return this;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// What the server says until a line ends, or until it ends.
  String readLine(Duration limit) {
    return bounded(
        limit,
        () -> {
          StringBuilder text = new StringBuilder();
          ByteBuffer one = ByteBuffer.allocate(1);
          while (channel.read(one.clear()) > 0 && one.get(0) != '\n') {
            text.append((char) one.get(0));
          }
          return text.toString();
        },
        "nothing came within the limit");
  }

  /// Reads on until the end, which is one of these.
  End end(Duration limit) {
    return bounded(
        limit,
        () -> {
          ByteBuffer buffer = ByteBuffer.allocate(65536);
          try {
            while (channel.read(buffer.clear()) >= 0) {}
            return End.CLOSED;
          } catch (IOException e) {
            return End.RESET; // a read knows no other failure
          }
        },
        End.STILL_OPEN);
  }

  /// Ends the connection with a reset.
  void reset() {
    try {
      channel.setOption(StandardSocketOptions.SO_LINGER, 0);
      channel.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private interface Reading<T> {
    T get() throws IOException;
  }

  private static <T> T bounded(Duration limit, Reading<T> reading, T otherwise) {
    CompletableFuture<T> done = new CompletableFuture<>();
    Thread reader =
        Thread.ofVirtual()
            .start(() -> {
              try {
                done.complete(reading.get());
              } catch (IOException e) {
                done.completeExceptionally(e);
              }
            });
    try {
      return done.get(limit.toMillis(), TimeUnit.MILLISECONDS);
    } catch (TimeoutException e) {
      return otherwise;
    } catch (InterruptedException | ExecutionException e) {
      throw new AssertionError(e);
    } finally {
      if (reader.isAlive() && !done.isDone()) {
        reader.interrupt(); // closes the channel: this socket is of no more use
      }
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
