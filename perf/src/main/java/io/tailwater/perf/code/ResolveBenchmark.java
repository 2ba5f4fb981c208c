package io.tailwater.perf.code;

import io.tailwater.agent.dataplane.resolve.Addresses;
import io.tailwater.agent.dataplane.resolve.DnsCache;
import io.tailwater.agent.dataplane.resolve.Lookup;
import io.tailwater.agent.dataplane.resolve.ResolveConfig;
import io.tailwater.agent.dataplane.resolve.ResolveStats;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.PodRef;
import java.net.InetAddress;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/// Addresses that are there already, as for nearly every connection.
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class ResolveBenchmark {
  /// A power of two.
  private static final int NAMES = 512;

  private static final PodRef POD = new PodRef("default", "client");

  private final HostName[] names = new HostName[NAMES];
  private @Nullable DnsCache cache;
  private int at;

  /// Looks every name up once.
  @Setup
  public void lookUp() {
    DnsCache made = DnsCache.start(ResolveConfig.defaults(), new OneAddress(), new ResolveStats());
    for (int i = 0; i < NAMES; i++) {
      names[i] = HostName.of("cdn-" + i + ".example.com");
      CompletableFuture<Addresses> answer = new CompletableFuture<>();
      made.resolve(POD, names[i], Runnable::run, answer::complete);
      if (!(answer.join() instanceof Addresses.Found)) {
        throw new IllegalStateException("no address for " + names[i]);
      }
    }
    cache = made;
  }

  @TearDown
  public void close() {
    Objects.requireNonNull(cache).close();
  }

  /// One of 512 names.
  @Benchmark
  public Addresses presentName() {
    Addresses found = Objects.requireNonNull(cache).ifPresent(POD, names[at++ & (NAMES - 1)]);
    if (found == null) {
      throw new IllegalStateException("the answer is gone");
    }
    return found;
  }

  /// Answers at once, for an hour; no IPv6.
  private static final class OneAddress implements Lookup {
    @Override
    public void lookup(HostName absolute, Family family, Consumer<LookupResult> result) {
      result.accept(
          new LookupResult.Found(
              List.of(InetAddress.ofLiteral(family == Family.V4 ? "203.0.113.1" : "2001:db8::1")),
              Duration.ofHours(1)));
    }
  }
}
