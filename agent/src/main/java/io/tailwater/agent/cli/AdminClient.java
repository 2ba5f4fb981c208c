package io.tailwater.agent.cli;

import io.tailwater.agent.config.ListenAddress;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.ConnectException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.util.Optional;

/// Asks a running agent, over TCP or a unix socket: one HTTP/1.1 request, one connection. Java's
/// own client speaks to no unix socket and its module costs more than this.
final class AdminClient {
  private static final int CONNECT_MILLIS = 5_000;
  private static final int READ_MILLIS = 30_000;

  /// Longest answer: the connections of a full node are some ten megabytes.
  private static final int MAX_BYTES = 256 << 20;

  /// What came back.
  sealed interface Answer {
    /// A page.
    record Page(int status, String body) implements Answer {}

    /// Nothing useful; `why` is a sentence with what to do.
    record Silence(String why) implements Answer {}
  }

  private final ListenAddress address;

  AdminClient(ListenAddress address) {
    this.address = address;
  }

  Answer get(String pathAndQuery) {
    return ask("GET", pathAndQuery);
  }

  Answer post(String pathAndQuery) {
    return ask("POST", pathAndQuery);
  }

  private Answer ask(String method, String pathAndQuery) {
    String request =
        method
            + " "
            + pathAndQuery
            + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    try {
      return switch (address) {
        case ListenAddress.Tcp tcp -> overTcp(tcp.socketAddress(), request);
        case ListenAddress.Unix unix -> {
          try (SocketChannel channel =
              SocketChannel.open(UnixDomainSocketAddress.of(unix.path()))) {
            yield exchange(
                Channels.newInputStream(channel), Channels.newOutputStream(channel), request);
          }
        }
      };
    } catch (SocketTimeoutException _) {
      return new Answer.Silence("the agent at " + address + " does not answer");
    } catch (ConnectException | java.nio.file.NoSuchFileException _) {
      return nobody();
    } catch (IOException e) {
      return address instanceof ListenAddress.Unix
          ? nobody()
          : new Answer.Silence("the agent at " + address + " cannot be asked: " + e.getMessage());
    }
  }

  private Answer nobody() {
    return new Answer.Silence(
        "no agent answers at "
            + address
            + "; start one with `tailwater run --config FILE`, or name its address with --admin");
  }

  private static Answer overTcp(InetSocketAddress to, String request) throws IOException {
    try (Socket socket = new Socket()) {
      socket.connect(to, CONNECT_MILLIS);
      socket.setSoTimeout(READ_MILLIS);
      return exchange(socket.getInputStream(), socket.getOutputStream(), request);
    }
  }

  private static Answer exchange(InputStream in, OutputStream out, String request)
      throws IOException {
    out.write(request.getBytes(StandardCharsets.US_ASCII));
    out.flush();
    String all = new String(in.readNBytes(MAX_BYTES), StandardCharsets.UTF_8);
    int end = all.indexOf("\r\n\r\n");
    Optional<Integer> status = end < 0 ? Optional.empty() : status(all);
    return status.isEmpty()
        ? new Answer.Silence("what answers there is no agent: it does not speak HTTP")
        : new Answer.Page(status.get(), all.substring(end + 4));
  }

  /// `HTTP/1.1 200 OK`
  private static Optional<Integer> status(String head) {
    if (!head.startsWith("HTTP/1.") || head.length() < 12) {
      return Optional.empty();
    }
    String code = head.substring(9, 12);
    return code.chars().allMatch(c -> c >= '0' && c <= '9')
        ? Optional.of(Integer.parseInt(code))
        : Optional.empty();
  }
}
