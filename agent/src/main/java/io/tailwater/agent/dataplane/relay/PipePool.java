package io.tailwater.agent.dataplane.relay;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.tailwater.iptables.libc.Syscalls;
import java.util.ArrayDeque;

/// The pipes of one loop, and the buffer through which it copies. A direction holds one only while
/// bytes are in it, so quiet connections cost no pipe and a few pipes serve thousands of
/// connections. Loop thread only.
public final class PipePool implements AutoCloseable {
  /// Pipes kept for the next burst; two descriptors each.
  private static final int KEPT = 64;

  /// 64 KiB is the kernel's default and what an unread direction may pin. See perf/README.md for
  /// what other sizes gave.
  static final int CAPACITY = 64 << 10;

  /// What one read takes at most before a direction changes to splicing: 16 KiB.
  static final int SCRATCH = 16 << 10;

  private final ByteBuf scratch = Unpooled.directBuffer(SCRATCH, SCRATCH);
  private final ArrayDeque<Pipe> free = new ArrayDeque<>();

  /// Both ends of a pipe.
  record Pipe(int readEnd, int writeEnd) {
    void close() {
      Syscalls.close(readEnd);
      Syscalls.close(writeEnd);
    }
  }

  /// [#SCRATCH] bytes outside the heap, for use within one event, by address and index.
  ByteBuf scratch() {
    return scratch;
  }

  /// An empty pipe, or null when descriptors have run out.
  @org.jspecify.annotations.Nullable
  Pipe take() {
    Pipe pipe = free.poll();
    if (pipe != null) {
      return pipe;
    }
    long made = Syscalls.pipe(Syscalls.O_NONBLOCK | Syscalls.O_CLOEXEC);
    return made < 0 ? null : new Pipe(Syscalls.readEnd(made), Syscalls.writeEnd(made));
  }

  /// Takes an empty pipe back.
  void giveBack(Pipe pipe) {
    if (free.size() < KEPT) {
      free.push(pipe);
    } else {
      pipe.close();
    }
  }

  @Override
  public void close() {
    free.forEach(Pipe::close);
    free.clear();
    scratch.release();
  }
}
