package io.tailwater.agent.traffic;

import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.Optional;

/// A block of addresses in CIDR form. An IPv4 block never contains an IPv6 address, mapped ones
/// included: unwrap first.
public record CidrBlock(InetAddress network, int prefix) {
  public CidrBlock {
    if (prefix < 0 || prefix > network.getAddress().length * 8) {
      throw new IllegalArgumentException(
          "prefix /" + prefix + " does not fit " + network.getHostAddress());
    }
  }

  /// Reads `192.0.2.0/24`, `2001:db8::/32` or a bare address; empty when it is neither. Never asks
  /// a resolver.
  public static Optional<CidrBlock> parse(String text) {
    int slash = text.indexOf('/');
    Optional<InetAddress> address = parseAddress(slash < 0 ? text : text.substring(0, slash));
    if (address.isEmpty()) {
      return Optional.empty();
    }
    int width = address.get().getAddress().length * 8;
    if (slash < 0) {
      return Optional.of(new CidrBlock(address.get(), width));
    }
    String length = text.substring(slash + 1);
    if (length.isEmpty()
        || length.length() > 3
        || !length.chars().allMatch(c -> c >= '0' && c <= '9')) {
      return Optional.empty();
    }
    int prefix = Integer.parseInt(length);
    return prefix > width ? Optional.empty() : Optional.of(new CidrBlock(address.get(), prefix));
  }

  /// Reads an address literal in its usual spelling; empty when it is not one. Never asks a
  /// resolver; a scope id, an octal part or a short form is not usual.
  public static Optional<InetAddress> parseAddress(String text) {
    boolean six = text.indexOf(':') >= 0;
    if (!six && !isDottedQuad(text)) {
      return Optional.empty();
    }
    if (six && !text.chars().allMatch(c -> Character.digit(c, 16) >= 0 || c == '.' || c == ':')) {
      return Optional.empty();
    }
    try {
      return Optional.of(InetAddress.getByName(six ? "[" + text + "]" : text));
    } catch (UnknownHostException _) {
      return Optional.empty();
    }
  }

  private static boolean isDottedQuad(String text) {
    String[] parts = text.split("\\.", -1);
    if (parts.length != 4) {
      return false;
    }
    for (String part : parts) {
      boolean digits =
          !part.isEmpty() && part.length() <= 3 && part.chars().allMatch(c -> c >= '0' && c <= '9');
      if (!digits || Integer.parseInt(part) > 255 || (part.length() > 1 && part.charAt(0) == '0')) {
        return false;
      }
    }
    return true;
  }

  /// Whether the block holds the address; false for the other family.
  public boolean contains(InetAddress address) {
    byte[] a = address.getAddress();
    byte[] n = network.getAddress();
    if (a.length != n.length) {
      return false;
    }
    int whole = prefix / 8;
    for (int i = 0; i < whole; i++) {
      if (a[i] != n[i]) {
        return false;
      }
    }
    int rest = prefix % 8;
    if (rest == 0) {
      return true;
    }
    int mask = 0xff << (8 - rest) & 0xff;
    return (a[whole] & mask) == (n[whole] & mask);
  }

  @Override
  public String toString() {
    return network.getHostAddress() + "/" + prefix;
  }
}
