package io.tailwater.agent.dataplane.upstream;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.OutlierDetection;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

class ClusterTest {
  private static final long SECOND = Duration.ofSeconds(1).toNanos();

  private final Cluster cluster = new Clusters().cluster("outbound|443||api.example");
  private long now = 5 * SECOND;

  private Endpoint endpoint(int last) {
    return cluster.endpoint(
        new InetSocketAddress(InetAddress.ofLiteral("198.51.100." + last), 443),
        "api.example",
        now);
  }

  private static Optional<OutlierDetection> rule(int failures, int percent) {
    return Optional.of(
        new OutlierDetection(
            failures,
            0,
            Optional.empty(),
            Duration.ofSeconds(10),
            Duration.ofSeconds(30),
            percent,
            0));
  }

  private void fail(int last, Optional<OutlierDetection> rule, int times) {
    for (int i = 0; i < times; i++) {
      cluster.tell(endpoint(last), Sign.NO_ANSWER, rule, now);
    }
  }

  // ---- outlier detection

  @Test
  void failuresInARowEject() {
    cluster.members(10);
    fail(1, rule(3, 100), 2);
    assertThat(endpoint(1).ejected(now)).isFalse();
    fail(1, rule(3, 100), 1);
    assertThat(endpoint(1).ejected(now)).isTrue();
    assertThat(cluster.ejectionCount()).isEqualTo(1);
  }

  @Test
  void oneThatWorksStartsTheRowAnew() {
    fail(1, rule(3, 100), 2);
    cluster.tell(endpoint(1), Sign.ANSWER, rule(3, 100), now);
    fail(1, rule(3, 100), 2);
    assertThat(endpoint(1).ejected(now)).isFalse();
  }

  /// Thresholds of server errors, of a gateway's and of local origin; none of the last is not
  /// counting them apart.
  private static Optional<OutlierDetection> rule(int server, int gateway, Optional<Integer> local) {
    return Optional.of(
        new OutlierDetection(
            server, gateway, local, Duration.ofSeconds(10), Duration.ofSeconds(30), 100, 0));
  }

  private boolean ejects(int last, Optional<OutlierDetection> rule, Sign... signs) {
    for (Sign sign : signs) {
      cluster.tell(endpoint(last), sign, rule, now);
    }
    return endpoint(last).ejected(now);
  }

  @Test
  void everyServerErrorCountsAsOneAndThoseOfAGatewayAsTheirsToo() {
    cluster.members(20);
    Optional<OutlierDetection> server = rule(2, 0, Optional.empty());
    assertThat(ejects(1, server, Sign.SERVER_ERROR, Sign.GATEWAY_ERROR)).isTrue();
    assertThat(ejects(2, server, Sign.SERVER_ERROR, Sign.ANSWER, Sign.SERVER_ERROR)).isFalse();
    assertThat(ejects(3, server, Sign.NO_ANSWER, Sign.SERVER_ERROR)).isTrue();

    Optional<OutlierDetection> gateway = rule(0, 2, Optional.empty());
    assertThat(ejects(4, gateway, Sign.SERVER_ERROR, Sign.SERVER_ERROR)).isFalse();
    assertThat(ejects(5, gateway, Sign.GATEWAY_ERROR, Sign.SERVER_ERROR, Sign.GATEWAY_ERROR))
        .isFalse();
    assertThat(ejects(6, gateway, Sign.GATEWAY_ERROR, Sign.NO_ANSWER)).isTrue();
  }

  @Test
  void whereErrorsOfLocalOriginAreCountedApartTheyAreNoServerErrors() {
    cluster.members(20);
    Optional<OutlierDetection> apart = rule(2, 2, Optional.of(3));
    assertThat(ejects(1, apart, Sign.NO_ANSWER, Sign.NO_ANSWER)).isFalse();
    assertThat(ejects(1, apart, Sign.NO_ANSWER)).isTrue();
    assertThat(ejects(2, apart, Sign.NO_ANSWER, Sign.GATEWAY_ERROR, Sign.NO_ANSWER)).isFalse();
    assertThat(ejects(3, apart, Sign.NO_ANSWER, Sign.NO_ANSWER, Sign.CONNECTED, Sign.NO_ANSWER))
        .isFalse();
  }

  @Test
  void aConnectionForRequestsSaysNothingOfTheirAnswersAndOneForBytesAll() {
    cluster.members(20);
    Optional<OutlierDetection> rule = rule(2, 0, Optional.empty());
    assertThat(ejects(1, rule, Sign.SERVER_ERROR, Sign.CONNECTED, Sign.SERVER_ERROR)).isTrue();
    assertThat(ejects(2, rule, Sign.NO_ANSWER, Sign.CARRIES, Sign.NO_ANSWER)).isFalse();
  }

  @Test
  void withoutARuleOrWithZeroNobodyIsEjected() {
    fail(1, Optional.empty(), 50);
    fail(1, rule(0, 100), 50);
    assertThat(endpoint(1).ejected(now)).isFalse();
  }

  @Test
  void eachEjectionLastsLongerAndGoodBehaviourIsRemembered() {
    cluster.members(10);
    fail(1, rule(1, 100), 1);
    now += 29 * SECOND;
    assertThat(endpoint(1).ejected(now)).isTrue();
    now += SECOND;
    assertThat(endpoint(1).ejected(now)).isFalse();

    fail(1, rule(1, 100), 1);
    now += 59 * SECOND;
    assertThat(endpoint(1).ejected(now)).as("twice the base time").isTrue();
    now += SECOND;
    assertThat(endpoint(1).ejected(now)).isFalse();

    now += 25 * SECOND; // two intervals of ten seconds: both ejections are forgotten
    fail(1, rule(1, 100), 1);
    now += 35 * SECOND;
    assertThat(endpoint(1).ejected(now)).as("the base time, to the end of an interval").isFalse();
  }

  @Test
  void aRestEndsWithAnInterval() {
    cluster.members(10);
    fail(1, rule(1, 100), 1);
    now += 4 * SECOND;
    fail(2, rule(1, 100), 1);
    now += 30 * SECOND;
    assertThat(endpoint(2).ejected(now)).as("looked at every ten seconds").isTrue();
    now += 6 * SECOND;
    assertThat(endpoint(2).ejected(now)).isFalse();
  }

  @Test
  void noRestIsLongerThanFiveMinutesUnlessTheBaseTimeIs() {
    cluster.members(10);
    for (int i = 0; i < 20; i++) {
      fail(1, rule(1, 100), 1);
      now += 300 * SECOND;
      assertThat(endpoint(1).ejected(now)).isFalse();
    }
  }

  @Test
  void onlySoManyAreOutAtOnceButOneInAnyCase() {
    cluster.members(5);
    fail(1, rule(1, 40), 1);
    fail(2, rule(1, 40), 1);
    fail(3, rule(1, 40), 1);
    assertThat(endpoint(2).ejected(now)).isTrue();
    assertThat(endpoint(3).ejected(now)).isFalse();
    assertThat(cluster.ejectionOverflowCount()).isEqualTo(1);

    Cluster small = new Clusters().cluster("small");
    small.members(2);
    Endpoint only =
        small.endpoint(new InetSocketAddress(InetAddress.ofLiteral("192.0.2.1"), 1), "small", now);
    small.tell(only, Sign.NO_ANSWER, rule(1, 10), now);
    assertThat(only.ejected(now)).isTrue();
  }

  @Test
  void whatRestsIsNotForgottenBeforeItsTimeIsOver() {
    cluster.members(10);
    fail(1, rule(1, 100), 1);
    cluster.forgetIdle(now + 29 * SECOND);
    assertThat(cluster.endpoints()).hasSize(1);
    cluster.forgetIdle(now + 31 * SECOND);
    assertThat(cluster.endpoints()).isEmpty();
  }

  // ---- limits

  private static ConnectionPolicy.Limits limits(long connections, long requests, long pending) {
    return new ConnectionPolicy.Limits(connections, requests, pending, 1, 0);
  }

  @Test
  void noMoreConnectionsThanTheLimitAndEachOverflowCounts() {
    ConnectionPolicy.Limits two = limits(2, 1, 1);
    assertThat(cluster.admitConnection(two)).isTrue();
    assertThat(cluster.admitConnection(two)).isTrue();
    assertThat(cluster.admitConnection(two)).isFalse();
    assertThat(cluster.admitConnection(two)).isFalse();
    assertThat(cluster.connectionOverflowCount()).isEqualTo(2);
    cluster.connectionLeft();
    assertThat(cluster.admitConnection(two)).isTrue();
  }

  @Test
  void aLimitThatComesLaterCountsWhatIsThere() {
    assertThat(cluster.admitConnection(ConnectionPolicy.Limits.NONE)).isTrue();
    assertThat(cluster.admitConnection(limits(1, 1, 1))).isFalse();
  }

  @Test
  void requestsAndThoseThatWaitHaveLimitsOfTheirOwn() {
    ConnectionPolicy.Limits one = limits(9, 1, 1);
    assertThat(cluster.admitRequest(one)).isTrue();
    assertThat(cluster.admitPending(one)).isTrue();
    assertThat(cluster.admitRequest(one)).isFalse();
    assertThat(cluster.admitPending(one)).isFalse();
    assertThat(cluster.requestOverflowCount()).isEqualTo(2);
    cluster.requestLeft();
    cluster.pendingLeft();
    assertThat(cluster.admitRequest(one)).isTrue();
    assertThat(cluster.admitPending(one)).isTrue();
  }

  @Test
  void manyLoopsTogetherDoNotGoOverTheLimit() throws InterruptedException {
    ConnectionPolicy.Limits ten = limits(10, 1, 1);
    AtomicInteger admitted = new AtomicInteger();
    CountDownLatch done = new CountDownLatch(4);
    try (ExecutorService loops = Executors.newFixedThreadPool(4)) {
      for (int i = 0; i < 4; i++) {
        loops.execute(() -> {
          for (int j = 0; j < 1000; j++) {
            admitted.addAndGet(cluster.admitConnection(ten) ? 1 : 0);
          }
          done.countDown();
        });
      }
      done.await();
    }
    assertThat(admitted.get()).isEqualTo(10);
  }

  // ---- counters

  @Test
  void requestsAreCountedAsEnvoyDoes() {
    Endpoint endpoint = endpoint(1);
    endpoint.connected();
    for (int i = 0; i < 4; i++) {
      endpoint.requestStarted();
    }
    endpoint.requestSucceeded();
    endpoint.requestFailed();
    endpoint.requestTimedOut();
    assertThat(endpoint.cxTotal()).isEqualTo(1);
    assertThat(endpoint.rqTotal()).isEqualTo(4);
    assertThat(endpoint.rqActive()).isEqualTo(1);
    assertThat(endpoint.rqSuccess()).isEqualTo(1);
    assertThat(endpoint.rqError()).isEqualTo(2);
    assertThat(endpoint.rqTimeout()).isEqualTo(1);
    endpoint.requestCancelled();
    endpoint.disconnected(now);
    assertThat(endpoint.rqActive()).isZero();
    assertThat(endpoint.cxActive()).isZero();
  }
}
