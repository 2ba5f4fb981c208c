package io.tailwater.agent.control.source;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileVisitOption;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Resources out of a file, or of a folder with everything below it (`*.yaml`, `*.yml`, `*.json`,
/// in the order of their paths; names with a leading dot are left out, as the `..data` folders of
/// Kubernetes volumes are).
///
/// A change is a change of content, however it came about: a write, a rename, a symlink swapped. A
/// virtual thread looks once a second; a change is taken over when two looks at it agree, so that a
/// file is not read half written. Where a document or file is bad, what was last good of it stays
/// in force and the rest goes on.
///
/// A listener that throws hears of the same change again at the next look.
///
/// `read` and the watching thread are never used together: one thread at a time.
public final class FileResources implements ResourceSource {
  private static final Logger LOG = LoggerFactory.getLogger(FileResources.class);

  /// How often it looks.
  static final Duration INTERVAL = Duration.ofSeconds(1);

  /// How long a change must be at rest before it is read.
  static final Duration SETTLE = Duration.ofMillis(30);

  private static final long MAX_BYTES = 64L << 20;
  private static final int MAX_DEPTH = 16;

  /// A file whose time stamp is younger than this may change again without a new time stamp.
  private static final long RACY_MILLIS = 2_000;

  private final Path path;
  private final Map<Path, Known> known = new TreeMap<>();
  private volatile boolean closed;
  private @Nullable Thread watcher;

  private record Known(String hash, List<KubeObject> objects, List<Problem> problems) {}

  private record Stamp(long size, long modified, @Nullable Object file) {}

  private record Seen(Map<Path, Stamp> files, List<Problem> problems, boolean complete) {
    boolean isRacy(long now) {
      return files.values().stream().anyMatch(s -> now - s.modified < RACY_MILLIS);
    }
  }

  public FileResources(Path path) {
    this.path = path;
  }

  @Override
  public String name() {
    return path.toString();
  }

  @Override
  public void start(Listener listener) {
    Seen first = look();
    SourceSnapshot snapshot = load(first);
    listener.changed(snapshot);
    watcher =
        Thread.ofVirtual().name("files " + path).start(() -> watch(listener, first, snapshot));
  }

  private void watch(Listener listener, Seen first, SourceSnapshot loaded) {
    Seen last = first;
    SourceSnapshot current = loaded;
    String failure = "";
    while (!closed) {
      LockSupport.parkNanos(INTERVAL.toNanos());
      if (closed) {
        return;
      }
      try {
        Seen now = look();
        boolean changed = !now.equals(last);
        if (!changed
            && failure.isEmpty()
            && !now.isRacy(System.currentTimeMillis() - INTERVAL.toMillis())) {
          continue;
        }
        if (changed) {
          now = settle(now);
        }
        last = now;
        SourceSnapshot next = load(now);
        if (!closed && !sameAs(current, next)) {
          listener.changed(next);
          current = next;
        }
        failure = "";
      } catch (RuntimeException e) {
        // A defect behind one change must not end the watching: later changes would never come into
        // force, and nobody would hear of it.
        if (!failure.equals(e.toString())) {
          LOG.error(
              "{}: its change cannot be taken over, and is tried again; the last policy stays in"
                  + " force",
              path,
              e);
        }
        failure = e.toString();
      }
    }
  }

  private Seen settle(Seen seen) {
    Seen last = seen;
    for (int i = 0; i < 30 && !closed; i++) {
      LockSupport.parkNanos(SETTLE.toNanos());
      Seen now = look();
      if (now.equals(last)) {
        return now;
      }
      last = now;
    }
    return last;
  }

  /// Objects that did not change are the same objects, so identity tells.
  private static boolean sameAs(SourceSnapshot a, SourceSnapshot b) {
    return a.objects().equals(b.objects()) && a.problems().equals(b.problems());
  }

  @Override
  public void close() {
    closed = true;
    Thread thread = watcher;
    if (thread != null) {
      LockSupport.unpark(thread);
      try {
        thread.join(Duration.ofSeconds(5));
      } catch (InterruptedException _) {
        Thread.currentThread().interrupt();
      }
    }
  }

  /// Looks and reads now. Never throws: what cannot be read is a problem in the snapshot.
  public SourceSnapshot read() {
    return load(look());
  }

  private Seen look() {
    Map<Path, Stamp> files = new TreeMap<>();
    List<Problem> problems = new ArrayList<>();
    boolean[] complete = {true};
    try {
      if (!Files.exists(path)) {
        throw new NoSuchFileException(path.toString());
      }
      if (!Files.isDirectory(path)) {
        files.put(path, stamp(Files.readAttributes(path, BasicFileAttributes.class)));
      } else {
        Files.walkFileTree(
            path,
            EnumSet.of(FileVisitOption.FOLLOW_LINKS),
            MAX_DEPTH,
            visitor(files, problems, complete));
      }
    } catch (IOException e) {
      complete[0] = false;
      problems.add(unreadable(path, e));
    }
    return new Seen(files, problems, complete[0]);
  }

  private SimpleFileVisitor<Path> visitor(
      Map<Path, Stamp> files, List<Problem> problems, boolean[] complete) {
    return new SimpleFileVisitor<>() {
      @Override
      public FileVisitResult preVisitDirectory(Path dir, BasicFileAttributes attributes) {
        return !dir.equals(path) && isHidden(dir)
            ? FileVisitResult.SKIP_SUBTREE
            : FileVisitResult.CONTINUE;
      }

      @Override
      public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) {
        if (attributes.isRegularFile() && !isHidden(file) && isResourceFile(file)) {
          files.put(file, stamp(attributes));
        }
        return FileVisitResult.CONTINUE;
      }

      @Override
      public FileVisitResult visitFileFailed(Path file, IOException e) {
        if (!isHidden(file) && (isResourceFile(file) || Files.isDirectory(file))) {
          complete[0] = false;
          problems.add(unreadable(file, e));
        }
        return FileVisitResult.CONTINUE;
      }
    };
  }

  private static boolean isHidden(Path file) {
    return String.valueOf(file.getFileName()).startsWith(".");
  }

  /// Whether a file in a folder is one of ours, by its name.
  public static boolean isResourceFile(Path file) {
    String name = String.valueOf(file.getFileName()).toLowerCase(Locale.ROOT);
    return name.endsWith(".yaml") || name.endsWith(".yml") || name.endsWith(".json");
  }

  private static Stamp stamp(BasicFileAttributes attributes) {
    return new Stamp(
        attributes.size(), attributes.lastModifiedTime().toMillis(), attributes.fileKey());
  }

  private static Problem unreadable(Path file, Exception e) {
    String why =
        switch (e) {
          case NoSuchFileException _ -> "there is no such file or folder";
          case java.nio.file.AccessDeniedException _ -> "may not be read (permission denied)";
          case java.nio.file.FileSystemLoopException _ -> "is a link to a folder above it";
          case CharacterCodingException _ -> "is not UTF-8";
          default -> "cannot be read: " + e.getMessage();
        };
    return new Problem(
        Problem.Severity.ERROR, file.toString(), 0, java.util.Optional.empty(), "", why);
  }

  private SourceSnapshot load(Seen seen) {
    List<Problem> problems = new ArrayList<>(seen.problems());
    if (seen.complete()) {
      known.keySet().retainAll(seen.files().keySet());
    }
    for (Path file : seen.files().keySet()) {
      try {
        loadFile(file);
      } catch (IOException e) {
        problems.add(unreadable(file, e));
      }
    }
    List<KubeObject> objects = new ArrayList<>();
    known.forEach((_, file) -> {
      objects.addAll(file.objects());
      problems.addAll(file.problems());
    });
    return new SourceSnapshot(name(), objects, problems);
  }

  private void loadFile(Path file) throws IOException {
    if (Files.size(file) > MAX_BYTES) {
      throw new IOException("it is larger than " + (MAX_BYTES >> 20) + " MiB");
    }
    byte[] bytes = Files.readAllBytes(file);
    String hash = hash(bytes);
    @Nullable Known before = known.get(file);
    if (before != null && before.hash().equals(hash)) {
      return;
    }
    known.put(file, parse(file, hash, text(bytes, file), before));
  }

  private static Known parse(Path file, String hash, String text, @Nullable Known before) {
    Problems problems = new Problems(file.toString());
    List<KubeObject> objects = new ArrayList<>();
    for (YamlDocument document : YamlDocument.readAll(text)) {
      switch (document) {
        case YamlDocument.Broken(int line, String why) -> problems.error(line, "", why);
        case YamlDocument.Parsed(YamlValue root) -> objects.addAll(KubeObject.read(root, problems));
      }
    }
    if (problems.hasErrors() && before != null) {
      // Which resource a bad document was meant to hold is not known: whatever this file held and
      // does not hold now stays.
      Set<ResourceKey> present = new HashSet<>();
      objects.forEach(o -> present.add(o.key()));
      List<String> kept = new ArrayList<>();
      for (KubeObject old : before.objects()) {
        if (!present.contains(old.key())) {
          objects.add(old);
          kept.add(old.key().toString());
        }
      }
      if (!kept.isEmpty()) {
        problems.warning(
            0, "", "the last good version stays in force of " + String.join(", ", kept));
      }
    }
    return new Known(hash, List.copyOf(objects), problems.list());
  }

  private static String text(byte[] bytes, Path file) throws CharacterCodingException {
    String text =
        StandardCharsets.UTF_8
            .newDecoder()
            .onMalformedInput(CodingErrorAction.REPORT)
            .onUnmappableCharacter(CodingErrorAction.REPORT)
            .decode(ByteBuffer.wrap(bytes))
            .toString();
    // JSON may be indented with tabs, YAML may not; inside JSON texts no bare tab is legal.
    return String.valueOf(file.getFileName()).toLowerCase(Locale.ROOT).endsWith(".json")
        ? text.replace('\t', ' ')
        : text;
  }

  /// The documents of a file, for those who read files of other kinds too.
  ///
  /// @throws IOException when it cannot be read, with a message for people
  public static List<YamlDocument> documents(Path file) throws IOException {
    try {
      return YamlDocument.readAll(text(Files.readAllBytes(file), file));
    } catch (IOException e) {
      throw new IOException(unreadable(file, e).message(), e);
    }
  }

  private static String hash(byte[] bytes) {
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }
}
