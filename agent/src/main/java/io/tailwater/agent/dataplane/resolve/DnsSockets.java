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
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Queue;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.xbill.DNS.Message;
import org.xbill.DNS.io.IoClientFactory;
import org.xbill.DNS.io.TcpIoClient;
import org.xbill.DNS.io.UdpIoClient;

/// The sockets under dnsjava: one thread, `tailwater-resolve-io`, one selector, one socket each
/// time that a server is asked (so that each time has a source port of its own, chosen by the
/// kernel). Answers are completed on that thread.
///
/// dnsjava's own client is not used: it looks at timeouts only when nothing else happens, takes the
/// first datagram for the answer whatever its id, keeps TCP connections that nobody closes, and its
/// thread is static.
///
/// Only the connected server can answer over UDP (the kernel drops others). The letters of the name
/// are sent in a random case (draft-vixie-dnsext-dns0x20), and a datagram with another id is passed
/// over (RFC 5452 section 9.1); one that has lost the case makes the question go over TCP. Answers
/// carry the question in the case in which it was given; who asked compares it.
final class DnsSockets implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(DnsSockets.class);

  /// So many foreign datagrams are passed over before the question is given up.
  private static final int STRANGERS = 64;

  /// Beyond so many a server that has been silent for its time is listened to no longer.
  private static final int CROWD = 4096;

  /// A UDP payload or a TCP message, RFC 1035 section 4.2.
  private static final int LARGEST = 65_535;

  private final Selector selector;
  private final Thread thread;
  private final AtomicLong timed = new AtomicLong();
  private final Queue<Runnable> arrivals = new ConcurrentLinkedQueue<>();
  private volatile boolean closed;

  // The thread's own.
  private final TreeSet<Timed> deadlines = new TreeSet<>(Timed::before);
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

  /// What one question will need; nothing is opened yet. Any thread.
  ///
  /// @param timeout for everything that is asked
  Inquiry inquiry(Duration timeout) {
    return new Inquiry(timeout);
  }

  /// Has something done on the thread. Any thread; once this is closed, by the caller.
  private void execute(Runnable step) {
    arrivals.add(step);
    selector.wakeup();
    // The thread may have looked for the last time already.
    if (closed && arrivals.remove(step)) {
      step.run();
    }
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
    runArrivals();
    try {
      selector.close();
    } catch (IOException e) {
      log.warn("the selector for DNS could not be closed", e);
    }
  }

  private void turn() throws IOException {
    long wait = 0;
    if (!deadlines.isEmpty()) {
      // Rounded up; zero would mean for ever.
      wait = Math.max(1, (deadlines.first().deadline - System.nanoTime()) / 1_000_000 + 1);
    }
    selector.select(key -> ((Exchange) key.attachment()).ready(key), wait);
    runArrivals();
    long now = System.nanoTime();
    while (!deadlines.isEmpty() && deadlines.first().deadline - now <= 0) {
      Objects.requireNonNull(deadlines.pollFirst()).expired();
    }
  }

  private void runArrivals() {
    for (Runnable step = arrivals.poll(); step != null; step = arrivals.poll()) {
      try {
        step.run();
      } catch (RuntimeException e) {
        log.error("a DNS question failed; this is a defect", e);
      }
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

  /// Something that is over at some time. On the thread.
  abstract class Timed {
    private final long number = timed.getAndIncrement();

    /// Changes only while this is not among the deadlines.
    long deadline;

    final int before(Timed other) {
      long sooner = deadline - other.deadline;
      return sooner != 0 ? Long.signum(sooner) : Long.compare(number, other.number);
    }

    abstract void expired();
  }

  /// What one question has open, over all its tries, and when its patience with the newest one
  /// ends. Everything but [#begin] on the thread; what goes through it is answered within one time
  /// for all, whatever dnsjava says.
  final class Inquiry extends Timed implements IoClientFactory, UdpIoClient, TcpIoClient {
    private final long end;
    private final List<Exchange> open = new ArrayList<>(1);
    private Runnable lapsed = () -> {};

    private Inquiry(Duration timeout) {
      this.end = System.nanoTime() + timeout.toNanos();
    }

    /// Has the question begin on the thread. Any thread.
    void begin(Runnable step) {
      execute(step);
    }

    /// What is left of the time.
    Duration left() {
      return Duration.ofNanos(Math.max(0, end - System.nanoTime()));
    }

    /// Sends a message and completes with the answer.
    CompletableFuture<byte[]> udp(InetSocketAddress server, byte[] query) {
      return begin(new Datagram(this, server, query));
    }

    /// The same over a connection of its own.
    CompletableFuture<byte[]> tcp(InetSocketAddress server, byte[] query) {
      return begin(new Stream(this, server, query));
    }

    private CompletableFuture<byte[]> begin(Exchange exchange) {
      exchange.begin();
      return exchange.done;
    }

    /// Has something done after a while, instead of what was to be done before.
    void after(Duration patience, Runnable what) {
      deadlines.remove(this);
      lapsed = what;
      deadline = System.nanoTime() + patience.toNanos();
      deadlines.add(this);
    }

    @Override
    void expired() {
      lapsed.run();
    }

    /// Whether there are too many sockets to keep those of silent servers.
    boolean isCrowded() {
      return deadlines.size() > CROWD;
    }

    /// Gives up what is open: each is a server that did not answer in time.
    void hangUp() {
      for (Exchange exchange : List.copyOf(open)) {
        exchange.expired();
      }
    }

    /// Closes everything. Nobody waits for it any more.
    void end() {
      deadlines.remove(this);
      for (Exchange exchange : List.copyOf(open)) {
        exchange.release();
      }
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
      return udp(remote, data);
    }

    @Override
    public CompletableFuture<byte[]> sendAndReceiveTcp(
        @Nullable InetSocketAddress local,
        InetSocketAddress remote,
        Message query,
        byte[] data,
        Duration timeout) {
      return tcp(remote, data);
    }
  }

  /// A server that is asked. On the thread.
  private abstract class Exchange extends Timed {
    final Inquiry inquiry;
    final InetSocketAddress remote;
    final CompletableFuture<byte[]> done = new CompletableFuture<>();
    @Nullable SelectableChannel channel;

    Exchange(Inquiry inquiry, InetSocketAddress remote) {
      this.inquiry = inquiry;
      this.remote = remote;
      this.deadline = inquiry.end;
    }

    final void begin() {
      try {
        if (closed) {
          throw new ClosedChannelException();
        }
        inquiry.open.add(this);
        deadlines.add(this);
        open();
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

    @Override
    final void expired() {
      fail(new SocketTimeoutException("no answer in time"));
    }

    final void release() {
      inquiry.open.remove(this);
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

    Datagram(Inquiry inquiry, InetSocketAddress remote, byte[] query) {
      super(inquiry, remote);
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
      Stream stream = new Stream(inquiry, remote, query);
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

    Stream(Inquiry inquiry, InetSocketAddress remote, byte[] query) {
      super(inquiry, remote);
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
