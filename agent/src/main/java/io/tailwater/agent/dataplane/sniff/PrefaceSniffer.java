package io.tailwater.agent.dataplane.sniff;

import io.netty.buffer.ByteBuf;
import org.jspecify.annotations.Nullable;

/// From a client's first bytes to a `Preface`: TLS, HTTP or neither.
///
/// One object per connection, used on that connection's loop. The buffer stays its caller's: no
/// index moves, no byte is changed or kept. The first byte chooses the parser, so a protocol that
/// can be neither TLS nor HTTP is opaque at once and is not held up. Bytes that begin as TLS are
/// never opaque: they end as a hello or as a malformed one. An SSLv2 hello (first byte 0x80 or
/// more, no name) is opaque.
public final class PrefaceSniffer {
  /// The content type of a handshake record.
  private static final int TLS_START = 22;

  private static final Sniffed OPAQUE = new Sniffed.As(new Preface.Opaque());

  private final int maxHelloBytes;
  private @Nullable ClientHello hello;
  private @Nullable HttpHead http;

  /// @param maxHelloBytes the limit on the ClientHello, at least 256
  public PrefaceSniffer(int maxHelloBytes) {
    this.maxHelloBytes = ClientHello.requireRoom(maxHelloBytes);
  }

  /// The most bytes that are needed to know.
  public static int mostBytes(int maxHelloBytes) {
    return Math.max(maxHelloBytes + 5 * ClientHello.MAX_RECORDS, HttpHead.MAX_BYTES);
  }

  /// Looks at the bytes that are new since the last call. Needs at most [#mostBytes] to know.
  ///
  /// @param bytes all bytes of the client so far, the first one at the reader index
  /// @return as, or need more; never not
  public Sniffed sniff(ByteBuf bytes) {
    if (hello == null && http == null) {
      if (!bytes.isReadable()) {
        return Sniffed.NEED_MORE;
      }
      int first = bytes.getUnsignedByte(bytes.readerIndex());
      if (first == TLS_START) {
        hello = new ClientHello(maxHelloBytes);
      } else {
        http = new HttpHead();
      }
    }
    Sniffed sniffed =
        hello != null ? hello.sniff(bytes) : http == null ? Sniffed.NOT : http.sniff(bytes);
    return switch (sniffed) {
      case Sniffed.Not _ -> OPAQUE;
      case Sniffed.As _, Sniffed.NeedMore _ -> sniffed;
    };
  }

  /// What it comes to when no more bytes will be waited for: the client closed, or the deadline
  /// passed. A hello that is not complete is malformed; an HTTP head that is not complete has no
  /// host.
  ///
  /// @param bytes all bytes of the client, the first one at the reader index
  public Preface atEnd(ByteBuf bytes) {
    if (sniff(bytes) instanceof Sniffed.As(Preface preface)) {
      return preface;
    }
    if (hello != null) {
      return hello.atEnd();
    }
    return http != null ? http.atEnd() : new Preface.Silent();
  }

  /// Whether the server name carried a root dot, which was taken off. Worth counting.
  public boolean trailingDot() {
    return hello != null && hello.trailingDot();
  }
}
