package io.tailwater.agent.dataplane.account;

import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.PodRef;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.agent.traffic.ResourceRef;
import java.net.InetSocketAddress;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// What was refused, or would have been in audit mode, gathered by pod, name, destination and
/// reason. Bounded per pod, so that one pod cannot push out what others need to see. Any thread; a
/// short lock, and refusals are rare.
public final class Denials {
  /// The newest of one pod are kept.
  static final int PER_POD = 200;

  /// The pods that were refused last are kept.
  static final int PODS = 1000;

  /// One gathered denial. `shownName` is the name that the client asked for or claimed, for
  /// showing; `preface` has it where it is a host name. `pod` is as it was at the last one.
  public record Denial(
      Pod pod,
      String shownName,
      Preface preface,
      OriginalDst dst,
      Refusal reason,
      EgressMode mode,
      Optional<ResourceRef> resource,
      String detail,
      Instant first,
      Instant last,
      long count) {}

  private record Key(String shownName, OriginalDst dst, Refusal reason, EgressMode mode) {}

  private final Map<PodRef, LinkedHashMap<Key, Denial>> byPod =
      new LinkedHashMap<>(16, 0.75f, true);

  void add(ConnectionRecord c, Refusal reason, EgressMode mode, String detail, Instant now) {
    add(
        c.pod(),
        new Key(c.shownName(), c.dst(), reason, mode),
        c.preface(),
        c.decision().flatMap(Denials::resource),
        detail,
        now);
  }

  /// A name that captured DNS does not answer; there is no connection yet.
  void addName(Pod pod, String name, Refusal reason, EgressMode mode, String detail, Instant now) {
    Key key = new Key(name, DNS, reason, mode);
    add(pod, key, new Preface.Silent(), Optional.empty(), detail, now);
  }

  /// Whichever server was asked, it is not.
  private static final OriginalDst DNS = new OriginalDst(new InetSocketAddress(0).getAddress(), 53);

  private void add(
      Pod pod,
      Key key,
      Preface preface,
      Optional<ResourceRef> resource,
      String detail,
      Instant now) {
    synchronized (byPod) {
      LinkedHashMap<Key, Denial> ofPod =
          byPod.computeIfAbsent(pod.ref(), _ -> new LinkedHashMap<>());
      Optional<Denial> before = Optional.ofNullable(ofPod.remove(key));
      // The last one goes to the end.
      ofPod.put(
          key,
          new Denial(
              pod,
              key.shownName(),
              preface,
              key.dst(),
              key.reason(),
              key.mode(),
              resource,
              detail,
              before.map(Denial::first).orElse(now),
              now,
              before.map(Denial::count).orElse(0L) + 1));
      if (ofPod.size() > PER_POD) {
        ofPod.pollFirstEntry();
      }
      if (byPod.size() > PODS) {
        byPod.remove(byPod.keySet().iterator().next());
      }
    }
  }

  private static Optional<ResourceRef> resource(Decision decision) {
    return switch (decision) {
      case Decision.Forward forward -> Optional.of(forward.resource());
      case Decision.ByName byName -> Optional.of(byName.resource());
      case Decision.ToWaypoint waypoint -> Optional.of(waypoint.resource());
      case Decision.PerRequest _ -> Optional.empty();
      case Decision.Passthrough passthrough -> passthrough.resource();
      case Decision.Refuse refuse -> refuse.resource();
    };
  }

  /// All, the newest first.
  public List<Denial> all() {
    List<Denial> out = new ArrayList<>();
    synchronized (byPod) {
      byPod.values().forEach(ofPod -> out.addAll(ofPod.values()));
    }
    out.sort(Comparator.comparing(Denial::last).reversed());
    return out;
  }
}
