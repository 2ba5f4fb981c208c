package io.tailwater.agent.traffic;

import java.net.Inet6Address;
import java.net.InetAddress;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// How addresses are printed: IPv6 as in RFC 5952, the way Envoy, `ip` and people write it. The JDK
/// prints all eight groups.
public final class AddressText {
  /// Two or more zero groups, with the colon before them if there is one.
  private static final Pattern ZEROS = Pattern.compile("(?:^|:)0(?::0)+(?=:|$)");

  private AddressText() {}

  /// The address alone, without brackets and scope.
  public static String of(InetAddress address) {
    String text = address.getHostAddress();
    if (!(address instanceof Inet6Address)) {
      return text;
    }
    int scope = text.indexOf('%');
    if (scope >= 0) {
      text = text.substring(0, scope);
    }
    int start = 0;
    int end = 0;
    Matcher zeros = ZEROS.matcher(text);
    while (zeros.find()) {
      // The longest run, the first of equals; by groups, so without the leading colon.
      if (groups(text, zeros.start(), zeros.end()) > groups(text, start, end)) {
        start = zeros.start();
        end = zeros.end();
      }
    }
    if (end == 0) {
      return text;
    }
    String rest = text.substring(end);
    return text.substring(0, start) + "::" + (rest.isEmpty() ? rest : rest.substring(1));
  }

  /// Address and port, IPv6 in brackets.
  public static String of(InetAddress address, int port) {
    String text = of(address);
    return address instanceof Inet6Address ? "[" + text + "]:" + port : text + ":" + port;
  }

  private static long groups(String text, int start, int end) {
    return text.substring(start, end).chars().filter(c -> c == '0').count();
  }
}
