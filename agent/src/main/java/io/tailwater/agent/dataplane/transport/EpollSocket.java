package io.tailwater.agent.dataplane.transport;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufAllocator;
import io.netty.buffer.PooledByteBufAllocator;
import io.netty.channel.Channel;
import io.netty.channel.ChannelOption;
import io.netty.channel.EventLoop;
import io.netty.channel.IoEvent;
import io.netty.channel.IoEventLoop;
import io.netty.channel.IoRegistration;
import io.netty.channel.epoll.EpollIoEvent;
import io.netty.channel.epoll.EpollIoHandle;
import io.netty.channel.epoll.EpollIoOps;
import io.netty.channel.epoll.EpollSocketChannel;
import io.netty.channel.unix.FileDescriptor;
import io.netty.channel.unix.Socket;
import io.netty.util.concurrent.Future;
import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.Syscalls;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/// A connection as a bare descriptor on a loop's epoll, level-triggered. A Netty channel with its
/// pipeline costs a connection more processor time than all its system calls; most connections need
/// none. It is watched from the moment that something is wanted of it, or at the latest when the
/// turn in which it was accepted or dialled is over.
public final class EpollSocket implements StreamSocket, EpollIoHandle {
  /// What may be seen of a descriptor: `EPOLL*` of epoll_ctl(2).
  public static final int IN = 0x1;

  public static final int OUT = 0x4;
  public static final int ERR = 0x8;
  public static final int HUP = 0x10;

  /// A ClientHello with a post-quantum key share has some 1,800 bytes.
  private static final int READ = 4096;

  /// Is told what epoll says of the descriptor, in place of a reader.
  public interface Watcher {
    /// `ops` are the bits of epoll_wait(2).
    void ready(int ops);
  }

  private final Socket socket;
  private final ByteBufAllocator buffers;
  private @Nullable IoEventLoop loop;
  private @Nullable IoRegistration registration;
  private int interest;
  private @Nullable Reader reader;
  private @Nullable Watcher watcher;
  private @Nullable Consumer<@Nullable Throwable> connecting;
  private @Nullable Channel became;
  private boolean asked;
  private boolean pumping;
  private boolean inputRead;

  EpollSocket(Socket socket) {
    this(socket, PooledByteBufAllocator.DEFAULT);
  }

  EpollSocket(Socket socket, ByteBufAllocator buffers) {
    this.socket = socket;
    this.buffers = buffers;
  }

  /// Puts an accepted socket on its loop.
  void accepted(IoEventLoop on) {
    loop = on;
  }

  /// The turn in which it was accepted is over: from now on it is noticed when it is lost. It is
  /// watched as a relay will want it, because a client seldom says more before it is answered.
  void turnOver() {
    if (registration == null && became == null && socket.isOpen()) {
      want(inputRead ? 0 : IN);
    }
  }

  private void watch() {
    IoEventLoop on = on();
    Future<IoRegistration> registered = on.register(this);
    if (!registered.isSuccess()) {
      throw new IllegalStateException("cannot watch a socket", registered.cause());
    }
    registration = registered.getNow();
  }

  private IoEventLoop on() {
    IoEventLoop on = loop;
    if (on == null) {
      throw new IllegalStateException("on no loop yet");
    }
    return on;
  }

  @Override
  public EventLoop loop() {
    return on();
  }

  /// The number of the descriptor, good while [#isOpen].
  public int descriptor() {
    return socket.intValue();
  }

  /// Where its buffers come from.
  public ByteBufAllocator buffers() {
    return buffers;
  }

  @Override
  public FileDescriptor fd() {
    return socket;
  }

  @Override
  public void reader(@Nullable Reader next) {
    reader = next;
    asked = false;
  }

  /// Tells `next` of everything that epoll says, until it is closed; ends the time of the reader.
  public void watcher(Watcher next) {
    reader = null;
    asked = false;
    watcher = next;
  }

  /// What epoll is to tell: [#IN], [#OUT], both or neither. [#ERR] and [#HUP] come in any case.
  public void want(int ops) {
    int wanted = ops == 0 ? ERR : ops;
    if (registration == null) {
      watch();
    }
    if (wanted != interest) {
      interest = wanted;
      submit(wanted);
    }
  }

  /// Is told nothing more, not even of a loss, until something is wanted again: for a descriptor
  /// whose HUP is known and whose bytes are still on their way.
  public void ignore() {
    interest = 0;
    submit(0);
  }

  private void submit(int ops) {
    IoRegistration known = registration;
    if (known != null && known.isValid()) {
      known.submit(EpollIoOps.valueOf(ops));
    }
  }

  @Override
  public void handle(IoRegistration source, IoEvent event) {
    if (!isOpen()) {
      return;
    }
    int ops = ((EpollIoEvent) event).ops().value();
    if ((ops & (ERR | HUP)) != 0) {
      ops = (interest & IN) != 0 ? (ops & OUT) | IN : ownOps(); // a read tells as well
    }
    if (watcher != null) {
      watcher.ready(ops);
    } else if (connecting != null) {
      if (ops != 0) {
        connectDone(ops);
      }
    } else if (asked) {
      pump();
    } else if ((ops & (ERR | HUP)) != 0) {
      lost(new IOException("Connection reset by peer"));
    } else {
      want(0); // nobody asked; what has come waits in the kernel
    }
  }

  /// What holds of this very descriptor. epoll tells numbers, and a number may mean another socket
  /// by now: one that was closed earlier in the same turn, or whose file lives on in a child that
  /// the agent is just starting, until that has closed what it inherited. To read or write one time
  /// too often does no harm; to believe that a connection is lost would end it.
  private int ownOps() {
    long now = Syscalls.poll(socket.intValue(), interest & (IN | OUT));
    return (int) Math.max(now, 0);
  }

  @Override
  public void read() {
    asked = true;
    if (!pumping) {
      pump();
    }
  }

  /// Not recursive, however often a reader asks for more from within.
  private void pump() {
    pumping = true;
    try {
      while (asked && socket.isOpen() && became == null) {
        if (inputRead) {
          asked = false;
          return;
        }
        ByteBuf bytes = buffers.directBuffer(READ, READ);
        long n = Syscalls.read(socket.intValue(), bytes.memoryAddress(), READ);
        if (n <= 0) {
          bytes.release();
        }
        if (n == -Errno.EAGAIN) {
          want(IN);
          return;
        }
        if (n == -Errno.EINTR) {
          continue;
        }
        asked = false;
        Reader told = reader;
        if (n < 0) {
          lost(new IOException("Connection reset by peer"));
        } else if (n == 0) {
          inputRead = true;
          if (interest == IN) {
            want(0); // the level would tell of the FIN for ever
          }
          if (told != null) {
            told.inputEnded();
          }
        } else if (told != null) {
          told.bytes(bytes.writerIndex((int) n));
        } else {
          bytes.release();
        }
      }
    } finally {
      pumping = false;
    }
  }

  private void lost(Throwable why) {
    Reader told = reader;
    close();
    if (told != null) {
      told.lost(why);
    }
  }

  @Override
  public boolean inputRead() {
    return inputRead;
  }

  @Override
  public void connect(EventLoop to, InetSocketAddress address, Consumer<@Nullable Throwable> then) {
    loop = (IoEventLoop) to;
    boolean connected;
    try {
      connected = socket.connect(address) || isConnected();
      if (!connected) {
        // Only now: of a socket that is not connecting epoll says HUP.
        connecting = then;
        want(OUT);
      }
    } catch (IOException | RuntimeException e) {
      connecting = null;
      close();
      then.accept(e);
      return;
    }
    if (connected) {
      then.accept(null);
    }
  }

  /// With a peer on this node the handshake is over when connect(2) returns, which says otherwise
  /// all the same: it looks before the answers that came meanwhile are taken in.
  private boolean isConnected() {
    return Syscalls.poll(socket.intValue(), OUT) == OUT;
  }

  private void connectDone(int ops) {
    Consumer<@Nullable Throwable> then = connecting;
    if (then == null) {
      return;
    }
    try {
      if (ops != OUT && !socket.finishConnect()) {
        return; // told too early
      }
    } catch (IOException e) {
      close();
      then.accept(e);
      return;
    }
    connecting = null;
    then.accept(null);
  }

  @Override
  public void keepAlive(int idleSeconds, int intervalSeconds, int probes) {
    try {
      set(UnixSocketOptions.TCP_KEEPIDLE, idleSeconds);
      set(UnixSocketOptions.TCP_KEEPINTVL, intervalSeconds);
      set(UnixSocketOptions.TCP_KEEPCNT, probes);
    } catch (IOException _) {
      // the connection is lost; whoever reads it is told
    }
  }

  private void set(int option, int value) throws IOException {
    if (value > 0) {
      socket.setIntOpt(UnixSocketOptions.IPPROTO_TCP, option, value);
    }
  }

  @Override
  public @Nullable InetSocketAddress localAddress() {
    return socket.localAddress();
  }

  @Override
  public boolean isOpen() {
    return became != null ? became.isOpen() : socket.isOpen();
  }

  /// Also called by the loop when it shuts down.
  @Override
  public void close() {
    if (became != null) {
      became.close();
      return;
    }
    connecting = null;
    asked = false;
    if (socket.isOpen()) {
      try {
        // The descriptor first: the kernel then takes it off epoll without a call of its own.
        socket.close();
      } catch (IOException _) {
        // the descriptor is gone all the same
      }
    }
    if (registration != null) {
      registration.cancel();
      registration = null;
    }
  }

  @Override
  public void reset() {
    if (isOpen()) {
      try {
        if (became != null) {
          became.config().setOption(ChannelOption.SO_LINGER, 0);
        } else {
          socket.setSoLinger(0);
        }
      } catch (IOException | io.netty.channel.ChannelException _) {
        // the peer has reset it already: there is nobody to tell
      }
    }
    close();
  }

  @Override
  public void channel(Consumer<Channel> then) {
    reader = null;
    watcher = null;
    asked = false;
    if (registration != null) {
      registration.cancel();
      registration = null;
    }
    EpollSocketChannel channel = new EpollSocketChannel(socket.intValue());
    became = channel;
    channel.config().setAutoRead(false);
    channel.config().setAllocator(buffers);
    channel.config().setOption(ChannelOption.ALLOW_HALF_CLOSURE, true);
    loop()
        .register(channel)
        .addListener(registered -> {
          if (!registered.isSuccess() || !channel.isActive()) { // reset meanwhile
            channel.unsafe().closeForcibly();
          }
          then.accept(channel);
        });
  }
}
