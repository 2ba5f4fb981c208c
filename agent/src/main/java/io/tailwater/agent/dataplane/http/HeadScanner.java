package io.tailwater.agent.dataplane.http;

import io.netty.buffer.ByteBuf;

/// Looks at the bytes of an HTTP/1 request head as they come and refuses every form that two
/// readers could read differently, before Netty's decoder sees it: bare CR or LF, control
/// characters and NUL, folded lines, blanks before a colon, anything but single blanks in the
/// request line, a name that is no token. What a head means is not looked at here.
///
/// ```
/// RFC 9112   [CRLF] method SP target SP HTTP/1.x CRLF  *( name ":" OWS value OWS CRLF )  CRLF
/// ```
///
/// One object per connection, on its loop. Moves no index and keeps no byte.
final class HeadScanner {
  private static final int MAX_METHOD = 32;
  private static final String VERSION = "HTTP/1.";

  private enum Part {
    START,
    METHOD,
    TARGET,
    VERSION,
    LINE_END,
    NAME,
    VALUE,
    VALUE_END,
    LAST_LF
  }

  private final int maxBytes;
  private final int maxFields;
  private Part part = Part.START;
  private int seen;
  private int inPart;
  private int fields;
  private boolean crBefore;
  private boolean emptyLine;

  HeadScanner(int maxBytes, int maxFields) {
    this.maxBytes = maxBytes;
    this.maxFields = maxFields;
  }

  /// For the next head.
  void reset() {
    part = Part.START;
    seen = 0;
    inPart = 0;
    fields = 0;
    crBefore = false;
    emptyLine = false;
  }

  /// Whether a head has begun and is not whole.
  boolean begun() {
    return part != Part.START;
  }

  /// Looks at what is new.
  ///
  /// @param bytes all bytes of the head so far, the first one at the reader index
  /// @return whether the head is whole
  boolean scan(ByteBuf bytes) throws BadRequest {
    int start = bytes.readerIndex();
    int available = bytes.readableBytes();
    while (seen < available) {
      if (seen == maxBytes) {
        throw part == Part.TARGET
            ? new BadRequest(414, "the request target is too long")
            : new BadRequest(431, "the request head is larger than " + maxBytes + " bytes");
      }
      int b = bytes.getUnsignedByte(start + seen);
      seen++;
      if (next(b)) {
        return true;
      }
    }
    return false;
  }

  private boolean next(int b) throws BadRequest {
    switch (part) {
      case START -> start(b);
      case METHOD -> method(b);
      case TARGET -> target(b);
      case VERSION -> version(b);
      case LINE_END, VALUE_END -> {
        require(b == '\n', "a CR without LF");
        enter(Part.NAME);
      }
      case NAME -> name(b);
      case VALUE -> value(b);
      case LAST_LF -> {
        require(b == '\n', "a CR without LF");
        return true;
      }
    }
    return false;
  }

  private void enter(Part next) {
    part = next;
    inPart = 0;
  }

  /// RFC 9112 section 2.2: one empty line before a request is ignored.
  private void start(int b) throws BadRequest {
    if (crBefore) {
      require(b == '\n', "a CR without LF");
      crBefore = false;
      emptyLine = true;
    } else if (b == '\r') {
      require(!emptyLine, "empty lines before the request");
      crBefore = true;
    } else {
      enter(Part.METHOD);
      method(b);
    }
  }

  private void method(int b) throws BadRequest {
    if (b == ' ') {
      require(inPart > 0, "a blank before the method");
      enter(Part.TARGET);
      return;
    }
    require(isToken(b), "the method is no token");
    require(++inPart <= MAX_METHOD, "the method is too long");
  }

  private void target(int b) throws BadRequest {
    if (b == ' ') {
      require(inPart > 0, "more than one blank before the target");
      enter(Part.VERSION);
      return;
    }
    require(b > ' ' && b < 0x7f, "the target has a character that a URI cannot have");
    inPart++;
  }

  private void version(int b) throws BadRequest {
    if (inPart < VERSION.length()) {
      if (b != VERSION.charAt(inPart)) {
        throw inPart == 5 && b >= '0' && b <= '9'
            ? new BadRequest(505, "a version of HTTP that is not spoken here")
            : new BadRequest("the request line does not end in a version of HTTP");
      }
      inPart++;
    } else if (inPart == VERSION.length()) {
      if (b != '0' && b != '1') {
        throw b >= '2' && b <= '9'
            ? new BadRequest(505, "a version of HTTP that is not spoken here")
            : new BadRequest("the request line does not end in a version of HTTP");
      }
      inPart++;
    } else {
      require(b == '\r', "something after the version of HTTP");
      enter(Part.LINE_END);
    }
  }

  private void name(int b) throws BadRequest {
    if (inPart == 0 && b == '\r') {
      enter(Part.LAST_LF);
      return;
    }
    if (b == ':' && inPart > 0) {
      if (++fields > maxFields) {
        throw new BadRequest(431, "more than " + maxFields + " fields");
      }
      enter(Part.VALUE);
      return;
    }
    require(
        isToken(b),
        inPart == 0 && (b == ' ' || b == '\t')
            ? "a folded line"
            : b == ' ' || b == '\t'
                ? "a blank before the colon of a field"
                : "a field name that is no token");
    inPart++;
  }

  private void value(int b) throws BadRequest {
    if (b == '\r') {
      enter(Part.VALUE_END);
      return;
    }
    require((b >= ' ' && b != 0x7f) || b == '\t', "a control character in a field");
  }

  private static void require(boolean fine, String otherwise) throws BadRequest {
    if (!fine) {
      throw new BadRequest(otherwise);
    }
  }

  /// RFC 9110 section 5.6.2.
  static boolean isToken(int b) {
    return (b >= 'a' && b <= 'z')
        || (b >= 'A' && b <= 'Z')
        || (b >= '0' && b <= '9')
        || "!#$%&'*+-.^_`|~".indexOf(b) >= 0;
  }
}
