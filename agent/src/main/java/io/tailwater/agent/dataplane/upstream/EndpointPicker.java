package io.tailwater.agent.dataplane.upstream;

import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.LoadBalancing;
import io.tailwater.agent.dataplane.route.OutlierDetection;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.random.RandomGenerator;

/// Which of a destination's endpoints takes a connection, and which are tried after it. Keeps
/// nothing itself: what must be remembered is in the [Cluster], and policy comes with each pick.
/// Any thread.
///
/// As in Envoy: a priority takes as much as its healthy part times 1.4 allows, the rest goes to the
/// next; inside a priority the balancing chooses by weight; where too few are healthy for
/// `minHealthPercent`, health is not looked at.
public final class EndpointPicker {
  /// So many are tried for one connection; a destination may have thousands.
  static final int MOST_TRIED = 16;

  /// Envoy's overprovisioning factor of 1.4: a priority with 72 % healthy still takes everything.
  private static final int OVERPROVISIONING = 140;

  private static final int ALL = 100;

  /// 2^64 divided by the golden ratio, odd: multiplying by it spreads consecutive numbers
  /// (Fibonacci hashing).
  private static final long GOLDEN = 0x9E37_79B9_7F4A_7C15L;

  private final RandomGenerator random;

  /// `random` must be usable by all threads that pick.
  public EndpointPicker(RandomGenerator random) {
    this.random = random;
  }

  /// What came out.
  public sealed interface Picked {
    /// In the order in which they are to be tried; at least one.
    record Order(List<Endpoint> endpoints) implements Picked {}

    /// All that there are rest after failures.
    record NoneHealthy(int ejected) implements Picked {}
  }

  private record Member(Endpoint endpoint, int weight, int priority, boolean healthy) {}

  /// Picks for one connection. `hostname` is the name under which the endpoints are counted; `hash`
  /// is what consistent hashing goes by ([#hash]). `candidates` has at least one that is no spare.
  public Picked pick(
      Cluster cluster,
      String hostname,
      List<Candidate> candidates,
      ConnectionPolicy policy,
      long hash,
      long nowNanos) {
    Optional<OutlierDetection> outlier = policy.outlier();
    List<Member> members = new ArrayList<>(candidates.size());
    List<Endpoint> spares = new ArrayList<>();
    int ejected = 0;
    for (Candidate candidate : candidates) {
      Endpoint endpoint = cluster.endpoint(candidate.address(), hostname, nowNanos);
      boolean healthy = outlier.isEmpty() || !endpoint.ejected(nowNanos);
      if (candidate.spare()) {
        if (healthy) {
          spares.add(endpoint);
        }
        continue;
      }
      ejected += healthy ? 0 : 1;
      members.add(new Member(endpoint, candidate.weight(), candidate.priority(), healthy));
    }
    cluster.members(members.size());
    if (members.size() == 1 && ejected == 0) {
      return new Picked.Order(withSpares(List.of(members.getFirst().endpoint()), spares));
    }
    boolean hashed = policy.balancing().kind() == LoadBalancing.Kind.SOURCE_HASH;
    int least = outlier.map(OutlierDetection::minHealthPercent).orElse(0);
    List<Member> eligible = eligible(members, least, hashed ? hash : random.nextLong());
    if (eligible.isEmpty()) {
      return new Picked.NoneHealthy(ejected);
    }
    int first =
        switch (policy.balancing().kind()) {
          case ROUND_ROBIN -> roundRobin(eligible, cluster.nextTurn());
          case RANDOM, PASSTHROUGH -> weighted(eligible, random.nextLong());
          case SOURCE_HASH -> rendezvous(eligible, hash);
          case LEAST_REQUEST -> leastRequest(eligible);
        };
    return new Picked.Order(withSpares(order(members, eligible, first), spares));
  }

  // ---- priorities and health

  /// Those of the priority that this connection falls to.
  private static List<Member> eligible(List<Member> members, int leastHealthPercent, long chance) {
    int[] priorities = members.stream().mapToInt(Member::priority).distinct().sorted().toArray();
    int[] available = new int[priorities.length];
    int total = 0;
    for (int i = 0; i < priorities.length; i++) {
      int priority = priorities[i];
      long all = members.stream().filter(m -> m.priority() == priority).count();
      long good = members.stream().filter(m -> m.priority() == priority && m.healthy()).count();
      available[i] = (int) Math.min(ALL, good * OVERPROVISIONING / all);
      total += available[i];
    }
    if (total == 0) {
      // Nobody is healthy: with a threshold everybody is tried, without one nobody.
      return leastHealthPercent > 0 ? of(members, priorities[0]) : List.of();
    }
    int chosen = priorities[chosen(available, Math.min(ALL, total), chance)];
    List<Member> here = of(members, chosen);
    List<Member> healthy = here.stream().filter(Member::healthy).toList();
    boolean panic = healthy.size() * ALL < leastHealthPercent * here.size();
    return panic ? here : healthy;
  }

  private static List<Member> of(List<Member> members, int priority) {
    return members.stream().filter(m -> m.priority() == priority).toList();
  }

  /// The index of a priority, each with the part of 100 that those before it leave.
  private static int chosen(int[] available, int total, long chance) {
    long point = Long.remainderUnsigned(mix(chance), total);
    long before = 0;
    for (int i = 0; i < available.length; i++) {
      before += available[i];
      if (point < before) {
        return i;
      }
    }
    return available.length - 1;
  }

  // ---- balancing

  /// The index of the member that a point of the whole weight falls on.
  private static int at(List<Member> members, long point) {
    long rest = point;
    for (int i = 0; i < members.size(); i++) {
      rest -= members.get(i).weight();
      if (rest < 0) {
        return i;
      }
    }
    return members.size() - 1;
  }

  private static long whole(List<Member> members) {
    return members.stream().mapToLong(Member::weight).sum();
  }

  private static int weighted(List<Member> members, long chance) {
    return at(members, Long.remainderUnsigned(chance, whole(members)));
  }

  /// In turn. With weights each gets exactly its share of as many turns as the weights add up to,
  /// spread over them.
  private static int roundRobin(List<Member> members, long turn) {
    long whole = whole(members);
    if (whole == members.size()) {
      return (int) Long.remainderUnsigned(turn, whole);
    }
    long step = Math.max(1, Math.round(whole * 0.618));
    while (gcd(step, whole) != 1) {
      step++;
    }
    return at(members, Long.remainderUnsigned(turn, whole) * step % whole);
  }

  private static long gcd(long a, long b) {
    return b == 0 ? a : gcd(b, a % b);
  }

  /// Of two random ones that with the fewer connections for its weight (the power of two choices);
  /// of equals the first, so that idle endpoints are chosen by weight.
  private int leastRequest(List<Member> members) {
    int one = weighted(members, random.nextLong());
    if (members.size() == 1) {
      return one;
    }
    int other = weighted(members, random.nextLong());
    for (int i = 0; i < 4 && other == one; i++) {
      other = weighted(members, random.nextLong());
    }
    Member a = members.get(one);
    Member b = members.get(other);
    // active / weight, without dividing
    return b.endpoint().rqActive() * a.weight() < a.endpoint().rqActive() * b.weight()
        ? other
        : one;
  }

  /// Highest random weight (Thaler and Ravishankar, "rendezvous hashing"): the same client gets the
  /// same endpoint whatever the order, and when one comes or goes only its own clients move.
  private static int rendezvous(List<Member> members, long hash) {
    int best = 0;
    double bestScore = Double.NEGATIVE_INFINITY;
    for (int i = 0; i < members.size(); i++) {
      Member member = members.get(i);
      long mixed = mix(hash ^ mix(member.endpoint().address().hashCode() * GOLDEN));
      double unit = ((mixed >>> 11) + 0.5) * 0x1.0p-53;
      double score = -member.weight() / Math.log(unit);
      if (score > bestScore) {
        bestScore = score;
        best = i;
      }
    }
    return best;
  }

  /// What consistent hashing goes by, for the bytes of an address or of a header.
  public static long hash(byte[] bytes) {
    long hash = bytes.length;
    for (byte b : bytes) {
      hash = mix(hash + GOLDEN + b);
    }
    return hash;
  }

  /// The finaliser of MurmurHash3 (Appleby), with Stafford's constants.
  private static long mix(long value) {
    long z = value;
    z = (z ^ (z >>> 30)) * 0xBF58_476D_1CE4_E5B9L;
    z = (z ^ (z >>> 27)) * 0x94D0_49BB_1331_11EBL;
    return z ^ (z >>> 31);
  }

  // ---- what is tried after the first

  private static List<Endpoint> order(List<Member> members, List<Member> eligible, int first) {
    List<Endpoint> order = new ArrayList<>(Math.min(MOST_TRIED, members.size()));
    for (int i = 0; i < eligible.size() && order.size() < MOST_TRIED; i++) {
      order.add(eligible.get((first + i) % eligible.size()).endpoint());
    }
    int chosen = eligible.getFirst().priority();
    members.stream()
        .filter(m -> m.healthy() && m.priority() != chosen)
        .sorted(Comparator.comparingInt(Member::priority))
        .limit(MOST_TRIED - order.size())
        .forEach(m -> order.add(m.endpoint()));
    return order;
  }

  /// The other family second, so that a family that is broken costs one attempt (RFC 8305).
  private static List<Endpoint> withSpares(List<Endpoint> order, List<Endpoint> spares) {
    if (spares.isEmpty()) {
      return order;
    }
    List<Endpoint> all = new ArrayList<>();
    for (int i = 0; all.size() < MOST_TRIED && (i < order.size() || i < spares.size()); i++) {
      if (i < order.size()) {
        all.add(order.get(i));
      }
      if (i < spares.size()) {
        all.add(spares.get(i));
      }
    }
    return all;
  }
}
