package io.tailwater.agent.dataplane.sniff;

import io.netty.buffer.ByteBuf;
import java.nio.charset.StandardCharsets;
import java.util.Locale;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// Recognises the head of an HTTP/1.x request and its Host, and the client preface of HTTP/2, as
/// the bytes come.
///
/// One object per connection, used on that connection's loop. It moves no index of the buffer,
/// changes and keeps no byte of it, and looks at each byte once or twice.
///
/// It is a hint for the inventory, for denials and for the first request's route; it does not split
/// a stream into requests. Where two readers of the same head could come to different hosts (two
/// Host fields, a target that contradicts Host, folded lines, bare CR or LF, a blank before the
/// colon, control characters), the host is empty: no policy may pick one. An address is no name
/// either and leaves the host empty.
///
/// ```
/// RFC 9112   method SP target SP HTTP/1.x CRLF  *( name ":" OWS value OWS CRLF )  CRLF
/// RFC 9113   PRI * HTTP/2.0 CRLF CRLF SM CRLF CRLF          (3.4, the whole preface)
/// ```
public final class HttpHead {
  /// A head that is longer is not looked at further.
  public static final int MAX_BYTES = 16 * 1024;

  /// The longest registered method has 17 letters (UPDATEREDIRECTREF).
  private static final int MAX_METHOD = 32;

  /// Paths are shown cut to this.
  private static final int MAX_PATH = 1024;

  private static final String HTTP2_LINE = "PRI * HTTP/2.0";
  private static final byte[] HTTP2_PREFACE =
      (HTTP2_LINE + "\r\n\r\nSM\r\n\r\n").getBytes(StandardCharsets.US_ASCII);

  private static final Authority UNUSABLE =
      new Authority(Optional.empty(), Optional.empty(), Optional.empty(), "");

  private enum Part {
    METHOD,
    REQUEST_LINE,
    FIELDS,
    HTTP2
  }

  private Sniffed answer = Sniffed.NEED_MORE;
  private Part part = Part.METHOD;
  private int seen;
  private int lineStart;
  private boolean afterCr;

  private String method = "";
  private String path = "";
  private @Nullable Authority fromTarget;
  private int defaultPort;
  private @Nullable Authority fromHost;
  private int hostFields;
  private boolean ambiguous;

  /// Looks at the bytes that are new since the last call.
  ///
  /// @param bytes all bytes of the client so far, the first one at the reader index
  /// @return as `Http`; need more; or not, as soon as that is certain
  public Sniffed sniff(ByteBuf bytes) {
    int start = bytes.readerIndex();
    int available = Math.min(bytes.readableBytes(), MAX_BYTES);
    while (undecided() && seen < available) {
      int b = bytes.getUnsignedByte(start + seen);
      seen++;
      switch (part) {
        case METHOD -> methodByte(b);
        case REQUEST_LINE -> requestLineByte(bytes, start, b);
        case FIELDS -> fieldByte(bytes, start, b);
        case HTTP2 -> http2Byte(b);
      }
    }
    if (undecided() && seen == MAX_BYTES) {
      answer = Sniffed.NOT;
    }
    return answer;
  }

  /// What it comes to when no more bytes will come. A head without its end is HTTP, but a second
  /// Host could have followed: it has no host.
  Preface atEnd() {
    return switch (answer) {
      case Sniffed.As(Preface preface) -> preface;
      case Sniffed.NeedMore _ when part == Part.FIELDS -> http(UNUSABLE);
      case Sniffed.NeedMore _, Sniffed.Not _ -> new Preface.Opaque();
    };
  }

  /// Whether a request can begin with this byte. Methods are case-sensitive and all registered ones
  /// are capitals, so the first byte tells HTTP from most other protocols.
  static boolean canStart(int b) {
    return b >= 'A' && b <= 'Z';
  }

  private static boolean canContinue(int b) {
    return b == '-' || b == '_' || (b >= '0' && b <= '9');
  }

  /// Control characters, some of which have a meaning to some readers.
  private static boolean isControl(int b) {
    return b < ' ' || b == 0x7f;
  }

  private boolean undecided() {
    return answer instanceof Sniffed.NeedMore;
  }

  private void methodByte(int b) {
    if (b == ' ' && seen > 1) {
      part = Part.REQUEST_LINE;
    } else if (seen > MAX_METHOD || !(canStart(b) || (seen > 1 && canContinue(b)))) {
      answer = Sniffed.NOT;
    }
  }

  private void requestLineByte(ByteBuf bytes, int start, int b) {
    if (b == '\n') {
      ambiguous |= !afterCr;
      requestLine(bytes, start, seen - (afterCr ? 2 : 1));
      lineStart = seen;
      afterCr = false;
    } else if (afterCr || (b != '\r' && isControl(b))) {
      answer = Sniffed.NOT;
    } else {
      afterCr = b == '\r';
    }
  }

  private void requestLine(ByteBuf bytes, int start, int length) {
    String line = bytes.toString(start, length, StandardCharsets.ISO_8859_1);
    if (line.equals(HTTP2_LINE) && !ambiguous) {
      part = Part.HTTP2;
      return;
    }
    int first = line.indexOf(' ');
    int second = line.indexOf(' ', first + 1);
    String version = second < 0 ? "" : line.substring(second + 1);
    boolean http1 =
        version.length() == 8
            && version.startsWith("HTTP/1.")
            && version.charAt(7) >= '0'
            && version.charAt(7) <= '9';
    if (!http1 || second == first + 1) {
      answer = Sniffed.NOT;
      return;
    }
    method = line.substring(0, first);
    target(line.substring(first + 1, second));
    part = Part.FIELDS;
  }

  /// RFC 9112 section 3.2: origin-form, absolute-form, authority-form, asterisk-form.
  private void target(String target) {
    if (method.equals("CONNECT")) {
      fromTarget = usable(target);
      return;
    }
    if (target.startsWith("/") || target.equals("*")) {
      path = shownPath(target);
      return;
    }
    int authority = target.indexOf("://") + 3;
    String scheme = target.substring(0, Math.max(0, authority - 3)).toLowerCase(Locale.ROOT);
    if (!scheme.equals("http") && !scheme.equals("https")) {
      ambiguous = true;
      path = shownPath(target);
      return;
    }
    int end = authority;
    while (end < target.length() && "/?#".indexOf(target.charAt(end)) < 0) {
      end++;
    }
    defaultPort = scheme.equals("http") ? 80 : 443;
    fromTarget = usable(target.substring(authority, end));
    path = shownPath(target.startsWith("/", end) ? target.substring(end) : "/");
  }

  /// Without query and fragment, which carry secrets; what is not printable ASCII percent-encoded.
  private static String shownPath(String target) {
    StringBuilder out = new StringBuilder();
    for (int i = 0; i < target.length() && out.length() < MAX_PATH; i++) {
      char c = target.charAt(i);
      if (c == '?' || c == '#') {
        break;
      }
      if (c > ' ' && c <= '~') {
        out.append(c);
      } else {
        out.append('%').append(Character.toUpperCase(Character.forDigit(c >> 4, 16)));
        out.append(Character.toUpperCase(Character.forDigit(c & 15, 16)));
      }
    }
    return out.toString();
  }

  private void fieldByte(ByteBuf bytes, int start, int b) {
    if (b == '\n') {
      ambiguous |= !afterCr;
      int end = seen - (afterCr ? 2 : 1);
      if (end == lineStart) {
        answer = new Sniffed.As(http(authority()));
      } else {
        fieldLine(bytes, start + lineStart, start + end);
      }
      lineStart = seen;
      afterCr = false;
      return;
    }
    ambiguous |= afterCr || (b != '\r' && b != '\t' && isControl(b));
    afterCr = b == '\r';
  }

  private void fieldLine(ByteBuf bytes, int from, int to) {
    int colon = from;
    while (colon < to && isToken(bytes.getUnsignedByte(colon))) {
      colon++;
    }
    if (colon == from || colon == to || bytes.getByte(colon) != ':') {
      ambiguous = true; // folded, without a colon, or a blank before it
      return;
    }
    if (colon - from == 4
        && bytes.toString(from, 4, StandardCharsets.US_ASCII).equalsIgnoreCase("host")) {
      hostFields++;
      fromHost =
          usable(trimmed(bytes.toString(colon + 1, to - colon - 1, StandardCharsets.ISO_8859_1)));
    }
  }

  /// RFC 9110 section 5.6.2.
  private static boolean isToken(int b) {
    return (b >= 'a' && b <= 'z')
        || (b >= 'A' && b <= 'Z')
        || (b >= '0' && b <= '9')
        || "!#$%&'*+-.^_`|~".indexOf(b) >= 0;
  }

  /// Without the blanks of RFC 9110 section 5.6.3 around it, and no others.
  private static String trimmed(String s) {
    int from = 0;
    int to = s.length();
    while (from < to && (s.charAt(from) == ' ' || s.charAt(from) == '\t')) {
      from++;
    }
    while (to > from && (s.charAt(to - 1) == ' ' || s.charAt(to - 1) == '\t')) {
      to--;
    }
    return s.substring(from, to);
  }

  private void http2Byte(int b) {
    if (HTTP2_PREFACE[seen - 1] != b) {
      answer = Sniffed.NOT;
    } else if (seen == HTTP2_PREFACE.length) {
      answer =
          new Sniffed.As(new Preface.Http(Optional.empty(), Optional.empty(), true, "PRI", "*"));
    }
  }

  private static Authority usable(String text) {
    return Authority.parse(text).orElse(UNUSABLE);
  }

  private Preface http(Authority authority) {
    return new Preface.Http(authority.host(), authority.port(), false, method, path);
  }

  /// The one authority that every reader of this head comes to, or none.
  private Authority authority() {
    if (ambiguous || hostFields > 1) {
      return UNUSABLE;
    }
    if (fromTarget == null) {
      return fromHost == null ? UNUSABLE : fromHost;
    }
    if (fromHost == null) {
      return fromTarget; // HTTP/1.0 through a proxy
    }
    boolean agree =
        fromTarget.host().equals(fromHost.host())
            && fromTarget.port().orElse(defaultPort).equals(fromHost.port().orElse(defaultPort));
    return agree ? fromTarget : UNUSABLE;
  }
}
