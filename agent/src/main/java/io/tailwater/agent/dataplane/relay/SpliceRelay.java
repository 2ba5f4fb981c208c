package io.tailwater.agent.dataplane.relay;

import io.netty.buffer.ByteBuf;
import io.netty.channel.Channel;
import io.netty.channel.IoEvent;
import io.netty.channel.IoEventLoop;
import io.netty.channel.IoRegistration;
import io.netty.channel.epoll.EpollIoEvent;
import io.netty.channel.epoll.EpollIoHandle;
import io.netty.channel.epoll.EpollIoOps;
import io.netty.channel.unix.FileDescriptor;
import io.netty.channel.unix.UnixChannel;
import io.tailwater.agent.traffic.Grade;
import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.Syscalls;
import org.jspecify.annotations.Nullable;

/// Lets the kernel move the bytes with splice(2), socket to pipe to socket, on epoll. The channels
/// are taken off their loop and their descriptors are watched here instead, level-triggered: an
/// event costs one splice in and one splice out.
///
/// A pipe is held only while bytes are in it. Where the receiving socket takes no more, the
/// direction keeps its pipe (at most 64 KiB), stops reading, and waits for EPOLLOUT.
public final class SpliceRelay extends Relay {
  /// Bytes moved for one event before others get their turn: 1 MiB, some 300 microseconds.
  private static final int BURST = 1 << 20;

  private static final int FLAGS = Syscalls.SPLICE_F_MOVE | Syscalls.SPLICE_F_NONBLOCK;
  private static final int ERROR_OR_HANGUP = 0x8 | 0x10; // EPOLLERR | EPOLLHUP

  private final PipePool pipes;
  private final Side clientSide;
  private final Side upstreamSide;
  private boolean showFirst;

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
    showFirst = show;
    int length = readAhead.readableBytes();
    if (length == 0) {
      readAhead.release();
      takeOver();
      return;
    }
    upstream
        .writeAndFlush(readAhead)
        .addListener(written -> {
          if (isOver()) {
            return;
          }
          if (!written.isSuccess()) {
            end(new RelayEnd.Reset(false));
            return;
          }
          sent += length;
          moved();
          takeOver();
        });
  }

  /// From Netty's hands into ours. Nothing is lost in between: bytes wait in the sockets, and a
  /// level-triggered registration tells of them.
  private void takeOver() {
    client
        .deregister()
        .addListener(_ ->
            upstream.deregister().addListener(_ -> watchBoth((IoEventLoop) client.eventLoop())));
  }

  private void watchBoth(IoEventLoop loop) {
    if (isOver()) {
      return;
    }
    clientSide.watch(loop);
    upstreamSide.watch(loop);
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
              registration.submit(interest);
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
        // The level would tell of it
        // for ever: stop watching; when the other side takes bytes again, wanting to read adds the
        // descriptor anew.
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
        if (inPipe == 0 && !inputEnded) {
          int got = fill();
          if (got < 0) {
            return; // over, or nothing there
          }
          budget -= Math.max(got, 1);
        }
        if (inPipe > 0 && !drain()) {
          return; // over, or the other side is full
        }
        if (inPipe == 0) {
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

    /// Returns whether the pipe is empty now.
    private boolean drain() {
      Side to = other();
      while (inPipe > 0) {
        long n = Syscalls.splice(pipe.readEnd(), to.fd, inPipe, FLAGS);
        if (n > 0) {
          inPipe -= (int) n;
          if (isClient) {
            sent += n;
          } else {
            received += n;
          }
        } else if (n == -Errno.EAGAIN) {
          want(reading(false));
          to.want(to.writing(true));
          return false;
        } else if (n != -Errno.EINTR) {
          end(new RelayEnd.Reset(!isClient));
          return false;
        }
      }
      if (to.interest.contains(EpollIoOps.EPOLLOUT)) {
        to.want(to.writing(false));
        want(reading(!inputEnded));
      }
      moved();
      return true;
    }

    private void passOnFin() {
      if (finPassedOn) {
        return;
      }
      finPassedOn = true;
      idlePipe();
      want(reading(false));
      Side to = other();
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
        if (registration != null && registration.isValid()) {
          registration.submit(wanted.value() == 0 ? EpollIoOps.EPOLLERR : wanted);
        }
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
        }
      } finally {
        peeked.release();
      }
    }
  }
}
