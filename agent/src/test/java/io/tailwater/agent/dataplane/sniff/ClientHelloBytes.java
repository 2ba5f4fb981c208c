package io.tailwater.agent.dataplane.sniff;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;

/// Builds the bytes of a ClientHello, right or wrong, for tests. Not thread-safe; each call changes
/// the builder and returns it.
///
/// ```
/// byte[] bytes = ClientHelloBytes.named("en.wikipedia.org").browser().records(100);
/// ```
public final class ClientHelloBytes {
  public static final int SERVER_NAME = 0;
  public static final int SUPPORTED_GROUPS = 10;
  public static final int ALPN = 16;
  public static final int PADDING = 21;
  public static final int SESSION_TICKET = 35;
  public static final int PRE_SHARED_KEY = 41;
  public static final int SUPPORTED_VERSIONS = 43;
  public static final int KEY_SHARE = 51;
  public static final int ECH = 0xfe0d;

  /// draft-ietf-tls-ecdhe-mlkem, and the size of the client's share: 1184 of ML-KEM, 32 of X25519.
  public static final int X25519MLKEM768 = 0x11ec;

  public static final int X25519MLKEM768_SHARE = 1216;

  /// RFC 8701.
  public static final int GREASE = 0x0a0a;

  private static final class Extension {
    private final int type;
    private final byte[] body;

    private Extension(int type, byte[] body) {
      this.type = type;
      this.body = body;
    }
  }

  private final List<Extension> extensions = new ArrayList<>();
  private int recordVersion = 0x0301;
  private int handshakeType = 1;
  private int version = 0x0303;
  private byte[] random = random(32);
  private byte[] sessionId = random(32);
  private byte[] suites = shorts(0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f);
  private byte[] compressions = {0};
  private int lengthError;
  private int extensionsLengthError;
  private boolean withExtensions = true;
  private byte[] tail = {};

  private ClientHelloBytes() {}

  /// A hello of TLS 1.3 with this server name.
  public static ClientHelloBytes named(String name) {
    return withoutName().name(name);
  }

  /// A hello of TLS 1.3 without a server name.
  public static ClientHelloBytes withoutName() {
    return new ClientHelloBytes()
        .extension(SUPPORTED_VERSIONS, concat(new byte[] {4}, shorts(0x0304, 0x0303)))
        .extension(SUPPORTED_GROUPS, vector16(shorts(0x001d, 0x0017)))
        .extension(13, vector16(shorts(0x0403, 0x0804, 0x0401)));
  }

  /// A hello without any extension list, as of SSL 3.0 and TLS 1.0.
  public static ClientHelloBytes withoutExtensions() {
    ClientHelloBytes hello = new ClientHelloBytes();
    hello.withExtensions = false;
    return hello;
  }

  /// Adds a server_name extension with one entry.
  public ClientHelloBytes name(String name) {
    return name(name.getBytes(StandardCharsets.UTF_8));
  }

  /// Adds a server_name extension with one entry of these bytes.
  public ClientHelloBytes name(byte[] name) {
    return extension(SERVER_NAME, nameList(entry(0, name)));
  }

  /// The body of a server_name extension with these entries.
  public static byte[] nameList(byte[]... entries) {
    return vector16(concat(entries));
  }

  /// One entry of a server_name list.
  public static byte[] entry(int type, byte[] name) {
    return concat(new byte[] {(byte) type}, vector16(name));
  }

  /// One entry of a server_name list.
  public static byte[] entry(int type, String name) {
    return entry(type, name.getBytes(StandardCharsets.UTF_8));
  }

  /// Adds any extension behind those there.
  public ClientHelloBytes extension(int type, byte[] body) {
    extensions.add(new Extension(type, body));
    return this;
  }

  /// Adds any extension before those there.
  public ClientHelloBytes extensionFirst(int type, byte[] body) {
    extensions.addFirst(new Extension(type, body));
    return this;
  }

  /// Adds a key share with a post-quantum and a classic part.
  public ClientHelloBytes postQuantum() {
    byte[] hybrid = concat(shorts(X25519MLKEM768), vector16(random(X25519MLKEM768_SHARE)));
    byte[] classic = concat(shorts(0x001d), vector16(random(32)));
    return extension(KEY_SHARE, vector16(concat(hybrid, classic)));
  }

  /// Adds an encrypted_client_hello extension of the usual size (RFC 9849, or its GREASE: the two
  /// look the same).
  public ClientHelloBytes ech() {
    byte[] outer = concat(new byte[] {0}, shorts(1, 1), new byte[] {42});
    return extension(ECH, concat(outer, vector16(random(32)), vector16(random(208))));
  }

  /// Adds GREASE wherever RFC 8701 puts it.
  public ClientHelloBytes grease() {
    suites = concat(shorts(GREASE), suites);
    return extensionFirst(0x3a3a, new byte[] {}).extension(0xdada, new byte[] {0});
  }

  /// Adds what a browser of today sends: GREASE, a post-quantum share, ALPN, ECH.
  public ClientHelloBytes browser() {
    byte[] protocols = concat(vector8("h2"), vector8("http/1.1"));
    return postQuantum().extension(ALPN, vector16(protocols)).ech().grease();
  }

  /// Adds a pre-shared key whose ticket has this many bytes; it must stay the last extension.
  public ClientHelloBytes preSharedKey(int ticketLength) {
    byte[] identity = concat(vector16(random(ticketLength)), new byte[4]);
    return extension(
        PRE_SHARED_KEY, concat(vector16(identity), vector16(concat(new byte[] {32}, random(32)))));
  }

  /// Adds padding (RFC 7685), before a pre-shared key if there is one, until the handshake message
  /// with its header has this many bytes.
  public ClientHelloBytes padTo(int messageLength) {
    int missing = messageLength - message().length - 4;
    if (missing < 0) {
      throw new IllegalArgumentException("the hello is longer than " + messageLength + " already");
    }
    int last = extensions.size() - 1;
    boolean psk = last >= 0 && extensions.get(last).type == PRE_SHARED_KEY;
    extensions.add(psk ? last : last + 1, new Extension(PADDING, new byte[missing]));
    return this;
  }

  public ClientHelloBytes recordVersion(int version) {
    this.recordVersion = version;
    return this;
  }

  public ClientHelloBytes handshakeType(int type) {
    this.handshakeType = type;
    return this;
  }

  /// legacy_version.
  public ClientHelloBytes version(int version) {
    this.version = version;
    return this;
  }

  public ClientHelloBytes sessionId(int length) {
    this.sessionId = random(length);
    return this;
  }

  /// The list of suites, as bytes.
  public ClientHelloBytes suites(byte[] suites) {
    this.suites = suites;
    return this;
  }

  public ClientHelloBytes compressions(byte[] compressions) {
    this.compressions = compressions;
    return this;
  }

  /// Makes the length in the message's header wrong by this much.
  public ClientHelloBytes lengthError(int error) {
    this.lengthError = error;
    return this;
  }

  /// Makes the length of the extension list wrong by this much.
  public ClientHelloBytes extensionsLengthError(int error) {
    this.extensionsLengthError = error;
    return this;
  }

  /// Adds bytes behind the extensions, inside the message.
  public ClientHelloBytes tail(byte[] bytes) {
    this.tail = bytes;
    return this;
  }

  /// The handshake message with its header.
  public byte[] message() {
    ByteArrayOutputStream list = new ByteArrayOutputStream();
    for (Extension extension : extensions) {
      list.writeBytes(shorts(extension.type));
      list.writeBytes(vector16(extension.body));
    }
    byte[] withLength = concat(shorts(list.size() + extensionsLengthError), list.toByteArray());
    byte[] body =
        concat(
            shorts(version),
            random,
            concat(new byte[] {(byte) sessionId.length}, sessionId),
            vector16(suites),
            concat(new byte[] {(byte) compressions.length}, compressions),
            withExtensions ? withLength : new byte[] {},
            tail);
    int length = body.length + lengthError;
    byte[] header = {
      (byte) handshakeType, (byte) (length >> 16), (byte) (length >> 8), (byte) length
    };
    return concat(header, body);
  }

  /// All of it in one record.
  public byte[] record() {
    byte[] message = message();
    return record(22, message);
  }

  /// All of it in records of this size; the last one may be shorter.
  public byte[] records(int size) {
    byte[] message = message();
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (int at = 0; at < message.length; at += size) {
      int end = Math.min(at + size, message.length);
      out.writeBytes(record(22, Arrays.copyOfRange(message, at, end)));
    }
    return out.toByteArray();
  }

  /// All of it in one record, in a buffer that the garbage collector owns.
  public ByteBuf buffer() {
    return Unpooled.wrappedBuffer(record());
  }

  /// One record of this content type.
  public byte[] record(int type, byte[] content) {
    return concat(new byte[] {(byte) type}, shorts(recordVersion, content.length), content);
  }

  public static byte[] vector16(byte[] content) {
    return concat(shorts(content.length), content);
  }

  private static byte[] vector8(String content) {
    byte[] bytes = content.getBytes(StandardCharsets.US_ASCII);
    return concat(new byte[] {(byte) bytes.length}, bytes);
  }

  public static byte[] shorts(int... values) {
    byte[] out = new byte[2 * values.length];
    for (int i = 0; i < values.length; i++) {
      out[2 * i] = (byte) (values[i] >> 8);
      out[2 * i + 1] = (byte) values[i];
    }
    return out;
  }

  public static byte[] concat(byte[]... parts) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (byte[] part : parts) {
      out.writeBytes(part);
    }
    return out.toByteArray();
  }

  /// The same bytes each time.
  private static byte[] random(int length) {
    byte[] bytes = new byte[length];
    new Random(length).nextBytes(bytes);
    return bytes;
  }
}
