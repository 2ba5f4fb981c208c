package io.tailwater.agent.config;

import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.CidrBlock;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.util.Optional;

/// Where a server of the agent listens, or where the command line finds it.
public sealed interface ListenAddress {

  /// A TCP port; 0 takes any free one.
  record Tcp(InetAddress address, int port) implements ListenAddress {
    public InetSocketAddress socketAddress() {
      return new InetSocketAddress(address, port);
    }

    @Override
    public String toString() {
      return AddressText.of(address, port);
    }
  }

  /// A unix socket.
  record Unix(Path path) implements ListenAddress {
    @Override
    public String toString() {
      return "unix:" + path;
    }
  }

  /// Reads `127.0.0.1:15000`, `[::1]:15000`, `localhost:15000` or `unix:/path`; empty when it is
  /// none of them. Never asks a resolver.
  static Optional<ListenAddress> parse(String text) {
    if (text.startsWith("unix:")) {
      String path = text.substring("unix:".length());
      boolean usable = path.startsWith("/") && path.indexOf('\0') < 0;
      return usable ? Optional.of(new Unix(Path.of(path))) : Optional.empty();
    }
    int colon = text.lastIndexOf(':');
    if (colon < 0) {
      return Optional.empty();
    }
    Optional<Integer> port = parsePort(text.substring(colon + 1));
    Optional<InetAddress> address = parseHost(text.substring(0, colon));
    return port.isEmpty() || address.isEmpty()
        ? Optional.empty()
        : Optional.of(new Tcp(address.get(), port.get()));
  }

  private static Optional<InetAddress> parseHost(String host) {
    if (host.equals("localhost")) {
      return CidrBlock.parseAddress("127.0.0.1");
    }
    boolean bracketed = host.startsWith("[") && host.endsWith("]");
    if (host.indexOf(':') >= 0 != bracketed) {
      return Optional.empty();
    }
    return CidrBlock.parseAddress(bracketed ? host.substring(1, host.length() - 1) : host);
  }

  private static Optional<Integer> parsePort(String text) {
    boolean digits =
        !text.isEmpty() && text.length() <= 5 && text.chars().allMatch(c -> c >= '0' && c <= '9');
    if (!digits || Integer.parseInt(text) > 65535) {
      return Optional.empty();
    }
    return Optional.of(Integer.parseInt(text));
  }
}
