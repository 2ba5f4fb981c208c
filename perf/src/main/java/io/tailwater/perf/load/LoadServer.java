package io.tailwater.perf.load;

import io.tailwater.perf.wire.ClientHello;
import io.tailwater.perf.wire.Command;
import io.tailwater.perf.wire.Pattern;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.zip.CRC32C;

/// The server's end: swallows the ClientHello, reads the command, then echoes, receives or sends.
/// One thread, which is the one that calls {@link #serve()}; all connections share one buffer, a
/// connection keeps only its counters.
public final class LoadServer {
  private static final int BUFFER = 256 * 1024;

  private final Epoll epoll = new Epoll();
  private final Sockets sockets = new Sockets();
  private final int listener;
  private final ByteBuffer in = ByteBuffer.allocateDirect(BUFFER);
  private final long inAddress = Sys.address(in);
  private final ByteBuffer pattern = Pattern.block();
  private final long patternAddress = Sys.address(pattern);
  private final ByteBuffer receipt = ByteBuffer.allocateDirect(Command.BYTES);
  private final long receiptAddress = Sys.address(receipt);
  private Connection[] byDescriptor = new Connection[1024];

  private enum Stage {
    RECORD_HEADER,
    RECORD_BODY,
    COMMAND,
    ECHO,
    UP,
    DOWN_WAITING,
    DOWN
  }

  /// Counters of one connection; the bytes themselves live in the shared buffers.
  private static final class Connection {
    Stage stage = Stage.RECORD_HEADER;

    /// A header, a command or a message that arrived in pieces.
    byte[] partial = new byte[Command.BYTES];

    int partialLength;
    int skip;
    int size;
    long amount;
    long moved;
    CRC32C checksum = NO_CHECKSUM;
  }

  private static final CRC32C NO_CHECKSUM = new CRC32C();

  /// Listens at once; connections wait until {@link #serve()} runs.
  public LoadServer(String host, int port) {
    listener = sockets.listen(host, port);
    epoll.add(listener, Sys.EPOLLIN);
  }

  /// Serves until the process ends.
  public void serve() {
    while (true) {
      int ready = epoll.await(-1);
      for (int i = 0; i < ready; i++) {
        int fd = epoll.descriptor(i);
        if (fd == listener) {
          accept();
        } else {
          event(fd, epoll.mask(i));
        }
      }
    }
  }

  private void accept() {
    for (int fd = sockets.accept(listener); fd >= 0; fd = sockets.accept(listener)) {
      if (fd >= byDescriptor.length) {
        byDescriptor = Arrays.copyOf(byDescriptor, Math.max(fd + 1, byDescriptor.length * 2));
      }
      byDescriptor[fd] = new Connection();
      epoll.add(fd, Sys.EPOLLIN);
    }
  }

  private void event(int fd, int mask) {
    Connection connection = byDescriptor[fd];
    if (connection.stage == Stage.DOWN && (mask & (Sys.EPOLLERR | Sys.EPOLLHUP)) == 0) {
      sendBulk(fd, connection);
      return;
    }
    long count = Sys.C.recv(fd, inAddress, BUFFER, 0);
    if (count > 0) {
      received(fd, connection, (int) count);
    } else if (count == 0 || (Sys.errno() != Sys.EAGAIN && Sys.errno() != Sys.EINTR)) {
      Sys.C.close(fd);
    }
  }

  private void received(int fd, Connection connection, int count) {
    int at = 0;
    while (at < count) {
      switch (connection.stage) {
        case RECORD_HEADER -> {
          at = collect(connection, at, count, ClientHello.RECORD_HEADER);
          if (connection.partialLength == ClientHello.RECORD_HEADER) {
            connection.skip = ByteBuffer.wrap(connection.partial).getShort(3) & 0xffff;
            connection.partialLength = 0;
            connection.stage = Stage.RECORD_BODY;
          }
        }
        case RECORD_BODY -> {
          int step = Math.min(connection.skip, count - at);
          at += step;
          connection.skip -= step;
          if (connection.skip == 0) {
            connection.stage = Stage.COMMAND;
          }
        }
        case COMMAND -> {
          at = collect(connection, at, count, Command.BYTES);
          if (connection.partialLength == Command.BYTES) {
            connection.partialLength = 0;
            begin(fd, connection);
          }
        }
        case ECHO -> at = echo(fd, connection, at, count);
        case UP -> {
          if (connection.checksum != NO_CHECKSUM) {
            connection.checksum.update(in.duplicate().limit(count).position(at));
          }
          connection.moved += count - at;
          at = count;
          if (connection.moved >= connection.amount) {
            sendReceipt(fd, connection.moved, connection.checksum.getValue());
            connection.amount = Long.MAX_VALUE;
          }
        }
        case DOWN_WAITING -> {
          at = count;
          connection.stage = Stage.DOWN;
          epoll.modify(fd, Sys.EPOLLOUT);
        }
        case DOWN -> at = count;
      }
    }
  }

  private void begin(int fd, Connection connection) {
    Command command = Command.decode(ByteBuffer.wrap(connection.partial));
    connection.size = command.size();
    connection.amount = command.amount();
    connection.stage =
        switch (command.mode()) {
          case ECHO -> Stage.ECHO;
          case UP -> Stage.UP;
          case DOWN -> Stage.DOWN_WAITING;
        };
    switch (command.mode()) {
      case ECHO -> {
        sockets.noDelay(fd);
        connection.partial = NOTHING;
      }
      case UP -> {
        if (command.checksum()) {
          connection.checksum = new CRC32C();
        }
        sendReceipt(fd, Command.READY, 0);
      }
      case DOWN -> sendReceipt(fd, Command.READY, 0);
    }
  }

  private static final byte[] NOTHING = new byte[0];

  /// Sends back every whole message of the buffer at once, and keeps the rest of a message for the
  /// next read.
  private int echo(int fd, Connection connection, int at, int count) {
    int next = at;
    if (connection.partialLength > 0) {
      next = collect(connection, next, count, connection.size);
      if (connection.partialLength < connection.size) {
        return next;
      }
      connection.partialLength = 0;
      ByteBuffer message =
          ByteBuffer.allocateDirect(connection.size).put(connection.partial).flip();
      send(fd, Sys.address(message), connection.size);
    }
    int whole = (count - next) / connection.size * connection.size;
    if (whole > 0) {
      send(fd, inAddress + next, whole);
      next += whole;
    }
    if (next < count) {
      if (connection.partial.length < connection.size) {
        connection.partial = new byte[connection.size];
      }
      next = collect(connection, next, count, connection.size);
    }
    return next;
  }

  private void sendBulk(int fd, Connection connection) {
    // A few blocks, then the next connection: level-triggered readiness brings us back.
    for (int turns = 0; turns < 4 && connection.moved < connection.amount; turns++) {
      long offset = connection.moved & (Pattern.BLOCK - 1);
      long length =
          Math.min(BUFFER, Math.min(Pattern.BLOCK - offset, connection.amount - connection.moved));
      long sent = Sys.C.send(fd, patternAddress + offset, length, Sys.MSG_NOSIGNAL);
      if (sent < 0) {
        if (Sys.errno() != Sys.EAGAIN && Sys.errno() != Sys.EINTR) {
          Sys.C.close(fd);
        }
        return;
      }
      connection.moved += sent;
    }
    if (connection.moved == connection.amount) {
      epoll.modify(fd, Sys.EPOLLIN);
      connection.stage = Stage.UP; // what still comes is counted and thrown away
      connection.amount = Long.MAX_VALUE;
    }
  }

  private void sendReceipt(int fd, long count, long checksum) {
    receipt.putLong(0, count).putLong(8, checksum);
    send(fd, receiptAddress, Command.BYTES);
  }

  /// Small messages fit the socket buffer, which is empty in a closed loop; if one does not, the
  /// run is void, and the client sees it as a connection that ended.
  private void send(int fd, long address, int length) {
    if (Sys.C.send(fd, address, length, Sys.MSG_NOSIGNAL) != length) {
      Sys.C.close(fd);
    }
  }

  private int collect(Connection connection, int at, int count, int wanted) {
    int step = Math.min(wanted - connection.partialLength, count - at);
    in.get(at, connection.partial, connection.partialLength, step);
    connection.partialLength += step;
    return at + step;
  }

  /// Listens on `HOST PORT`, says `ready` and serves; ends when its standard input ends, that is
  /// with its parent.
  public static void main(String[] arguments) {
    LoadServer server = new LoadServer(arguments[0], Integer.parseInt(arguments[1]));
    PrintStream out = System.out;
    out.println("ready");
    EndWithParent.watch();
    server.serve();
  }
}
