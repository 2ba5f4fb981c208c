package io.tailwater.iptables.apply;

import io.tailwater.iptables.libc.ChildProcess;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.libc.Syscalls;
import io.tailwater.iptables.netns.NetworkNamespace;
import java.io.File;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/// Real processes, each with a bound on its time. A platform thread that is not inside a namespace.
///
/// Nothing is started but the program itself: no program that goes into the namespace for it, no
/// thread that waits or reads. Many pods at once are many programs.
public final class Processes implements CommandRunner {
  /// Longer than the ten seconds for which iptables-legacy waits for its lock.
  private static final Duration DEFAULT_LIMIT = Duration.ofSeconds(20);

  /// Where administration programs live; often not on the path of an ordinary user or a container.
  private static final List<String> MORE_FOLDERS = List.of("/usr/sbin", "/sbin", "/usr/local/sbin");

  /// How long an interrupt or the limit may go unnoticed.
  private static final int PATIENCE_MILLIS = 100;

  /// Between two looks at a program that is about to end.
  private static final long ENDING = TimeUnit.MICROSECONDS.toNanos(50);

  /// Killed, but not gone yet.
  private static final Queue<Integer> LATE = new ConcurrentLinkedQueue<>();

  private final Duration limit;

  public Processes() {
    this(DEFAULT_LIMIT);
  }

  public Processes(Duration limit) {
    this.limit = limit;
  }

  @Override
  public Result run(
      Optional<NetworkNamespace> inside,
      List<String> command,
      String input,
      List<String> environment) {
    if (NetworkNamespace.isInside()) {
      throw new IllegalStateException(
          "A process is started by a thread that is at home; it goes into a namespace by itself");
    }
    ChildProcess.load();
    LATE.removeIf(pid -> ChildProcess.end(pid).isPresent());
    try (Descriptors files = new Descriptors()) {
      Syscalls.writeWhole(files.input, input.getBytes(StandardCharsets.UTF_8));
      int pid = start(inside, command, environment, files);
      files.closeWriteEnd();
      int status = await(pid, files.alive(), command);
      return new Result(status, text(files.output), text(files.error));
    } catch (SyscallException e) {
      throw new CommandException(command.getFirst() + " cannot be run: " + e.getMessage(), false);
    }
  }

  /// What one run needs. A program reads and writes files, so that nobody has to be there for it;
  /// of a pipe it only holds the other end, which is how its end is noticed.
  private static final class Descriptors implements AutoCloseable {
    private final List<Integer> open = new ArrayList<>();
    final int input;
    final int output;
    final int error;
    private final long life;

    Descriptors() {
      try {
        input = keep(Syscalls.memoryFile("input"));
        output = keep(Syscalls.memoryFile("output"));
        error = keep(Syscalls.memoryFile("error"));
        life = Syscalls.pipe(Syscalls.O_CLOEXEC);
        if (life < 0) {
          throw new SyscallException("pipe2()", (int) -life, "");
        }
        keep(Syscalls.readEnd(life));
        keep(Syscalls.writeEnd(life));
      } catch (SyscallException e) {
        close();
        throw e;
      }
    }

    private int keep(int fd) {
      open.add(fd);
      return fd;
    }

    int alive() {
      return Syscalls.readEnd(life);
    }

    void closeWriteEnd() {
      open.removeIf(fd -> fd == Syscalls.writeEnd(life));
      Syscalls.close(Syscalls.writeEnd(life));
    }

    @Override
    public void close() {
      open.forEach(Syscalls::close);
      open.clear();
    }
  }

  private static int start(
      Optional<NetworkNamespace> inside,
      List<String> command,
      List<String> environment,
      Descriptors files) {
    String program = command.getFirst();
    Path found =
        find(program)
            .orElseThrow(() ->
                new CommandException(
                    "There is no program " + program + " in " + String.join(":", folders()), true));
    List<String> variables = variables(environment);
    NetworkNamespace.Birth<Integer, SyscallException> birth =
        () ->
            ChildProcess.start(
                found,
                command,
                variables,
                files.input,
                files.output,
                files.error,
                Syscalls.writeEnd(files.life));
    return inside.isPresent() ? inside.get().call(birth) : birth.call();
  }

  private int await(int pid, int alive, List<String> command) {
    long deadline = System.nanoTime() + limit.toNanos();
    boolean ended = false;
    while (true) {
      if (ended) {
        LockSupport.parkNanos(ENDING); // it has closed everything and ends now
      } else {
        ended = Syscalls.awaitReadable(alive, PATIENCE_MILLIS) > 0;
      }
      OptionalInt status = ChildProcess.end(pid);
      if (status.isPresent()) {
        return status.getAsInt();
      }
      boolean interrupted = Thread.currentThread().isInterrupted();
      if (interrupted || System.nanoTime() - deadline > 0) {
        kill(pid);
        throw new CommandException(
            String.join(" ", command)
                + (interrupted
                    ? " was interrupted"
                    : " did not end within " + limit.toSeconds() + " s"),
            false);
      }
    }
  }

  /// Nothing of it is left when this returns, but for a program that the kernel does not let go of.
  private static void kill(int pid) {
    ChildProcess.kill(pid);
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(1);
    while (ChildProcess.end(pid).isEmpty()) {
      if (System.nanoTime() - deadline > 0) {
        LATE.add(pid);
        return;
      }
      LockSupport.parkNanos(ENDING);
    }
  }

  private static String text(int file) {
    return new String(Syscalls.readWhole(file), StandardCharsets.UTF_8);
  }

  /// The program's full path, or empty: searched on the PATH and in the folders of administration
  /// programs.
  public static Optional<Path> find(String program) {
    if (program.contains("/")) {
      return Optional.of(Path.of(program)).filter(Files::isExecutable);
    }
    return folders().stream()
        .map(folder -> Path.of(folder, program))
        .filter(Files::isExecutable)
        .findFirst();
  }

  private static List<String> variables(List<String> more) {
    Map<String, String> all = new HashMap<>(System.getenv());
    all.put("LC_ALL", "C");
    all.put("PATH", String.join(":", folders()));
    for (String variable : more) {
      int equals = variable.indexOf('=');
      all.put(variable.substring(0, equals), variable.substring(equals + 1));
    }
    return all.entrySet().stream().map(one -> one.getKey() + "=" + one.getValue()).toList();
  }

  private static List<String> folders() {
    List<String> folders = new ArrayList<>();
    String path = System.getenv("PATH");
    if (path != null) {
      for (String folder : path.split(File.pathSeparator, -1)) {
        if (folder.startsWith("/") && !folders.contains(folder)) {
          folders.add(folder);
        }
      }
    }
    for (String folder : MORE_FOLDERS) {
      if (!folders.contains(folder)) {
        folders.add(folder);
      }
    }
    return folders;
  }
}
