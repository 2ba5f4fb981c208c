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
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.HexFormat;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicLong;

/// A client in a pod whose every byte the test decides: a socket of this process that was born in
/// the pod's namespace. One test thread; reads are bounded.
final class PodSocket implements AutoCloseable {
  /// How a server's side of a connection came to its end.
  enum End {
    CLOSED,
    RESET,
    STILL_OPEN
  }

  private static final int CHUNK = 65536;

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

  /// Bytes on their way from a thread of their own.
  ///
  /// @param taken how many the kernel has taken so far
  /// @param done when it has taken all
  record Sending(AtomicLong taken, CompletableFuture<Void> done) {}

  /// Sends from a thread of its own: the server's side may not want all of it yet.
  Sending sending(byte[] bytes) {
    Sending sending = new Sending(new AtomicLong(), new CompletableFuture<>());
    Thread.ofPlatform()
        .daemon()
        .name("pod-socket-sender")
        .start(() -> {
          try {
            ByteBuffer left = ByteBuffer.wrap(bytes);
            while (left.hasRemaining()) {
              // Not all in one call, which would tell of nothing until its end.
              ByteBuffer some = left.slice(left.position(), Math.min(CHUNK, left.remaining()));
              int n = channel.write(some);
              left.position(left.position() + n);
              sending.taken.addAndGet(n);
            }
            sending.done.complete(null);
          } catch (IOException e) {
            sending.done.completeExceptionally(e);
          }
        });
    return sending;
  }

  /// Reads so many bytes, or fewer if the server ends, and returns their SHA-256 in hexadecimal.
  String sha256Of(long bytes, Duration limit) {
    return bounded(
        limit,
        () -> {
          MessageDigest digest = sha256();
          ByteBuffer buffer = ByteBuffer.allocate(CHUNK);
          long left = bytes;
          while (left > 0) {
            int n = channel.read(buffer.clear().limit((int) Math.min(buffer.capacity(), left)));
            if (n < 0) {
              return "ended " + left + " bytes early";
            }
            left -= n;
            digest.update(buffer.flip());
          }
          return HexFormat.of().formatHex(digest.digest());
        },
        "not all came within the limit");
  }

  static String sha256(byte[] bytes) {
    return HexFormat.of().formatHex(sha256().digest(bytes));
  }

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError(e);
    }
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
          ByteBuffer buffer = ByteBuffer.allocate(CHUNK);
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
