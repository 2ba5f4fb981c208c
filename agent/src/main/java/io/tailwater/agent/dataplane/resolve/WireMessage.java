package io.tailwater.agent.dataplane.resolve;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Consumer;

/// A DNS message as bytes (RFC 1035 section 4.1), read for its structure alone: what a record means
/// is of no matter, so that types, options and opcodes that nobody has heard of pass unchanged. The
/// bytes are not copied and belong to whoever made it; what changes them says so. Never throws on
/// foreign bytes.
///
/// ```
/// 0 id | 2 QR opcode AA TC RD | 3 RA Z AD CD rcode | 4 QDCOUNT | 6 ANCOUNT | 8 NSCOUNT | 10 ARCOUNT
/// 12 question: name, type, class; then records: name, type, class, TTL (4), length (2), data
/// ```
public final class WireMessage {
  /// The fixed part.
  public static final int HEADER = 12;

  public static final int OPCODE_QUERY = 0;
  public static final int NOERROR = 0;
  public static final int FORMERR = 1;
  public static final int SERVFAIL = 2;
  public static final int NXDOMAIN = 3;
  public static final int REFUSED = 5;

  public static final int A = 1;
  public static final int CNAME = 5;
  public static final int SOA = 6;
  public static final int AAAA = 28;
  public static final int OPT = 41;
  public static final int SVCB = 64;
  public static final int HTTPS = 65;
  public static final int IXFR = 251;
  public static final int AXFR = 252;

  private static final int QR = 0x80;
  private static final int TC = 0x02;
  private static final int LONGEST_NAME = 255;
  private static final int POINTER = 0xc0;

  private final byte[] bytes;
  private final int nameEnd;
  private final int questionEnd;
  private final int optAt;
  private final int records;

  private WireMessage(byte[] bytes, int nameEnd, int questionEnd, int optAt, int records) {
    this.bytes = bytes;
    this.nameEnd = nameEnd;
    this.questionEnd = questionEnd;
    this.optAt = optAt;
    this.records = records;
  }

  /// One record: where it stands in the message.
  ///
  /// @param section 0 answer, 1 authority, 2 additional
  /// @param at where its name begins
  /// @param fixed where its type begins
  /// @param data where its data begin
  /// @param end behind it
  public record Rr(int section, int at, int fixed, int type, int data, int end) {}

  /// Reads a message with at most one question; empty where its counts and lengths do not agree
  /// with its bytes, or something follows it.
  public static Optional<WireMessage> read(byte[] bytes) {
    if (bytes.length < HEADER) {
      return Optional.empty();
    }
    int questions = u16(bytes, 4);
    int at = HEADER;
    int nameEnd = HEADER;
    if (questions > 1) {
      return Optional.empty();
    }
    if (questions == 1) {
      nameEnd = plainName(bytes, at);
      at = nameEnd + 4;
      if (nameEnd < 0 || at > bytes.length) {
        return Optional.empty();
      }
    }
    int questionEnd = at;
    int[] opt = {-1};
    int count = u16(bytes, 6) + u16(bytes, 8) + u16(bytes, 10);
    int end = walk(bytes, questionEnd, rr -> opt[0] = rr.type() == OPT ? rr.at() : opt[0]);
    return end == bytes.length
        ? Optional.of(new WireMessage(bytes, nameEnd, questionEnd, opt[0], count))
        : Optional.empty();
  }

  /// Tells of each record; returns where the last one ends, or -1.
  private static int walk(byte[] bytes, int from, Consumer<Rr> each) {
    int at = from;
    for (int section = 0; section < 3; section++) {
      for (int i = u16(bytes, 6 + 2 * section); i > 0; i--) {
        int fixed = skipName(bytes, at);
        if (fixed < 0 || fixed + 10 > bytes.length) {
          return -1;
        }
        int data = fixed + 10;
        int end = data + u16(bytes, fixed + 8);
        if (end > bytes.length) {
          return -1;
        }
        each.accept(new Rr(section, at, fixed, u16(bytes, fixed), data, end));
        at = end;
      }
    }
    return at;
  }

  /// The end of a name without pointers, or -1: nothing stands before a question to point at.
  private static int plainName(byte[] bytes, int from) {
    int at = from;
    while (at < bytes.length) {
      int length = bytes[at] & 0xff;
      if ((length & POINTER) != 0 || at - from >= LONGEST_NAME) {
        return -1;
      }
      at += length + 1;
      if (length == 0) {
        return at;
      }
    }
    return -1;
  }

  /// The end of a name as it stands there; where a pointer leads is not looked at.
  private static int skipName(byte[] bytes, int from) {
    int at = from;
    while (at < bytes.length) {
      int length = bytes[at] & 0xff;
      if ((length & POINTER) == POINTER) {
        return at + 2 <= bytes.length ? at + 2 : -1;
      }
      if ((length & POINTER) != 0 || at - from >= LONGEST_NAME) {
        return -1;
      }
      at += length + 1;
      if (length == 0) {
        return at;
      }
    }
    return -1;
  }

  static int u16(byte[] bytes, int at) {
    return (bytes[at] & 0xff) << 8 | (bytes[at + 1] & 0xff);
  }

  /// All bytes.
  public byte[] bytes() {
    return bytes;
  }

  public int id() {
    return u16(bytes, 0);
  }

  public boolean isResponse() {
    return (bytes[2] & QR) != 0;
  }

  public int opcode() {
    return bytes[2] >> 3 & 0xf;
  }

  public boolean isTruncated() {
    return (bytes[2] & TC) != 0;
  }

  /// Without the upper bits that an OPT record may carry.
  public int rcode() {
    return bytes[3] & 0xf;
  }

  public boolean hasQuestion() {
    return u16(bytes, 4) == 1;
  }

  /// Of the question.
  public int type() {
    return u16(bytes, nameEnd);
  }

  /// Of the question.
  public int questionClass() {
    return u16(bytes, nameEnd + 2);
  }

  /// Behind header and question.
  public int questionEnd() {
    return questionEnd;
  }

  /// How many records follow the question.
  public int recordCount() {
    return records;
  }

  /// How many records the answer section has.
  public int answers() {
    return u16(bytes, 6);
  }

  /// The TTL of a record in seconds. RFC 2181 section 8: one with the top bit set is read as zero.
  public long ttl(Rr rr) {
    long ttl = u32(rr.fixed() + 4);
    return ttl > Integer.MAX_VALUE ? 0 : ttl;
  }

  /// Four octets as a number.
  public long u32(int at) {
    return (long) u16(bytes, at) << 16 | u16(bytes, at + 2);
  }

  /// The name of the question as text, labels parted by dots; a label may hold anything.
  public String name() {
    StringBuilder out = new StringBuilder(nameEnd - HEADER);
    int at = HEADER;
    while (at < nameEnd - 1) {
      int length = bytes[at] & 0xff;
      if (!out.isEmpty()) {
        out.append('.');
      }
      out.append(new String(bytes, at + 1, length, StandardCharsets.ISO_8859_1));
      at += length + 1;
    }
    return out.toString();
  }

  /// Whether the labels of the question hold dots, which its text would not show.
  public boolean hasDotInLabel() {
    int at = HEADER;
    while (at < nameEnd - 1) {
      int length = bytes[at] & 0xff;
      for (int i = at + 1; i <= at + length; i++) {
        if (bytes[i] == '.') {
          return true;
        }
      }
      at += length + 1;
    }
    return false;
  }

  /// Where the name of the OPT record stands, if there is one.
  public OptionalInt opt() {
    return optAt < 0 ? OptionalInt.empty() : OptionalInt.of(optAt);
  }

  /// Whether the OPT record carries options.
  public boolean hasOptions() {
    return optAt >= 0 && u16(bytes, skipName(bytes, optAt) + 8) > 0;
  }

  /// The UDP payload that the sender takes: RFC 6891 section 6.2.3, 512 without EDNS.
  public int payload() {
    return optAt < 0 ? 512 : Math.max(512, u16(bytes, optAt + 3));
  }

  /// The version of EDNS; 0 where there is none.
  public int ednsVersion() {
    return optAt < 0 ? 0 : bytes[optAt + 6] & 0xff;
  }

  /// Whether the sender wants DNSSEC records.
  public boolean wantsDnssec() {
    return optAt >= 0 && (bytes[optAt + 7] & 0x80) != 0;
  }

  /// Tells of each record, in order.
  public void records(Consumer<Rr> each) {
    int _ = walk(bytes, questionEnd, each);
  }

  /// Whether it carries nothing that a signature covers: no record but an OPT.
  boolean isUnsigned() {
    return records == 0 || (records == 1 && optAt >= 0);
  }

  /// Whether both ask the same, whatever the case of the letters.
  boolean sameQuestion(WireMessage other) {
    return questionEnd == other.questionEnd && matches(other.bytes, questionEnd, false);
  }

  /// Whether the questions are the same bytes.
  boolean sameBytes(byte[] other) {
    return matches(other, questionEnd, true);
  }

  private boolean matches(byte[] other, int to, boolean exactly) {
    if (other.length < to) {
      return false;
    }
    if (exactly) {
      return Arrays.equals(bytes, HEADER, to, other, HEADER, to);
    }
    for (int i = HEADER; i < to; i++) {
      boolean letters = i < nameEnd;
      if (bytes[i] != other[i] && !(letters && lower(bytes[i]) == lower(other[i]))) {
        return false;
      }
    }
    return true;
  }

  private static int lower(byte b) {
    return b >= 'A' && b <= 'Z' ? b + ('a' - 'A') : b;
  }

  /// Name in lower case, type and class, each octet as a character: what an answer is kept under.
  public String questionKey() {
    byte[] key = Arrays.copyOfRange(bytes, HEADER, questionEnd);
    for (int i = 0; i < nameEnd - HEADER; i++) {
      key[i] = (byte) lower(key[i]);
    }
    return new String(key, StandardCharsets.ISO_8859_1);
  }

  /// Changes the bytes: another id.
  public static void setId(byte[] message, int id) {
    message[0] = (byte) (id >> 8);
    message[1] = (byte) id;
  }

  /// An answer without records to this question, with EDNS where the question had it.
  ///
  /// @param rcode at most 15
  public byte[] reply(int rcode, boolean truncated) {
    boolean edns = optAt >= 0;
    byte[] out = Arrays.copyOf(bytes, questionEnd + (edns ? 11 : 0));
    out[2] = (byte) (QR | (bytes[2] & 0x79) | (truncated ? TC : 0));
    out[3] = (byte) (0x80 | (bytes[3] & 0x10) | rcode);
    Arrays.fill(out, 6, HEADER, (byte) 0);
    if (edns) {
      out[11] = 1;
      int at = questionEnd;
      out[at + 2] = OPT;
      out[at + 3] = (byte) (OUR_PAYLOAD >> 8);
      out[at + 4] = (byte) OUR_PAYLOAD;
      out[at + 7] = (byte) (bytes[optAt + 7] & 0x80);
    }
    return out;
  }

  /// What fits into a UDP packet on nearly every path (DNS flag day 2020).
  public static final int OUR_PAYLOAD = 1232;

  /// The answer to bytes that are no message, or empty where they do not even begin like a query.
  public static Optional<byte[]> formatError(byte[] query) {
    if (query.length < HEADER || (query[2] & QR) != 0) {
      return Optional.empty();
    }
    byte[] out = Arrays.copyOf(query, HEADER);
    out[2] = (byte) (QR | (query[2] & 0x79));
    out[3] = (byte) (0x80 | FORMERR);
    Arrays.fill(out, 4, HEADER, (byte) 0);
    return Optional.of(out);
  }
}
