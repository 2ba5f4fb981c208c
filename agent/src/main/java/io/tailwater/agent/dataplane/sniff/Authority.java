package io.tailwater.agent.dataplane.sniff;

import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostName;
import java.net.InetAddress;
import java.util.Optional;

/// A host and a port as a Host field, an `:authority` or an absolute request target writes them
/// (RFC 3986 section 3.2 without userinfo).
///
/// @param host empty for an address, which is no name
/// @param address the address that stands in place of a name
/// @param port the port written there
/// @param text the one spelling that is matched and sent on: lower case, no root dot, no empty port
public record Authority(
    Optional<HostName> host, Optional<InetAddress> address, Optional<Integer> port, String text) {
  private static final int MAX_PORT = 65535;
  private static final int MAX_PORT_DIGITS = 5;

  /// Reads `host[:port]` or `[IPv6][:port]`; empty when it is neither. Never throws.
  public static Optional<Authority> parse(String text) {
    int hostEnd;
    if (text.startsWith("[")) {
      hostEnd = text.indexOf(']') + 1;
      if (hostEnd < 3) {
        return Optional.empty();
      }
    } else {
      int colon = text.indexOf(':');
      hostEnd = colon < 0 ? text.length() : colon;
    }
    String host = text.substring(0, hostEnd);
    Optional<Integer> port = Optional.empty();
    if (hostEnd < text.length()) {
      String digits = text.substring(hostEnd + 1);
      boolean wellFormed =
          text.charAt(hostEnd) == ':'
              && digits.length() <= MAX_PORT_DIGITS
              && digits.chars().allMatch(c -> c >= '0' && c <= '9');
      if (!wellFormed) {
        return Optional.empty();
      }
      port = digits.isEmpty() ? Optional.empty() : Optional.of(Integer.valueOf(digits));
      if (port.isPresent() && (port.get() == 0 || port.get() > MAX_PORT)) {
        return Optional.empty();
      }
    }
    String end = port.map(p -> ":" + p).orElse("");
    boolean bracketed = host.startsWith("[");
    Optional<InetAddress> address =
        CidrBlock.parseAddress(bracketed ? host.substring(1, hostEnd - 1) : host);
    if (bracketed || address.isPresent()) {
      return address.isEmpty()
          ? Optional.empty()
          : Optional.of(new Authority(Optional.empty(), address, port, host + end));
    }
    return switch (HostName.parse(host)) {
      case HostName.Parsed.Valid(HostName name, _) ->
          Optional.of(new Authority(Optional.of(name), Optional.empty(), port, name.text() + end));
      case HostName.Parsed.Invalid _ -> Optional.empty();
    };
  }
}
