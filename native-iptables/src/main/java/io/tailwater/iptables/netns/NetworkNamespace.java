package io.tailwater.iptables.netns;

import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.libc.Syscalls;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;

/// A network namespace held open by a descriptor, so that it stays enterable (and its [NetnsId]
/// unique) after its path is gone.
///
/// Safe for use by several threads; each [#call] moves only the calling platform thread. Closing
/// while another thread is inside takes effect when that thread has come home.
public final class NetworkNamespace implements AutoCloseable {
  /// Exit status when a thread cannot come home: EX_OSERR of sysexits.h.
  static final int LOST_THREAD = 71;

  private static final ThreadLocal<Path> INSIDE = new ThreadLocal<>();

  private final Path path;
  private final int fd;
  private final NetnsId id;
  private int users;
  private boolean closed;

  private NetworkNamespace(Path path, int fd, NetnsId id) {
    this.path = path;
    this.fd = fd;
    this.id = id;
  }

  /// What is done inside a namespace: make sockets, read a sysctl, start a child by
  /// [io.tailwater.iptables.libc.ChildProcess]. It must not start threads or a `Process`, nor do
  /// the first use of a library that does (they would be born in the pod and stay there), and
  /// should be short.
  @FunctionalInterface
  public interface Birth<T, X extends Exception> {
    T call() throws X;
  }

  /// Opens the namespace at a path such as `/run/netns/ratings` or `/proc/4711/ns/net`.
  ///
  /// @throws NetnsException when there is nothing, or something else, at the path
  public static NetworkNamespace open(Path path) {
    int fd;
    try {
      fd = Syscalls.open(path, Syscalls.O_RDONLY | Syscalls.O_CLOEXEC);
    } catch (SyscallException e) {
      throw new NetnsException(unopenable(path, e), e);
    }
    boolean kept = false;
    try {
      if (!Syscalls.isNetworkNamespace(fd)) {
        throw new NetnsException(
            path
                + " is not a network namespace. An empty file is left where a namespace is still"
                + " being made or was unmounted; give the path that 'ip netns add' or the container"
                + " runtime made, or /proc/PID/ns/net");
      }
      Syscalls.FileIdentity file = Syscalls.identity(fd);
      NetworkNamespace opened =
          new NetworkNamespace(path, fd, new NetnsId(file.device(), file.inode()));
      kept = true;
      return opened;
    } finally {
      if (!kept) {
        Syscalls.close(fd);
      }
    }
  }

  /// The namespace of the calling platform thread, opened anew: the caller closes it.
  public static NetworkNamespace current() {
    return open(Path.of("/proc/thread-self/ns/net"));
  }

  /// A new namespace that nobody else knows, and that ends when it is closed: to try things in.
  ///
  /// @throws SyscallException when none can be made (CAP_SYS_ADMIN)
  public static NetworkNamespace fresh() {
    CompletableFuture<NetworkNamespace> made = new CompletableFuture<>();
    // A thread that has left its namespace serves for nothing else.
    Thread.ofPlatform()
        .name("tailwater-fresh")
        .start(() -> {
          try {
            Syscalls.unshare(Syscalls.CLONE_NEWNET);
            made.complete(current());
          } catch (RuntimeException e) {
            made.completeExceptionally(e);
          }
        });
    try {
      return made.join();
    } catch (CompletionException e) {
      if (e.getCause() instanceof SyscallException refused) {
        throw refused;
      }
      throw e;
    }
  }

  /// Whether the calling thread is inside a [#call] now. What must not happen there (starting a
  /// thread or process) asks this.
  public static boolean isInside() {
    return INSIDE.get() != null;
  }

  /// Opens the way home and loads what the first [#call] needs. Call once at start, from the
  /// agent's own namespace.
  public static void warmUp() {
    Syscalls.warmUp();
    try (NetworkNamespace own = current()) {
      if (!own.id().equals(Home.ID)) {
        throw new IllegalStateException(
            "warmUp() runs on a thread in "
                + own.id()
                + ", not in the process's namespace "
                + Home.ID);
      }
    }
  }

  public NetnsId id() {
    return id;
  }

  /// The path it was opened by; it may lead elsewhere by now.
  public Path path() {
    return path;
  }

  /// Whether a path still leads here: false when nothing, or something else, is found there. An
  /// open namespace's number is not given to another, so one look is enough.
  public boolean isStillAt(String path) {
    try {
      Map<String, Object> file = Files.readAttributes(Path.of(path), "unix:dev,ino");
      return id.equals(new NetnsId((Long) file.get("dev"), (Long) file.get("ino")));
    } catch (NoSuchFileException e) {
      return false;
    } catch (FileSystemException e) {
      // Only what is not there is gone: out of memory or without a permission, nothing is known.
      return !String.valueOf(e.getReason()).contains("Not a directory");
    } catch (IOException e) {
      return true;
    }
  }

  /// Where a foreign program finds exactly this namespace while it is open here, even if its path
  /// leads elsewhere by now: such as a file to lock.
  public Path handle() {
    return Path.of("/proc", Long.toString(Syscalls.getpid()), "fd", Integer.toString(fd));
  }

  /// Moves the calling platform thread into this namespace, runs `birth`, and brings the thread
  /// home, whatever `birth` did. Sockets made inside live in this namespace for ever, whichever
  /// thread uses them later.
  ///
  /// A thread that cannot come home would carry traffic of the whole node into one pod, so the
  /// process halts in that case.
  ///
  /// @throws IllegalStateException on a virtual thread, inside another `call`, or after [#close()]
  /// @throws SyscallException when the namespace cannot be entered (CAP_SYS_ADMIN); the thread has
  ///   not moved then
  public <T, X extends Exception> T call(Birth<T, X> birth) throws X {
    if (Thread.currentThread().isVirtual()) {
      throw new IllegalStateException(
          "A virtual thread must not enter "
              + path
              + ": its carrier would stay there when it parks. Use a platform thread");
    }
    if (INSIDE.get() != null) {
      throw new IllegalStateException(
          "Already inside " + INSIDE.get() + ": namespaces do not nest, " + path + " refused");
    }
    int home = Home.FD;
    enter();
    try {
      Syscalls.setns(fd, Syscalls.CLONE_NEWNET);
      INSIDE.set(path);
      try {
        return birth.call();
      } finally {
        comeHome(home);
        INSIDE.remove();
      }
    } finally {
      leave();
    }
  }

  /// Lets go of the namespace. Idempotent.
  @Override
  public synchronized void close() {
    if (!closed) {
      closed = true;
      closeIfUnused();
    }
  }

  @Override
  public String toString() {
    return path + " " + id;
  }

  private synchronized void enter() {
    if (closed) {
      throw new IllegalStateException("The namespace " + path + " is closed");
    }
    users++;
  }

  private synchronized void leave() {
    users--;
    closeIfUnused();
  }

  /// Not while a thread may be about to use the number: a reused descriptor could be another pod's
  /// namespace.
  private void closeIfUnused() {
    if (closed && users == 0) {
      Syscalls.close(fd);
    }
  }

  private void comeHome(int home) {
    try {
      Syscalls.setns(home, Syscalls.CLONE_NEWNET);
    } catch (Throwable e) {
      System.err.println(
          "FATAL: thread "
              + Thread.currentThread().getName()
              + " cannot come home from the namespace "
              + path
              + " ("
              + e.getMessage()
              + "). The process ends now, so that no other pod's traffic goes through it.");
      System.err.flush();
      Runtime.getRuntime().halt(LOST_THREAD);
    }
  }

  private static String unopenable(Path path, SyscallException e) {
    return switch (e.errno()) {
      case Errno.ENOENT, Errno.ENOTDIR ->
          "There is no network namespace at "
              + path
              + ". Check the path ('ip netns list'); in a container, the folder must be mounted"
              + " with HostToContainer propagation";
      default -> "The network namespace at " + path + " cannot be opened: " + e.getMessage();
    };
  }

  /// The process's own namespace: that of its first thread, which Java does not use and which
  /// therefore never moves.
  static final class Home {
    static final int FD =
        Syscalls.open(Path.of("/proc/self/ns/net"), Syscalls.O_RDONLY | Syscalls.O_CLOEXEC);
    static final NetnsId ID = identity();

    private Home() {}

    private static NetnsId identity() {
      Syscalls.FileIdentity file = Syscalls.identity(FD);
      return new NetnsId(file.device(), file.inode());
    }
  }
}
