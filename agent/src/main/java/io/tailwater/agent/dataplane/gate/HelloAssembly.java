package io.tailwater.agent.dataplane.gate;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.dataplane.sniff.PrefaceSniffer;
import io.tailwater.agent.dataplane.sniff.Sniffed;
import java.util.Arrays;
import java.util.BitSet;
import org.jspecify.annotations.Nullable;

/// The first bytes of one connection, put together from segments in any order, and what they say.
///
/// Which copy of a byte the server keeps is the server's affair, so two copies that differ are
/// refused, and so is whatever lies before the first byte or beyond what is ever needed to know.
final class HelloAssembly {
  /// Room for the hello of most clients.
  private static final int USUAL = 640;

  private final int first;
  private final int most;
  private final PrefaceSniffer sniffer;
  private byte[] bytes;

  /// Bytes that are there without a gap.
  private int contiguous;

  /// Which bytes behind a gap are there; null as long as there is no gap.
  private @Nullable BitSet beyond;

  private int end = Integer.MAX_VALUE;
  private boolean cut;
  private boolean news;

  /// @param first sequence number of the first byte
  /// @param maxHelloBytes the limit on the ClientHello
  HelloAssembly(int first, int maxHelloBytes) {
    this.first = first;
    this.most = PrefaceSniffer.mostBytes(maxHelloBytes);
    this.sniffer = new PrefaceSniffer(maxHelloBytes);
    this.bytes = new byte[USUAL];
  }

  /// Takes the payload of a segment.
  ///
  /// @return null, or a clause that says why the connection is to be refused
  @Nullable String take(Segment segment) {
    int from = segment.seq() - first;
    int length = segment.length();
    news = false;
    if (from < 0) {
      return "a segment lies before the first byte";
    }
    if (from > most || from + length > end) {
      return from > most ? "a segment lies outside the window" : "bytes follow the end";
    }
    if (segment.has(Segment.FIN)) {
      if ((end != Integer.MAX_VALUE && end != from + length) || known() > from + length) {
        return "the end is not where it was";
      }
      end = from + length;
    }
    int to = Math.min(from + length, most);
    cut |= to < from + length;
    return put(segment, from, to) ? null : "two copies of a byte differ";
  }

  private boolean put(Segment segment, int from, int to) {
    if (to > bytes.length) {
      bytes = Arrays.copyOf(bytes, Math.min(most, Math.max(to, 2 * bytes.length)));
    }
    if (from == contiguous && beyond == null) { // as it mostly is
      segment.payload(0, bytes, from, to - from);
      contiguous = to;
      news = to > from;
      return true;
    }
    for (int at = from; at < to; at++) {
      byte b = segment.payload(at - from);
      if (at < contiguous || (beyond != null && beyond.get(at))) {
        if (bytes[at] != b) {
          return false;
        }
      } else {
        if (beyond == null) {
          beyond = new BitSet();
        }
        bytes[at] = b;
        beyond.set(at);
        news = true;
      }
    }
    if (beyond != null) {
      contiguous = beyond.get(contiguous) ? beyond.nextClearBit(contiguous) : contiguous;
      if (beyond.length() <= contiguous) {
        beyond = null;
      }
    }
    return true;
  }

  /// Behind the last byte that is there.
  private int known() {
    return beyond == null ? contiguous : Math.max(contiguous, beyond.length());
  }

  /// Whether the last segment brought a byte that was not there.
  boolean news() {
    return news;
  }

  /// What the bytes without a gap say; where the client has ended them, that is the last word.
  Sniffed sniff() {
    Sniffed sniffed = sniffer.sniff(soFar());
    return sniffed instanceof Sniffed.NeedMore && contiguous >= end
        ? new Sniffed.As(atEnd())
        : sniffed;
  }

  /// What it comes to when no more bytes are waited for.
  Preface atEnd() {
    return sniffer.atEnd(soFar());
  }

  /// Not a slice, through which every byte would be read by a detour.
  private ByteBuf soFar() {
    return Unpooled.wrappedBuffer(bytes).setIndex(0, contiguous);
  }

  int first() {
    return first;
  }

  /// How many bytes there are without a gap.
  int length() {
    return contiguous;
  }

  /// How many there may be; what lies behind is not kept.
  int most() {
    return most;
  }

  byte[] bytes() {
    return bytes;
  }

  /// Whether the client ends with the bytes that are there without a gap.
  boolean ended() {
    return contiguous == end;
  }

  /// Whether bytes were left out because they were not needed.
  boolean cut() {
    return cut;
  }
}
