package io.tailwater.perf.policy;

import io.tailwater.agent.control.compile.PolicyCompiler;
import io.tailwater.agent.control.source.FileResources;
import io.tailwater.agent.control.source.ResourceSet;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.Request;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.perf.peer.GeneratedPolicy;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
import java.util.function.IntFunction;
import org.jspecify.annotations.Nullable;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;

/// What the flow asks of policy for each connection, of a thousand different names in turn.
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class DecisionBenchmark {
  /// A power of two.
  private static final int NAMES = 1024;

  /// Where the policy is.
  @Param("")
  public String folder = "";

  private @Nullable ClientView view;
  private Preface[] exact = {};
  private Preface[] wildcard = {};
  private Preface[] unknown = {};
  private Request[] byHost = {};
  private int at;

  /// Loads the policy.
  @Setup
  public void load() {
    PolicyCompiler compiler = LoadMain.compiler();
    ResourceSet set = ResourceSet.of(List.of(new FileResources(Path.of(folder)).read()));
    view = compiler.compile(set).table().view(Questions.client());
    List<Integer> ofExact = GeneratedPolicy.seen(false);
    List<Integer> ofWildcards = GeneratedPolicy.seen(true);
    exact = tls(i -> GeneratedPolicy.domain(spread(ofExact, i)));
    wildcard = tls(i -> "cdn-" + i + ".edge." + GeneratedPolicy.domain(spread(ofWildcards, i)));
    unknown = tls(i -> "www.stranger-" + i + ".example.net");
    List<Integer> ofHttp = GeneratedPolicy.withHttp();
    byHost = new Request[NAMES];
    for (int i = 0; i < NAMES; i++) {
      byHost[i] = Questions.http(GeneratedPolicy.domain(spread(ofHttp, i)));
    }
  }

  private static int spread(List<Integer> entries, int i) {
    return entries.get((int) ((long) i * 7919 % entries.size()));
  }

  private static Preface[] tls(IntFunction<String> name) {
    Preface[] out = new Preface[NAMES];
    for (int i = 0; i < NAMES; i++) {
      out[i] = Questions.tls(name.apply(i));
    }
    return out;
  }

  private Decision decide(Preface[] prefaces) {
    ClientView asked = Objects.requireNonNull(view);
    if (asked.ask(Questions.TLS) != ClientView.Ask.PREFACE) {
      throw new IllegalStateException("the name does not decide");
    }
    return asked.decide(Questions.TLS, prefaces[at++ & (NAMES - 1)]);
  }

  /// A name that an entry has in full.
  @Benchmark
  public Decision exactName() {
    return decide(exact);
  }

  /// A name two labels below a wildcard.
  @Benchmark
  public Decision underAWildcard() {
    return decide(wildcard);
  }

  /// A name that nothing covers.
  @Benchmark
  public Decision unknownName() {
    return decide(unknown);
  }

  /// One HTTP request by its Host.
  @Benchmark
  public Decision httpByHost() {
    return Objects.requireNonNull(view).decide(Questions.HTTP, byHost[at++ & (NAMES - 1)]);
  }
}
