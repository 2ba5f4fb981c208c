package io.tailwater.agent.dataplane.http;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.nio.charset.StandardCharsets;

/// One end of a connection, moved by hand: a client of the room, or a destination behind it. Gives
/// up after ten seconds.
final class Peer implements AutoCloseable {
  private static final int PATIENCE_MILLIS = 10_000;

  private final Socket socket;

  private Peer(Socket socket) {
    this.socket = socket;
  }

  /// A destination that accepts when the test says so.
  static final class Listener implements AutoCloseable {
    private final ServerSocket server;

    Listener() {
      try {
        server = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        server.setSoTimeout(PATIENCE_MILLIS);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    InetSocketAddress address() {
      return (InetSocketAddress) server.getLocalSocketAddress();
    }

    Peer accept() {
      try {
        Socket socket = server.accept();
        socket.setSoTimeout(PATIENCE_MILLIS);
        return new Peer(socket);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    @Override
    public void close() {
      try {
        server.close();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  static Peer connect(InetSocketAddress to) {
    try {
      Socket socket = new Socket(to.getAddress(), to.getPort());
      socket.setSoTimeout(PATIENCE_MILLIS);
      return new Peer(socket);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  Socket socket() {
    return socket;
  }

  /// Sends text; a line break stands for CRLF.
  Peer send(String text) {
    return raw(text.replace("\n", "\r\n"));
  }

  /// Sends characters as bytes, as they are.
  Peer raw(String text) {
    try {
      socket.getOutputStream().write(text.getBytes(StandardCharsets.ISO_8859_1));
      return this;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  Peer fin() {
    try {
      socket.shutdownOutput();
      return this;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// The next bytes up to and with `end`; a CRLF is shown as a line break.
  String until(String end) {
    byte[] wanted = end.replace("\n", "\r\n").getBytes(StandardCharsets.ISO_8859_1);
    ByteArrayOutputStream read = new ByteArrayOutputStream();
    int matched = 0;
    try {
      while (matched < wanted.length) {
        int b = socket.getInputStream().read();
        if (b < 0) {
          throw new AssertionError("the end came before \"" + end + "\": " + read);
        }
        read.write(b);
        matched = b == wanted[matched] ? matched + 1 : b == wanted[0] ? 1 : 0;
      }
    } catch (IOException e) {
      throw new AssertionError("waiting for \"" + end + "\" after: " + read, e);
    }
    return text(read);
  }

  /// The next head, with the empty line that ends it.
  String head() {
    return until("\n\n");
  }

  String bytes(int count) {
    try {
      byte[] read = socket.getInputStream().readNBytes(count);
      return new String(read, StandardCharsets.ISO_8859_1);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// Everything up to the end, which has to be a FIN.
  String rest() {
    ByteArrayOutputStream read = new ByteArrayOutputStream();
    try {
      socket.getInputStream().transferTo(read);
    } catch (IOException e) {
      throw new AssertionError("no orderly end after: " + text(read), e);
    }
    return text(read);
  }

  /// Reads to the end; whether that is a reset.
  boolean endsInReset() {
    try {
      socket.getInputStream().transferTo(new ByteArrayOutputStream());
      return false;
    } catch (SocketException e) {
      return true;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static String text(ByteArrayOutputStream read) {
    return read.toString(StandardCharsets.ISO_8859_1).replace("\r\n", "\n");
  }

  void reset() {
    try {
      socket.setSoLinger(true, 0);
      socket.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public void close() {
    try {
      socket.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
