package io.tailwater.agent.node;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// The agents that another one has taken over from and that still have connections: each shares a
/// lock on `draining.lock`, which the kernel lets go of when its process has gone, however it went.
///
/// Any thread.
final class DrainingAgents implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(DrainingAgents.class);

  private final Path file;
  private final long longestNanos;
  private final LongSupplier nanoClock;

  /// Since when there may be some.
  private long sinceNanos;

  /// One was taken over from, and will be among them.
  private boolean expected;

  private boolean allGone;
  private @Nullable FileChannel own;

  /// @param longest after this none is left
  /// @param nanoClock as `System.nanoTime`
  DrainingAgents(Path stateDir, Duration longest, LongSupplier nanoClock) {
    this.file = stateDir.resolve("draining.lock");
    this.longestNanos = longest.toNanos();
    this.nanoClock = nanoClock;
    this.sinceNanos = nanoClock.getAsLong();
  }

  /// This agent takes over from another one: where no lock tells of it, it is there all the same.
  synchronized void expect() {
    expected = true;
    allGone = false;
    sinceNanos = nanoClock.getAsLong();
  }

  /// This agent is one of them from now on.
  synchronized void join() {
    FileChannel channel = null;
    try {
      channel =
          FileChannel.open(
              file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
      if (channel.tryLock(0, Long.MAX_VALUE, true) == null) {
        throw new IOException("somebody else has it");
      }
      own = channel;
    } catch (IOException | OverlappingFileLockException e) {
      Succession.closeQuietly(channel);
      LOG.debug("stateDir: {} cannot be locked: {}", file, e.toString());
    }
  }

  /// Whether there may be some: in doubt there are. Once there are none there never are again, but
  /// for those that [#expect] tells of.
  synchronized boolean any() {
    if (!allGone) {
      allGone = nanoClock.getAsLong() - sinceNanos >= longestNanos || !isHeld();
    }
    return !allGone;
  }

  private boolean isHeld() {
    if (!Files.exists(file)) {
      return expected;
    }
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE);
        FileLock alone = channel.tryLock()) {
      if (alone == null) {
        return true;
      }
      // Nobody joins meanwhile: only the agent in charge would, and that is this one.
      Files.delete(file);
      return false;
    } catch (IOException | OverlappingFileLockException e) {
      LOG.debug("stateDir: {} cannot be locked: {}", file, e.toString());
      return true;
    }
  }

  /// This agent has no connections any more.
  @Override
  public synchronized void close() {
    Succession.closeQuietly(own);
    own = null;
  }
}
