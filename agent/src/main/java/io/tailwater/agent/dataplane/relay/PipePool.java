package io.tailwater.agent.dataplane.relay;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.tailwater.iptables.libc.Syscalls;
import java.util.ArrayDeque;
import org.jspecify.annotations.Nullable;

/// The pipes of one loop, and the buffer through which it copies. A direction holds one only while
/// bytes are in it, so quiet connections cost no pipe and a few pipes serve thousands of
/// connections. Loop thread only.
public final class PipePool implements AutoCloseable {
  /// Small pipes kept for the next burst; two descriptors each.
  private static final int KEPT = 64;

  /// Large pipes of a loop, used and kept. What is in the pipes of readers that read nothing is
  /// kernel memory that nobody can take back: 64 MiB of a loop at most.
  static final int MOST_LARGE = 64;

  /// A pipe has a slot for each piece of a segment, and a piece is as short as a packet was: this
  /// one has 256 where the kernel's default of 64 KiB has 16. See perf/README.md for what it gives.
  private static final int LARGE = 1 << 20;

  /// What one read takes at most before a direction changes to splicing: 16 KiB.
  static final int SCRATCH = 16 << 10;

  private final ByteBuf scratch = Unpooled.directBuffer(SCRATCH, SCRATCH);
  private final ArrayDeque<Pipe> small = new ArrayDeque<>();
  private final ArrayDeque<Pipe> large = new ArrayDeque<>();
  private int largeMade;

  /// The user may have no more large pipes (`fs.pipe-user-pages-soft`) and lacks CAP_SYS_RESOURCE.
  private boolean refused;

  /// Both ends of a pipe.
  record Pipe(int readEnd, int writeEnd, boolean large) {
    private void close() {
      Syscalls.close(readEnd);
      Syscalls.close(writeEnd);
    }
  }

  /// [#SCRATCH] bytes outside the heap, for use within one event, by address and index.
  ByteBuf scratch() {
    return scratch;
  }

  /// An empty pipe, or null when descriptors have run out.
  ///
  /// @param stream whether much is expected: a large one then, if there is one
  @Nullable Pipe take(boolean stream) {
    Pipe pipe = stream ? largeOne() : null;
    if (pipe == null) {
      pipe = small.poll();
    }
    return pipe == null ? make(false) : pipe;
  }

  private @Nullable Pipe largeOne() {
    Pipe kept = large.poll();
    if (kept != null || refused || largeMade == MOST_LARGE) {
      return kept;
    }
    Pipe made = make(true);
    if (made == null) {
      return null;
    }
    if (Syscalls.pipeSize(made.writeEnd, LARGE) < 0) {
      refused = true;
      made.close();
      return null;
    }
    largeMade++;
    return made;
  }

  private static @Nullable Pipe make(boolean large) {
    long made = Syscalls.pipe(Syscalls.O_NONBLOCK | Syscalls.O_CLOEXEC);
    return made < 0 ? null : new Pipe(Syscalls.readEnd(made), Syscalls.writeEnd(made), large);
  }

  /// Takes an empty pipe back.
  void giveBack(Pipe pipe) {
    if (pipe.large) {
      large.push(pipe);
    } else if (small.size() < KEPT) {
      small.push(pipe);
    } else {
      pipe.close();
    }
  }

  /// Closes a pipe with bytes in it, which must not reach anybody else.
  void discard(Pipe pipe) {
    if (pipe.large) {
      largeMade--;
    }
    pipe.close();
  }

  @Override
  public void close() {
    small.forEach(Pipe::close);
    large.forEach(Pipe::close);
    small.clear();
    large.clear();
    scratch.release();
  }
}
