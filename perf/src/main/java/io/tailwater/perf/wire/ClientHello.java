package io.tailwater.perf.wire;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Random;

/// A well-formed TLS 1.3 ClientHello that carries an SNI, in one TLS record. It offers what a
/// common client offers (X25519 key share, supported_versions, ALPN), because every proxy under
/// test parses it. The key share is random bytes: no handshake is ever finished, the server of this
/// module swallows the record.
///
/// Layout after RFC 8446 section 4.1.2; record layer section 5.1; server_name RFC 6066 section 3.
public final class ClientHello {
  /// Bytes of the TLS record header: type, legacy version (2), length (2).
  public static final int RECORD_HEADER = 5;

  private static final int HANDSHAKE = 22;
  private static final int TLS_1_0 = 0x0301;
  private static final int TLS_1_2 = 0x0303;
  private static final int TLS_1_3 = 0x0304;
  private static final int X25519 = 0x001d;
  private static final int SECP256R1 = 0x0017;
  private static final int[] CIPHER_SUITES = {
    0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030
  };
  private static final int[] SIGNATURE_SCHEMES = {0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501};

  private ClientHello() {}

  /// The record for `sni`; the same seed gives the same bytes.
  ///
  /// @throws IllegalArgumentException if the name is empty, not ASCII or longer than 253 bytes
  public static byte[] record(String sni, long seed) {
    byte[] name = sni.getBytes(StandardCharsets.US_ASCII);
    if (name.length == 0 || name.length > 253 || !sni.chars().allMatch(c -> c > ' ' && c < 127)) {
      throw new IllegalArgumentException("not a host name that fits an SNI: '" + sni + "'");
    }
    Random random = new Random(seed);
    ByteBuffer out = ByteBuffer.allocate(1024);
    out.put((byte) HANDSHAKE).putShort((short) TLS_1_0);
    int record = open16(out);
    out.put((byte) 1); // client_hello
    out.put((byte) 0); // the length is 24 bits and never needs the first of them here
    int handshake = open16(out);
    out.putShort((short) TLS_1_2);
    out.put(bytes(random, 32));
    out.put((byte) 32)
        .put(bytes(random, 32)); // legacy_session_id, as in middlebox compatibility mode
    list16(out, CIPHER_SUITES);
    out.put((byte) 1).put((byte) 0); // compression: null alone
    int extensions = open16(out);

    extension(
        out,
        0x0000,
        () -> { // server_name
          int list = open16(out);
          out.put((byte) 0);
          int host = open16(out);
          out.put(name);
          close16(out, host);
          close16(out, list);
        });
    extension(out, 0x000a, () -> list16(out, X25519, SECP256R1)); // supported_groups
    extension(out, 0x000b, () -> out.put((byte) 1).put((byte) 0)); // ec_point_formats
    extension(out, 0x000d, () -> list16(out, SIGNATURE_SCHEMES));
    extension(
        out,
        0x0010,
        () -> { // application_layer_protocol_negotiation
          int list = open16(out);
          for (String protocol : new String[] {"h2", "http/1.1"}) {
            byte[] ascii = protocol.getBytes(StandardCharsets.US_ASCII);
            out.put((byte) ascii.length).put(ascii);
          }
          close16(out, list);
        });
    extension(
        out,
        0x002b, // supported_versions
        () -> out.put((byte) 4).putShort((short) TLS_1_3).putShort((short) TLS_1_2));
    extension(out, 0x002d, () -> out.put((byte) 1).put((byte) 1)); // psk_dhe_ke
    extension(
        out,
        0x0033,
        () -> { // key_share
          int shares = open16(out);
          out.putShort((short) X25519).putShort((short) 32).put(bytes(random, 32));
          close16(out, shares);
        });

    close16(out, extensions);
    close16(out, handshake);
    close16(out, record);
    byte[] bytes = new byte[out.position()];
    out.flip().get(bytes);
    return bytes;
  }

  private static void extension(ByteBuffer out, int type, Runnable body) {
    out.putShort((short) type);
    int length = open16(out);
    body.run();
    close16(out, length);
  }

  private static void list16(ByteBuffer out, int... values) {
    int length = open16(out);
    for (int value : values) {
      out.putShort((short) value);
    }
    close16(out, length);
  }

  private static int open16(ByteBuffer out) {
    out.putShort((short) 0);
    return out.position();
  }

  private static void close16(ByteBuffer out, int start) {
    out.putShort(start - 2, (short) (out.position() - start));
  }

  private static byte[] bytes(Random random, int count) {
    byte[] bytes = new byte[count];
    random.nextBytes(bytes);
    return bytes;
  }
}
