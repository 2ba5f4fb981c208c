package io.tailwater.agent.dataplane.relay;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.UnpooledByteBufAllocator;
import io.netty.channel.EventLoop;
import io.netty.channel.IoHandle;
import io.netty.channel.IoHandler;
import io.netty.channel.IoHandlerContext;
import io.netty.channel.IoHandlerFactory;
import io.netty.channel.IoRegistration;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.tailwater.agent.dataplane.transport.EpollSocket;
import io.tailwater.agent.dataplane.transport.EpollTransport;
import io.tailwater.agent.dataplane.transport.IoUringTransport;
import io.tailwater.agent.dataplane.transport.NioTransport;
import io.tailwater.agent.dataplane.transport.RigSockets;
import io.tailwater.agent.dataplane.transport.StreamSocket;
import io.tailwater.agent.dataplane.transport.Transport;
import io.tailwater.iptables.libc.Syscalls;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.StandardProtocolFamily;
import java.net.StandardSocketOptions;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.stream.Stream;

/// One loop with relays between loopback sockets: the test holds the far ends, as blocking
/// channels. Buffers come from an allocator that counts.
final class RelayRig implements AutoCloseable {
  static final long IDLE_NANOS = TimeUnit.HOURS.toNanos(1);
  static final Duration PATIENCE = Duration.ofSeconds(30);

  /// Grade and transport.
  enum Way {
    SPLICE_EPOLL,
    COPY_EPOLL,
    COPY_IO_URING,
    COPY_NIO;

    Transport transport() {
      return switch (this) {
        case SPLICE_EPOLL, COPY_EPOLL -> new EpollTransport();
        case COPY_IO_URING -> new IoUringTransport();
        case COPY_NIO -> new NioTransport(_ -> Optional.empty());
      };
    }
  }

  final UnpooledByteBufAllocator buffers = new UnpooledByteBufAllocator(true, false);
  final PipePool pipes = new PipePool();
  private final Way way;
  private final Transport transport;
  private final MultiThreadIoEventLoopGroup group;
  private final EventLoop loop;
  private final AtomicLong turns = new AtomicLong();
  private final List<Pair> pairs = new CopyOnWriteArrayList<>();

  RelayRig(Way way) {
    this.way = way;
    if (way == Way.COPY_IO_URING) {
      Optional<String> why = IoUringTransport.unavailable();
      assertThat(why.isPresent() && "true".equals(System.getenv("CI")))
          .as("io_uring must work in CI: %s", why)
          .isFalse();
      assumeTrue(why.isEmpty(), () -> "no io_uring here: " + why.orElseThrow());
    }
    Syscalls.warmUp();
    transport = way.transport();
    group = new MultiThreadIoEventLoopGroup(1, counting(transport.ioHandlers()));
    loop = group.next();
  }

  /// Waits until the loop has been asleep for a moment, or turns out not to sleep.
  void settle() {
    for (int i = 0; i < 20; i++) {
      long before = turns();
      LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(25));
      if (turns() == before) {
        return;
      }
    }
  }

  /// The pair has been closed.
  void forget(Pair pair) {
    pairs.remove(pair);
  }

  /// How often the loop woke up for I/O.
  long turns() {
    return turns.get();
  }

  private IoHandlerFactory counting(IoHandlerFactory factory) {
    return executor -> {
      IoHandler inner = factory.newHandler(executor);
      return new IoHandler() {
        @Override
        public void initialize() {
          inner.initialize();
        }

        @Override
        public int run(IoHandlerContext context) {
          turns.incrementAndGet();
          return inner.run(context);
        }

        @Override
        public void prepareToDestroy() {
          inner.prepareToDestroy();
        }

        @Override
        public void destroy() {
          inner.destroy();
        }

        @Override
        public IoRegistration register(IoHandle handle) throws Exception {
          return inner.register(handle);
        }

        @Override
        public void wakeup() {
          inner.wakeup();
        }

        @Override
        public boolean isCompatible(Class<? extends IoHandle> type) {
          return inner.isCompatible(type);
        }
      };
    };
  }

  /// Two connected sockets of the agent, and their far ends.
  final class Pair implements RelayObserver {
    final SocketChannel client;
    final SocketChannel server;
    final StreamSocket fromClient;
    final StreamSocket toServer;
    final List<byte[]> shown = new CopyOnWriteArrayList<>();
    final CompletableFuture<RelayEnd> ended = new CompletableFuture<>();
    private int endings;
    Relay relay;

    private Pair(int bufferSize) throws Exception {
      try (ServerSocketChannel clients = listener(bufferSize);
          ServerSocketChannel servers = listener(bufferSize)) {
        fromClient = dial(clients, bufferSize);
        client = clients.accept();
        toServer = dial(servers, bufferSize);
        server = servers.accept();
        if (bufferSize > 0) {
          client.setOption(StandardSocketOptions.SO_SNDBUF, bufferSize);
          server.setOption(StandardSocketOptions.SO_SNDBUF, bufferSize);
        }
      }
    }

    private static ServerSocketChannel listener(int bufferSize) throws IOException {
      ServerSocketChannel listener = ServerSocketChannel.open(StandardProtocolFamily.INET);
      if (bufferSize > 0) {
        listener.setOption(StandardSocketOptions.SO_RCVBUF, bufferSize);
      }
      listener.bind(new InetSocketAddress(InetAddress.ofLiteral("127.0.0.1"), 0));
      return listener;
    }

    private StreamSocket dial(ServerSocketChannel to, int bufferSize) throws Exception {
      InetSocketAddress address = (InetSocketAddress) to.getLocalAddress();
      StreamSocket socket = RigSockets.of(way.transport(), buffers, bufferSize);
      CompletableFuture<Void> connected = new CompletableFuture<>();
      onLoop(() ->
          socket.connect(
              loop,
              address,
              failure -> {
                if (failure == null) {
                  connected.complete(null);
                } else {
                  connected.completeExceptionally(failure);
                }
              }));
      connected.get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
      return socket;
    }

    /// The client sends FIN, and it is read, as in sniffing.
    void readFinOfClient() throws Exception {
      CompletableFuture<Void> read = new CompletableFuture<>();
      onLoop(() -> {
        fromClient.reader(
            new StreamSocket.Reader() {
              @Override
              public void bytes(ByteBuf bytes) {
                bytes.release();
              }

              @Override
              public void inputEnded() {
                read.complete(null);
              }

              @Override
              public void lost(Throwable why) {
                read.completeExceptionally(why);
              }
            });
        Bytes.fin(client);
        fromClient.read();
      });
      read.get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
    }

    Pair start() {
      return start(new byte[0], false);
    }

    Pair start(byte[] ahead, boolean show) {
      onLoop(() -> {
        relay =
            way == Way.SPLICE_EPOLL
                ? new SpliceRelay(
                    (EpollSocket) fromClient,
                    (EpollSocket) toServer,
                    this,
                    IDLE_NANOS,
                    System.nanoTime(),
                    pipes)
                : new CopyRelay(fromClient, toServer, this, IDLE_NANOS, System.nanoTime());
        ByteBuf bytes = buffers.directBuffer(Math.max(ahead.length, 1)).writeBytes(ahead);
        relay.start(bytes, show);
      });
      return this;
    }

    @Override
    public void firstClientBytes(ByteBuf bytes) {
      byte[] copy = new byte[bytes.readableBytes()];
      bytes.getBytes(bytes.readerIndex(), copy);
      shown.add(copy);
    }

    @Override
    public void ended(RelayEnd end) {
      endings++;
      ended.complete(end);
    }

    RelayEnd end() throws Exception {
      RelayEnd end = ended.get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
      // io_uring closes when the kernel has given back what was under way
      await("sockets closed", () -> !fromClient.isOpen() && !toServer.isOpen());
      onLoop(() -> assertThat(endings).isOne());
      return end;
    }

    long sent() {
      return ask(relay::sent);
    }

    long received() {
      return ask(relay::received);
    }

    private long ask(java.util.function.LongSupplier what) {
      long[] answer = new long[1];
      onLoop(() -> answer[0] = what.getAsLong());
      return answer[0];
    }

    void close() throws IOException {
      client.close();
      server.close();
      onLoop(() -> {
        if (relay != null) {
          relay.stop();
        }
        fromClient.close();
        toServer.close();
      });
    }
  }

  Pair connect() throws Exception {
    return connect(0);
  }

  /// With `bufferSize` above 0, all four sockets get kernel buffers of that size (the kernel
  /// doubles it).
  Pair connect(int bufferSize) throws Exception {
    Pair pair = new Pair(bufferSize);
    pairs.add(pair);
    return pair;
  }

  void onLoop(Runnable task) {
    if (loop.inEventLoop()) {
      task.run();
    } else {
      loop.submit(task).syncUninterruptibly();
    }
  }

  static void await(String what, BooleanSupplier condition) {
    long deadline = System.nanoTime() + PATIENCE.toNanos();
    while (!condition.getAsBoolean()) {
      assertThat(System.nanoTime() - deadline).as("waiting for: %s", what).isNegative();
      LockSupport.parkNanos(1_000_000);
    }
  }

  /// What this process's descriptors stand for.
  static List<String> descriptors() throws IOException {
    List<String> all = new ArrayList<>();
    try (Stream<Path> links = Files.list(Path.of("/proc/self/fd"))) {
      for (Path link : links.toList()) {
        try {
          all.add(Files.readSymbolicLink(link).toString());
        } catch (IOException _) {
          // the listing's own descriptor
        }
      }
    }
    return all;
  }

  static long pipesOpen() throws IOException {
    return descriptors().stream().filter(d -> d.startsWith("pipe:")).count();
  }

  @Override
  public void close() throws IOException {
    for (Pair pair : pairs) {
      pair.close();
    }
    onLoop(pipes::close);
    await("buffers given back", () -> buffers.metric().usedDirectMemory() == 0);
    group.shutdownGracefully(0, 5, TimeUnit.SECONDS).syncUninterruptibly();
  }
}
