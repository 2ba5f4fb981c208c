package io.tailwater.agent.dataplane.gate;

import io.tailwater.agent.dataplane.flow.ServedPod;
import io.tailwater.agent.dataplane.resolve.AddressFilter;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.RouteTable;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.TimeUnit;

/// Where connections of one pod may begin the kernel pass: the addresses that the agent's own
/// look-ups gave, when the pod asked or dialled them, for names that policy lets go there as they
/// are, each for as long as its TTL. They stand in a set of the kernel; why they do stands here.
///
/// An address is out, whatever else speaks for it, while one of its names goes elsewhere from there
/// (to a waypoint, with TLS of our own, to another port, by request), while two of its names are of
/// different clusters, for [#EXCLUDED] after a connection there had said a name that is not at home
/// there and was lost, or had got no answer, or for [#AWAY] after one had that was relayed and lost
/// nothing.
///
/// Any thread; a short lock, under which the kernel's set is told too, so that it never says more
/// than what stands here.
public final class ReleasableAddresses {
  /// After a mismatch, or a SYN that was sent again.
  static final long EXCLUDED = TimeUnit.SECONDS.toNanos(60);

  /// After a relayed connection there had: it would have been one.
  static final long AWAY = TimeUnit.MINUTES.toNanos(10);

  /// So much longer than its TTL a name is known to be at home at an address: the client that asks
  /// for it has sent its SYN in time.
  static final long GRACE = TimeUnit.SECONDS.toNanos(60);

  /// Seconds that a relayed connection's look-up counts for at most.
  static final long LONGEST = 3600;

  /// Addresses of one pod; what was told longest ago goes first.
  static final int MOST = 1024;

  /// Names of one address. One with more is left to the relay.
  static final int MOST_NAMES = 64;

  /// The kernel's set for one pod.
  public interface KernelSet {
    /// Connections there are held from now on, for so many seconds.
    void add(InetAddress address, int port, long seconds);

    /// Connections there are relayed from now on.
    void remove(InetAddress address, int port);
  }

  private final ServedPod pod;
  private final AddressFilter filter;
  private final KernelSet set;
  private final LinkedHashMap<InetAddress, Place> places = new LinkedHashMap<>();
  private RouteTable table;
  private boolean closed;

  /// One address.
  private static final class Place {
    /// Until when each name is at home here.
    private final Map<HostName, Long> names = new HashMap<>();

    /// Until when each port is in the kernel's set.
    private final Map<Integer, Long> ports = new HashMap<>();

    /// Until when a port is not to be.
    private final Map<Integer, Long> excluded = new HashMap<>();

    /// When a port has last been seen to answer.
    private final Map<Integer, Long> answered = new HashMap<>();

    private boolean crowded;
  }

  public ReleasableAddresses(ServedPod pod, AddressFilter filter, RouteTable table, KernelSet set) {
    this.pod = pod;
    this.filter = filter;
    this.table = table;
    this.set = set;
  }

  /// The agent has looked the name up for the pod, which may go to these addresses next.
  public synchronized void told(
      RouteTable current, HostName name, List<InetAddress> addresses, long seconds, long now) {
    if (closed) {
      return;
    }
    if (current.generation() != table.generation()) {
      policyChanged(current, now);
    }
    for (InetAddress address : addresses) {
      Place place = placeOf(address);
      long until = now + TimeUnit.SECONDS.toNanos(seconds);
      place.names.merge(name, until, Math::max);
      judge(address, place, now);
      keepBound();
    }
  }

  /// Whether the name is at home at that address, by a look-up of ours.
  public synchronized boolean isHome(HostName name, InetAddress address, long now) {
    Place place = places.get(address);
    Long until = place == null ? null : place.names.get(name);
    return until != null && until + GRACE - now > 0;
  }

  /// Whether its time is not over yet, so that there is nothing to tell.
  synchronized boolean isToldNow(HostName name, InetAddress address, long now) {
    Place place = places.get(address);
    Long until = place == null ? null : place.names.get(name);
    return until != null && until - now > 0;
  }

  /// A connection there was answered.
  synchronized void answered(InetAddress address, int port, long now) {
    Place place = places.get(address);
    if (place != null) {
      place.answered.put(port, now);
    }
  }

  /// A SYN was sent again. Where others were answered meanwhile it was lost on the way or in a busy
  /// server's queue; otherwise nobody may be there, and who relays can dial another address.
  ///
  /// @param since when it was sent first
  synchronized void unanswered(InetAddress address, int port, long since, long now) {
    Place place = places.get(address);
    Long at = place == null ? null : place.answered.get(port);
    if (at == null || at - since < 0) {
      exclude(address, port, now);
    }
  }

  /// A connection there named somebody else, or nobody answered it: for a while all of them are
  /// relayed.
  public synchronized void exclude(InetAddress address, int port, long now) {
    Place place = placeOf(address);
    place.excluded.merge(port, now + EXCLUDED, Math::max);
    place.ports.remove(port);
    if (!closed) {
      set.remove(address, port); // an agent before us may have added it
      keepBound();
    }
  }

  /// A relayed connection there named somebody who is not at home there: so may the next one, which
  /// is not to be lost for that.
  synchronized void away(InetAddress address, int port, long now) {
    if (closed) {
      return;
    }
    Place place = placeOf(address);
    Long until = place.excluded.get(port);
    if (until == null || until - now < AWAY / 2) {
      place.excluded.put(port, now + AWAY);
      if (place.ports.remove(port) != null) {
        set.remove(address, port);
      }
    }
    keepBound();
  }

  /// The place, which is the newest now.
  private Place placeOf(InetAddress address) {
    Place known = places.remove(address);
    Place place = known == null ? new Place() : known;
    places.put(address, place);
    return place;
  }

  private void keepBound() {
    if (places.size() > MOST) {
      Map.Entry<InetAddress, Place> oldest = places.pollFirstEntry();
      oldest.getValue().ports.keySet().forEach(port -> set.remove(oldest.getKey(), port));
    }
  }

  /// Judges everything by other policy.
  public synchronized void policyChanged(RouteTable next, long now) {
    table = next;
    if (closed) {
      return;
    }
    places.values().removeIf(place -> forgettable(place, now));
    places.forEach((address, place) -> judge(address, place, now));
  }

  /// Nothing is added any more. What is in the kernel's set stays there for its time.
  public synchronized void close() {
    closed = true;
    places.clear();
  }

  /// What is in the kernel's set now; for people.
  public synchronized List<OriginalDst> inSet(long now) {
    List<OriginalDst> out = new ArrayList<>();
    places.forEach((address, place) ->
        place.ports.forEach((port, until) -> {
          if (until - now > 0) {
            out.add(new OriginalDst(address, port));
          }
        }));
    return out;
  }

  private static boolean forgettable(Place place, long now) {
    place.names.values().removeIf(until -> until + GRACE - now <= 0);
    place.excluded.values().removeIf(until -> until - now <= 0);
    place.ports.values().removeIf(until -> until - now <= 0);
    place.answered.keySet().retainAll(place.ports.keySet());
    return place.names.isEmpty() && place.excluded.isEmpty() && place.ports.isEmpty();
  }

  private void judge(InetAddress address, Place place, long now) {
    if (place.names.size() > MOST_NAMES) {
      forgettable(place, now);
      place.crowded = place.names.size() > MOST_NAMES;
      place.names.keySet().removeIf(_ -> place.names.size() > MOST_NAMES);
    } else {
      place.crowded &= place.names.size() == MOST_NAMES;
    }
    ClientView view = pod.view(table);
    Map<Integer, Long> wanted = new HashMap<>();
    if (!place.crowded) {
      for (int port : view.ports()) {
        Long until = place.excluded.get(port);
        if (until == null || until - now <= 0) {
          until(view, new OriginalDst(address, port), place, now)
              .ifPresent(end -> wanted.put(port, end));
        }
      }
    }
    bring(address, place, wanted, now);
  }

  private void bring(InetAddress address, Place place, Map<Integer, Long> wanted, long now) {
    place
        .ports
        .keySet()
        .removeIf(port -> {
          boolean gone = !wanted.containsKey(port);
          if (gone) {
            set.remove(address, port);
          }
          return gone;
        });
    wanted.forEach((port, until) -> {
      Long before = place.ports.put(port, until);
      if (before == null || before != until.longValue()) {
        set.add(address, port, Math.ceilDiv(until - now, TimeUnit.SECONDS.toNanos(1)));
      }
    });
  }

  /// Until when the destination is releasable; empty where it is not.
  private Optional<Long> until(ClientView view, OriginalDst dst, Place place, long now) {
    if (!Releasable.readsNames(view, dst)) {
      return Optional.empty();
    }
    long latest = now;
    Set<String> clusters = new HashSet<>();
    for (Map.Entry<HostName, Long> one : place.names.entrySet()) {
      if (one.getValue() - now <= 0) {
        continue;
      }
      Preface hello = new Preface.Tls(one.getKey(), false);
      Decision decision = view.decide(dst, hello).named(hello);
      if (decision instanceof Decision.Refuse) {
        continue; // refused by the gate just as by the relay
      }
      if (Releasable.obstacle(decision, dst.port()) != null
          || Releasable.takesRequests(view, dst, one.getKey())) {
        return Optional.empty();
      }
      if (decision instanceof Decision.Forward forward
          && filter.admits(dst.address(), forward.addressRule())) {
        clusters.add(forward.to().cluster());
        latest = Math.max(latest, one.getValue());
      }
    }
    return clusters.size() == 1 && latest > now ? Optional.of(latest) : Optional.empty();
  }
}
