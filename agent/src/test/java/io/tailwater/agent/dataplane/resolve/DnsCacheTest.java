package io.tailwater.agent.dataplane.resolve;

import static io.tailwater.agent.dataplane.resolve.ScriptedLookup.addresses;
import static io.tailwater.agent.dataplane.resolve.ScriptedLookup.failed;
import static io.tailwater.agent.dataplane.resolve.ScriptedLookup.found;
import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.resolve.Addresses.Failure;
import io.tailwater.agent.dataplane.resolve.Lookup.Family;
import io.tailwater.agent.dataplane.resolve.ResolveConfig.FailureRefreshRate;
import io.tailwater.agent.dataplane.resolve.ResolveConfig.LookupFamily;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.PodRef;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.RejectedExecutionException;
import java.util.random.RandomGenerator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class DnsCacheTest {
  private static final PodRef RATINGS = new PodRef("default", "ratings");
  private static final PodRef REVIEWS = new PodRef("default", "reviews");
  private static final HostName EN = HostName.of("en.wikipedia.org");
  private static final HostName DE = HostName.of("de.wikipedia.org");
  private static final LookupNothing NODATA = new LookupNothing();

  /// Names the results that many tests need.
  private record LookupNothing() {
    Lookup.LookupResult here() {
      return failed(Failure.NO_ADDRESS);
    }
  }

  private final ScriptedLookup lookup = new ScriptedLookup();
  private final HandWoundThread thread = new HandWoundThread();
  private final ResolveStats stats = new ResolveStats();
  private DnsCache cache = cache(ResolveConfig.defaults());

  private DnsCache cache(ResolveConfig config) {
    return cache(config, DnsCache.Bounds.DEFAULT, new SplittableRandom(7));
  }

  private DnsCache cache(ResolveConfig config, DnsCache.Bounds bounds, RandomGenerator random) {
    return new DnsCache(config, lookup, thread, stats, bounds, random);
  }

  private static ResolveConfig hosts(int inAll, int perPod) {
    ResolveConfig d = ResolveConfig.defaults();
    return new ResolveConfig(
        d.servers(),
        LookupFamily.ALL,
        d.hostTtl(),
        inAll,
        perPod,
        d.minRefreshRate(),
        d.maxTtl(),
        d.maxStale(),
        d.failureRefreshRate(),
        d.queryTimeout());
  }

  private static ResolveConfig times(Duration maxStale, FailureRefreshRate rate) {
    ResolveConfig d = ResolveConfig.defaults();
    return new ResolveConfig(
        d.servers(),
        LookupFamily.ALL,
        d.hostTtl(),
        d.maxHosts(),
        d.maxHostsPerPod(),
        d.minRefreshRate(),
        d.maxTtl(),
        maxStale,
        rate,
        d.queryTimeout());
  }

  private static ResolveConfig only(LookupFamily family) {
    ResolveConfig d = ResolveConfig.defaults();
    return new ResolveConfig(
        d.servers(),
        family,
        d.hostTtl(),
        d.maxHosts(),
        d.maxHostsPerPod(),
        d.minRefreshRate(),
        d.maxTtl(),
        d.maxStale(),
        d.failureRefreshRate(),
        d.queryTimeout());
  }

  /// Asks on a loop that runs at once, and lets the resolver thread run.
  private List<Addresses> ask(PodRef pod, HostName name) {
    var answers = new ArrayList<Addresses>();
    cache.resolve(pod, name, Runnable::run, answers::add);
    thread.run();
    return answers;
  }

  private static Addresses fresh(String... addresses) {
    return new Addresses.Found(addresses(addresses), false);
  }

  private static Addresses stale(String... addresses) {
    return new Addresses.Found(addresses(addresses), true);
  }

  private long counter(String name) {
    return stats.counters().get(name);
  }

  private void useEvery(Duration step, Duration inAll) {
    for (Duration t = Duration.ZERO; t.compareTo(inAll) < 0; t = t.plus(step)) {
      cache.ifPresent(RATINGS, EN);
      thread.advance(step);
    }
  }

  // ---- asking ----

  @Test
  void anUnknownNameIsAbsentAndAKnownOneIsPresent() {
    lookup.says("en.wikipedia.org", found(60, "198.51.100.10"), NODATA.here());

    assertThat(cache.ifPresent(RATINGS, EN)).isNull();
    assertThat(ask(RATINGS, EN)).containsExactly(fresh("198.51.100.10"));
    assertThat(cache.ifPresent(RATINGS, EN)).isEqualTo(fresh("198.51.100.10"));
    assertThat(stats.numHosts()).isEqualTo(1);
  }

  @Test
  void twoPodsAskingAtOnceCauseOneQuery() {
    List<Addresses> ratings = ask(RATINGS, EN);
    List<Addresses> reviews = ask(REVIEWS, EN);
    assertThat(lookup.rounds()).isEqualTo(1);

    lookup.take(Family.V4).answer(found(60, "198.51.100.10"));
    lookup.take(Family.V6).answer(NODATA.here());
    thread.run();

    assertThat(ratings).containsExactly(fresh("198.51.100.10"));
    assertThat(reviews).containsExactly(fresh("198.51.100.10"));
    assertThat(counter("dns_query_attempt")).isEqualTo(1);
    assertThat(counter("host_added")).isEqualTo(1);
  }

  @Test
  void familiesTakeTurnsAndIpv6ComesFirst() {
    lookup.says(
        "en.wikipedia.org",
        found(60, "198.51.100.10", "198.51.100.11", "198.51.100.12"),
        found(60, "2001:db8::1", "2001:db8::2"));

    assertThat(ask(RATINGS, EN))
        .containsExactly(
            fresh("2001:db8::1", "198.51.100.10", "2001:db8::2", "198.51.100.11", "198.51.100.12"));
  }

  @ParameterizedTest
  @EnumSource(
      value = LookupFamily.class,
      names = {"V4", "V6"})
  void aSingleFamilyAsksOneQuestion(LookupFamily family) {
    cache = cache(only(family));
    lookup.says("en.wikipedia.org", found(60, "198.51.100.10"), found(60, "2001:db8::1"));

    assertThat(ask(RATINGS, EN))
        .containsExactly(fresh(family == LookupFamily.V4 ? "198.51.100.10" : "2001:db8::1"));
    assertThat(lookup.asked).hasSize(1);
  }

  @Test
  void aLateSecondFamilyIsWaitedForFiftyMillisecondsAndTakenInLater() {
    List<Addresses> answers = ask(RATINGS, EN);
    lookup.take(Family.V4).answer(found(60, "198.51.100.10"));

    thread.advance(Duration.ofMillis(49));
    assertThat(answers).isEmpty();
    thread.advance(Duration.ofMillis(1));
    assertThat(answers).containsExactly(fresh("198.51.100.10"));
    assertThat(cache.ifPresent(RATINGS, EN)).isEqualTo(fresh("198.51.100.10"));

    lookup.take(Family.V6).answer(found(60, "2001:db8::1"));
    thread.run();
    assertThat(cache.ifPresent(RATINGS, EN)).isEqualTo(fresh("2001:db8::1", "198.51.100.10"));
    assertThat(answers).hasSize(1);
  }

  @Test
  void aNegativeAnswerOfOneFamilyWaitsForTheOther() {
    List<Addresses> answers = ask(RATINGS, EN);
    lookup.take(Family.V6).answer(NODATA.here());
    thread.advance(Duration.ofSeconds(1));
    assertThat(answers).isEmpty();

    lookup.take(Family.V4).answer(found(60, "198.51.100.10"));
    thread.run();
    assertThat(answers).containsExactly(fresh("198.51.100.10"));
  }

  @Test
  void oneFamilyFailingIsNoFailure() {
    lookup.says("en.wikipedia.org", found(3600, "198.51.100.10"), failed(Failure.SERVER));
    assertThat(ask(RATINGS, EN)).containsExactly(fresh("198.51.100.10"));
    assertThat(counter("dns_query_failure")).isZero();

    // The other family is asked for again soon, not after an hour.
    lookup.says("en.wikipedia.org", found(3600, "198.51.100.10"), found(3600, "2001:db8::1"));
    thread.advance(Duration.ofMillis(400));
    cache.ifPresent(RATINGS, EN);
    thread.advance(Duration.ofSeconds(1));
    assertThat(cache.ifPresent(RATINGS, EN)).isEqualTo(fresh("2001:db8::1", "198.51.100.10"));
  }

  // ---- delivery ----

  @Test
  void anAnswerIsATaskOnTheAskingLoop() {
    lookup.says("en.wikipedia.org", found(60, "198.51.100.10"), NODATA.here());
    var tasks = new ArrayList<Runnable>();
    var answers = new ArrayList<Addresses>();

    cache.resolve(RATINGS, EN, tasks::add, answers::add);
    thread.run();
    cache.resolve(RATINGS, EN, tasks::add, answers::add);
    assertThat(answers).isEmpty();

    tasks.forEach(Runnable::run);
    assertThat(answers).hasSize(2);
  }

  @Test
  void anAnswerThatComesTwiceIsDeliveredOnce() {
    List<Addresses> answers = ask(RATINGS, EN);
    var v4 = lookup.take(Family.V4);
    var v6 = lookup.take(Family.V6);
    v4.answer(found(60, "198.51.100.10"));
    v4.answer(found(60, "203.0.113.66"));
    v6.answer(NODATA.here());
    v6.answer(found(60, "2001:db8::66"));
    thread.run();
    v4.answer(failed(Failure.SERVER));
    thread.advance(Duration.ofSeconds(10));

    assertThat(answers).containsExactly(fresh("198.51.100.10"));
  }

  @Test
  void aLookupThatNeverAnswersEndsInTime() {
    List<Addresses> answers = ask(RATINGS, EN);

    thread.advance(Duration.ofMillis(4_999));
    assertThat(answers).isEmpty();
    thread.advance(Duration.ofMillis(1));

    assertThat(answers).singleElement().isInstanceOf(Addresses.Failed.class);
    assertThat(((Addresses.Failed) answers.getFirst()).failure()).isEqualTo(Failure.TIMEOUT);
    assertThat(counter("dns_query_timeout")).isEqualTo(1);
    assertThat(counter("dns_query_failure")).isEqualTo(1);
  }

  @Test
  void aLookupThatThrowsIsAFailure() {
    cache =
        new DnsCache(
            ResolveConfig.defaults(),
            (name, family, result) -> {
              throw new IllegalStateException("broken");
            },
            thread,
            stats,
            DnsCache.Bounds.DEFAULT,
            new SplittableRandom(7));

    assertThat(ask(RATINGS, EN))
        .singleElement()
        .isInstanceOfSatisfying(
            Addresses.Failed.class,
            failed -> {
              assertThat(failed.failure()).isEqualTo(Failure.SERVER);
              assertThat(failed.detail()).contains("broken");
            });
  }

  @Test
  void anAnswerMayAskAgainFromWithin() {
    var answers = new ArrayList<Addresses>();
    lookup.says("de.wikipedia.org", found(60, "198.51.100.20"), NODATA.here());
    cache.resolve(
        RATINGS,
        EN,
        Runnable::run,
        first -> {
          answers.add(first);
          cache.resolve(RATINGS, EN, Runnable::run, answers::add);
          cache.resolve(RATINGS, DE, Runnable::run, answers::add);
        });
    thread.run();
    lookup.take(Family.V4).answer(failed(Failure.NO_SUCH_NAME));
    lookup.take(Family.V6).answer(failed(Failure.NO_SUCH_NAME));
    thread.run();

    assertThat(answers).hasSize(3);
    assertThat(answers.get(1)).isEqualTo(answers.get(0));
    assertThat(answers.get(2)).isEqualTo(fresh("198.51.100.20"));
  }

  @Test
  void aLoopThatEndedDoesNotTakeTheAnswerFromOthers() {
    cache.resolve(
        RATINGS,
        EN,
        _ -> {
          throw new RejectedExecutionException("ended");
        },
        _ -> {});
    cache.resolve(
        RATINGS,
        EN,
        Runnable::run,
        _ -> {
          throw new IllegalStateException("a broken taker");
        });
    List<Addresses> answers = ask(REVIEWS, EN);
    lookup.take(Family.V4).answer(found(60, "198.51.100.10"));
    lookup.take(Family.V6).answer(NODATA.here());
    thread.run();

    assertThat(answers).containsExactly(fresh("198.51.100.10"));
  }

  @Test
  void closingAnswersThoseWhoWaitAndThoseWhoCome() {
    List<Addresses> waiting = ask(RATINGS, EN);
    cache.close();

    assertThat(waiting).singleElement().isInstanceOf(Addresses.Failed.class);
    assertThat(ask(RATINGS, DE)).singleElement().isInstanceOf(Addresses.Failed.class);
    assertThat(lookup.closed).isTrue();
    assertThat(thread.timers()).isZero();
    cache.close();
  }

  // ---- times ----

  @Test
  void aShortTtlIsRaisedToTheFloor() {
    lookup.says("en.wikipedia.org", found(0, "198.51.100.10"), NODATA.here());
    ask(RATINGS, EN);

    thread.advance(Duration.ofMillis(4_999));
    assertThat(cache.ifPresent(RATINGS, EN)).isEqualTo(fresh("198.51.100.10"));
  }

  @Test
  void aLongTtlIsCutAtTheCeiling() {
    lookup.says("en.wikipedia.org", found(Integer.MAX_VALUE, "198.51.100.10"), NODATA.here());
    ask(RATINGS, EN);

    assertThat(cache.entries().getFirst().ttlLeft()).isEqualTo(Duration.ofHours(1));
  }

  @Test
  void aNameInUseIsRefreshedAheadOfItsExpiry() {
    lookup.says("en.wikipedia.org", found(100, "198.51.100.10"), NODATA.here());
    ask(RATINGS, EN);
    thread.advance(Duration.ofSeconds(1));
    cache.ifPresent(RATINGS, EN);
    lookup.says("en.wikipedia.org", found(100, "198.51.100.11"), NODATA.here());

    thread.advance(Duration.ofMillis(78_999));
    assertThat(lookup.rounds()).isEqualTo(1);
    thread.advance(Duration.ofSeconds(15));
    assertThat(lookup.rounds()).isEqualTo(2);
    assertThat(cache.ifPresent(RATINGS, EN)).isEqualTo(fresh("198.51.100.11"));
    assertThat(counter("host_address_changed")).isEqualTo(2);
  }

  @Test
  void refreshesAreSpreadBetween80And95PercentOfTheTtl() {
    for (double dice : new double[] {0.0, 0.5, 0.999_999}) {
      var own = new HandWoundThread();
      var dns = new ScriptedLookup();
      dns.says("en.wikipedia.org", found(100, "198.51.100.10"), NODATA.here());
      var one =
          new DnsCache(
              ResolveConfig.defaults(),
              dns,
              own,
              new ResolveStats(),
              DnsCache.Bounds.DEFAULT,
              always(dice));
      one.resolve(RATINGS, EN, Runnable::run, _ -> {});
      own.advance(Duration.ofSeconds(1));
      one.ifPresent(RATINGS, EN);
      long due = 80_000 + (long) (15_000 * dice);
      own.advance(Duration.ofMillis(due - 1_000 - 1));
      assertThat(dns.rounds()).isEqualTo(1);
      own.advance(Duration.ofMillis(2));
      assertThat(dns.rounds()).isEqualTo(2);
    }
  }

  private static RandomGenerator always(double value) {
    return new RandomGenerator() {
      @Override
      public long nextLong() {
        return 0;
      }

      @Override
      public double nextDouble() {
        return value;
      }
    };
  }

  @Test
  void aNameThatNobodyUsedIsNotRefreshedButAskedForByTheNextUser() {
    lookup.says("en.wikipedia.org", found(60, "198.51.100.10"), NODATA.here());
    ask(RATINGS, EN);
    thread.advance(Duration.ofSeconds(61));

    assertThat(lookup.rounds()).isEqualTo(1);
    assertThat(cache.ifPresent(RATINGS, EN)).isNull();
    lookup.says("en.wikipedia.org", found(60, "198.51.100.11"), NODATA.here());
    assertThat(ask(RATINGS, EN)).containsExactly(fresh("198.51.100.11"));
  }

  @Test
  void anIdleNameIsDropped() {
    lookup.says("en.wikipedia.org", found(3600, "198.51.100.10"), NODATA.here());
    ask(RATINGS, EN);

    thread.advance(Duration.ofSeconds(290));
    assertThat(stats.numHosts()).isEqualTo(1);
    thread.advance(Duration.ofSeconds(41));

    assertThat(stats.numHosts()).isZero();
    assertThat(counter("host_removed")).isEqualTo(1);
    assertThat(cache.entries()).isEmpty();
  }

  @Test
  void anExpiredNameIsServedStaleForFiveMinutesAndNotLonger() {
    lookup.says("en.wikipedia.org", found(60, "198.51.100.10"), NODATA.here());
    ask(RATINGS, EN);
    lookup.says("en.wikipedia.org", failed(Failure.SERVER), failed(Failure.SERVER));

    useEvery(Duration.ofSeconds(1), Duration.ofSeconds(59));
    assertThat(cache.ifPresent(RATINGS, EN)).isEqualTo(fresh("198.51.100.10"));
    useEvery(Duration.ofSeconds(1), Duration.ofSeconds(2));
    assertThat(cache.ifPresent(RATINGS, EN)).isEqualTo(stale("198.51.100.10"));
    useEvery(Duration.ofSeconds(1), Duration.ofSeconds(298));
    assertThat(cache.ifPresent(RATINGS, EN)).isEqualTo(stale("198.51.100.10"));
    assertThat(cache.entries().getFirst().stale()).isTrue();

    useEvery(Duration.ofSeconds(1), Duration.ofSeconds(1));
    assertThat(cache.ifPresent(RATINGS, EN)).isNull();
    assertThat(ask(RATINGS, EN))
        .singleElement()
        .isInstanceOfSatisfying(
            Addresses.Failed.class, f -> assertThat(f.failure()).isEqualTo(Failure.SERVER));
  }

  @Test
  void anIdleExpiredNameFallsBackToItsOldAddressesWhenTheServerFails() {
    lookup.says("en.wikipedia.org", found(60, "198.51.100.10"), NODATA.here());
    ask(RATINGS, EN);
    thread.advance(Duration.ofMinutes(2));
    lookup.says("en.wikipedia.org", failed(Failure.SERVER), failed(Failure.TIMEOUT));

    assertThat(ask(RATINGS, EN)).containsExactly(stale("198.51.100.10"));
  }

  @Test
  void whoeverFindsAnIdleExpiredNameIsServedStaleWhenTheServerIsSilent() {
    lookup.says("en.wikipedia.org", found(60, "198.51.100.10"), NODATA.here());
    ask(RATINGS, EN);
    thread.advance(Duration.ofMinutes(2));
    lookup.silent("en.wikipedia.org");

    List<Addresses> answers = ask(RATINGS, EN);
    thread.advance(Duration.ofMillis(1_799));
    assertThat(answers).isEmpty();
    thread.advance(Duration.ofMillis(1));
    assertThat(answers).containsExactly(stale("198.51.100.10"));
    assertThat(cache.ifPresent(RATINGS, EN)).isEqualTo(stale("198.51.100.10"));
    thread.advance(Duration.ofSeconds(10));
    assertThat(answers).hasSize(1);
  }

  @Test
  void aMissingFamilyIsAskedForByTheNextUserWithoutMakingItWait() {
    lookup.says("en.wikipedia.org", found(3600, "198.51.100.10"), failed(Failure.TIMEOUT));
    ask(RATINGS, EN);
    thread.advance(Duration.ofMinutes(1));
    assertThat(lookup.rounds()).isEqualTo(1);
    lookup.says("en.wikipedia.org", found(3600, "198.51.100.10"), found(3600, "2001:db8::1"));

    assertThat(cache.ifPresent(RATINGS, EN)).isEqualTo(fresh("198.51.100.10"));
    thread.run();
    assertThat(cache.ifPresent(RATINGS, EN)).isEqualTo(fresh("2001:db8::1", "198.51.100.10"));
    thread.run();
    assertThat(lookup.rounds()).isEqualTo(2);
  }

  @Test
  void usersDoNotWaitForARefreshThatIsSlow() {
    lookup.says("en.wikipedia.org", found(60, "198.51.100.10"), NODATA.here());
    ask(RATINGS, EN);
    thread.advance(Duration.ofSeconds(1));
    cache.ifPresent(RATINGS, EN);
    lookup.silent("en.wikipedia.org");
    thread.advance(Duration.ofSeconds(57));
    useEvery(Duration.ofMillis(100), Duration.ofSeconds(10));

    assertThat(cache.ifPresent(RATINGS, EN)).isEqualTo(stale("198.51.100.10"));
    assertThat(ask(REVIEWS, EN)).containsExactly(stale("198.51.100.10"));
  }

  @ParameterizedTest
  @EnumSource(
      value = Failure.class,
      names = {"NO_SUCH_NAME", "NO_ADDRESS"})
  void aDefiniteNegativeAnswerEndsTheOldAddressesAtOnce(Failure failure) {
    lookup.says("en.wikipedia.org", found(60, "198.51.100.10"), found(60, "2001:db8::1"));
    ask(RATINGS, EN);
    thread.advance(Duration.ofSeconds(1));
    cache.ifPresent(RATINGS, EN);
    lookup.says("en.wikipedia.org", failed(failure), failed(failure));
    thread.advance(Duration.ofSeconds(57));

    assertThat(cache.ifPresent(RATINGS, EN) instanceof Addresses.Found).isFalse();
    assertThat(ask(RATINGS, EN).getFirst()).isInstanceOf(Addresses.Failed.class);
  }

  @Test
  void aFamilyThatFailsKeepsItsOldAddressesNextToTheOther() {
    lookup.says("en.wikipedia.org", found(60, "198.51.100.10"), found(60, "2001:db8::1"));
    ask(RATINGS, EN);
    lookup.says("en.wikipedia.org", failed(Failure.TIMEOUT), found(60, "2001:db8::2"));
    useEvery(Duration.ofSeconds(1), Duration.ofSeconds(70));

    assertThat(cache.ifPresent(RATINGS, EN)).isEqualTo(stale("2001:db8::2", "198.51.100.10"));
    useEvery(Duration.ofSeconds(1), Duration.ofSeconds(350));
    assertThat(cache.ifPresent(RATINGS, EN)).isEqualTo(fresh("2001:db8::2"));
  }

  @Test
  void nothingIsServedStaleWhereStalenessIsForbidden() {
    cache =
        cache(
            times(
                Duration.ZERO,
                new FailureRefreshRate(Duration.ofSeconds(1), Duration.ofSeconds(30))));
    lookup.says("en.wikipedia.org", found(60, "198.51.100.10"), NODATA.here());
    ask(RATINGS, EN);
    lookup.says("en.wikipedia.org", failed(Failure.SERVER), failed(Failure.SERVER));
    useEvery(Duration.ofSeconds(1), Duration.ofSeconds(61));

    assertThat(ask(RATINGS, EN).getFirst()).isInstanceOf(Addresses.Failed.class);
  }

  @ParameterizedTest
  @EnumSource(value = Failure.class, names = "OVERFLOW", mode = EnumSource.Mode.EXCLUDE)
  void aFailureIsKeptForTheFirstIntervalAndThenAskedAgain(Failure failure) {
    lookup.says("en.wikipedia.org", failed(failure), failed(failure));
    Addresses first = ask(RATINGS, EN).getFirst();
    assertThat(((Addresses.Failed) first).failure()).isEqualTo(failure);

    thread.advance(Duration.ofMillis(499));
    assertThat(cache.ifPresent(RATINGS, EN)).isEqualTo(first);
    assertThat(lookup.rounds()).isEqualTo(1);
    thread.advance(Duration.ofMillis(501));
    assertThat(cache.ifPresent(RATINGS, EN)).isNull();
    lookup.says("en.wikipedia.org", found(60, "198.51.100.10"), NODATA.here());
    assertThat(ask(RATINGS, EN)).containsExactly(fresh("198.51.100.10"));
  }

  @Test
  void failuresAreKeptTwiceAsLongEachTimeUpToTheBound() {
    lookup.says("en.wikipedia.org", failed(Failure.SERVER), failed(Failure.SERVER));
    cache = cache(ResolveConfig.defaults(), DnsCache.Bounds.DEFAULT, always(1.0));
    for (long seconds : new long[] {1, 2, 4, 8, 16, 30, 30}) {
      ask(RATINGS, EN);
      thread.advance(Duration.ofSeconds(seconds).minusNanos(1));
      assertThat(cache.ifPresent(RATINGS, EN)).isNotNull();
      thread.advance(Duration.ofNanos(1));
      assertThat(cache.ifPresent(RATINGS, EN)).isNull();
    }
    lookup.says("en.wikipedia.org", found(60, "198.51.100.10"), NODATA.here());
    ask(RATINGS, EN);
    thread.advance(Duration.ofSeconds(61));
    lookup.says("en.wikipedia.org", failed(Failure.NO_ADDRESS), failed(Failure.NO_ADDRESS));
    ask(RATINGS, EN);
    thread.advance(Duration.ofSeconds(1));
    assertThat(cache.ifPresent(RATINGS, EN)).isNull();
  }

  @Test
  void aFailedNameCausesNoQueriesUnlessSomebodyAsks() {
    lookup.says("en.wikipedia.org", failed(Failure.NO_SUCH_NAME), failed(Failure.NO_SUCH_NAME));
    ask(RATINGS, EN);
    thread.advance(Duration.ofMinutes(4));

    assertThat(lookup.rounds()).isEqualTo(1);
    assertThat(counter("dns_query_success")).isEqualTo(1);
  }

  // ---- bounds ----

  @Test
  void aFullCacheStillAnswersPresentNames() {
    cache = cache(hosts(2, 10));
    lookup.says("en.wikipedia.org", found(60, "198.51.100.10"), NODATA.here());
    lookup.says("de.wikipedia.org", found(60, "198.51.100.20"), NODATA.here());
    ask(RATINGS, EN);
    ask(RATINGS, DE);

    assertThat(ask(RATINGS, HostName.of("fr.wikipedia.org")))
        .singleElement()
        .isInstanceOfSatisfying(
            Addresses.Failed.class,
            f -> {
              assertThat(f.failure()).isEqualTo(Failure.OVERFLOW);
              assertThat(f.detail()).contains("dns.maxHosts");
            });
    assertThat(cache.ifPresent(RATINGS, EN)).isEqualTo(fresh("198.51.100.10"));
    assertThat(ask(REVIEWS, DE)).containsExactly(fresh("198.51.100.20"));
    assertThat(counter("host_overflow")).isEqualTo(1);
    assertThat(stats.numHosts()).isEqualTo(2);
  }

  @Test
  void aFullCacheLetsASecondAskerJoinANameThatIsBeingAskedFor() {
    cache = cache(hosts(1, 1));
    ask(RATINGS, EN);
    List<Addresses> second = ask(REVIEWS, EN);
    lookup.take(Family.V4).answer(found(60, "198.51.100.10"));
    lookup.take(Family.V6).answer(NODATA.here());
    thread.run();

    assertThat(second).containsExactly(fresh("198.51.100.10"));
  }

  @Test
  void aPodOverItsBoundDoesNotHarmAnother() {
    cache = cache(hosts(100, 3));
    for (int i = 0; i < 10; i++) {
      lookup.says("n" + i + ".wikipedia.org", found(60, "198.51.100.10"), NODATA.here());
    }
    lookup.says("en.wikipedia.org", found(60, "198.51.100.10"), NODATA.here());
    var refused = new ArrayList<Addresses>();
    for (int i = 0; i < 10; i++) {
      for (Addresses a : ask(RATINGS, HostName.of("n" + i + ".wikipedia.org"))) {
        if (a instanceof Addresses.Failed) {
          refused.add(a);
        }
      }
    }

    assertThat(refused).hasSize(7);
    assertThat(ask(REVIEWS, EN)).containsExactly(fresh("198.51.100.10"));
    // A name that another pod brought in is free.
    assertThat(ask(RATINGS, EN)).containsExactly(fresh("198.51.100.10"));
    assertThat(ask(RATINGS, HostName.of("n0.wikipedia.org")))
        .containsExactly(fresh("198.51.100.10"));
  }

  @Test
  void aPodGetsItsPlaceBackWhenItsNamesAreDropped() {
    cache = cache(hosts(100, 1));
    lookup.says("en.wikipedia.org", found(3600, "198.51.100.10"), NODATA.here());
    lookup.says("de.wikipedia.org", found(3600, "198.51.100.20"), NODATA.here());
    ask(RATINGS, EN);
    assertThat(ask(RATINGS, DE).getFirst()).isInstanceOf(Addresses.Failed.class);
    thread.advance(Duration.ofSeconds(331));

    assertThat(ask(RATINGS, DE)).containsExactly(fresh("198.51.100.20"));
  }

  @Test
  void namesWithoutAnAnswerMakeRoomForNewOnes() {
    cache = cache(hosts(2, 2));
    for (String name : List.of("a.example.com", "b.example.com")) {
      lookup.says(name, failed(Failure.NO_SUCH_NAME), failed(Failure.NO_SUCH_NAME));
      ask(RATINGS, HostName.of(name));
    }
    lookup.says("en.wikipedia.org", found(60, "198.51.100.10"), NODATA.here());
    thread.advance(Duration.ofSeconds(2));

    assertThat(ask(RATINGS, EN)).containsExactly(fresh("198.51.100.10"));
    assertThat(stats.numHosts()).isEqualTo(1);
  }

  @Test
  void namesBeingAskedForAreBoundedPerPodAndInAll() {
    cache =
        cache(
            ResolveConfig.defaults(), new DnsCache.Bounds(3, 2, 100, 100), new SplittableRandom(7));
    ask(RATINGS, HostName.of("a.example.com"));
    ask(RATINGS, HostName.of("b.example.com"));
    assertThat(ask(RATINGS, HostName.of("c.example.com"))).hasSize(1);
    assertThat(ask(REVIEWS, HostName.of("d.example.com"))).isEmpty();
    assertThat(ask(REVIEWS, HostName.of("e.example.com"))).hasSize(1);
    assertThat(counter("dns_rq_pending_overflow")).isEqualTo(2);

    thread.advance(Duration.ofSeconds(6));
    assertThat(ask(RATINGS, HostName.of("c.example.com"))).isEmpty();
  }

  @Test
  void thoseWhoWaitAreBoundedPerPodAndAPresentNameIsAnsweredAllTheSame() {
    cache =
        cache(
            ResolveConfig.defaults(), new DnsCache.Bounds(100, 100, 3, 2), new SplittableRandom(7));
    lookup.says("de.wikipedia.org", found(60, "198.51.100.20"), NODATA.here());
    ask(RATINGS, DE);
    ask(RATINGS, EN);
    ask(RATINGS, EN);

    assertThat(ask(RATINGS, EN)).hasSize(1);
    assertThat(ask(RATINGS, DE)).containsExactly(fresh("198.51.100.20"));
    assertThat(ask(REVIEWS, EN)).isEmpty();
    assertThat(ask(REVIEWS, EN)).hasSize(1);
    assertThat(ask(REVIEWS, DE)).containsExactly(fresh("198.51.100.20"));
    thread.advance(Duration.ofSeconds(6));
    assertThat(ask(REVIEWS, HostName.of("a.example.com"))).isEmpty();
  }

  // ---- seen from outside ----

  @Test
  void aSnapshotShowsNamesAddressesAndUsers() {
    lookup.says("en.wikipedia.org", found(60, "198.51.100.10"), NODATA.here());
    lookup.says("de.wikipedia.org", failed(Failure.NO_SUCH_NAME), failed(Failure.NO_SUCH_NAME));
    ask(RATINGS, EN);
    ask(REVIEWS, EN);
    ask(RATINGS, DE);
    thread.advance(Duration.ofSeconds(20));

    assertThat(cache.entries())
        .satisfiesExactly(
            de -> {
              assertThat(de.name()).isEqualTo(DE);
              assertThat(de.addresses()).isEmpty();
              assertThat(de.failure())
                  .get()
                  .extracting(Addresses.Failed::failure)
                  .isEqualTo(Failure.NO_SUCH_NAME);
            },
            en -> {
              assertThat(en.addresses()).isEqualTo(addresses("198.51.100.10"));
              assertThat(en.ttlLeft()).isEqualTo(Duration.ofSeconds(40));
              assertThat(en.users()).containsExactly(RATINGS, REVIEWS);
              assertThat(en.idle()).isEqualTo(Duration.ofSeconds(20));
              assertThat(en.stale()).isFalse();
            });
  }

  @Test
  void manyNamesComeAndGoWithoutALeftover() {
    cache = cache(hosts(1_000, 1_000));
    for (int i = 0; i < 5_000; i++) {
      var pod = new PodRef("default", "p" + i % 7);
      String name = "n" + i + ".example.com";
      switch (i % 3) {
        case 0 -> lookup.says(name, found(30, "198.51.100.10"), NODATA.here());
        case 1 -> lookup.says(name, failed(Failure.NO_SUCH_NAME), failed(Failure.SERVER));
        default -> {}
      }
      ask(pod, HostName.of(name));
      thread.advance(Duration.ofMillis(100));
    }
    thread.advance(Duration.ofMinutes(10));

    assertThat(stats.numHosts()).isZero();
    assertThat(cache.entries()).isEmpty();
    assertThat(cache.tenants()).isZero();
    assertThat(thread.timers()).isEqualTo(2);
  }
}
