package io.tailwater.agent.traffic;

/// A DNS host name that has passed validation: ASCII, lower case, no trailing dot, 1..253
/// characters, labels of 1..63 characters out of `[a-z0-9_-]`, and not an address in any spelling.
/// The string that was matched is the string that is resolved, logged and shown.
///
/// Underscores are allowed because service names carry them. A name whose last label is numeric
/// (`1.2.3`, `0x7f`) is refused because resolvers read it as an address (WHATWG URL, "ends in a
/// number").
public final class HostName implements Comparable<HostName> {
  /// RFC 1035 section 2.3.4, as text without the root dot.
  public static final int MAX_LENGTH = 253;

  /// RFC 1035 section 2.3.4.
  public static final int MAX_LABEL = 63;

  /// The one control character behind the printable ones.
  private static final char DELETE = 0x7f;

  private final String text;

  private HostName(String text) {
    this.text = text;
  }

  /// What reading a name came to.
  public sealed interface Parsed {
    /// A usable name. `trailingDot` tells that one root dot was taken off (RFC 6066 forbids it in
    /// SNI; clients send it).
    record Valid(HostName name, boolean trailingDot) implements Parsed {}

    /// Not a host name; `why` is a clause that can follow "the name".
    record Invalid(String why) implements Parsed {}
  }

  /// Reads a name as a peer or a user wrote it. Never throws.
  public static Parsed parse(String raw) {
    int end = raw.length();
    boolean dot = end > 0 && raw.charAt(end - 1) == '.';
    if (dot) {
      end--;
    }
    if (end == 0) {
      return new Parsed.Invalid("is empty");
    }
    if (end > MAX_LENGTH) {
      return new Parsed.Invalid("is longer than 253 characters");
    }
    boolean upper = false;
    int labelStart = 0;
    for (int i = 0; i <= end; i++) {
      char c = i == end ? '.' : raw.charAt(i);
      if (c == '.') {
        if (i == labelStart) {
          return new Parsed.Invalid("has an empty label");
        }
        if (i - labelStart > MAX_LABEL) {
          return new Parsed.Invalid("has a label longer than 63 characters");
        }
        if (i < end) {
          labelStart = i + 1;
        }
      } else if (c >= 'A' && c <= 'Z') {
        upper = true;
      } else if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_') {
        return new Parsed.Invalid(badCharacter(c));
      }
    }
    if (isNumber(raw, labelStart, end)) {
      return new Parsed.Invalid("is an address or ends in a number");
    }
    String name = end == raw.length() ? raw : raw.substring(0, end);
    return new Parsed.Valid(new HostName(upper ? lower(name) : name), dot);
  }

  private static String badCharacter(char c) {
    if (c > DELETE) {
      return "has a character that is not ASCII";
    }
    return c <= ' ' || c == DELETE
        ? "has a blank or a control character"
        : "has the character '" + c + "'";
  }

  /// For names known to be right, in constants and tests.
  ///
  /// @throws IllegalArgumentException with the reason
  public static HostName of(String raw) {
    return switch (parse(raw)) {
      case Parsed.Valid(HostName name, _) -> name;
      case Parsed.Invalid(String why) ->
          throw new IllegalArgumentException("the name \"" + raw + "\" " + why);
    };
  }

  private static boolean isNumber(String s, int from, int to) {
    boolean hex = to - from >= 2 && s.charAt(from) == '0' && (s.charAt(from + 1) | 0x20) == 'x';
    for (int i = hex ? from + 2 : from; i < to; i++) {
      if (Character.digit(s.charAt(i), hex ? 16 : 10) < 0) {
        return false;
      }
    }
    return true;
  }

  private static String lower(String s) {
    char[] out = s.toCharArray();
    for (int i = 0; i < out.length; i++) {
      if (out[i] >= 'A' && out[i] <= 'Z') {
        out[i] = (char) (out[i] + ('a' - 'A'));
      }
    }
    return new String(out);
  }

  /// The canonical text, without a trailing dot.
  public String text() {
    return text;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof HostName that && text.equals(that.text);
  }

  @Override
  public int hashCode() {
    return text.hashCode();
  }

  @Override
  public int compareTo(HostName other) {
    return text.compareTo(other.text);
  }

  @Override
  public String toString() {
    return text;
  }
}
