package io.tailwater.agent.dataplane.resolve;

import static io.tailwater.agent.dataplane.resolve.ScriptedLookup.addresses;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.tailwater.agent.dataplane.resolve.Addresses.Failure;
import io.tailwater.agent.dataplane.resolve.ResolveConfig.FailureRefreshRate;
import io.tailwater.agent.dataplane.resolve.ResolveConfig.LookupFamily;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.PodRef;
import java.io.BufferedReader;
import java.io.IOException;
import java.net.DatagramSocket;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/// The whole room against a real dnsmasq on a high port of the loopback. No root.
@Timeout(90)
class DnsCacheInteropTest {
  private static final PodRef RATINGS = new PodRef("default", "ratings");

  private final ResolveStats stats = new ResolveStats();
  private final ExecutorService loop = Executors.newSingleThreadExecutor();
  private Dnsmasq dnsmasq;
  private DnsCache cache;

  /// One that this test started, and ends.
  private record Dnsmasq(Process process, int port, Queue<String> log) {
    static Dnsmasq start(Path program) throws Exception {
      for (int i = 0; ; i++) {
        int port;
        try (var free = new DatagramSocket(0, addresses("127.0.0.1").getFirst())) {
          port = free.getLocalPort();
        }
        Process process =
            new ProcessBuilder(
                    program.toString(),
                    "--no-daemon",
                    "--conf-file=/dev/null",
                    "--no-resolv",
                    "--no-hosts",
                    "--pid-file=",
                    "--user=" + System.getProperty("user.name"),
                    "--port=" + port,
                    "--listen-address=127.0.0.1",
                    "--bind-interfaces",
                    "--log-queries",
                    "--log-facility=-",
                    "--local-ttl=60",
                    "--local=/wikipedia.org/",
                    "--host-record=en.wikipedia.org,198.51.100.10,2001:db8::10",
                    "--host-record=de.wikipedia.org,198.51.100.20",
                    "--cname=alias.wikipedia.org,en.wikipedia.org",
                    "--address=/many.wikipedia.org/198.51.100.30")
                .redirectErrorStream(true)
                .start();
        var log = new ConcurrentLinkedQueue<String>();
        var started = new CompletableFuture<Boolean>();
        Thread.ofPlatform()
            .daemon()
            .name("dnsmasq-log")
            .start(() -> {
              try (BufferedReader lines = process.inputReader()) {
                for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                  log.add(line);
                  if (line.contains("started, version")) {
                    started.complete(true);
                  }
                }
              } catch (IOException _) {
                // The process was ended.
              }
              started.complete(false);
            });
        if (started.get(20, TimeUnit.SECONDS)) {
          return new Dnsmasq(process, port, log);
        }
        process.destroyForcibly();
        assertThat(i).as("dnsmasq does not start: %s", log).isLessThan(5);
      }
    }

    InetSocketAddress address() {
      return new InetSocketAddress(addresses("127.0.0.1").getFirst(), port);
    }

    void end() throws InterruptedException {
      process.destroyForcibly();
      assertThat(process.waitFor(10, TimeUnit.SECONDS)).isTrue();
    }
  }

  private static Optional<Path> program() {
    return Stream.of("/usr/sbin/dnsmasq", "/usr/bin/dnsmasq", "/sbin/dnsmasq")
        .map(Path::of)
        .filter(Files::isExecutable)
        .findFirst();
  }

  @BeforeEach
  void start() throws Exception {
    Optional<Path> program = program();
    if (program.isEmpty()) {
      assertThat(System.getenv("CI")).as("dnsmasq is not installed").isNotEqualTo("true");
      System.err.println("SKIPPED: dnsmasq is not installed");
      assumeTrue(false, "dnsmasq is not installed");
    }
    dnsmasq = Dnsmasq.start(program.orElseThrow());
    cache = cache(Duration.ofSeconds(5), dnsmasq.address());
  }

  @AfterEach
  void end() throws Exception {
    loop.shutdownNow();
    if (cache != null) {
      cache.close();
    }
    if (dnsmasq != null) {
      dnsmasq.end();
    }
    assertThat(
            Thread.getAllStackTraces().keySet().stream()
                .map(Thread::getName)
                .filter(n -> n.startsWith("tailwater-resolve") || n.startsWith("dnsjava")))
        .isEmpty();
  }

  private DnsCache cache(Duration timeout, InetSocketAddress... servers) {
    ResolveConfig d = ResolveConfig.defaults();
    return DnsCache.start(
        new ResolveConfig(
            List.of(servers),
            LookupFamily.ALL,
            d.hostTtl(),
            d.maxHosts(),
            d.maxHostsPerPod(),
            d.minRefreshRate(),
            d.maxTtl(),
            d.maxStale(),
            new FailureRefreshRate(Duration.ofMillis(1), Duration.ofMillis(1)),
            timeout),
        stats);
  }

  private Addresses ask(String name) throws Exception {
    var answer = new CompletableFuture<Addresses>();
    cache.resolve(RATINGS, HostName.of(name), loop, answer::complete);
    return answer.get(30, TimeUnit.SECONDS);
  }

  private static Failure failure(Addresses addresses) {
    return addresses instanceof Addresses.Failed(Failure failure, _)
        ? failure
        : throwing("found " + addresses);
  }

  private static Failure throwing(String what) {
    throw new AssertionError(what);
  }

  @Test
  void namesAliasesAndFamiliesOfARealServer() throws Exception {
    assertThat(ask("en.wikipedia.org"))
        .isEqualTo(new Addresses.Found(addresses("2001:db8::10", "198.51.100.10"), false));
    assertThat(ask("alias.wikipedia.org"))
        .isEqualTo(new Addresses.Found(addresses("2001:db8::10", "198.51.100.10"), false));
    assertThat(ask("de.wikipedia.org"))
        .isEqualTo(new Addresses.Found(addresses("198.51.100.20"), false));
    assertThat(failure(ask("nobody.wikipedia.org"))).isEqualTo(Failure.NO_SUCH_NAME);
    // No server above it: dnsmasq refuses.
    assertThat(failure(ask("example.com"))).isEqualTo(Failure.SERVER);
    assertThat(cache.entries()).hasSize(5);
    assertThat(dnsmasq.log)
        .filteredOn(line -> line.contains("query["))
        .noneMatch(line -> line.contains("wikipedia.org."));
  }

  @Test
  void manyAskersOfAFewNamesAreAnsweredOnceEachAndCauseOneQueryPerNameAndFamily() throws Exception {
    int askers = 400;
    var answered = new AtomicIntegerArray(askers);
    var all = new CountDownLatch(askers);
    List<ExecutorService> loops =
        List.of(
            Executors.newSingleThreadExecutor(),
            Executors.newSingleThreadExecutor(),
            Executors.newSingleThreadExecutor());
    try {
      for (int i = 0; i < askers; i++) {
        int number = i;
        ExecutorService own = loops.get(i % loops.size());
        own.execute(() ->
            cache.resolve(
                new PodRef("default", "p" + number % 20),
                HostName.of("n" + number % 4 + ".many.wikipedia.org"),
                own,
                addresses -> {
                  if (addresses instanceof Addresses.Found) {
                    answered.incrementAndGet(number);
                  }
                  all.countDown();
                }));
      }
      assertThat(all.await(30, TimeUnit.SECONDS)).isTrue();
    } finally {
      for (ExecutorService each : loops) {
        each.shutdown();
        assertThat(each.awaitTermination(10, TimeUnit.SECONDS)).isTrue();
      }
    }
    for (int i = 0; i < askers; i++) {
      assertThat(answered.get(i)).isEqualTo(1);
    }
    assertThat(stats.counters()).containsEntry("dns_query_attempt", 4L);
  }

  @Test
  void aServerThatIsDownIsAFailureAndIsAskedAgainWhenItIsBack() throws Exception {
    dnsmasq.end();
    assertThat(failure(ask("en.wikipedia.org"))).isEqualTo(Failure.SERVER);
    assertThat(cache.entries().getFirst().failure())
        .get()
        .extracting(Addresses.Failed::detail)
        .asString()
        .contains("127.0.0.1:" + dnsmasq.port);
    cache.close();

    dnsmasq = Dnsmasq.start(program().orElseThrow());
    cache = cache(Duration.ofSeconds(5), dnsmasq.address());
    assertThat(ask("en.wikipedia.org")).isInstanceOf(Addresses.Found.class);
  }

  @Test
  void aServerThatIsSilentIsATimeout() throws Exception {
    cache.close();
    try (var silent = new FakeDnsServer((_, _) -> List.of())) {
      cache = cache(Duration.ofMillis(300), silent.address());
      assertThat(failure(ask("en.wikipedia.org"))).isEqualTo(Failure.TIMEOUT);
      assertThat(stats.counters()).containsEntry("dns_query_timeout", 1L);
      cache.close();
    }
  }

  @Test
  void closingWhileNamesAreBeingAskedForAnswersEverybody() throws Exception {
    cache.close();
    try (var silent = new FakeDnsServer((_, _) -> List.of())) {
      cache = cache(Duration.ofSeconds(30), silent.address());
      var waiting = new ArrayList<CompletableFuture<Addresses>>();
      for (int i = 0; i < 50; i++) {
        var one = new CompletableFuture<Addresses>();
        waiting.add(one);
        cache.resolve(RATINGS, HostName.of("n" + i + ".example.com"), loop, one::complete);
      }
      cache.close();
      for (CompletableFuture<Addresses> one : waiting) {
        assertThat(failure(one.get(30, TimeUnit.SECONDS))).isEqualTo(Failure.SERVER);
      }
    }
  }
}
