package io.tailwater.agent.node;

import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.lab.Place;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;

/// Clients in a pod that talk to an echo server all the time: some over one connection each that
/// they keep, some over a new one for each line. Counts lines, and keeps what went wrong.
final class Load implements AutoCloseable {
  private static final byte[] LINE = "hello\n".getBytes(StandardCharsets.US_ASCII);

  private final InetSocketAddress to;
  private final NetworkNamespace namespace;
  private final List<Thread> threads = new ArrayList<>();
  private final AtomicLong kept = new AtomicLong();
  private final AtomicLong fresh = new AtomicLong();
  private final Queue<String> keptFailures = new ConcurrentLinkedQueue<>();
  private final Queue<String> freshFailures = new ConcurrentLinkedQueue<>();
  private volatile boolean over;

  private Load(Place pod, String address, int port) {
    this.namespace = NetworkNamespace.open(pod.path());
    this.to = new InetSocketAddress(InetAddress.ofLiteral(address), port);
  }

  /// @param keeping clients that keep their connection
  /// @param connecting clients that make a new one each time, with a pause between of `pauseMillis`
  static Load start(
      Place pod, String address, int port, int keeping, int connecting, int pauseMillis) {
    Load load = new Load(pod, address, port);
    for (int i = 0; i < keeping; i++) {
      load.threads.add(Thread.ofPlatform().name("load-kept-" + i).start(load::keep));
    }
    for (int i = 0; i < connecting; i++) {
      load.threads.add(
          Thread.ofPlatform().name("load-fresh-" + i).start(() -> load.connect(pauseMillis)));
    }
    return load;
  }

  /// Lines that came back over connections that were kept.
  long keptLines() {
    return kept.get();
  }

  /// Lines that came back over connections of their own.
  long freshLines() {
    return fresh.get();
  }

  /// What went wrong with connections that were kept.
  List<String> keptFailures() {
    return List.copyOf(keptFailures);
  }

  /// What went wrong with new connections.
  List<String> freshFailures() {
    return List.copyOf(freshFailures);
  }

  void forgetFailures() {
    keptFailures.clear();
    forgetFreshFailures();
  }

  void forgetFreshFailures() {
    freshFailures.clear();
  }

  private SocketChannel open() throws IOException {
    SocketChannel channel = namespace.call(() -> SocketChannel.open());
    boolean connected = false;
    try {
      channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
      channel.socket().connect(to, 10_000);
      channel.socket().setSoTimeout(10_000);
      connected = true;
      return channel;
    } finally {
      if (!connected) {
        channel.close();
      }
    }
  }

  private static void echo(SocketChannel channel) throws IOException {
    ByteBuffer out = ByteBuffer.wrap(LINE);
    while (out.hasRemaining()) {
      channel.write(out);
    }
    // Through the socket's stream, which knows a time limit.
    byte[] back = channel.socket().getInputStream().readNBytes(LINE.length);
    if (back.length < LINE.length) {
      throw new IOException("ended after " + back.length + " bytes");
    }
  }

  private void keep() {
    while (!over) {
      try (SocketChannel channel = open()) {
        while (!over) {
          echo(channel);
          kept.incrementAndGet();
          LockSupport.parkNanos(5_000_000);
        }
      } catch (IOException e) {
        keptFailures.add(e.toString());
        LockSupport.parkNanos(20_000_000);
      }
    }
  }

  private void connect(int pauseMillis) {
    while (!over) {
      try (SocketChannel channel = open()) {
        echo(channel);
        fresh.incrementAndGet();
      } catch (IOException e) {
        freshFailures.add(e.toString());
        LockSupport.parkNanos(5_000_000);
      }
      LockSupport.parkNanos(pauseMillis * 1_000_000L);
    }
  }

  @Override
  public void close() {
    over = true;
    for (Thread thread : threads) {
      try {
        thread.join(15_000);
      } catch (InterruptedException _) {
        Thread.currentThread().interrupt();
      }
    }
    namespace.close();
  }
}
