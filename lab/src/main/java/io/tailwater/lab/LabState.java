package io.tailwater.lab;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ThreadLocalRandom;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/// What a lab leaves on the machine while it lives, and how to take it away: a folder
/// `/run/tailwater-lab/ID` with the owner's process id, namespaces `tw-ID-*`, folders
/// `/etc/netns/tw-ID-*`. Any thread, any process: removing is repeatable and two removers do not
/// hurt each other.
final class LabState {
  static final Path ROOT = Path.of("/run/tailwater-lab");
  private static final Path NAMESPACES = Path.of("/run/netns");
  private static final Path CONFIGURATION = Path.of("/etc/netns");
  private static final Duration LIMIT = Duration.ofSeconds(10);
  private static final String KEPT = "kept";

  /// Our namespaces and no others: `l` and four hex digits can be nobody's process id.
  private static final Pattern NAME = Pattern.compile("tw-(l[0-9a-f]{4})-.*");

  private LabState() {}

  /// Claims a new id for this process.
  static String claim() {
    try {
      Files.createDirectories(ROOT);
      Path fresh = Files.createTempDirectory(ROOT, ".new-");
      // The folder appears under its name with its owner inside, so a sweep never sees it
      // ownerless.
      Files.writeString(fresh.resolve("owner"), owner(ProcessHandle.current().pid()));
      while (true) {
        String id = "l" + HexFormat.of().toHexDigits(ThreadLocalRandom.current().nextInt(), 4);
        // Renaming onto a folder that is not empty fails; two claimers cannot both win.
        if (!Files.exists(ROOT.resolve(id))) {
          Files.move(fresh, ROOT.resolve(id), StandardCopyOption.ATOMIC_MOVE);
          return id;
        }
      }
    } catch (IOException e) {
      throw new LabException("cannot write to " + ROOT, e);
    }
  }

  /// From now on the lab belongs to nobody and stays until [#kept] removes it.
  static void keep(String id) {
    try {
      Files.writeString(ROOT.resolve(id).resolve("owner"), KEPT);
    } catch (IOException e) {
      throw new LabException("cannot write to " + ROOT, e);
    }
  }

  /// The labs that were left up on purpose.
  static List<String> kept() {
    return ids().filter(id -> ownerOf(id).filter(KEPT::equals).isPresent()).toList();
  }

  /// The labs whose owner was killed before it could clean up, and those that a restart of the
  /// machine left without a folder under `/run`.
  static List<String> orphans() {
    Stream<String> named =
        Stream.of(NAMESPACES, CONFIGURATION)
            .flatMap(folder -> list(folder, "tw-").stream())
            .map(path -> NAME.matcher(path.getFileName().toString()))
            .filter(Matcher::matches)
            .map(name -> name.group(1));
    return Stream.concat(ids(), named).distinct().filter(LabState::isOrphan).toList();
  }

  /// Ends what runs in the lab's namespaces and removes all that carries its id. Afterwards nothing
  /// is left.
  static void remove(String id) {
    String prefix = "tw-" + id + "-";
    for (Path namespace : list(NAMESPACES, prefix)) {
      String name = namespace.getFileName().toString();
      endProcesses(name);
      Commands.run(LIMIT, List.of("ip", "netns", "delete", name));
    }
    list(CONFIGURATION, prefix).forEach(LabState::deleteTree);
    deleteTree(ROOT.resolve(id));
  }

  private static void endProcesses(String namespace) {
    for (int attempt = 0; attempt < 3; attempt++) {
      List<ProcessHandle> processes =
          Commands.run(LIMIT, List.of("ip", "netns", "pids", namespace))
              .stdout()
              .lines()
              .map(String::strip)
              .filter(line -> !line.isEmpty())
              .flatMap(line -> ProcessHandle.of(Long.parseLong(line)).stream())
              // A thread of this very process that stands in a pod must not end the run.
              .filter(process -> process.pid() != ProcessHandle.current().pid())
              .toList();
      if (processes.isEmpty()) {
        return;
      }
      processes.forEach(ProcessHandle::destroyForcibly);
      for (ProcessHandle process : processes) {
        process
            .onExit()
            .completeOnTimeout(process, 2, java.util.concurrent.TimeUnit.SECONDS)
            .join();
      }
    }
  }

  private static boolean isOrphan(String id) {
    Optional<String> owner = ownerOf(id);
    if (owner.isEmpty()) {
      return true;
    }
    if (owner.get().equals(KEPT)) {
      return false;
    }
    String pid = owner.get().split(" ", -1)[0];
    return !pid.matches("\\d{1,9}") || !owner(Long.parseLong(pid)).equals(owner.get());
  }

  /// Process id and the clock tick it was started at, so that a reused id does not pass for the
  /// owner.
  private static String owner(long pid) {
    try {
      String stat = Files.readString(Path.of("/proc", Long.toString(pid), "stat"));
      // proc(5): the name in brackets may hold blanks; start time is field 22, the 20th after the
      // name.
      String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ", -1);
      return pid + " " + fields[19];
    } catch (IOException e) {
      return pid + " gone";
    }
  }

  private static Optional<String> ownerOf(String id) {
    try {
      return Optional.of(Files.readString(ROOT.resolve(id).resolve("owner")).strip());
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  private static Stream<String> ids() {
    return list(ROOT, "").stream()
        .map(path -> path.getFileName().toString())
        .filter(id -> !id.startsWith("."));
  }

  private static List<Path> list(Path folder, String prefix) {
    try (Stream<Path> entries = Files.list(folder)) {
      return entries
          .filter(path -> path.getFileName().toString().startsWith(prefix))
          .sorted()
          .toList();
    } catch (NoSuchFileException e) {
      return List.of();
    } catch (IOException | UncheckedIOException e) {
      throw new LabException("cannot list " + folder, e);
    }
  }

  static void deleteTree(Path top) {
    try (Stream<Path> tree = Files.walk(top)) {
      for (Path path : tree.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(path);
      }
    } catch (NoSuchFileException e) {
      // Another run removed it: that is what was wanted.
    } catch (IOException | UncheckedIOException e) {
      throw new LabException("cannot remove " + top, e);
    }
  }
}
