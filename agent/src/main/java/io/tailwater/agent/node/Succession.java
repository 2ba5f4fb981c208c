package io.tailwater.agent.node;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// One agent after the other on the same state folder, without a moment between them.
///
/// The agent in charge holds `agent.lock` (the kernel lets go of it when a process is killed) and
/// listens on `agent.sock`. A new one says there
///
///     prepare   the old one stops changing rules and state files, and answers `ready`
///     take      everything of the new one listens: the old one closes its listeners, `taken`
///
/// and the old one ends when its connections have, and is one of [DrainingAgents] until then. A new
/// one that goes away in between leaves the old one in charge as before.
///
/// [#claim] and [#takeOver] block their caller; what a successor asks is answered on virtual threads.
final class Succession implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(Succession.class);

  /// How long an agent that ends, or has only just begun, is waited for.
  private static final Duration PATIENCE = Duration.ofSeconds(25);

  /// How long the other side may take for a step.
  private static final Duration STEP = Duration.ofSeconds(30);

  /// How long connections may go on in an agent that another one has taken over from.
  static final Duration LONGEST_DRAIN = Duration.ofMinutes(5);

  /// What its end takes after that.
  private static final Duration LAST_STEPS = Duration.ofSeconds(10);

  private static final String PREPARE = "prepare";
  private static final String READY = "ready";
  private static final String TAKE = "take";
  private static final String TAKEN = "taken";
  private static final String BUSY = "busy";

  private final Path lockFile;
  private final Path socketFile;
  private final DrainingAgents draining;
  private @Nullable FileChannel lock;
  private @Nullable SocketChannel predecessor;
  private @Nullable ServerSocketChannel server;
  private @Nullable SocketChannel successor;
  private boolean given;
  private boolean closed;

  private Succession(Path stateDir) {
    this.draining = new DrainingAgents(stateDir, LONGEST_DRAIN.plus(LAST_STEPS), System::nanoTime);
    this.lockFile = stateDir.resolve("agent.lock");
    this.socketFile = stateDir.resolve("agent.sock");
  }

  /// What the agent in charge does for one that comes after it. On a virtual thread.
  interface Reign {
    /// Nothing is changed any more, neither rules nor state files; everything else goes on.
    void pause();

    /// The successor went away: as before.
    void resume();

    /// The successor listens: accept nothing more.
    void give();
  }

  /// Takes the state folder, or finds the agent that has it and asks it to get ready.
  ///
  /// @throws Agent.StartException when an agent has it and neither gives it nor ends
  static Succession claim(Path stateDir) {
    Succession succession = new Succession(stateDir);
    try {
      Files.createDirectories(stateDir);
      succession.claim();
    } catch (IOException e) {
      LOG.warn(
          "stateDir: {} cannot be written ({}): another agent could not take over from this one",
          stateDir,
          e.toString());
    }
    return succession;
  }

  private void claim() throws IOException {
    long deadline = System.nanoTime() + PATIENCE.toNanos();
    while (!lock()) {
      if (ask()) {
        return;
      }
      if (System.nanoTime() - deadline > 0) {
        throw new Agent.StartException(
            Agent.StartException.Kind.FAILED,
            "another agent has "
                + lockFile
                + " and does not hand over; end it, or give this one a stateDir of its own");
      }
      sleep();
    }
  }

  private static void sleep() {
    try {
      TimeUnit.MILLISECONDS.sleep(100);
    } catch (InterruptedException _) {
      Thread.currentThread().interrupt();
      throw new Agent.StartException(Agent.StartException.Kind.FAILED, "interrupted at its start");
    }
  }

  private synchronized boolean lock() throws IOException {
    FileChannel channel =
        FileChannel.open(lockFile, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
    FileLock held = null;
    try {
      held = channel.tryLock();
    } catch (OverlappingFileLockException _) {
      // An agent of this very process has it.
    } finally {
      if (held == null) {
        channel.close();
      }
    }
    lock = held == null ? null : channel;
    return held != null;
  }

  /// Whether there is an agent that is ready to give.
  private boolean ask() {
    SocketChannel channel = null;
    try {
      channel = SocketChannel.open(UnixDomainSocketAddress.of(socketFile));
      say(channel, PREPARE);
      if (hear(channel).equals(READY)) {
        predecessor = channel;
        channel = null;
        LOG.info("an agent runs with this state folder; taking over from it");
        return true;
      }
    } catch (IOException | IllegalArgumentException _) {
      // It ends, begins, or was killed: the lock will tell.
    } finally {
      closeQuietly(channel);
    }
    return false;
  }

  /// Whether another agent serves the pods until [#takeOver].
  boolean hasPredecessor() {
    return predecessor != null;
  }

  /// Whether connections of another agent may begin in the pods: of the one before, or of those
  /// that it took over from.
  boolean othersServe() {
    return hasPredecessor() || draining.any();
  }

  /// Everything listens: has the predecessor let go, and takes the state folder.
  ///
  /// @throws Agent.StartException when it keeps the folder
  void takeOver() {
    SocketChannel channel = predecessor;
    if (channel == null) {
      return;
    }
    draining.expect();
    predecessor = null;
    try {
      say(channel, TAKE);
      if (!hear(channel).equals(TAKEN)) {
        LOG.warn("the agent before has ended meanwhile");
      }
    } catch (IOException e) {
      LOG.warn("the agent before has ended meanwhile ({})", e.toString());
    } finally {
      closeQuietly(channel);
    }
    try {
      claim();
    } catch (IOException e) {
      LOG.warn("stateDir: {} cannot be locked: {}", lockFile, e.toString());
    }
  }

  /// Answers agents that come after this one.
  synchronized void serve(Reign reign) {
    if (lock == null || closed) {
      return;
    }
    Path fresh = socketFile.resolveSibling("agent.sock.next");
    try {
      Files.deleteIfExists(fresh);
      ServerSocketChannel channel = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
      server = channel;
      channel.bind(UnixDomainSocketAddress.of(fresh));
      Files.setPosixFilePermissions(fresh, PosixFilePermissions.fromString("rw-------"));
      Files.move(fresh, socketFile, StandardCopyOption.REPLACE_EXISTING);
      Thread.ofVirtual().name("tailwater-succession").start(() -> accept(channel, reign));
    } catch (IOException | IllegalArgumentException e) {
      LOG.warn(
          "stateDir: no socket at {} ({}): another agent can not take over from this one",
          socketFile,
          e.toString());
    }
  }

  private void accept(ServerSocketChannel listener, Reign reign) {
    while (true) {
      SocketChannel channel;
      try {
        channel = listener.accept();
      } catch (IOException _) {
        return; // closed
      }
      Thread.ofVirtual().name("tailwater-successor").start(() -> answer(channel, reign));
    }
  }

  private void answer(SocketChannel channel, Reign reign) {
    boolean paused = false;
    try {
      if (!hear(channel).equals(PREPARE)) {
        return;
      }
      if (!begin(channel)) {
        say(channel, BUSY);
        return;
      }
      LOG.info("another agent is about to take over");
      reign.pause();
      paused = true;
      say(channel, READY);
      if (read(channel).equals(TAKE)) { // it may take its time
        reign.give();
        paused = false;
        give();
        say(channel, TAKEN);
      }
    } catch (IOException e) {
      LOG.debug("succession: {}", e.toString());
    } finally {
      closeQuietly(channel);
      if (paused) {
        LOG.warn("the other agent went away; going on");
        reign.resume();
      }
      over(channel);
    }
  }

  private synchronized boolean begin(SocketChannel channel) {
    if (successor != null || given || closed) {
      return false;
    }
    successor = channel;
    return true;
  }

  private synchronized void over(SocketChannel channel) {
    if (channel.equals(successor)) {
      successor = null;
    }
  }

  private synchronized void give() {
    given = true;
    draining.join();
    closeQuietly(server);
    closeQuietly(lock);
  }

  private static void say(SocketChannel channel, String word) throws IOException {
    ByteBuffer out = ByteBuffer.wrap((word + "\n").getBytes(StandardCharsets.US_ASCII));
    while (out.hasRemaining()) {
      channel.write(out);
    }
  }

  /// A word within a step's time; empty when the other side has gone.
  private static String hear(SocketChannel channel) throws IOException {
    Thread watchdog =
        Thread.ofVirtual()
            .start(() -> {
              try {
                TimeUnit.NANOSECONDS.sleep(STEP.toNanos());
                closeQuietly(channel);
              } catch (InterruptedException _) {
                // heard in time
              }
            });
    try {
      return read(channel);
    } finally {
      watchdog.interrupt();
    }
  }

  private static String read(SocketChannel channel) throws IOException {
    StringBuilder word = new StringBuilder();
    ByteBuffer one = ByteBuffer.allocate(1);
    while (channel.read(one.clear()) > 0 && one.get(0) != '\n' && word.length() < 32) {
      word.append((char) one.get(0));
    }
    return word.toString();
  }

  /// Lets go of the folder: the last thing an agent does. A successor that is waiting to take goes
  /// on alone.
  @Override
  public synchronized void close() {
    if (closed) {
      return;
    }
    leave();
    closed = true;
    draining.close();
    closeQuietly(lock);
  }

  /// Answers nobody any more; the folder is still this agent's.
  synchronized void leave() {
    closeQuietly(predecessor);
    closeQuietly(successor);
    if (server != null && !given) {
      closeQuietly(server);
      try {
        Files.deleteIfExists(socketFile);
      } catch (IOException _) {
        // a socket that nobody answers is no obstacle
      }
    }
    server = null;
  }

  static void closeQuietly(@Nullable AutoCloseable closeable) {
    try {
      if (closeable != null) {
        closeable.close();
      }
    } catch (Exception _) {
      // it is gone all the same
    }
  }
}
