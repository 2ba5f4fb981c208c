package io.tailwater.agent.dataplane.upstream;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.LoadBalancing;
import io.tailwater.agent.dataplane.route.OutlierDetection;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class EndpointPickerTest {
  private static final OutlierDetection ONE_FAILURE =
      new OutlierDetection(
          1, 0, Optional.empty(), Duration.ofSeconds(10), Duration.ofSeconds(30), 100, 0);

  private final Clusters clusters = new Clusters();
  private final Cluster cluster = clusters.cluster("outbound|443||api.example");
  private final EndpointPicker picker = new EndpointPicker(new SplittableRandom(7));
  private long now = 1_000_000;

  private static InetSocketAddress address(int last) {
    return new InetSocketAddress(InetAddress.ofLiteral("198.51.100." + last), 443);
  }

  private static List<Candidate> candidates(int count) {
    return IntStream.rangeClosed(1, count).mapToObj(i -> new Candidate(address(i))).toList();
  }

  private static Candidate candidate(int last, int weight, int priority) {
    return new Candidate(address(last), weight, priority, false);
  }

  private static ConnectionPolicy policy(LoadBalancing.Kind kind) {
    return policy(kind, Optional.empty());
  }

  private static ConnectionPolicy policy(
      LoadBalancing.Kind kind, Optional<OutlierDetection> outlier) {
    ConnectionPolicy plain = ConnectionPolicy.DEFAULT;
    return new ConnectionPolicy(
        plain.tls(),
        plain.limits(),
        plain.connectTimeout(),
        plain.idleTimeout(),
        plain.maxConnectionDuration(),
        plain.keepAlive(),
        new LoadBalancing(kind, false),
        outlier,
        plain.http());
  }

  private List<Integer> order(List<Candidate> candidates, ConnectionPolicy policy, long hash) {
    return switch (picker.pick(cluster, "api.example", candidates, policy, hash, now)) {
      case EndpointPicker.Picked.Order(List<Endpoint> endpoints) ->
          endpoints.stream().map(EndpointPickerTest::last).toList();
      case EndpointPicker.Picked.NoneHealthy _ -> List.of();
    };
  }

  private static int last(Endpoint endpoint) {
    return endpoint.address().getAddress().getAddress()[3] & 0xff;
  }

  private int first(List<Candidate> candidates, ConnectionPolicy policy) {
    return order(candidates, policy, 0).getFirst();
  }

  private Map<Integer, Integer> shares(
      List<Candidate> candidates, ConnectionPolicy policy, int picks) {
    Map<Integer, Integer> shares = new HashMap<>();
    for (int i = 0; i < picks; i++) {
      shares.merge(first(candidates, policy), 1, Integer::sum);
    }
    return shares;
  }

  private Endpoint endpoint(int last) {
    return cluster.endpoint(address(last), "api.example", now);
  }

  private void eject(int last) {
    cluster.tell(endpoint(last), Sign.NO_ANSWER, Optional.of(ONE_FAILURE), now);
    assertThat(endpoint(last).ejected(now)).isTrue();
  }

  // ---- balancing

  @Test
  void roundRobinGoesOverAllInTurn() {
    ConnectionPolicy policy = policy(LoadBalancing.Kind.ROUND_ROBIN);
    List<Integer> picked = new ArrayList<>();
    for (int i = 0; i < 6; i++) {
      picked.add(first(candidates(3), policy));
    }
    assertThat(picked).containsExactly(1, 2, 3, 1, 2, 3);
  }

  @Test
  void roundRobinGivesEachExactlyItsWeightAndMixesThem() {
    List<Candidate> weighted = List.of(candidate(1, 6, 0), candidate(2, 3, 0), candidate(3, 1, 0));
    ConnectionPolicy policy = policy(LoadBalancing.Kind.ROUND_ROBIN);
    List<Integer> ten = new ArrayList<>();
    for (int i = 0; i < 10; i++) {
      ten.add(first(weighted, policy));
    }
    assertThat(ten).filteredOn(i -> i == 1).hasSize(6);
    assertThat(ten).filteredOn(i -> i == 2).hasSize(3);
    assertThat(ten).filteredOn(i -> i == 3).hasSize(1);
    assertThat(ten.subList(0, 5)).as("the second does not wait for the first").contains(2);
  }

  @Test
  void randomFollowsTheWeights() {
    List<Candidate> weighted = List.of(candidate(1, 3, 0), candidate(2, 1, 0));
    Map<Integer, Integer> shares = shares(weighted, policy(LoadBalancing.Kind.RANDOM), 4000);
    assertThat(shares.get(1)).isBetween(2800, 3200);
  }

  @Test
  void leastRequestFollowsTheWeightsWhereNobodyIsBusy() {
    List<Candidate> weighted = List.of(candidate(1, 3, 0), candidate(2, 1, 0));
    Map<Integer, Integer> shares = shares(weighted, policy(LoadBalancing.Kind.LEAST_REQUEST), 4000);
    assertThat(shares.get(1)).isBetween(2800, 3200);
  }

  @Test
  void leastRequestAvoidsTheBusyOne() {
    for (int i = 0; i < 5; i++) {
      endpoint(2).opened();
    }
    Map<Integer, Integer> shares =
        shares(candidates(2), policy(LoadBalancing.Kind.LEAST_REQUEST), 1000);
    assertThat(shares.getOrDefault(2, 0)).as("only where both choices fall on it").isLessThan(100);
  }

  @Test
  void leastRequestEvensOutWhatIsOpen() {
    for (int i = 0; i < 300; i++) {
      endpoint(first(candidates(3), policy(LoadBalancing.Kind.LEAST_REQUEST))).opened();
    }
    assertThat(endpoint(1).cxActive()).isBetween(90L, 110L);
    assertThat(endpoint(2).cxActive()).isBetween(90L, 110L);
  }

  @Test
  void aClientComesBackToItsEndpointWhateverTheOrderOfTheAnswer() {
    ConnectionPolicy policy = policy(LoadBalancing.Kind.SOURCE_HASH);
    for (int client = 0; client < 50; client++) {
      long hash = EndpointPicker.hash(new byte[] {10, 1, 0, (byte) client});
      int mine = order(candidates(5), policy, hash).getFirst();
      assertThat(order(candidates(5).reversed(), policy, hash).getFirst()).isEqualTo(mine);
    }
  }

  @Test
  void whenAnEndpointGoesOnlyItsOwnClientsMove() {
    ConnectionPolicy policy = policy(LoadBalancing.Kind.SOURCE_HASH);
    int moved = 0;
    for (int client = 0; client < 1000; client++) {
      long hash = EndpointPicker.hash(new byte[] {10, 1, (byte) (client >> 8), (byte) client});
      int before = order(candidates(5), policy, hash).getFirst();
      int after = order(candidates(4), policy, hash).getFirst();
      if (before == 5) {
        moved++;
      } else {
        assertThat(after).isEqualTo(before);
      }
    }
    assertThat(moved).isBetween(130, 270);
  }

  @Test
  void clientsAreSpreadByWeight() {
    ConnectionPolicy policy = policy(LoadBalancing.Kind.SOURCE_HASH);
    List<Candidate> weighted = List.of(candidate(1, 4, 0), candidate(2, 1, 0));
    int first = 0;
    for (int client = 0; client < 2000; client++) {
      long hash = EndpointPicker.hash(new byte[] {10, 2, (byte) (client >> 8), (byte) client});
      first += order(weighted, policy, hash).getFirst() == 1 ? 1 : 0;
    }
    assertThat(first).isBetween(1500, 1700);
  }

  // ---- what is tried after it

  @Test
  void theOthersAreTriedAfterTheChosenOne() {
    assertThat(order(candidates(4), policy(LoadBalancing.Kind.RANDOM), 0))
        .containsExactlyInAnyOrder(1, 2, 3, 4);
  }

  @Test
  void noMoreThanAFewAreTriedForOneConnection() {
    assertThat(order(candidates(200), policy(LoadBalancing.Kind.RANDOM), 0))
        .hasSize(EndpointPicker.MOST_TRIED)
        .doesNotHaveDuplicates();
  }

  @Test
  void aSpareIsTriedSecondAndTakesNoShare() {
    List<Candidate> both =
        List.of(
            candidate(1, 1, 0),
            candidate(2, 1, 0),
            new Candidate(address(101), 1, 0, true),
            new Candidate(address(102), 1, 0, true));
    for (int i = 0; i < 100; i++) {
      List<Integer> order = order(both, policy(LoadBalancing.Kind.RANDOM), 0);
      assertThat(order.getFirst()).isIn(1, 2);
      assertThat(order.get(1)).isEqualTo(101);
      assertThat(order).hasSize(4);
    }
  }

  // ---- health

  @Test
  void anEjectedEndpointIsLeftOutUntilItsTimeIsOver() {
    eject(2);
    ConnectionPolicy policy = policy(LoadBalancing.Kind.ROUND_ROBIN, Optional.of(ONE_FAILURE));
    for (int i = 0; i < 20; i++) {
      assertThat(order(candidates(3), policy, 0)).containsExactlyInAnyOrder(1, 3);
    }
    now += Duration.ofSeconds(31).toNanos();
    assertThat(shares(candidates(3), policy, 30)).containsKey(2);
  }

  @Test
  void whereTheRuleIsGoneNobodyIsLeftOut() {
    eject(2);
    assertThat(shares(candidates(3), policy(LoadBalancing.Kind.ROUND_ROBIN), 3)).containsKey(2);
  }

  @Test
  void whereAllRestThereIsNobody() {
    eject(1);
    ConnectionPolicy policy = policy(LoadBalancing.Kind.RANDOM, Optional.of(ONE_FAILURE));
    assertThat(picker.pick(cluster, "api.example", candidates(1), policy, 0, now))
        .isEqualTo(new EndpointPicker.Picked.NoneHealthy(1));
  }

  @Test
  void whereTooFewAreHealthyHealthIsNotLookedAt() {
    OutlierDetection half =
        new OutlierDetection(
            1, 0, Optional.empty(), Duration.ofSeconds(10), Duration.ofSeconds(30), 100, 50);
    cluster.members(4);
    ConnectionPolicy policy = policy(LoadBalancing.Kind.ROUND_ROBIN, Optional.of(half));
    for (int i = 1; i <= 2; i++) {
      cluster.tell(endpoint(i), Sign.NO_ANSWER, Optional.of(half), now);
    }
    assertThat(shares(candidates(4), policy, 40)).containsOnlyKeys(3, 4);
    cluster.tell(endpoint(3), Sign.NO_ANSWER, Optional.of(half), now);
    assertThat(shares(candidates(4), policy, 40)).containsOnlyKeys(1, 2, 3, 4);
    cluster.tell(endpoint(4), Sign.NO_ANSWER, Optional.of(half), now);
    assertThat(shares(candidates(4), policy, 40)).containsOnlyKeys(1, 2, 3, 4);
  }

  // ---- locality

  @Test
  void fartherEndpointsWaitUntilTheNearOnesAreOut() {
    List<Candidate> near =
        List.of(candidate(1, 1, 0), candidate(2, 1, 0), candidate(3, 1, 2), candidate(4, 1, 2));
    ConnectionPolicy policy = policy(LoadBalancing.Kind.RANDOM, Optional.of(ONE_FAILURE));
    assertThat(shares(near, policy, 100)).containsOnlyKeys(1, 2);

    cluster.members(4);
    eject(1);
    Map<Integer, Integer> shares = shares(near, policy, 2000);
    assertThat(shares.get(2)).as("half of them times 1.4").isBetween(1300, 1500);
    assertThat(shares).containsKeys(3, 4);

    cluster.tell(endpoint(2), Sign.NO_ANSWER, Optional.of(ONE_FAILURE), now);
    assertThat(shares(near, policy, 100)).containsOnlyKeys(3, 4);
  }

  @Test
  void fartherEndpointsAreTriedAfterTheNearOnes() {
    List<Candidate> near = List.of(candidate(1, 1, 1), candidate(2, 1, 0), candidate(3, 1, 3));
    assertThat(order(near, policy(LoadBalancing.Kind.RANDOM), 0)).containsExactly(2, 1, 3);
  }

  @Test
  void aClientOfAHashMovesTogetherWithItsPriority() {
    List<Candidate> near = List.of(candidate(1, 1, 0), candidate(2, 1, 0), candidate(3, 1, 1));
    cluster.members(3);
    eject(1);
    ConnectionPolicy policy = policy(LoadBalancing.Kind.SOURCE_HASH, Optional.of(ONE_FAILURE));
    for (int client = 0; client < 50; client++) {
      long hash = EndpointPicker.hash(new byte[] {10, 3, 0, (byte) client});
      int mine = order(near, policy, hash).getFirst();
      assertThat(order(near, policy, hash).getFirst()).isEqualTo(mine);
    }
  }

  @Test
  void localitiesAreComparedFromTheRegionInwards() {
    assertThat(Locality.distance("eu/a/1", "eu/a/1")).isZero();
    assertThat(Locality.distance("eu/a/1", "eu/a/2")).isEqualTo(1);
    assertThat(Locality.distance("eu/a/1", "eu/b/1")).isEqualTo(2);
    assertThat(Locality.distance("eu/a/1", "us/a/1")).isEqualTo(3);
    assertThat(Locality.distance("eu/a", "eu/a")).isZero();
    assertThat(Locality.distance("eu/a", "eu/a/1")).isEqualTo(1);
    assertThat(Locality.distance("eu/a/1", "")).isEqualTo(3);
    assertThat(Locality.distance("", "eu/a/1")).as("the client's is not known").isZero();
  }
}
