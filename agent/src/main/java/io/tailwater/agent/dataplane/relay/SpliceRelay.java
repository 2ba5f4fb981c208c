package io.tailwater.agent.dataplane.relay;

import io.netty.buffer.ByteBuf;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.IoEvent;
import io.netty.channel.IoEventLoop;
import io.netty.channel.IoRegistration;
import io.netty.channel.epoll.EpollIoEvent;
import io.netty.channel.epoll.EpollIoHandle;
import io.netty.channel.epoll.EpollIoOps;
import io.netty.channel.unix.FileDescriptor;
import io.netty.channel.unix.UnixChannel;
import io.netty.util.ReferenceCountUtil;
import io.tailwater.agent.traffic.Grade;
import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.Syscalls;
import java.util.ArrayDeque;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Lets the kernel move the bytes with splice(2), socket to pipe to socket, on epoll. The channels
/// are taken off their loop and their descriptors are watched here instead, level-triggered: an
/// event costs one splice in and one splice out.
///
/// A pipe is held only while bytes are in it. Where the receiving socket takes no more, the
/// direction keeps its pipe (at most 64 KiB), stops reading, and waits for EPOLLOUT.
public final class SpliceRelay extends Relay {
  private static final Logger LOG = LoggerFactory.getLogger(SpliceRelay.class);

  /// Bytes moved for one event before others get their turn: 1 MiB, some 300 microseconds.
  private static final int BURST = 1 << 20;

  private static final int FLAGS = Syscalls.SPLICE_F_MOVE | Syscalls.SPLICE_F_NONBLOCK;
  private static final int ERROR_OR_HANGUP = 0x8 | 0x10; // EPOLLERR | EPOLLHUP

  private final PipePool pipes;
  private final Side clientSide;
  private final Side upstreamSide;
  private boolean showFirst;
  private int heldByNetty = 2;

  public SpliceRelay(
      Channel client,
      Channel upstream,
      RelayObserver observer,
      long idleNanos,
      long now,
      PipePool pipes) {
    super(client, upstream, observer, idleNanos, now);
    this.pipes = pipes;
    this.clientSide = new Side((UnixChannel) client, true);
    this.upstreamSide = new Side((UnixChannel) upstream, false);
  }

  @Override
  public Grade grade() {
    return Grade.SPLICE;
  }

  @Override
  public void start(ByteBuf readAhead, boolean show, boolean clientInputRead) {
    // From Netty's hands into ours. It lets go in a task of the loop. Until then it reads by itself
    // when a FIN or a reset comes, though nobody asked it to: those bytes are caught.
    client.pipeline().addLast(new Catcher(clientSide));
    upstream.pipeline().addLast(new Catcher(upstreamSide));
    showFirst = show;
    if (readAhead.isReadable()) {
      clientSide.early.add(readAhead);
      clientSide.drain(); // at once: the hello need not wait for the change of hands
    } else {
      readAhead.release();
    }
    if (!isOver()) {
      client.deregister().addListener(_ -> letGo());
      upstream.deregister().addListener(_ -> letGo());
    }
  }

  /// Called once for each channel.
  private void letGo() {
    if (--heldByNetty > 0 || isOver()) {
      return;
    }
    // A channel that was closed meanwhile has no descriptor any more: its number may be another's.
    if (!client.isOpen() || !upstream.isOpen()) {
      end(new RelayEnd.Reset(!client.isOpen()));
      return;
    }
    IoEventLoop loop = (IoEventLoop) client.eventLoop();
    clientSide.watch(loop);
    upstreamSide.watch(loop);
    clientSide.drainCaught();
    upstreamSide.drainCaught();
  }

  /// Keeps what Netty still reads of one channel.
  private final class Catcher extends ChannelInboundHandlerAdapter {
    private final Side side;

    Catcher(Side side) {
      this.side = side;
    }

    @Override
    public void channelRead(ChannelHandlerContext ctx, Object message) {
      if (!(message instanceof ByteBuf bytes) || isOver()) {
        ReferenceCountUtil.release(message);
        return;
      }
      if (side.isClient && showFirst) {
        showFirst = false;
        observer.firstClientBytes(bytes);
      }
      side.early.add(bytes);
    }

    @Override
    public void channelInactive(ChannelHandlerContext ctx) {
      end(new RelayEnd.Reset(side.isClient));
    }

    @Override
    public void exceptionCaught(ChannelHandlerContext ctx, Throwable failure) {
      if (!isConnectionLoss(failure)) {
        LOG.error("relay failed", failure);
      }
      end(new RelayEnd.Reset(side.isClient));
    }
  }

  @Override
  void closeChannels() {
    if (heldByNetty > 0) {
      super.closeChannels();
    } else {
      // Netty has let go: only the descriptors are left. Closing them first takes them off epoll
      // too.
      client.unsafe().closeForcibly();
      upstream.unsafe().closeForcibly();
    }
  }

  @Override
  void release() {
    clientSide.release();
    upstreamSide.release();
  }

  /// One socket: what is read from it goes through `pipe` to the other side.
  private final class Side implements EpollIoHandle {
    private final UnixChannel channel;
    private final int fd;
    private final boolean isClient;

    /// What Netty has read of this socket: goes to the other side before anything from the pipe.
    private final ArrayDeque<ByteBuf> early = new ArrayDeque<>(1);

    private @Nullable IoRegistration registration;
    private EpollIoOps interest = EpollIoOps.EPOLLIN;
    private PipePool.@Nullable Pipe pipe;
    private int inPipe;
    private boolean inputEnded;
    private boolean finPassedOn;

    Side(UnixChannel channel, boolean isClient) {
      this.channel = channel;
      this.fd = channel.fd().intValue();
      this.isClient = isClient;
    }

    private Side other() {
      return isClient ? upstreamSide : clientSide;
    }

    void watch(IoEventLoop loop) {
      loop.register(this)
          .addListener(registered -> {
            if (!registered.isSuccess()) {
              end(new RelayEnd.Stopped());
              return;
            }
            registration = (IoRegistration) registered.getNow();
            if (isOver()) {
              registration.cancel();
            } else {
              submit();
            }
          });
    }

    void release() {
      if (registration != null) {
        registration.cancel();
      }
      if (pipe != null) {
        if (inPipe == 0) {
          pipes.giveBack(pipe);
        } else {
          pipe.close(); // undelivered bytes must not reach anybody else
        }
        pipe = null;
      }
      early.forEach(ByteBuf::release);
      early.clear();
    }

    @Override
    public FileDescriptor fd() {
      return channel.fd();
    }

    @Override
    public void close() {
      // the loop shuts down; the channel is closed by whoever ends the relay
    }

    @Override
    public void handle(IoRegistration source, IoEvent event) {
      if (isOver()) {
        return;
      }
      EpollIoOps ops = ((EpollIoEvent) event).ops();
      if (ops.contains(EpollIoOps.EPOLLOUT)) {
        other().move();
      }
      if (isOver()) {
        return;
      }
      if (ops.contains(EpollIoOps.EPOLLIN)) {
        move();
      } else if ((ops.value() & ERROR_OR_HANGUP) != 0) {
        hungUp((ops.value() & 0x8) != 0);
      }
    }

    /// EPOLLERR or EPOLLHUP while nothing is read here.
    private void hungUp(boolean error) {
      if (error) {
        end(new RelayEnd.Reset(isClient));
      } else if (registration != null) {
        // Both directions of this socket are shut while bytes for the other side are on their way.
        // The level would tell of it for ever: stop watching; when the other side takes bytes
        // again, wanting to read adds the descriptor anew (RearmingEpoll).
        registration.submit(EpollIoOps.NONE);
      }
    }

    /// Moves bytes from this socket to the other side's until one of them has enough.
    private void move() {
      if (isClient && showFirst) {
        show();
      }
      int budget = BURST;
      while (budget > 0 && !isOver()) {
        if (nothingHeld() && !inputEnded) {
          int got = fill();
          if (got < 0) {
            return; // over, or nothing there
          }
          budget -= Math.max(got, 1);
        }
        if (!nothingHeld() && !drain()) {
          return; // over, or the other side is full
        }
        if (nothingHeld()) {
          if (inputEnded) {
            passOnFin();
            return;
          }
          if (budget > BURST - PipePool.CAPACITY / 2) {
            break; // a short read: most likely that was all, and the level tells if not
          }
        }
      }
      idlePipe();
    }

    private boolean nothingHeld() {
      return inPipe == 0 && early.isEmpty();
    }

    private void idlePipe() {
      if (pipe != null && inPipe == 0) {
        pipes.giveBack(pipe);
        pipe = null;
      }
    }

    /// Returns how many bytes came, 0 at the end of the input, or -1 when there is nothing to do
    /// now.
    private int fill() {
      if (pipe == null) {
        pipe = pipes.take();
        if (pipe == null) {
          end(
              new RelayEnd
                  .Stopped()); // out of descriptors: better one connection less than a busy loop
          return -1;
        }
      }
      long n = Syscalls.splice(fd, pipe.writeEnd(), BURST, FLAGS);
      if (n > 0) {
        inPipe = (int) n;
        moved();
        return (int) n;
      }
      if (n == 0) {
        inputEnded = true;
        moved();
        return 0;
      }
      if (n == -Errno.EAGAIN || n == -Errno.EINTR) {
        idlePipe();
        return -1;
      }
      end(new RelayEnd.Reset(isClient));
      return -1;
    }

    private void drainCaught() {
      if (!early.isEmpty() && !isOver()) {
        drain();
      }
    }

    /// Returns whether nothing is held any more.
    private boolean drain() {
      Side to = other();
      while (!early.isEmpty()) {
        ByteBuf bytes = early.element();
        long n = write(bytes, to.fd);
        if (!delivered(n, to)) {
          return false;
        }
        bytes.skipBytes((int) Math.max(n, 0));
        if (!bytes.isReadable()) {
          early.remove().release();
        }
      }
      while (inPipe > 0) {
        long n = Syscalls.splice(pipe.readEnd(), to.fd, inPipe, FLAGS);
        if (!delivered(n, to)) {
          return false;
        }
        inPipe -= (int) Math.max(n, 0);
      }
      if (to.interest.contains(EpollIoOps.EPOLLOUT)) {
        to.want(to.writing(false));
        want(reading(!inputEnded));
      }
      moved();
      return true;
    }

    private long write(ByteBuf bytes, int fd) {
      int length = bytes.readableBytes();
      if (bytes.hasMemoryAddress()) {
        return Syscalls.write(fd, bytes.memoryAddress() + bytes.readerIndex(), length);
      }
      ByteBuf direct = channel.alloc().directBuffer(length);
      try {
        direct.writeBytes(bytes, bytes.readerIndex(), length);
        return Syscalls.write(fd, direct.memoryAddress(), length);
      } finally {
        direct.release();
      }
    }

    /// Counts what a call gave to the other side; false where it cannot go on now.
    private boolean delivered(long n, Side to) {
      if (n > 0) {
        if (isClient) {
          sent += n;
        } else {
          received += n;
        }
        return true;
      }
      if (n == -Errno.EAGAIN) {
        want(reading(false));
        to.want(to.writing(true));
        return false;
      }
      if (n == -Errno.EINTR) {
        return true;
      }
      end(new RelayEnd.Reset(!isClient));
      return false;
    }

    private void passOnFin() {
      if (finPassedOn) {
        return;
      }
      finPassedOn = true;
      idlePipe();
      Side to = other();
      if (!to.finPassedOn) {
        want(reading(false)); // else it is over
      }
      long shut = Syscalls.shutdown(to.fd, Syscalls.SHUT_WR);
      if (shut < 0 && shut != -Errno.ENOTCONN) {
        end(new RelayEnd.Reset(!isClient));
      } else if (to.finPassedOn) {
        end(new RelayEnd.Finished());
      }
    }

    private EpollIoOps reading(boolean on) {
      return on ? interest.with(EpollIoOps.EPOLLIN) : interest.without(EpollIoOps.EPOLLIN);
    }

    private EpollIoOps writing(boolean on) {
      return on ? interest.with(EpollIoOps.EPOLLOUT) : interest.without(EpollIoOps.EPOLLOUT);
    }

    /// EPOLLERR keeps the descriptor watched for a reset when nothing else is wanted of it.
    private void want(EpollIoOps wanted) {
      if (wanted.value() != interest.value()) {
        interest = wanted;
        submit();
      }
    }

    private void submit() {
      if (registration != null && registration.isValid()) {
        registration.submit(interest.value() == 0 ? EpollIoOps.EPOLLERR : interest);
      }
    }

    private void show() {
      ByteBuf peeked = channel.alloc().directBuffer(2048, 2048);
      try {
        long n = Syscalls.peek(fd, peeked.memoryAddress(), 2048);
        if (n > 0) {
          showFirst = false;
          observer.firstClientBytes(peeked.writerIndex((int) n));
        } else if (n == 0) {
          showFirst = false;
        } else if (n != -Errno.EAGAIN && n != -Errno.EINTR) {
          // A socket tells its error once: the splice that follows would see a FIN.
          end(new RelayEnd.Reset(isClient));
        }
      } finally {
        peeked.release();
      }
    }
  }
}
