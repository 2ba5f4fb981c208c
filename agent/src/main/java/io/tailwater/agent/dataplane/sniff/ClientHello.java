package io.tailwater.agent.dataplane.sniff;

import io.netty.buffer.ByteBuf;
import io.tailwater.agent.traffic.HostName;
import java.nio.charset.StandardCharsets;
import java.util.BitSet;
import java.util.Locale;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// Reads the server name out of the first message of a TLS client, as the bytes come.
///
/// One object per connection, used on that connection's loop. It moves no index of the buffer,
/// changes and keeps no byte of it (the claimed name apart), and looks at each byte once, however
/// the bytes are cut into segments and records. It needs no more than `maxBytes` plus the headers
/// of [#MAX_RECORDS] records before it answers.
///
/// It is strict in all framing that a server checks too, so that both read the same name, and says
/// that a hello is malformed as soon as that is certain; it says that one is well formed only when
/// it is complete. It does not look at what the name does not depend on: versions, suites, groups
/// and extensions that it does not know (GREASE, RFC 8701) pass, and so does what follows the
/// message, in its record or behind it (early data).
///
/// ```
/// record (RFC 8446 5.1)   type 22 | version 3.x | length 1..16384 | piece of the message
/// message (RFC 8446 4)    type 1  | length:3 | ClientHello
/// ClientHello (4.1.2)     version 3.x | random[32] | session id <0..32>:1 | suites <2..>:2
///                         | compressions <1..>:1 | extensions <0..>:2 (or nothing at all)
/// extension               type:2 | body <0..>:2
/// server_name (RFC 6066 3)  list <..>:2 of ( type 0 | name <1..>:2 ), here exactly one
/// ```
public final class ClientHello {
  /// The usual limit on the handshake message with its header; Envoy's too.
  public static final int MAX_BYTES = 16 * 1024;

  /// Pieces into which a hello may be cut. 64 x 256 bytes make the usual limit; real clients need
  /// one or two.
  public static final int MAX_RECORDS = 64;

  /// RFC 8446 section 5.1: 2^14 bytes of plaintext, and a hello is never encrypted.
  private static final int MAX_RECORD = 1 << 14;

  private static final int RECORD_HEADER = 5;
  private static final int HANDSHAKE_RECORD = 22;
  private static final int TLS_MAJOR = 3;
  private static final int MESSAGE_HEADER = 4;
  private static final int CLIENT_HELLO = 1;
  private static final int SERVER_NAME = 0;

  /// RFC 9849, encrypted_client_hello.
  private static final int ECH = 0xfe0d;

  /// version 2, random 32, three empty-as-can-be vectors: 1, 2 + 2, 1 + 1.
  private static final int SHORTEST = 2 + 32 + 1 + 2 + 2 + 1 + 1;

  /// What must follow the session id: 2 + 2 of suites, 1 + 1 of compressions.
  private static final int AFTER_SESSION_ID = 6;

  /// A name and its root dot.
  private static final int MAX_NAME = HostName.MAX_LENGTH + 1;

  private enum Kind {
    NUMBER,
    SKIPPED,
    TEXT
  }

  private enum Field {
    TYPE(Kind.NUMBER),
    LENGTH(Kind.NUMBER),
    VERSION(Kind.NUMBER),
    RANDOM(Kind.SKIPPED),
    SESSION_ID_LENGTH(Kind.NUMBER),
    SESSION_ID(Kind.SKIPPED),
    SUITES_LENGTH(Kind.NUMBER),
    SUITES(Kind.SKIPPED),
    COMPRESSIONS_LENGTH(Kind.NUMBER),
    COMPRESSIONS(Kind.SKIPPED),
    EXTENSIONS_LENGTH(Kind.NUMBER),
    EXTENSION_TYPE(Kind.NUMBER),
    EXTENSION_LENGTH(Kind.NUMBER),
    EXTENSION_BODY(Kind.SKIPPED),
    NAME_LIST_LENGTH(Kind.NUMBER),
    NAME_TYPE(Kind.NUMBER),
    NAME_LENGTH(Kind.NUMBER),
    NAME(Kind.TEXT);

    private final Kind kind;

    Field(Kind kind) {
      this.kind = kind;
    }
  }

  private final int maxBytes;
  private Sniffed answer = Sniffed.NEED_MORE;

  /// Bytes looked at, counted from the reader index.
  private int seen;

  private int records;
  private int recordHeaderSeen;
  private int recordLength;
  private int recordLeft;

  private Field field = Field.TYPE;
  private int fieldLeft = 1;
  private int value;

  /// Bytes of the message behind the current field's end, once that is known.
  private int messageLeft = MESSAGE_HEADER;

  private final ExtensionTypes types = new ExtensionTypes();
  private int extensionType;
  private int extensionLength;
  private byte @Nullable [] claimed;
  private boolean claimedWhole;
  private @Nullable HostName name;
  private boolean trailingDot;
  private boolean ech;

  /// @param maxBytes the limit on the handshake message with its 4 bytes of header, at least 256
  public ClientHello(int maxBytes) {
    this.maxBytes = requireRoom(maxBytes);
  }

  static int requireRoom(int maxBytes) {
    if (maxBytes < 256) {
      throw new IllegalArgumentException(
          "a limit of " + maxBytes + " bytes leaves no room for a ClientHello: at least 256");
    }
    return maxBytes;
  }

  /// Looks at the bytes that are new since the last call.
  ///
  /// @param bytes all bytes of the client so far, the first one at the reader index
  /// @return as `Tls`, `TlsWithoutName` or `MalformedTls`; need more; or not, by the first byte
  public Sniffed sniff(ByteBuf bytes) {
    int start = bytes.readerIndex();
    int available = bytes.readableBytes();
    while (undecided() && seen < available) {
      if (recordLeft == 0) {
        recordHeader(bytes.getUnsignedByte(start + seen));
        seen++;
      } else {
        int piece = Math.min(recordLeft, available - seen);
        message(bytes, start + seen, piece);
        seen += piece;
        recordLeft -= piece;
        if (recordLeft == 0 && records == MAX_RECORDS && undecided()) {
          malformed("the ClientHello is cut into more than " + MAX_RECORDS + " records");
        }
      }
    }
    return answer;
  }

  /// What it comes to when no more bytes will come: a hello that is not complete is malformed.
  Preface atEnd() {
    if (undecided()) {
      malformed("the ClientHello ended in the middle");
    }
    return answer instanceof Sniffed.As(Preface preface) ? preface : new Preface.Opaque();
  }

  /// Whether the name carried a root dot, which was taken off (RFC 6066 section 3 forbids it,
  /// clients send it). Worth counting.
  public boolean trailingDot() {
    return trailingDot;
  }

  private boolean undecided() {
    return answer instanceof Sniffed.NeedMore;
  }

  private void recordHeader(int b) {
    switch (recordHeaderSeen) {
      case 0 -> {
        if (b != HANDSHAKE_RECORD && records == 0) {
          answer = Sniffed.NOT;
        } else if (b != HANDSHAKE_RECORD) {
          malformed("a record of another type interrupts the ClientHello");
        }
      }
      case 1 -> {
        // RFC 8446 has servers ignore the version, some do: so this is TLS, and not as it should be
        if (b != TLS_MAJOR) {
          malformed("the TLS record has the unknown major version " + b);
        }
      }
      case 2 -> recordLength = 0;
      default -> {
        recordLength = recordLength << 8 | b;
        if (recordLength << (recordHeaderSeen == 3 ? 8 : 0) > MAX_RECORD) {
          malformed("the TLS record is longer than " + MAX_RECORD + " bytes");
        }
      }
    }
    recordHeaderSeen++;
    if (recordHeaderSeen == RECORD_HEADER && undecided()) {
      recordHeaderSeen = 0;
      recordLeft = recordLength;
      records++;
      if (recordLength == 0) {
        malformed("a TLS record of the ClientHello is empty");
      }
    }
  }

  private void message(ByteBuf bytes, int from, int length) {
    int at = from;
    int end = from + length;
    while (at < end && undecided()) {
      int step = Math.min(fieldLeft, end - at);
      switch (field.kind) {
        case NUMBER -> {
          for (int i = 0; i < step; i++) {
            value = value << 8 | bytes.getUnsignedByte(at + i);
          }
        }
        case TEXT -> {
          if (claimed != null) {
            bytes.getBytes(at, claimed, claimed.length - fieldLeft, step);
          }
        }
        case SKIPPED -> {}
      }
      at += step;
      fieldLeft -= step;
      messageLeft -= step;
      if (fieldLeft == 0) {
        fieldEnd();
      }
    }
  }

  private void fieldEnd() {
    switch (field) {
      case TYPE -> {
        if (value != CLIENT_HELLO) {
          malformed("the first handshake message is not a ClientHello");
        } else {
          number(Field.LENGTH, 3);
        }
      }
      case LENGTH -> {
        messageLeft = value;
        if (value > maxBytes - MESSAGE_HEADER) {
          malformed("the ClientHello is larger than " + sizeText(maxBytes));
        } else if (value < SHORTEST) {
          malformed("the ClientHello is shorter than its fixed fields");
        } else {
          number(Field.VERSION, 2);
        }
      }
      case VERSION -> {
        if (value >> 8 != TLS_MAJOR) {
          malformed("the ClientHello has the unknown major version " + (value >> 8));
        } else {
          skip(Field.RANDOM, 32);
        }
      }
      case RANDOM -> number(Field.SESSION_ID_LENGTH, 1);
      case SESSION_ID_LENGTH -> {
        if (value > 32) {
          malformed("the session id is longer than 32 bytes");
        } else if (value + AFTER_SESSION_ID > messageLeft) {
          malformed("the session id does not fit the ClientHello");
        } else {
          skip(Field.SESSION_ID, value);
        }
      }
      case SESSION_ID -> number(Field.SUITES_LENGTH, 2);
      case SUITES_LENGTH -> {
        if (value < 2 || value % 2 != 0) {
          malformed("the list of cipher suites has a length of " + value);
        } else if (value + 2 > messageLeft) {
          malformed("the list of cipher suites does not fit the ClientHello");
        } else {
          skip(Field.SUITES, value);
        }
      }
      case SUITES -> number(Field.COMPRESSIONS_LENGTH, 1);
      case COMPRESSIONS_LENGTH -> {
        if (value == 0) {
          malformed("the list of compression methods is empty");
        } else if (value > messageLeft) {
          malformed("the list of compression methods does not fit the ClientHello");
        } else {
          skip(Field.COMPRESSIONS, value);
        }
      }
      case COMPRESSIONS -> {
        if (messageLeft == 0) {
          wellFormed();
        } else if (messageLeft == 1) {
          malformed("a stray byte follows the compression methods");
        } else {
          number(Field.EXTENSIONS_LENGTH, 2);
        }
      }
      case EXTENSIONS_LENGTH -> {
        if (value != messageLeft) {
          malformed("the extensions do not fill the ClientHello exactly");
        } else {
          nextExtension();
        }
      }
      case EXTENSION_TYPE -> {
        extensionType = value;
        if (!types.add(value)) {
          malformed(
              value == SERVER_NAME
                  ? "the server_name extension comes twice"
                  : "the extension " + value + " comes twice");
        } else {
          number(Field.EXTENSION_LENGTH, 2);
        }
      }
      case EXTENSION_LENGTH -> {
        extensionLength = value;
        if (value > messageLeft) {
          malformed("the extension " + extensionType + " does not fit the ClientHello");
        } else if (extensionType != SERVER_NAME) {
          ech |= extensionType == ECH;
          skip(Field.EXTENSION_BODY, value);
        } else if (value == 0) {
          malformed("the server_name extension is empty");
        } else if (value < 5) {
          malformed("the server_name extension is too short for a name");
        } else {
          number(Field.NAME_LIST_LENGTH, 2);
        }
      }
      case EXTENSION_BODY -> nextExtension();
      case NAME_LIST_LENGTH -> {
        if (value != extensionLength - 2) {
          malformed("the list of names does not fill the server_name extension exactly");
        } else {
          number(Field.NAME_TYPE, 1);
        }
      }
      case NAME_TYPE -> {
        if (value != 0) {
          malformed("the server name has the unknown type " + value);
        } else {
          number(Field.NAME_LENGTH, 2);
        }
      }
      case NAME_LENGTH -> {
        int room = extensionLength - 5;
        if (value > room) {
          malformed("the server name does not fit its extension");
        } else if (value < room) {
          // a second entry or rubbish: a server might take the last name, so none is taken
          malformed("the server_name extension has more than one entry");
        } else if (value == 0) {
          malformed("the server name is empty");
        } else if (value > MAX_NAME) {
          malformed("the server name is longer than " + HostName.MAX_LENGTH + " characters");
        } else {
          claimed = new byte[value];
          field = Field.NAME;
          fieldLeft = value;
        }
      }
      case NAME -> {
        claimedWhole = true;
        switch (HostName.parse(claimedText())) {
          case HostName.Parsed.Valid(HostName valid, boolean dot) -> {
            name = valid;
            trailingDot = dot;
            nextExtension();
          }
          case HostName.Parsed.Invalid(String why) -> malformed("the server name " + why);
        }
      }
    }
  }

  private void nextExtension() {
    if (messageLeft == 0) {
      wellFormed();
    } else if (messageLeft < 4) {
      malformed("stray bytes follow the last extension");
    } else {
      number(Field.EXTENSION_TYPE, 2);
    }
  }

  private void number(Field next, int length) {
    if (length > messageLeft) {
      malformed("the ClientHello is shorter than its fields");
      return;
    }
    field = next;
    fieldLeft = length;
    value = 0;
  }

  private void skip(Field next, int length) {
    field = next;
    fieldLeft = length;
    if (length == 0) {
      fieldEnd();
    }
  }

  private void wellFormed() {
    answer =
        new Sniffed.As(name == null ? new Preface.TlsWithoutName() : new Preface.Tls(name, ech));
  }

  private void malformed(String why) {
    answer =
        new Sniffed.As(
            new Preface.MalformedTls(
                why, claimedWhole ? Optional.of(shown(claimedText())) : Optional.empty()));
  }

  private String claimedText() {
    // one char per byte, so that a byte that is not ASCII stays visible as such
    return claimed == null ? "" : new String(claimed, StandardCharsets.ISO_8859_1);
  }

  /// For logs: at most 8 + 254 characters, none of which means anything to a terminal, a log format
  /// or a query language (CVE-2024-45808 is what happens otherwise).
  private static String shown(String claimed) {
    StringBuilder out = new StringBuilder("invalid:");
    String lower = claimed.toLowerCase(Locale.ROOT);
    for (int i = 0; i < lower.length(); i++) {
      char c = lower.charAt(i);
      boolean kept =
          (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
      out.append(kept ? c : '_');
    }
    return out.toString();
  }

  private static String sizeText(int bytes) {
    return bytes % 1024 == 0 ? bytes / 1024 + " KiB" : bytes + " bytes";
  }

  /// The extension types met so far. Three sizes, so that a usual hello costs a few bytes and a
  /// hostile one with 4,095 extensions neither time nor more than 8 KiB.
  private static final class ExtensionTypes {
    private static final int FEW = 16;

    private long below64;
    private char @Nullable [] few;
    private int count;
    private @Nullable BitSet many;

    /// @return false if it was there already
    boolean add(int type) {
      if (type < 64) {
        boolean added = (below64 & 1L << type) == 0;
        below64 |= 1L << type;
        return added;
      }
      if (many != null) {
        return addToMany(many, type);
      }
      char[] list = few == null ? new char[FEW] : few;
      few = list;
      for (int i = 0; i < count; i++) {
        if (list[i] == type) {
          return false;
        }
      }
      if (count < FEW) {
        list[count++] = (char) type;
        return true;
      }
      BitSet set = new BitSet(1 << 16);
      for (char known : list) {
        set.set(known);
      }
      many = set;
      return addToMany(set, type);
    }

    private static boolean addToMany(BitSet set, int type) {
      boolean added = !set.get(type);
      set.set(type);
      return added;
    }
  }
}
