package io.tailwater.agent.dataplane.relay;

import io.netty.buffer.ByteBuf;
import io.tailwater.agent.dataplane.transport.EpollSocket;
import io.tailwater.agent.traffic.Grade;
import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.Syscalls;
import org.jspecify.annotations.Nullable;

/// Lets the kernel move the bytes with splice(2), socket to pipe to socket, on epoll,
/// level-triggered: an event costs one splice in and one splice out. Where little comes at once,
/// reading and writing it is cheaper than handing its pages through a pipe: a direction begins that
/// way and changes to splicing when a read fills the buffer, and back when little comes.
///
/// A pipe is held only while bytes are in it. Where the receiving socket takes no more, the
/// direction keeps its pipe (64 KiB at most, a stream's 1 MiB) or the rest of what was read, stops
/// reading, and waits for EPOLLOUT.
public final class SpliceRelay extends Relay {
  /// Bytes moved for one event before others get their turn: 1 MiB, some 300 microseconds.
  private static final int BURST = 1 << 20;

  /// A splice that moved no more than this would have been a read.
  private static final int LITTLE = 4096;

  /// A stream has short moments too: only so many of them in a row end splicing.
  private static final int LITTLE_OFTEN = 8;

  private static final int FLAGS = Syscalls.SPLICE_F_MOVE | Syscalls.SPLICE_F_NONBLOCK;

  private final PipePool pipes;
  private final Side clientSide;
  private final Side upstreamSide;
  private boolean showFirst;

  public SpliceRelay(
      EpollSocket client,
      EpollSocket upstream,
      RelayObserver observer,
      long idleNanos,
      long now,
      PipePool pipes) {
    super(client, upstream, observer, idleNanos, now);
    this.pipes = pipes;
    this.clientSide = new Side(client, true);
    this.upstreamSide = new Side(upstream, false);
  }

  @Override
  public Grade grade() {
    return Grade.SPLICE;
  }

  @Override
  public void start(ByteBuf readAhead, boolean show) {
    showFirst = show;
    if (readAhead.isReadable()) {
      clientSide.early = readAhead;
    } else {
      readAhead.release();
    }
    clientSide.begin();
    upstreamSide.begin();
    if (clientSide.early != null) {
      clientSide.drain();
    }
    if (!isOver() && client.inputRead()) {
      clientSide.readNothingMore();
    }
  }

  @Override
  void release() {
    clientSide.release();
    upstreamSide.release();
  }

  /// One socket: what is read from it goes through `pipe` to the other side.
  private final class Side implements EpollSocket.Watcher {
    private final EpollSocket socket;
    private final int fd;
    private final boolean isClient;

    /// What was read and is not written yet: goes to the other side before anything from the pipe.
    private @Nullable ByteBuf early;

    private int interest = EpollSocket.IN;
    private PipePool.@Nullable Pipe pipe;
    private int inPipe;
    private boolean bulk;

    /// The last splice moved much: the next gets a large pipe.
    private boolean stream;

    /// How many splices in a row moved little.
    private int inARow;

    private boolean inputEnded;
    private boolean finPassedOn;

    Side(EpollSocket socket, boolean isClient) {
      this.socket = socket;
      this.fd = socket.descriptor();
      this.isClient = isClient;
    }

    private Side other() {
      return isClient ? upstreamSide : clientSide;
    }

    void begin() {
      socket.watcher(this);
      socket.want(interest);
    }

    /// Its FIN was read before the relay began.
    void readNothingMore() {
      inputEnded = true;
      want(interest & ~EpollSocket.IN);
      if (nothingHeld()) {
        passOnFin();
      }
    }

    void release() {
      if (pipe != null) {
        if (inPipe == 0) {
          pipes.giveBack(pipe);
        } else {
          pipes.discard(pipe);
        }
        pipe = null;
      }
      if (early != null) {
        early.release();
        early = null;
      }
    }

    @Override
    public void ready(int ops) {
      if (isOver()) {
        return;
      }
      if ((ops & EpollSocket.OUT) != 0) {
        other().move();
      }
      if (isOver()) {
        return;
      }
      if ((ops & EpollSocket.IN) != 0) {
        move();
      } else if ((ops & (EpollSocket.ERR | EpollSocket.HUP)) != 0) {
        hungUp((ops & EpollSocket.ERR) != 0);
      }
    }

    /// EPOLLERR or EPOLLHUP while nothing is read here.
    private void hungUp(boolean error) {
      if (error) {
        end(new RelayEnd.Reset(isClient));
      } else {
        // Both directions of this socket are shut while bytes for the other side are on their way.
        // The level would tell of it for ever: stop watching; when the other side takes bytes
        // again, wanting to read adds the descriptor anew (RearmingEpoll).
        socket.ignore();
      }
    }

    /// Moves bytes from this socket to the other side's until one of them has enough.
    private void move() {
      if (isClient && showFirst) {
        show();
      }
      int budget = BURST;
      while (budget > 0 && !isOver()) {
        boolean spliced = bulk;
        int got = 0;
        if (nothingHeld() && !inputEnded) {
          got = bulk ? fill() : copy();
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
          if (!bulk || (spliced && got < PipePool.SCRATCH)) {
            break; // a short read: most likely that was all, and the level tells if not
          }
        }
      }
      idlePipe();
    }

    /// Reads and writes what has come, if it is not much; returns as [#fill] does.
    private int copy() {
      long n = Syscalls.read(fd, pipes.scratch().memoryAddress(), PipePool.SCRATCH);
      if (n <= 0) {
        return nothingRead(n);
      }
      bulk = n == PipePool.SCRATCH;
      inARow = 0;
      long written = Syscalls.write(other().fd, pipes.scratch().memoryAddress(), n);
      if (written == n) {
        count(n);
        moved();
        return (int) n;
      }
      if (written < 0 && written != -Errno.EAGAIN && written != -Errno.EINTR) {
        end(new RelayEnd.Reset(!isClient));
        return -1;
      }
      int done = (int) Math.max(written, 0);
      count(done);
      int rest = (int) n - done;
      early = socket.buffers().directBuffer(rest, rest);
      early.writeBytes(pipes.scratch(), done, rest);
      moved();
      return (int) n;
    }

    private int nothingRead(long n) {
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

    private void count(long n) {
      if (isClient) {
        sent += n;
      } else {
        received += n;
      }
    }

    private boolean nothingHeld() {
      return inPipe == 0 && early == null;
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
        pipe = pipes.take(stream);
        if (pipe == null) {
          end(
              new RelayEnd
                  .Stopped()); // out of descriptors: better one connection less than a busy loop
          return -1;
        }
      }
      long n = Syscalls.splice(fd, pipe.writeEnd(), BURST, FLAGS);
      if (n <= 0) {
        return nothingRead(n);
      }
      inPipe = (int) n;
      stream = n >= PipePool.SCRATCH;
      inARow = n > LITTLE ? 0 : inARow + 1;
      bulk = inARow < LITTLE_OFTEN;
      moved();
      return (int) n;
    }

    /// Returns whether nothing is held any more.
    private boolean drain() {
      Side to = other();
      while (early != null) {
        ByteBuf bytes = early;
        long n =
            Syscalls.write(
                to.fd, bytes.memoryAddress() + bytes.readerIndex(), bytes.readableBytes());
        if (!delivered(n, to)) {
          return false;
        }
        bytes.skipBytes((int) Math.max(n, 0));
        if (!bytes.isReadable()) {
          early = null;
          bytes.release();
        }
      }
      while (inPipe > 0) {
        long n = Syscalls.splice(pipe.readEnd(), to.fd, inPipe, FLAGS);
        if (!delivered(n, to)) {
          return false;
        }
        inPipe -= (int) Math.max(n, 0);
      }
      if ((to.interest & EpollSocket.OUT) != 0) {
        to.want(to.interest & ~EpollSocket.OUT);
        want(inputEnded ? interest & ~EpollSocket.IN : interest | EpollSocket.IN);
      }
      moved();
      return true;
    }

    /// Counts what a call gave to the other side; false where it cannot go on now.
    private boolean delivered(long n, Side to) {
      if (n > 0) {
        count(n);
        return true;
      }
      if (n == -Errno.EAGAIN) {
        want(interest & ~EpollSocket.IN);
        to.want(to.interest | EpollSocket.OUT);
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
      if (to.finPassedOn) {
        end(new RelayEnd.Finished()); // closing sends the FIN
        return;
      }
      want(interest & ~EpollSocket.IN);
      long shut = Syscalls.shutdown(to.fd, Syscalls.SHUT_WR);
      if (shut < 0 && shut != -Errno.ENOTCONN) {
        end(new RelayEnd.Reset(!isClient));
      }
    }

    private void want(int wanted) {
      if (wanted != interest) {
        interest = wanted;
        socket.want(wanted);
      }
    }

    private void show() {
      ByteBuf peeked = socket.buffers().directBuffer(2048, 2048);
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
