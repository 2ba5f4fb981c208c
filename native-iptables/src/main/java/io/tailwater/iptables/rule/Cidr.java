package io.tailwater.iptables.rule;

import java.net.Inet4Address;
import java.net.InetAddress;
import java.util.Locale;

/// An address range in the notation of iptables, such as `127.0.0.0/8`. Only literals: nothing is
/// ever looked up.
public record Cidr(InetAddress address, int prefix) {
  public Cidr {
    int bits = address.getAddress().length * 8;
    if (prefix < 0 || prefix > bits) {
      throw new IllegalArgumentException(
          "Prefix length of " + address.getHostAddress() + " is " + prefix + ", not 0.." + bits);
    }
  }

  /// Parses `ADDRESS` or `ADDRESS/PREFIX`.
  public static Cidr of(String text) {
    int slash = text.indexOf('/');
    InetAddress address = InetAddress.ofLiteral(slash < 0 ? text : text.substring(0, slash));
    try {
      int prefix =
          slash < 0 ? address.getAddress().length * 8 : Integer.parseInt(text.substring(slash + 1));
      return new Cidr(address, prefix);
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException("'" + text + "' is not ADDRESS/PREFIX", e);
    }
  }

  /// As `iptables-save` prints it: always with the prefix, IPv6 shortened.
  @Override
  public String toString() {
    return (address instanceof Inet4Address ? address.getHostAddress() : shortened())
        + "/"
        + prefix;
  }

  /// RFC 5952: the longest run of zero groups becomes `::`.
  private String shortened() {
    byte[] bytes = address.getAddress();
    int[] groups = new int[8];
    for (int i = 0; i < 8; i++) {
      groups[i] = (bytes[2 * i] & 0xff) << 8 | (bytes[2 * i + 1] & 0xff);
    }
    int start = -1;
    int length = 1;
    for (int i = 0; i < 8; i++) {
      int end = i;
      while (end < 8 && groups[end] == 0) {
        end++;
      }
      if (end - i > length) {
        start = i;
        length = end - i;
      }
    }
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < 8; i++) {
      if (i == start) {
        text.append("::");
        i += length - 1;
      } else {
        if (!text.isEmpty() && text.charAt(text.length() - 1) != ':') {
          text.append(':');
        }
        text.append(Integer.toHexString(groups[i]).toLowerCase(Locale.ROOT));
      }
    }
    return text.toString();
  }
}
