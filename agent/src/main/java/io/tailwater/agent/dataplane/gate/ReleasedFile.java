package io.tailwater.agent.dataplane.gate;

import io.tailwater.agent.dataplane.sniff.Authority;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.PodRef;
import io.tailwater.iptables.queue.FlowTuple;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// What a next agent has to know of released connections: `released.log` in the state folder, to
/// which lines are added, and which is written anew when most of it is about connections that have
/// ended. Without it the connections go on; then their names are not known, and their bytes are
/// estimates.
///
/// ```
/// + pod src dst first firstBack openedMillis sni      (fields apart by a tab, sni may be empty)
/// - pod src dst
/// ```
///
/// A line that cannot be read is passed over and counted. The gate's thread only.
public final class ReleasedFile {
  private static final Logger LOG = LoggerFactory.getLogger(ReleasedFile.class);

  /// Lines that are written at once, for each second; the others wait for [#flush], where most that
  /// were begun have ended.
  static final int AT_ONCE = 200;

  /// Lines of ended connections that are borne before the file is written anew.
  static final int SPARE_LINES = 20_000;

  /// Longer ones are not ours.
  private static final int LONGEST_LINE = 700;

  private static final int MOST_BYTES = 64 << 20;

  private static final int FIELDS = 8;

  private final @Nullable Path file;
  private final LongSupplier nanos;
  private final Map<PodRef, Map<FlowTuple, Kept>> found = new HashMap<>();
  private final StringBuilder pending = new StringBuilder();
  private @Nullable FileChannel out;
  private int lines;
  private int living;
  private int atOnce = AT_ONCE;
  private long budgetFrom;
  private boolean failing;

  /// Set by who hands over to another agent, or takes over from one.
  private volatile boolean shared;

  private long readUpTo;
  private final Set<PodRef> mine = new HashSet<>();

  /// One connection as it stands in the file.
  ///
  /// @param first sequence number of the pod's first byte; with `firstBack` 0 neither is known
  /// @param sni what the hello named
  record Kept(
      FlowTuple tuple, int first, int firstBack, long openedMillis, Optional<HostName> sni) {}

  private ReleasedFile(@Nullable Path file, LongSupplier nanos) {
    this.file = file;
    this.nanos = nanos;
    this.budgetFrom = nanos.getAsLong();
  }

  /// The file of a state folder.
  public static ReleasedFile in(Path stateDir, LongSupplier nanos) {
    return new ReleasedFile(stateDir.resolve("released.log"), nanos);
  }

  /// Keeps nothing.
  public static ReleasedFile none(LongSupplier nanos) {
    return new ReleasedFile(null, nanos);
  }

  /// What stands there for a pod, once: from now on it is ours to write about. Nobody else writes
  /// about it any more.
  List<Kept> take(PodRef pod) {
    read();
    Map<FlowTuple, Kept> kept = found.remove(pod);
    mine.add(pod);
    return kept == null ? List.of() : List.copyOf(kept.values());
  }

  // ---- writing

  /// Writes a connection down before this returns; false where too many were in this second.
  boolean addNow(ReleasedConnection one) {
    if (file == null || !mayAtOnce()) {
      return false;
    }
    add(one);
    write();
    return true;
  }

  /// The same with the next [#flush].
  void add(ReleasedConnection one) {
    if (file == null) {
      return;
    }
    line(pending, pod(one), keptOf(one));
    lines++;
    living++;
  }

  /// It has ended.
  void remove(PodRef pod, FlowTuple tuple) {
    if (file == null) {
      return;
    }
    pending.append("-\t").append(pod).append('\t');
    ends(pending, tuple).append('\n');
    lines++;
    living--;
    if (mayAtOnce()) {
      write();
    }
  }

  private boolean mayAtOnce() {
    long now = nanos.getAsLong();
    if (now - budgetFrom >= TimeUnit.SECONDS.toNanos(1)) {
      budgetFrom = now;
      atOnce = AT_ONCE;
    }
    return --atOnce >= 0;
  }

  /// Writes what waits, and the whole file anew where too much of it is past.
  ///
  /// @param all those that live
  void flush(Supplier<List<ReleasedConnection>> all) {
    write();
    if (file != null && !shared && lines > SPARE_LINES + 2L * living) {
      rewrite(all.get());
    }
  }

  /// Whether another agent writes to the file too, about other pods: then it is only added to. Any
  /// thread.
  public void share(boolean withAnother) {
    shared = withAnother;
  }

  private void write() {
    if (pending.isEmpty() || file == null) {
      return;
    }
    try {
      append(pending);
      failing = false;
    } catch (IOException e) {
      failed(e);
    }
    pending.setLength(0);
  }

  private void append(CharSequence text) throws IOException {
    FileChannel channel = out;
    if (channel == null || !channel.isOpen()) {
      Path to = Objects.requireNonNull(file);
      Files.createDirectories(to.getParent());
      channel =
          FileChannel.open(
              to, StandardOpenOption.CREATE, StandardOpenOption.WRITE, StandardOpenOption.APPEND);
      out = channel;
    }
    ByteBuffer bytes = ByteBuffer.wrap(text.toString().getBytes(StandardCharsets.US_ASCII));
    while (bytes.hasRemaining()) {
      channel.write(bytes);
    }
  }

  private void rewrite(List<ReleasedConnection> all) {
    if (file == null) {
      return;
    }
    read(); // what was left by others
    StringBuilder text = new StringBuilder();
    int written = 0;
    for (ReleasedConnection one : all) {
      if (one.isWritten()) {
        line(text, pod(one), keptOf(one));
        written++;
      }
    }
    for (Map.Entry<PodRef, Map<FlowTuple, Kept>> left : found.entrySet()) {
      for (Kept kept : left.getValue().values()) {
        line(text, left.getKey(), kept);
        written++;
      }
    }
    Path next = file.resolveSibling("released.log.next");
    try {
      Files.writeString(next, text, StandardCharsets.US_ASCII);
      Files.move(next, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      close();
      readUpTo = text.length();
      lines = written;
      living = written;
    } catch (IOException e) {
      failed(e);
    }
  }

  private void failed(IOException e) {
    if (!failing) {
      LOG.warn(
          "stateDir: released connections cannot be kept in {}: {}; after a crash their names and"
              + " bytes will not be known",
          file,
          e.toString());
    }
    failing = true;
  }

  private void close() {
    try {
      if (out != null) {
        out.close();
        out = null;
      }
    } catch (IOException e) {
      failed(e);
    }
  }

  private static PodRef pod(ReleasedConnection one) {
    return one.pod.pod().pod().ref();
  }

  private static Kept keptOf(ReleasedConnection one) {
    Optional<HostName> sni =
        one.record.preface() instanceof Preface.Tls tls ? Optional.of(tls.sni()) : Optional.empty();
    return new Kept(
        one.tuple, one.first(), one.firstBack(), one.record.openedAt().toEpochMilli(), sni);
  }

  private static void line(StringBuilder to, PodRef pod, Kept kept) {
    to.append("+\t").append(pod).append('\t');
    ends(to, kept.tuple()).append('\t');
    to.append(Integer.toUnsignedString(kept.first())).append('\t');
    to.append(Integer.toUnsignedString(kept.firstBack())).append('\t');
    to.append(kept.openedMillis()).append('\t');
    to.append(kept.sni().map(HostName::text).orElse("")).append('\n');
  }

  private static StringBuilder ends(StringBuilder to, FlowTuple tuple) {
    return to.append(AddressText.of(tuple.sourceAddress(), tuple.sourcePort()))
        .append('\t')
        .append(AddressText.of(tuple.destinationAddress(), tuple.destinationPort()));
  }

  // ---- reading

  /// What was added since the last call.
  private void read() {
    if (file == null) {
      return;
    }
    String text;
    try (FileChannel in = FileChannel.open(file, StandardOpenOption.READ)) {
      long more = Math.max(0, in.size() - readUpTo);
      if (more > MOST_BYTES) {
        LOG.warn("stateDir: {} has more lines than can be; the last are not read", file);
      }
      ByteBuffer bytes = ByteBuffer.allocate((int) Math.min(more, MOST_BYTES));
      while (bytes.hasRemaining() && in.read(bytes, readUpTo + bytes.position()) > 0) {
        // until all is there
      }
      text = new String(bytes.array(), 0, bytes.position(), StandardCharsets.ISO_8859_1);
    } catch (NoSuchFileException _) {
      return; // the first start
    } catch (IOException e) {
      failed(e);
      return;
    }
    int unreadable = 0;
    int from = 0;
    for (int end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', from)) {
      lines++;
      unreadable += take(text.substring(from, end)) ? 0 : 1;
      from = end + 1;
    }
    readUpTo += from; // of a line that is being written the rest comes later
    if (unreadable > 0) {
      LOG.warn("stateDir: {} lines of {} cannot be read and are passed over", unreadable, file);
    }
  }

  private boolean take(String line) {
    String[] fields = line.split("\t", -1);
    if (line.length() > LONGEST_LINE || fields.length < 4) {
      return false;
    }
    int slash = fields[1].indexOf('/');
    Optional<FlowTuple> tuple = tuple(fields[2], fields[3]);
    if (slash <= 0 || tuple.isEmpty()) {
      return false;
    }
    PodRef pod = new PodRef(fields[1].substring(0, slash), fields[1].substring(slash + 1));
    if (mine.contains(pod)) {
      lines--; // counted when it was written
      return true;
    }
    if (fields[0].equals("-") && fields.length == 4) {
      Map<FlowTuple, Kept> of = found.getOrDefault(pod, new HashMap<>());
      living -= of.remove(tuple.get()) == null ? 0 : 1;
      return true;
    }
    if (!fields[0].equals("+") || fields.length != FIELDS) {
      return false;
    }
    try {
      Optional<HostName> sni =
          HostName.parse(fields[7]) instanceof HostName.Parsed.Valid(HostName name, _)
              ? Optional.of(name)
              : Optional.empty();
      Kept kept =
          new Kept(
              tuple.get(),
              Integer.parseUnsignedInt(fields[4]),
              Integer.parseUnsignedInt(fields[5]),
              Long.parseLong(fields[6]),
              sni);
      Map<FlowTuple, Kept> of = found.computeIfAbsent(pod, _ -> new LinkedHashMap<>());
      living += of.put(kept.tuple(), kept) == null ? 1 : 0;
      return sni.isPresent() || fields[7].isEmpty();
    } catch (NumberFormatException _) {
      return false;
    }
  }

  private static Optional<FlowTuple> tuple(String source, String destination) {
    return socket(source)
        .flatMap(from ->
            socket(destination)
                .filter(to -> sameFamily(from, to))
                .map(to -> FlowTuple.of(from, to)));
  }

  private static boolean sameFamily(InetSocketAddress a, InetSocketAddress b) {
    return a.getAddress().getClass().equals(b.getAddress().getClass());
  }

  private static Optional<InetSocketAddress> socket(String text) {
    return Authority.parse(text)
        .filter(a -> a.address().isPresent() && a.port().isPresent())
        .map(a -> new InetSocketAddress(a.address().get(), a.port().get()));
  }
}
