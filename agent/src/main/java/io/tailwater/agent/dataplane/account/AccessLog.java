package io.tailwater.agent.dataplane.account;

import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.PodRef;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.LongAdder;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// One record per connection that is over. Loops hand records to a bounded queue and never wait;
/// one writer thread makes the lines and writes them in batches. What finds no room is dropped and
/// counted.
///
/// Refusals repeat: per pod and name `REFUSALS_PER_MINUTE` are written, the rest is counted.
public final class AccessLog implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(AccessLog.class);

  /// Some 10 MB of records at worst; a second or two of a busy node.
  static final int QUEUE = 8192;

  static final int REFUSALS_PER_MINUTE = 10;

  /// Different (pod, name) pairs that are told apart within a minute.
  static final int MAX_REFUSED = 10_000;

  private static final int BATCH = 128;

  /// In characters, for a batch of usual lines.
  private static final int ROOM = BATCH * 512;

  /// How long a first record waits for others: waking for each one costs a busy node more than
  /// writing it.
  private static final long GATHER_MILLIS = 10;

  private static final long MINUTE = TimeUnit.MINUTES.toNanos(1);

  private record Refused(PodRef pod, String name) {}

  private final AccessLogConfig.Format format;
  private final OutputStream out;
  private final ArrayBlockingQueue<AccessRecord> queue;
  private final ConcurrentHashMap<Refused, AtomicInteger> refused = new ConcurrentHashMap<>();
  private final LongAdder dropped = new LongAdder();
  private final LongAdder suppressed = new LongAdder();
  private final Thread writer;

  /// Written by `close`, read by the writer.
  private volatile boolean closing;

  private boolean failing;

  /// Opens the file, to append and to be followed when it is moved away, and starts the writer.
  ///
  /// @throws IOException when it cannot be opened
  public static AccessLog open(AccessLogConfig config) throws IOException {
    return new AccessLog(config.format(), stream(config.path()), QUEUE);
  }

  private static OutputStream stream(Path path) throws IOException {
    // Not by its path: a socket or a pipe of another user cannot be opened anew.
    return switch (path.toString()) {
      case "/dev/stdout" -> new FileOutputStream(FileDescriptor.out);
      case "/dev/stderr" -> new FileOutputStream(FileDescriptor.err);
      default -> new FollowedFile(path);
    };
  }

  AccessLog(AccessLogConfig.Format format, OutputStream out, int capacity) {
    this.format = format;
    this.out = out;
    this.queue = new ArrayBlockingQueue<>(capacity);
    this.writer = Thread.ofPlatform().name("access-log").daemon(true).unstarted(this::write);
    writer.start();
  }

  /// On a loop; never waits.
  void add(AccessRecord record) {
    if (record.outcome() instanceof Outcome.Refused && !mayTell(record)) {
      suppressed.increment();
    } else if (!queue.offer(record)) {
      dropped.increment();
    }
  }

  private boolean mayTell(AccessRecord record) {
    ConnectionRecord c = record.connection();
    Refused key =
        new Refused(
            c.pod().ref(),
            AccessRecord.name(c.preface()).orElseGet(() -> AddressText.of(c.dst().address())));
    AtomicInteger told = refused.get(key);
    if (told == null) {
      if (refused.size() >= MAX_REFUSED) {
        return false;
      }
      told = refused.computeIfAbsent(key, _ -> new AtomicInteger());
    }
    return told.incrementAndGet() <= REFUSALS_PER_MINUTE;
  }

  /// Records that found no room in the queue, or could not be written.
  public long dropped() {
    return dropped.sum();
  }

  /// Refusals beyond the bound per pod and name.
  public long suppressed() {
    return suppressed.sum();
  }

  private void write() {
    List<AccessRecord> batch = new ArrayList<>(BATCH);
    StringBuilder lines = new StringBuilder(ROOM);
    long minute = System.nanoTime();
    while (!closing || !queue.isEmpty()) {
      try {
        AccessRecord first = queue.poll(1, TimeUnit.SECONDS);
        if (first != null) {
          batch.add(first);
          if (!closing && queue.size() < BATCH) {
            TimeUnit.MILLISECONDS.sleep(GATHER_MILLIS);
          }
          queue.drainTo(batch, BATCH - 1);
          writeAll(batch, lines);
        } else {
          letGo();
        }
      } catch (InterruptedException _) {
        // Only close() interrupts, to wake it up; what was taken already is written.
        queue.drainTo(batch, BATCH - 1);
        writeAll(batch, lines);
      }
      if (System.nanoTime() - minute > MINUTE) {
        minute = System.nanoTime();
        refused.clear();
      }
    }
  }

  /// A file that was moved away does not stay open because nothing happens.
  private void letGo() {
    try {
      out.flush();
    } catch (IOException e) {
      LOG.debug("the access log cannot be flushed: {}", e.getMessage());
    }
  }

  private void writeAll(List<AccessRecord> batch, StringBuilder lines) {
    for (AccessRecord record : batch) {
      AccessLine.append(lines, record, format);
      lines.append('\n');
    }
    try {
      out.write(lines.toString().getBytes(StandardCharsets.US_ASCII));
      failing = false;
    } catch (IOException e) {
      dropped.add(batch.size());
      if (!failing) {
        LOG.error("the access log cannot be written, records are dropped: {}", e.getMessage());
      }
      failing = true;
    }
    batch.clear();
    lines.setLength(0);
  }

  /// Writes what is queued, for at most two seconds.
  @Override
  public void close() {
    closing = true;
    writer.interrupt();
    try {
      writer.join(2000);
    } catch (InterruptedException _) {
      Thread.currentThread().interrupt();
    }
  }
}
