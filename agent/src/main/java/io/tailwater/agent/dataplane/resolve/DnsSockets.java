package io.tailwater.agent.dataplane.resolve;

import java.io.EOFException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.DatagramChannel;
import java.nio.channels.SelectableChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.Comparator;
import java.util.HashSet;
import java.util.PriorityQueue;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.xbill.DNS.Message;
import org.xbill.DNS.io.IoClientFactory;
import org.xbill.DNS.io.TcpIoClient;
import org.xbill.DNS.io.UdpIoClient;

/// The sockets under dnsjava: one thread, `tailwater-resolve-io`, one selector, one socket per
/// question (so that each question has a source port of its own, chosen by the kernel). Answers are
/// completed on that thread.
///
/// dnsjava's own client is not used: it looks at timeouts only when nothing else happens, takes the
/// first datagram for the answer whatever its id, keeps TCP connections that nobody closes, and its
/// thread is static.
///
/// Only the connected server can answer over UDP (the kernel drops others). The letters of the name
/// are sent in a random case (draft-vixie-dnsext-dns0x20), and a datagram with another id is passed
/// over (RFC 5452 section 9.1); one that has lost the case makes the question go over TCP. Answers
/// carry the question in the case in which it was given; who asked compares it.
final class DnsSockets implements IoClientFactory, UdpIoClient, TcpIoClient, AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(DnsSockets.class);

  /// So many foreign datagrams are passed over before the question is given up.
  private static final int STRANGERS = 64;

  /// A UDP payload or a TCP message, RFC 1035 section 4.2.
  private static final int LARGEST = 65_535;

  private final Selector selector;
  private final Thread thread;
  private final Queue<Exchange> arrivals = new ConcurrentLinkedQueue<>();
  private volatile boolean closed;

  // The thread's own.
  private final PriorityQueue<Exchange> deadlines =
      new PriorityQueue<>(Comparator.comparingLong(e -> e.deadline));
  private @Nullable ByteBuffer datagram;
  private final SecureRandom random = new SecureRandom();

  /// Servers that answer with another case than they were asked with, and not over TCP.
  private final Set<InetSocketAddress> caseBlind = new HashSet<>();

  /// Starts the thread in the network namespace of the caller; sockets are made by the thread.
  DnsSockets() {
    try {
      selector = Selector.open();
    } catch (IOException e) {
      throw new UncheckedIOException("no selector for DNS: " + e.getMessage(), e);
    }
    thread = Thread.ofPlatform().daemon().name("tailwater-resolve-io").start(this::run);
  }

  @Override
  public UdpIoClient createOrGetUdpClient() {
    return this;
  }

  @Override
  public TcpIoClient createOrGetTcpClient() {
    return this;
  }

  @Override
  public CompletableFuture<byte[]> sendAndReceiveUdp(
      @Nullable InetSocketAddress local,
      InetSocketAddress remote,
      Message query,
      byte[] data,
      int max,
      Duration timeout) {
    return udp(remote, data, timeout);
  }

  @Override
  public CompletableFuture<byte[]> sendAndReceiveTcp(
      @Nullable InetSocketAddress local,
      InetSocketAddress remote,
      Message query,
      byte[] data,
      Duration timeout) {
    return tcp(remote, data, timeout);
  }

  /// Sends a message and completes with the answer. Any thread.
  CompletableFuture<byte[]> udp(InetSocketAddress server, byte[] query, Duration timeout) {
    return submit(new Datagram(server, query, timeout));
  }

  /// The same over a connection of its own.
  CompletableFuture<byte[]> tcp(InetSocketAddress server, byte[] query, Duration timeout) {
    return submit(new Stream(server, query, timeout));
  }

  private CompletableFuture<byte[]> submit(Exchange exchange) {
    arrivals.add(exchange);
    selector.wakeup();
    if (closed) {
      // The thread may have looked for the last time already.
      exchange.done.completeExceptionally(new ClosedChannelException());
    }
    return exchange.done;
  }

  /// Ends the thread and closes every socket; questions under way fail. Idempotent.
  @Override
  public void close() {
    closed = true;
    selector.wakeup();
    boolean interrupted = false;
    while (!thread.equals(Thread.currentThread()) && thread.isAlive()) {
      try {
        thread.join();
      } catch (InterruptedException _) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private void run() {
    while (!closed) {
      try {
        turn();
      } catch (IOException e) {
        log.error("the selector for DNS failed", e);
      } catch (RuntimeException e) {
        log.error("a DNS exchange failed; this is a defect", e);
      }
    }
    for (SelectionKey key : selector.keys()) {
      ((Exchange) key.attachment()).fail(new ClosedChannelException());
    }
    for (Exchange e = arrivals.poll(); e != null; e = arrivals.poll()) {
      e.fail(new ClosedChannelException());
    }
    try {
      selector.close();
    } catch (IOException e) {
      log.warn("the selector for DNS could not be closed", e);
    }
  }

  private void turn() throws IOException {
    long wait = 0;
    Exchange next = deadlines.peek();
    if (next != null) {
      // Rounded up; zero would mean for ever.
      wait = Math.max(1, (next.deadline - System.nanoTime()) / 1_000_000 + 1);
    }
    selector.select(key -> ((Exchange) key.attachment()).ready(key), wait);
    for (Exchange e = arrivals.poll(); e != null; e = arrivals.poll()) {
      e.begin();
    }
    long now = System.nanoTime();
    for (Exchange e = deadlines.peek(); e != null; e = deadlines.peek()) {
      if (!e.done.isDone() && e.deadline - now > 0) {
        break;
      }
      deadlines.poll();
      e.fail(new SocketTimeoutException("no answer in time"));
    }
  }

  /// Made when the first answer comes: an agent that is idle has none.
  private ByteBuffer buffer() {
    ByteBuffer made = datagram;
    if (made == null) {
      made = ByteBuffer.allocateDirect(LARGEST);
      datagram = made;
    }
    return made;
  }

  /// A question on its way. Everything but the constructor runs on the thread.
  private abstract class Exchange {
    final InetSocketAddress remote;
    final long deadline;
    final CompletableFuture<byte[]> done = new CompletableFuture<>();
    @Nullable SelectableChannel channel;

    Exchange(InetSocketAddress remote, Duration timeout) {
      this.remote = remote;
      this.deadline = System.nanoTime() + timeout.toNanos();
    }

    final void begin() {
      if (done.isDone()) {
        return;
      }
      try {
        open();
        deadlines.add(this);
      } catch (IOException | RuntimeException e) {
        fail(e);
      }
    }

    final void ready(SelectionKey key) {
      try {
        if (key.isValid()) {
          proceed(key);
        }
      } catch (IOException | RuntimeException e) {
        fail(e);
      }
    }

    final void answer(byte[] message) {
      release();
      done.complete(message);
    }

    final void fail(Exception why) {
      release();
      done.completeExceptionally(why);
    }

    final void release() {
      deadlines.remove(this);
      if (channel != null) {
        try {
          channel.close();
        } catch (IOException e) {
          log.debug("a DNS socket could not be closed", e);
        }
      }
    }

    abstract void open() throws IOException;

    abstract void proceed(SelectionKey key) throws IOException;
  }

  private final class Datagram extends Exchange {
    private final byte[] query;
    private final @Nullable WireMessage asked;
    private byte[] sent;
    private int strangers;

    Datagram(InetSocketAddress remote, byte[] query, Duration timeout) {
      super(remote, timeout);
      this.query = query;
      this.sent = query;
      this.asked = WireMessage.read(query).orElse(null);
    }

    @Override
    void open() throws IOException {
      DatagramChannel udp = DatagramChannel.open();
      channel = udp;
      udp.configureBlocking(false);
      udp.connect(remote);
      udp.register(selector, SelectionKey.OP_READ, this);
      // A signature covers the name as it is written.
      if (asked != null
          && asked.opcode() == WireMessage.OPCODE_QUERY
          && asked.isUnsigned()
          && !caseBlind.contains(remote)) {
        sent = anyCase(query, asked.questionEnd());
      }
      if (udp.write(ByteBuffer.wrap(sent)) != sent.length) {
        throw new IOException("the question could not be sent");
      }
    }

    private byte[] anyCase(byte[] plain, int end) {
      byte[] out = plain.clone();
      byte[] coins = new byte[(end - WireMessage.HEADER + 7) / 8];
      random.nextBytes(coins);
      for (int i = WireMessage.HEADER; i < end - 4; i++) {
        int bit = i - WireMessage.HEADER;
        boolean letter = (out[i] | 0x20) >= 'a' && (out[i] | 0x20) <= 'z';
        // Lengths of labels stay below the letters.
        if (letter && (coins[bit / 8] >> bit % 8 & 1) != 0) {
          out[i] ^= 0x20;
        }
      }
      return out;
    }

    @Override
    void proceed(SelectionKey key) throws IOException {
      var udp = (DatagramChannel) key.channel();
      ByteBuffer datagram = buffer();
      while (true) {
        datagram.clear();
        if (udp.read(datagram) <= 0) {
          return;
        }
        datagram.flip();
        if (datagram.remaining() >= 2
            && datagram.getShort(0) == ByteBuffer.wrap(sent).getShort(0)) {
          byte[] message = new byte[datagram.remaining()];
          datagram.get(message);
          take(message);
          return;
        }
        if (++strangers >= STRANGERS) {
          throw new IOException(STRANGERS + " datagrams that answer another question");
        }
      }
    }

    /// What cannot be read, or answers something else, is left to who asked.
    private void take(byte[] message) {
      WireMessage read = WireMessage.read(message).orElse(null);
      boolean ours = asked != null && read != null && asked.sameQuestion(read);
      if (ours && !read.sameBytes(sent)) {
        overStream();
        return;
      }
      if (ours) {
        int end = asked.questionEnd();
        System.arraycopy(
            query, WireMessage.HEADER, message, WireMessage.HEADER, end - WireMessage.HEADER);
      }
      answer(message);
    }

    /// The case is lost: forged, or a server that does not keep it. TCP tells.
    private void overStream() {
      release();
      Duration left = Duration.ofNanos(Math.max(1, deadline - System.nanoTime()));
      Stream stream = new Stream(remote, query, left);
      var _ =
          stream.done.whenComplete((message, why) -> {
            if (why != null) {
              caseBlind.add(remote);
              done.completeExceptionally(why);
            } else {
              done.complete(message);
            }
          });
      stream.begin();
    }
  }

  /// RFC 7766: a message after two octets of length.
  private final class Stream extends Exchange {
    private final ByteBuffer out;
    private final ByteBuffer length = ByteBuffer.allocate(2);
    private @Nullable ByteBuffer message;

    Stream(InetSocketAddress remote, byte[] query, Duration timeout) {
      super(remote, timeout);
      out = ByteBuffer.allocate(2 + query.length).putShort((short) query.length).put(query).flip();
    }

    @Override
    void open() throws IOException {
      SocketChannel tcp = SocketChannel.open();
      channel = tcp;
      tcp.configureBlocking(false);
      boolean connected = tcp.connect(remote);
      tcp.register(selector, connected ? SelectionKey.OP_WRITE : SelectionKey.OP_CONNECT, this);
    }

    @Override
    void proceed(SelectionKey key) throws IOException {
      var tcp = (SocketChannel) key.channel();
      if (key.isConnectable() && tcp.finishConnect()) {
        key.interestOps(SelectionKey.OP_WRITE);
      } else if (key.isWritable()) {
        tcp.write(out);
        if (!out.hasRemaining()) {
          key.interestOps(SelectionKey.OP_READ);
        }
      } else if (key.isReadable()) {
        read(tcp);
      }
    }

    private void read(SocketChannel tcp) throws IOException {
      if (message == null) {
        fill(tcp, length);
        if (length.hasRemaining()) {
          return;
        }
        message = ByteBuffer.allocate(length.flip().getShort() & 0xffff);
      }
      fill(tcp, message);
      if (!message.hasRemaining()) {
        answer(message.array());
      }
    }

    private static void fill(SocketChannel tcp, ByteBuffer into) throws IOException {
      if (into.hasRemaining() && tcp.read(into) < 0) {
        throw new EOFException("the server closed the connection before its answer was whole");
      }
    }
  }
}
