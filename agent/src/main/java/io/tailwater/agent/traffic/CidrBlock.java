package io.tailwater.agent.traffic;

import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.Optional;

/// A block of addresses in CIDR form, without host bits: `192.0.2.77/24` is `192.0.2.0/24`. An IPv4
/// block never contains an IPv6 address, mapped ones included: unwrap first.
public record CidrBlock(InetAddress network, int prefix) {
  /// Length of `::ffff:0:0/96`, below which the mapped IPv4 addresses lie (RFC 4291 section
  /// 2.5.5.2).
  private static final int MAPPED_PREFIX = 96;

  public CidrBlock {
    byte[] bytes = network.getAddress();
    if (prefix < 0 || prefix > bytes.length * 8) {
      throw new IllegalArgumentException(
          "prefix /" + prefix + " does not fit " + AddressText.of(network));
    }
    network = withoutHostBits(bytes, prefix);
  }

  /// The block of one address.
  public static CidrBlock of(InetAddress address) {
    return new CidrBlock(address, address.getAddress().length * 8);
  }

  /// Whether it holds one address only.
  public boolean isSingle() {
    return prefix == network.getAddress().length * 8;
  }

  private static InetAddress withoutHostBits(byte[] address, int prefix) {
    for (int i = 0; i < address.length; i++) {
      int kept = Math.clamp(prefix - 8 * i, 0, 8);
      address[i] &= (byte) (0xff << (8 - kept));
    }
    try {
      // InetAddress.getByAddress would make an IPv4 address of a mapped one
      return address.length == 4
          ? InetAddress.getByAddress(address)
          : Inet6Address.getByAddress(null, address, -1);
    } catch (UnknownHostException e) {
      throw new IllegalStateException("4 or 16 bytes are an address", e);
    }
  }

  /// Reads `192.0.2.0/24`, `2001:db8::/32` or a bare address; empty when it is neither. A block of
  /// mapped addresses is the IPv4 block that it means. Never asks a resolver.
  public static Optional<CidrBlock> parse(String text) {
    int slash = text.indexOf('/');
    String literal = slash < 0 ? text : text.substring(0, slash);
    Optional<InetAddress> read = parseAddress(literal);
    if (read.isEmpty()) {
      return Optional.empty();
    }
    InetAddress address = read.get();
    int width = address.getAddress().length * 8;
    if (slash < 0) {
      return Optional.of(new CidrBlock(address, width));
    }
    String length = text.substring(slash + 1);
    if (length.isEmpty()
        || length.length() > 3
        || !length.chars().allMatch(c -> c >= '0' && c <= '9')) {
      return Optional.empty();
    }
    int prefix = Integer.parseInt(length);
    boolean mapped = width == 32 && literal.indexOf(':') >= 0;
    if (mapped && prefix < MAPPED_PREFIX) {
      byte[] six = new byte[16];
      six[10] = (byte) 0xff;
      six[11] = (byte) 0xff;
      return Optional.of(new CidrBlock(withoutHostBits(six, prefix), prefix));
    }
    if (mapped) {
      prefix -= MAPPED_PREFIX;
    }
    return prefix > width ? Optional.empty() : Optional.of(new CidrBlock(address, prefix));
  }

  /// Reads an address literal in its usual spelling; empty when it is not one. A mapped address
  /// (`::ffff:192.0.2.1`) is the IPv4 address that it means. Never asks a resolver; a scope id, an
  /// octal part or a short form is not usual.
  public static Optional<InetAddress> parseAddress(String text) {
    boolean six = text.indexOf(':') >= 0;
    if (six ? !isColonForm(text) : !isDottedQuad(text)) {
      return Optional.empty();
    }
    try {
      return Optional.of(InetAddress.getByName(six ? "[" + text + "]" : text));
    } catch (UnknownHostException _) {
      return Optional.empty();
    }
  }

  /// Whether each part of it is one that an IPv6 address may have; the JDK checks their number, but
  /// takes digits of other scripts and leading zeros.
  private static boolean isColonForm(String text) {
    int last = text.lastIndexOf(':') + 1;
    boolean quad = text.indexOf('.', last) >= 0;
    if (quad && !isDottedQuad(text.substring(last))) {
      return false;
    }
    int digits = 0;
    for (int i = 0; i < (quad ? last : text.length()); i++) {
      char c = text.charAt(i);
      digits = c == ':' ? 0 : digits + 1;
      boolean allowed =
          c == ':' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
      if (!allowed || digits > 4) {
        return false;
      }
    }
    return true;
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
    return AddressText.of(network) + "/" + prefix;
  }
}
