package io.tailwater.agent.dataplane.account;

import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.PodRef;
import java.time.Instant;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.LongAdder;
import org.jspecify.annotations.Nullable;

/// What pods really called: names (or addresses where no name was said), ports and protocols, with
/// how often and when. Bounded per pod; what finds no room is only counted. Added to on any loop
/// without a lock.
public final class Inventory {
  /// More different destinations of one pod are counted together.
  static final int PER_POD = 1000;

  /// More pods are not told apart; a node runs some hundred at a time.
  static final int PODS = 2000;

  /// What the first bytes were.
  public enum Protocol {
    TLS,
    HTTP,
    TCP
  }

  /// One destination of one pod. `refused` counts those of `count` that were not let through.
  public record Called(
      PodRef pod,
      String name,
      int port,
      Protocol protocol,
      long count,
      long refused,
      Instant first,
      Instant last) {}

  private record Key(String name, int port, Protocol protocol) {
    // by hand, as in PodRef
    @Override
    public boolean equals(Object other) {
      return other instanceof Key that
          && port == that.port
          && protocol == that.protocol
          && name.equals(that.name);
    }

    @Override
    public int hashCode() {
      return 31 * name.hashCode() + port;
    }
  }

  private static final class Entry {
    private final LongAdder count = new LongAdder();
    private final LongAdder refused = new LongAdder();
    private final Instant first;

    /// Newest wins; a lost update is of no matter.
    private volatile Instant last;

    Entry(Instant first) {
      this.first = first;
      this.last = first;
    }
  }

  private final ConcurrentHashMap<PodRef, ConcurrentHashMap<Key, Entry>> pods =
      new ConcurrentHashMap<>();
  private final LongAdder overflow = new LongAdder();

  /// A connection called, whatever became of it.
  void called(ConnectionRecord c, Instant now) {
    @Nullable Entry entry = entry(c, now);
    if (entry != null) {
      entry.count.increment();
      entry.last = now;
    }
  }

  /// And it was refused.
  void refused(ConnectionRecord c, Instant now) {
    @Nullable Entry entry = entry(c, now);
    if (entry != null) {
      entry.refused.increment();
    }
  }

  private @Nullable Entry entry(ConnectionRecord c, Instant now) {
    return entry(c.pod().ref(), key(c), now);
  }

  private static Key key(ConnectionRecord c) {
    Protocol protocol =
        switch (c.preface()) {
          case Preface.Tls _, Preface.TlsWithoutName _, Preface.MalformedTls _ -> Protocol.TLS;
          case Preface.Http _ -> Protocol.HTTP;
          case Preface.Opaque _, Preface.Silent _ -> Protocol.TCP;
        };
    String shown = c.preface() instanceof Preface.MalformedTls ? "" : c.shownName();
    String name = shown.isEmpty() ? AddressText.of(c.dst().address()) : shown;
    return new Key(name, c.dst().port(), protocol);
  }

  private @Nullable Entry entry(PodRef pod, Key key, Instant now) {
    ConcurrentHashMap<Key, Entry> ofPod = pods.get(pod);
    if (ofPod == null) {
      if (pods.size() >= PODS) {
        overflow.increment();
        return null;
      }
      ofPod = pods.computeIfAbsent(pod, _ -> new ConcurrentHashMap<>());
    }
    Entry entry = ofPod.get(key);
    if (entry == null) {
      if (ofPod.size() >= PER_POD) {
        overflow.increment();
        return null;
      }
      entry = ofPod.computeIfAbsent(key, _ -> new Entry(now));
    }
    return entry;
  }

  /// Takes in what was kept from an earlier run, or what another agent has seen.
  void restore(Called kept) {
    @Nullable Entry entry =
        entry(kept.pod(), new Key(kept.name(), kept.port(), kept.protocol()), kept.first());
    if (entry != null) {
      entry.count.add(kept.count());
      entry.refused.add(kept.refused());
      if (kept.last().isAfter(entry.last)) {
        entry.last = kept.last();
      }
    }
  }

  /// What has come since `earlier`, an older answer of [#all].
  List<Called> since(List<Called> earlier) {
    Map<String, Called> before = new HashMap<>();
    earlier.forEach(called -> before.put(identity(called), called));
    return all().stream()
        .map(now -> {
          Called then = before.get(identity(now));
          return then == null
              ? now
              : new Called(
                  now.pod(),
                  now.name(),
                  now.port(),
                  now.protocol(),
                  now.count() - then.count(),
                  now.refused() - then.refused(),
                  now.first(),
                  now.last());
        })
        .filter(called -> called.count() > 0 || called.refused() > 0)
        .toList();
  }

  private static String identity(Called called) {
    return called.pod() + " " + called.name() + " " + called.port() + " " + called.protocol();
  }

  /// Calls that found no room.
  public long overflow() {
    return overflow.sum();
  }

  /// All, by pod, name and port.
  public List<Called> all() {
    return pods.entrySet().stream()
        .flatMap((Map.Entry<PodRef, ConcurrentHashMap<Key, Entry>> pod) ->
            pod.getValue().entrySet().stream()
                .map(e ->
                    new Called(
                        pod.getKey(),
                        e.getKey().name(),
                        e.getKey().port(),
                        e.getKey().protocol(),
                        e.getValue().count.sum(),
                        e.getValue().refused.sum(),
                        e.getValue().first,
                        e.getValue().last)))
        .sorted(
            Comparator.comparing(Called::pod)
                .thenComparing(Called::name)
                .thenComparingInt(Called::port)
                .thenComparing(Called::protocol))
        .toList();
  }
}
