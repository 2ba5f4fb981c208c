package io.tailwater.iptables.queue;

import io.tailwater.iptables.netns.NetworkNamespace;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/// What the kernel tells of a queue that somebody reads, from
/// `/proc/net/netfilter/nfnetlink_queue`.
///
/// @param reader the port of the socket that reads it
/// @param waiting packets without a verdict
/// @param droppedFull packets dropped because as many waited as may
/// @param droppedUnread packets dropped because the reader's socket was full
/// @param lastId the number of the last packet
public record QueueStatistics(
    int queue, int reader, int waiting, long droppedFull, long droppedUnread, int lastId) {
  /// Of the calling thread's namespace; `/proc/net` would be that of the process's first thread.
  private static final Path FILE = Path.of("/proc/thread-self/net/netfilter/nfnetlink_queue");

  private static final int COLUMNS = 8;

  /// Of one queue; empty when nobody reads it. On a platform thread outside of any namespace.
  public static Optional<QueueStatistics> of(NetworkNamespace namespace, int queue)
      throws IOException {
    List<String> lines;
    try {
      lines = namespace.call(() -> Files.readAllLines(FILE));
    } catch (NoSuchFileException e) {
      return Optional.empty(); // nobody has used a queue since the kernel started
    }
    return lines.stream()
        .map(QueueStatistics::parse)
        .flatMap(Optional::stream)
        .filter(one -> one.queue() == queue)
        .findFirst();
  }

  /// queue, port, waiting, copy mode, copy range, dropped (full), dropped (unread), last id, 1
  static Optional<QueueStatistics> parse(String line) {
    String[] columns = line.strip().split("\\s+", -1);
    if (columns.length < COLUMNS) {
      return Optional.empty();
    }
    try {
      return Optional.of(
          new QueueStatistics(
              Integer.parseInt(columns[0]),
              Integer.parseUnsignedInt(columns[1]),
              Integer.parseInt(columns[2]),
              Long.parseLong(columns[5]),
              Long.parseLong(columns[6]),
              Integer.parseUnsignedInt(columns[7])));
    } catch (NumberFormatException e) {
      return Optional.empty();
    }
  }
}
