package io.tailwater.agent.control.capture;

import io.tailwater.agent.dataplane.transport.AgentMark;
import io.tailwater.iptables.netns.NetnsId;
import io.tailwater.iptables.rule.Mark;
import io.tailwater.iptables.rule.Strictness;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFileAttributes;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// The secret mark by which the rules of one pod know the agent's sockets, and its replacement when
/// somebody guesses at it.
///
/// The marks are kept in a file of the state folder, so that the next agent goes on with the same.
/// A replacement takes three steps, so that no connection of the agent's own is refused: rules that
/// let both marks past, sockets that are born with the new one, and after a while rules that let
/// only the new one past and leave alone what began with an old one.
///
/// One thread at a time.
final class PodMarks {
  private static final Logger LOG = LoggerFactory.getLogger(PodMarks.class);

  /// How long sockets that were made with the old mark may take to be connected.
  static final long JOINING_NANOS = TimeUnit.SECONDS.toNanos(3);

  /// A connection outlives so many replacements, of which there is at most one a minute.
  static final int MOST_FORMER = 8;

  /// What Istio's rules compare marks under, and which of them mean something to them.
  private static final int ISTIO_MASK = 0xfff;

  private static final int ISTIO_PROXY = 0x539;
  private static final int ISTIO_INBOUND = 0x111;

  /// In bytes, of a file with all the marks there can be.
  private static final long LARGEST = 9L * (MOST_FORMER + 2);

  private static final Set<PosixFilePermission> OURS_ALONE =
      Set.of(PosixFilePermission.OWNER_READ, PosixFilePermission.OWNER_WRITE);

  private static final class Randomness {
    static final SecureRandom SOURCE = new SecureRandom();
  }

  private final Path file;
  private final AgentMark live;
  private final List<Integer> former = new ArrayList<>();
  private int current;

  /// 0 while nothing is being replaced.
  private int next;

  private boolean sockets;
  private long joinedNanos;

  /// What is written down of the rules, as the file has it; null before anything was.
  private @Nullable String told;

  private PodMarks(Path file, List<Integer> known) {
    this.file = file;
    this.current = known.isEmpty() ? random() : known.getFirst();
    known.stream().skip(1).limit(MOST_FORMER).forEach(former::add);
    this.live = new AgentMark(current);
    if (known.isEmpty()) {
      save();
    }
  }

  /// The marks of a namespace: those that an agent before us had, or a new one.
  static PodMarks of(Path stateDir, NetnsId namespace) {
    Path file = file(stateDir, namespace);
    return new PodMarks(file, load(file));
  }

  static Path file(Path stateDir, NetnsId namespace) {
    return stateDir
        .resolve("marks")
        .resolve(Long.toUnsignedString(namespace.device(), 16) + "-" + namespace.inode());
  }

  /// The file that says what the rules in force are like, of a file of marks; nothing in it is
  /// secret:
  ///
  ///     policy closed
  ///     ipv6 captured
  ///     group 4711 system.slice/tailwater
  static Path rulesFile(Path file) {
    return file.getParent().resolveSibling("rules").resolve(file.getFileName());
  }

  /// What sockets are born with.
  AgentMark live() {
    return live;
  }

  /// The mark that rules let past.
  Mark agent() {
    return new Mark(current, -1);
  }

  /// The other marks that rules have to know.
  Strictness in(Strictness strictness) {
    return new Strictness(
        next == 0 ? Optional.empty() : Optional.of(new Mark(next, -1)),
        former.stream().map(mark -> new Mark(mark, -1)).toList(),
        strictness.cgroup(),
        strictness.closed(),
        strictness.knownProtocolsOnly(),
        strictness.log());
  }

  /// Begins a replacement, unless one is under way: rules are to let both past.
  void replace() {
    if (next == 0) {
      next = random();
      sockets = false;
      save();
    }
  }

  /// The rules that let both past are in force. Whether sockets that were made before are to be
  /// thrown away now.
  boolean bothPass(long now) {
    if (next == 0 || sockets) {
      return false;
    }
    sockets = true;
    joinedNanos = now;
    live.become(next);
    return true;
  }

  /// Ends a replacement when it is time; rules are to let only the new one past.
  void settle(long now) {
    if (next != 0 && sockets && now - joinedNanos >= JOINING_NANOS) {
      former.addFirst(current);
      while (former.size() > MOST_FORMER) {
        former.removeLast();
      }
      current = next;
      next = 0;
      save();
    }
  }

  /// How long until [#settle] has something to do; empty when nothing is being replaced.
  Optional<Long> settlesIn(long now) {
    return next == 0 || !sockets
        ? Optional.empty()
        : Optional.of(Math.max(0, joinedNanos + JOINING_NANOS - now));
  }

  /// These rules are in force. Written down for `rules verify`, which could not find out what
  /// policy says of this pod, nor the agent's control group.
  ///
  /// @param ipv6 what became of it, as `pods` tells it
  void inForce(Strictness rules, String ipv6) {
    String text =
        "policy "
            + (rules.closed() ? "closed" : "open")
            + "\nipv6 "
            + ipv6
            + "\n"
            + rules
                .cgroup()
                .map(group -> "group " + group.id() + " " + group.path() + "\n")
                .orElse("");
    if (text.equals(told)) {
      return;
    }
    Path there = rulesFile(file);
    try {
      Files.createDirectories(there.getParent());
      Files.writeString(there, text);
      told = text;
    } catch (IOException e) {
      LOG.debug("stateDir: {} cannot be written: {}", there, e.toString());
    }
  }

  /// The namespace is gone: another one may have its number.
  void forget() {
    try {
      Files.deleteIfExists(file);
      Files.deleteIfExists(rulesFile(file));
    } catch (IOException e) {
      LOG.warn("stateDir: {} cannot be deleted: {}", file, e.toString());
    }
  }

  private static int random() {
    while (true) {
      int mark = Randomness.SOURCE.nextInt();
      if (isFit(mark)) {
        return mark;
      }
    }
  }

  private static boolean isFit(int mark) {
    int istio = mark & ISTIO_MASK;
    return istio != ISTIO_PROXY && istio != ISTIO_INBOUND && KnownAgent.isMasked(mark);
  }

  // ---- the file: marks in hexadecimal, one in a line, the newest first

  static List<Integer> load(Path file) {
    try {
      PosixFileAttributes attributes =
          Files.readAttributes(file, PosixFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
      if (!attributes.isRegularFile() || attributes.size() > LARGEST) {
        throw new IOException("no file of marks");
      }
      if (!OURS_ALONE.containsAll(attributes.permissions())) {
        LOG.error("stateDir: {} could be read by others; a new mark is made", file);
        return List.of();
      }
      List<Integer> marks = new ArrayList<>();
      for (String line : Files.readAllLines(file, StandardCharsets.US_ASCII)) {
        marks.add(mark(line));
      }
      if (marks.isEmpty()) {
        throw new IOException("it is empty");
      }
      return marks;
    } catch (NoSuchFileException _) {
      return List.of(); // this namespace is new
    } catch (IOException | NumberFormatException e) {
      LOG.error("stateDir: {} cannot be read ({}); a new mark is made", file, e.toString());
      return List.of();
    }
  }

  private static int mark(String line) throws IOException {
    int mark = Integer.parseUnsignedInt(line.strip(), 16);
    if (!isFit(mark)) {
      throw new IOException("'" + line.strip() + "' is no mark");
    }
    return mark;
  }

  private void save() {
    List<String> lines = new ArrayList<>();
    if (next != 0) {
      lines.add(Integer.toHexString(next));
    }
    lines.add(Integer.toHexString(current));
    former.forEach(mark -> lines.add(Integer.toHexString(mark)));
    @Nullable Path written = null;
    try {
      Files.createDirectories(file.getParent());
      written =
          Files.createTempFile(
              file.getParent(),
              ".mark",
              "",
              PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
      Files.write(written, lines, StandardCharsets.US_ASCII);
      Files.move(written, file, StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException e) {
      LOG.warn(
          "stateDir: the mark cannot be kept in {} ({}); after a restart of the agent its old"
              + " connections will end",
          file,
          e.toString());
    }
  }
}
