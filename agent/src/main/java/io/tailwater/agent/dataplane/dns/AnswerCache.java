package io.tailwater.agent.dataplane.dns;

import io.tailwater.agent.dataplane.resolve.WireMessage;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Optional;

/// Answers that were passed on, as bytes, for as long as their records live; longer, where a server
/// fails (RFC 8767). Bounded in number and bytes; the one that was used longest ago goes first. All
/// loops; a short lock that nothing is done under.
///
/// Kept is what a resolver may keep: answers to queries without EDNS options and signatures, whole,
/// either positive or negative with an SOA record (RFC 2308).
final class AnswerCache {
  /// Larger answers are rare and not worth the room.
  private static final int LARGEST = 4096;

  private static final int MOST_BYTES = 4 << 20;

  /// What an entry costs besides its bytes, about.
  private static final int OVERHEAD = 160;

  /// RFC 8767 section 4.
  private static final int STALE_TTL = 30;

  private static final int AA = 0x04;

  private final int mostEntries;
  private final long maxTtl;
  private final long maxStaleNanos;

  /// In the order of use.
  private final LinkedHashMap<Key, Kept> entries = new LinkedHashMap<>(16, 0.75f, true);

  private int bytes;

  /// @param maxTtlSeconds a ceiling over every TTL
  AnswerCache(int mostEntries, long maxTtlSeconds, long maxStaleNanos) {
    this.mostEntries = mostEntries;
    this.maxTtl = maxTtlSeconds;
    this.maxStaleNanos = maxStaleNanos;
  }

  /// A question with all that changes its answer; its bytes as characters.
  private record Key(String question, int flags) {}

  private record Kept(WireMessage answer, long since, long expires) {
    int cost() {
      return answer.bytes().length + OVERHEAD;
    }
  }

  private static Optional<Key> key(WireMessage query) {
    boolean plain =
        query.opcode() == WireMessage.OPCODE_QUERY
            && query.hasQuestion()
            && query.recordCount() == (query.opt().isPresent() ? 1 : 0)
            && !query.hasOptions()
            && query.ednsVersion() == 0;
    if (!plain) {
      return Optional.empty();
    }
    // RD; Z, AD, CD; EDNS and DO.
    int flags = (query.bytes()[2] & 0x01) << 8 | (query.bytes()[3] & 0x70);
    flags |= (query.opt().isPresent() ? 1 : 0) | (query.wantsDnssec() ? 2 : 0);
    return Optional.of(new Key(query.questionKey(), flags));
  }

  /// The answer to the query, ready to be sent; an expired one only where `stale` is asked for.
  Optional<WireMessage> find(WireMessage query, long now, boolean stale) {
    Optional<Key> key = key(query);
    if (key.isEmpty()) {
      return Optional.empty();
    }
    Kept kept;
    synchronized (entries) {
      kept = entries.get(key.get());
    }
    if (kept == null) {
      return Optional.empty();
    }
    boolean expired = now - kept.expires >= 0;
    if (expired && (!stale || now - kept.expires >= maxStaleNanos)) {
      return Optional.empty();
    }
    byte[] message = kept.answer.bytes().clone();
    int age = (int) ((now - kept.since) / 1_000_000_000L);
    WireMessage answer = WireMessage.read(message).orElseThrow();
    answer.records(rr -> {
      if (rr.type() != WireMessage.OPT) {
        long left = expired ? STALE_TTL : Math.max(0, Math.min(answer.ttl(rr), maxTtl) - age);
        putTtl(message, rr, (int) left);
      }
    });
    WireMessage.setId(message, query.id());
    System.arraycopy(
        query.bytes(),
        WireMessage.HEADER,
        message,
        WireMessage.HEADER,
        query.questionEnd() - WireMessage.HEADER);
    message[2] &= ~AA;
    return Optional.of(answer);
  }

  /// Keeps an answer that may be kept.
  void keep(WireMessage query, WireMessage answer, long now) {
    boolean useful =
        answer.rcode() == WireMessage.NOERROR || answer.rcode() == WireMessage.NXDOMAIN;
    if (!useful
        || answer.isTruncated()
        || !answer.hasQuestion()
        || answer.questionEnd() != query.questionEnd()
        || answer.bytes().length > LARGEST) {
      return;
    }
    long ttl = Math.min(lifetime(answer), maxTtl);
    Optional<Key> key = ttl > 0 ? key(query) : Optional.empty();
    if (key.isEmpty()) {
      return;
    }
    Kept kept =
        new Kept(
            WireMessage.read(answer.bytes().clone()).orElseThrow(),
            now,
            now + ttl * 1_000_000_000L);
    synchronized (entries) {
      Kept before = entries.put(key.get(), kept);
      bytes += kept.cost() - (before == null ? 0 : before.cost());
      Iterator<Kept> oldest = entries.values().iterator();
      while (bytes > MOST_BYTES || entries.size() > mostEntries) {
        bytes -= oldest.next().cost();
        oldest.remove();
      }
    }
  }

  /// In seconds; 0 where it may not be kept.
  private static long lifetime(WireMessage answer) {
    long[] least = {Long.MAX_VALUE};
    boolean[] seen = new boolean[2];
    answer.records(rr -> {
      if (rr.type() == WireMessage.OPT) {
        return;
      }
      least[0] = Math.min(least[0], answer.ttl(rr));
      seen[0] |= rr.section() == 0 && rr.type() != WireMessage.CNAME;
      if (rr.section() == 1 && rr.type() == WireMessage.SOA && rr.end() - rr.data() >= 20) {
        seen[1] = true;
        least[0] = Math.min(least[0], answer.u32(rr.end() - 4)); // its MINIMUM
      }
    });
    boolean positive = seen[0] && answer.rcode() == WireMessage.NOERROR;
    return positive || seen[1] ? least[0] : 0;
  }

  private static void putTtl(byte[] bytes, WireMessage.Rr rr, int ttl) {
    int at = rr.fixed() + 4;
    bytes[at] = (byte) (ttl >> 24);
    bytes[at + 1] = (byte) (ttl >> 16);
    bytes[at + 2] = (byte) (ttl >> 8);
    bytes[at + 3] = (byte) ttl;
  }

  /// Answers kept now.
  int size() {
    synchronized (entries) {
      return entries.size();
    }
  }
}
