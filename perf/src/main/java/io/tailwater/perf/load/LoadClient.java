package io.tailwater.perf.load;

import io.tailwater.perf.measure.CpuTime;
import io.tailwater.perf.measure.Latencies;
import io.tailwater.perf.wire.ClientHello;
import io.tailwater.perf.wire.Command;
import io.tailwater.perf.wire.Pattern;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.zip.CRC32C;

/// The client's end, one thread: the caller's. Every method is one run against one address under
/// one name; a run whose count of bytes is wrong fails, so a number that comes out was really
/// transferred.
///
/// CPU is read here, right where counting starts and ends, and not by the driver, so that
/// connection set-up and process switches of the driver are not in it.
public final class LoadClient {
  private static final int BUFFER = 256 * 1024;

  /// How long a run may stay without any progress.
  private static final long PATIENCE_NANOS = 10_000_000_000L;

  private static final int IN_FLIGHT_HOLDING = 64;

  private final Epoll epoll = new Epoll();
  private final Sockets sockets = new Sockets();
  private final ByteBuffer in = ByteBuffer.allocateDirect(BUFFER);
  private final long inAddress = Sys.address(in);
  private final ByteBuffer pattern = Pattern.block();
  private final long patternAddress = Sys.address(pattern);
  private final Latencies latencies = new Latencies();
  private Connection[] byDescriptor = new Connection[1024];
  private final List<Connection> held = new ArrayList<>();
  private long sequence;

  private static final class Connection {
    final int fd;
    boolean greeted;
    long expected;
    int received;
    long sentAt;
    long moved;

    Connection(int fd) {
      this.fd = fd;
    }
  }

  /// Where a run goes: the address that is dialled, and hello + command + first message as one
  /// buffer.
  private final class Target {
    final ByteBuffer sockaddr;
    final long sockaddrAddress;
    final ByteBuffer opening;
    final long openingAddress;
    final int openingLength;
    final int message;

    Target(Fields run, Command command, boolean withMessage) {
      sockaddr = Sockets.sockaddr(run.get("address"), (int) run.number("port"));
      sockaddrAddress = Sys.address(sockaddr);
      byte[] hello = ClientHello.record(run.get("sni"), 1);
      message = hello.length + Command.BYTES;
      openingLength = message + (withMessage ? command.size() : 0);
      opening = ByteBuffer.allocateDirect(message + command.size());
      opening.put(hello).put(command.encode());
      openingAddress = Sys.address(opening);
    }

    Connection connect(int mask) {
      Connection connection = new Connection(sockets.connect(sockaddrAddress));
      if (connection.fd >= byDescriptor.length) {
        byDescriptor =
            Arrays.copyOf(byDescriptor, Math.max(connection.fd + 1, byDescriptor.length * 2));
      }
      byDescriptor[connection.fd] = connection;
      epoll.add(connection.fd, mask);
      return connection;
    }

    /// Sends what opens a connection; with a message it carries the next sequence number.
    void greet(Connection connection) {
      int error = sockets.error(connection.fd);
      if (error != 0) {
        throw new IllegalStateException("connect: " + Sys.C.strerror(error));
      }
      if (openingLength > message) {
        connection.expected = ++sequence;
        opening.putLong(message, connection.expected);
      }
      connection.greeted = true;
      send(connection, openingAddress, openingLength);
    }

    void sendMessage(Connection connection) {
      connection.expected = ++sequence;
      opening.putLong(message, connection.expected);
      send(connection, openingAddress + message, opening.capacity() - message);
    }
  }

  private static void send(Connection connection, long address, int length) {
    long sent = Sys.C.send(connection.fd, address, length, Sys.MSG_NOSIGNAL);
    if (sent != length) {
      throw new IllegalStateException(
          "send of " + length + " bytes gave " + sent + (sent < 0 ? ": " + Sys.reason() : ""));
    }
  }

  /// Kept connections in a closed loop: one message out, the same message back. In: connections,
  /// size, warmMillis, millis, pids. Out: messages, seconds, p50, p99 (µs), cpu, machine (s).
  Fields requests(Fields run) {
    int size = (int) run.number("size");
    Target target = new Target(run, Command.echo(size), true);
    int connections = (int) run.number("connections");
    List<Connection> open = new ArrayList<>();
    try {
      for (int i = 0; i < connections; i++) {
        Connection connection = target.connect(Sys.EPOLLOUT);
        sockets.noDelay(connection.fd);
        open.add(connection);
      }
      List<Long> pids = pids(run);
      latencies.clear();
      long start = Long.MAX_VALUE;
      long end = Long.MAX_VALUE;
      long warmUntil = System.nanoTime() + millis(run, "warmMillis");
      CpuTime before = new CpuTime(0, 0);
      long progress = System.nanoTime();
      while (true) {
        int ready = epoll.await(100);
        long now = System.nanoTime();
        if (now >= end) {
          break;
        }
        if (start == Long.MAX_VALUE && now >= warmUntil) {
          latencies.clear();
          before = CpuTime.now(pids);
          start = System.nanoTime();
          now = start;
          end = start + millis(run, "millis");
        }
        progress = checkProgress(ready, progress, now);
        for (int i = 0; i < ready; i++) {
          Connection connection = byDescriptor[epoll.descriptor(i)];
          if (!connection.greeted) {
            target.greet(connection);
            connection.sentAt = System.nanoTime();
            epoll.modify(connection.fd, Sys.EPOLLIN);
            continue;
          }
          if (receive(connection, size)) {
            long at = System.nanoTime();
            latencies.add(at - connection.sentAt);
            connection.sentAt = at;
            target.sendMessage(connection);
          }
        }
      }
      long counted = latencies.count();
      double seconds = (System.nanoTime() - start) / 1e9;
      return result(counted, seconds, CpuTime.now(pids).since(before))
          .with("p50", latencies.percentile(0.50))
          .with("p99", latencies.percentile(0.99));
    } finally {
      open.forEach(this::close);
    }
  }

  /// New connections, some at a time: connect, hello, one message each way, close. In: connections
  /// (at a time), size, warmMillis, millis, pids. Out: as for requests; the latency is that of a
  /// whole connection.
  Fields connections(Fields run) {
    int size = (int) run.number("size");
    Target target = new Target(run, Command.echo(size), true);
    // Edge-triggered for both directions from the start: one epoll_ctl per connection.
    int mask = Sys.EPOLLIN | Sys.EPOLLOUT | Sys.EPOLLET;
    List<Long> pids = pids(run);
    Connection[] open = new Connection[(int) run.number("connections")];
    try {
      for (int i = 0; i < open.length; i++) {
        open[i] = target.connect(mask);
        open[i].sentAt = System.nanoTime();
        open[i].moved = i;
      }
      latencies.clear();
      long start = Long.MAX_VALUE;
      long end = Long.MAX_VALUE;
      long warmUntil = System.nanoTime() + millis(run, "warmMillis");
      CpuTime before = new CpuTime(0, 0);
      long progress = System.nanoTime();
      while (true) {
        int ready = epoll.await(100);
        long now = System.nanoTime();
        if (now >= end) {
          break;
        }
        if (start == Long.MAX_VALUE && now >= warmUntil) {
          latencies.clear();
          before = CpuTime.now(pids);
          start = System.nanoTime();
          now = start;
          end = start + millis(run, "millis");
        }
        progress = checkProgress(ready, progress, now);
        for (int i = 0; i < ready; i++) {
          Connection connection = byDescriptor[epoll.descriptor(i)];
          if (!connection.greeted) {
            target.greet(connection);
          } else if ((epoll.mask(i) & ~Sys.EPOLLOUT) != 0 && receive(connection, size)) {
            long at = System.nanoTime();
            latencies.add(at - connection.sentAt);
            close(connection);
            Connection next = target.connect(mask);
            next.sentAt = at;
            next.moved = connection.moved;
            open[(int) next.moved] = next;
          }
        }
      }
      long counted = latencies.count();
      double seconds = (System.nanoTime() - start) / 1e9;
      return result(counted, seconds, CpuTime.now(pids).since(before))
          .with("p50", latencies.percentile(0.50))
          .with("p99", latencies.percentile(0.99));
    } finally {
      Arrays.stream(open).filter(c -> c != null).forEach(this::close);
    }
  }

  /// A given number of bytes per connection, up or down, from the moment all connections reach the
  /// server. In: mode (up, down), connections, bytes (of each), checksum (0, 1), pids. Out: bytes,
  /// seconds, cpu, machine.
  Fields bulk(Fields run) {
    boolean up = run.get("mode").equals("up");
    boolean checksum = run.number("checksum") != 0;
    long bytes = run.number("bytes");
    Command command = new Command(up ? Command.Mode.UP : Command.Mode.DOWN, checksum, 16, bytes);
    Target target = new Target(run, command, false);
    List<Connection> open = new ArrayList<>();
    try {
      int connections = (int) run.number("connections");
      for (int i = 0; i < connections; i++) {
        open.add(target.connect(Sys.EPOLLOUT));
      }
      awaitReady(target, open);
      List<Long> pids = pids(run);
      CRC32C[] checksums = new CRC32C[connections];
      Arrays.setAll(checksums, i -> new CRC32C());
      CpuTime before = CpuTime.now(pids);
      long start = System.nanoTime();
      for (Connection connection : open) {
        connection.received = 0;
        connection.moved = 0;
        if (up) {
          epoll.modify(connection.fd, Sys.EPOLLOUT);
        } else {
          send(connection, patternAddress, 1);
        }
      }
      int finished = 0;
      long progress = start;
      while (finished < connections) {
        int ready = epoll.await(100);
        progress = checkProgress(ready, progress, System.nanoTime());
        for (int i = 0; i < ready; i++) {
          Connection connection = byDescriptor[epoll.descriptor(i)];
          if (up && connection.moved < bytes && (epoll.mask(i) & Sys.EPOLLIN) == 0) {
            sendBulk(connection, bytes);
          } else if (up) {
            if (receive(connection, Command.BYTES)) {
              long expected = checksum ? Pattern.checksum(bytes) : 0;
              verifyReceipt(bytes, expected, in.getLong(0), in.getLong(8));
              finished++;
            }
          } else {
            long count = receiveSome(connection, 0);
            if (checksum && count > 0) {
              checksums[open.indexOf(connection)].update(in.duplicate().limit((int) count));
            }
            connection.moved += count;
            if (connection.moved == bytes) {
              finished++;
            } else if (connection.moved > bytes) {
              throw new IllegalStateException("more bytes than asked for: " + connection.moved);
            }
          }
        }
      }
      double seconds = (System.nanoTime() - start) / 1e9;
      CpuTime used = CpuTime.now(pids).since(before);
      if (!up && checksum) {
        for (CRC32C actual : checksums) {
          verifyReceipt(bytes, Pattern.checksum(bytes), bytes, actual.getValue());
        }
      }
      return result(bytes * connections, seconds, used);
    } finally {
      open.forEach(this::close);
    }
  }

  /// Opens connections until so many are held, each of which has carried one message; they stay
  /// until {@link #release}. In: connections (in all), size. Out: count, seconds.
  Fields hold(Fields run) {
    int size = (int) run.number("size");
    int wanted = (int) run.number("connections");
    Target target = new Target(run, Command.echo(size), true);
    int answered = held.size();
    long start = System.nanoTime();
    long progress = start;
    while (answered < wanted) {
      while (held.size() < wanted && held.size() - answered < IN_FLIGHT_HOLDING) {
        held.add(target.connect(Sys.EPOLLOUT));
      }
      int ready = epoll.await(100);
      progress = checkProgress(ready, progress, System.nanoTime());
      for (int i = 0; i < ready; i++) {
        Connection connection = byDescriptor[epoll.descriptor(i)];
        if (!connection.greeted) {
          target.greet(connection);
          epoll.modify(connection.fd, Sys.EPOLLIN);
        } else if (receive(connection, size)) {
          answered++;
        }
      }
    }
    return result(answered, (System.nanoTime() - start) / 1e9, new CpuTime(0, 0));
  }

  /// Closes what {@link #hold} opened. Out: count of those that were still alive.
  Fields release() {
    long alive = held.stream().filter(this::isAlive).count();
    held.forEach(this::close);
    held.clear();
    return result(alive, 0, new CpuTime(0, 0));
  }

  private boolean isAlive(Connection connection) {
    return Sys.C.recv(connection.fd, inAddress, BUFFER, 0) < 0 && Sys.errno() == Sys.EAGAIN;
  }

  private void awaitReady(Target target, List<Connection> open) {
    int readyCount = 0;
    long progress = System.nanoTime();
    while (readyCount < open.size()) {
      int ready = epoll.await(100);
      progress = checkProgress(ready, progress, System.nanoTime());
      for (int i = 0; i < ready; i++) {
        Connection connection = byDescriptor[epoll.descriptor(i)];
        if (!connection.greeted) {
          target.greet(connection);
          epoll.modify(connection.fd, Sys.EPOLLIN);
        } else if (receive(connection, Command.BYTES)) {
          if (in.getLong(0) != Command.READY) {
            throw new IllegalStateException("the server did not say that it is ready");
          }
          readyCount++;
        }
      }
    }
  }

  private void sendBulk(Connection connection, long bytes) {
    for (int turns = 0; turns < 4 && connection.moved < bytes; turns++) {
      long offset = connection.moved & (Pattern.BLOCK - 1);
      long length = Math.min(BUFFER, Math.min(Pattern.BLOCK - offset, bytes - connection.moved));
      long sent = Sys.C.send(connection.fd, patternAddress + offset, length, Sys.MSG_NOSIGNAL);
      if (sent < 0) {
        if (Sys.errno() == Sys.EAGAIN || Sys.errno() == Sys.EINTR) {
          return;
        }
        throw new IllegalStateException("send: " + Sys.reason());
      }
      connection.moved += sent;
    }
    if (connection.moved == bytes) {
      epoll.modify(connection.fd, Sys.EPOLLIN);
    }
  }

  private static void verifyReceipt(
      long bytes, long expectedChecksum, long actual, long actualChecksum) {
    if (bytes != actual || expectedChecksum != actualChecksum) {
      throw new IllegalStateException(
          "%d bytes with checksum %x were sent, %d with %x arrived"
              .formatted(bytes, expectedChecksum, actual, actualChecksum));
    }
  }

  /// True when a whole message of `size` bytes is there; it then starts at offset 0 of the buffer,
  /// at least its first 16 bytes, because a message is never larger than one read unless it came in
  /// pieces.
  private boolean receive(Connection connection, int size) {
    long count = receiveSome(connection, connection.received);
    connection.received += (int) count;
    if (connection.received > size) {
      throw new IllegalStateException("more bytes than one message: " + connection.received);
    }
    if (connection.received < size) {
      return false;
    }
    // A message in one piece is checked; one in pieces shared the buffer with others in between.
    if (count == size && connection.expected != 0 && in.getLong(0) != connection.expected) {
      throw new IllegalStateException("an answer to another message came back");
    }
    connection.received = 0;
    return true;
  }

  private long receiveSome(Connection connection, int offset) {
    long count = Sys.C.recv(connection.fd, inAddress + offset, BUFFER - offset, 0);
    if (count > 0) {
      return count;
    }
    if (count < 0 && (Sys.errno() == Sys.EAGAIN || Sys.errno() == Sys.EINTR)) {
      return 0;
    }
    throw new IllegalStateException(
        count == 0 ? "the connection ended early" : "recv: " + Sys.reason());
  }

  private static long checkProgress(int ready, long progress, long now) {
    if (ready > 0) {
      return now;
    }
    if (now - progress > PATIENCE_NANOS) {
      throw new IllegalStateException("nothing came for 10 seconds");
    }
    return progress;
  }

  private void close(Connection connection) {
    if (byDescriptor[connection.fd] == connection) {
      byDescriptor[connection.fd] = NONE;
      Sys.C.close(connection.fd);
    }
  }

  private static final Connection NONE = new Connection(-1);

  private static List<Long> pids(Fields run) {
    String pids = run.get("pids");
    return pids.isEmpty()
        ? List.of()
        : Arrays.stream(pids.split(",", -1)).map(Long::valueOf).toList();
  }

  private static long millis(Fields run, String key) {
    return run.number(key) * 1_000_000;
  }

  private static Fields result(long count, double seconds, CpuTime used) {
    return Fields.of("ok")
        .with("count", count)
        .with("seconds", seconds)
        .with("cpu", used.processes())
        .with("machine", used.machine());
  }

  Fields run(Fields run) {
    try {
      return switch (run.verb()) {
        case "requests" -> requests(run);
        case "connections" -> connections(run);
        case "bulk" -> bulk(run);
        case "hold" -> hold(run);
        case "release" -> release();
        default -> throw new IllegalArgumentException("unknown run '" + run.verb() + "'");
      };
    } catch (IllegalStateException | IllegalArgumentException e) {
      return Fields.of("failed").with("why", e.getMessage());
    }
  }

  /// Reads one run per line on standard input and answers each with one line; ends with its input.
  public static void main(String[] arguments) throws IOException {
    LoadClient client = new LoadClient();
    PrintStream out = System.out;
    out.println("ready");
    BufferedReader in =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      out.println(client.run(Fields.parse(line)).line());
    }
  }
}
