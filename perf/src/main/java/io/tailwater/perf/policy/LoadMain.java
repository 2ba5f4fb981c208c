package io.tailwater.perf.policy;

import io.tailwater.agent.control.compile.PolicyCompiler;
import io.tailwater.agent.control.compile.PolicyFeed;
import io.tailwater.agent.control.istio.EgressSettings;
import io.tailwater.agent.control.istio.MeshSettings;
import io.tailwater.agent.control.source.FileResources;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.control.source.ResourceSet;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.CurrentRoutes;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.perf.peer.GeneratedPolicy;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.List;

/// One load in a fresh JVM, as the agent does it: from files to the published table and the first
/// client's view. Prints one line of `name=value`.
final class LoadMain {
  private LoadMain() {}

  /// What one load came to.
  ///
  /// @param loadMillis from the first look at the folder to the published table
  /// @param viewMillis the first client's view after that
  /// @param collectedMillis of both, spent collecting garbage
  /// @param heapKilobytes what is kept, after a full collection
  record Loaded(
      double loadMillis, double viewMillis, double collectedMillis, double heapKilobytes) {
    static Loaded parse(String line) {
      double[] values = new double[4];
      String[] parts = line.strip().split(" ", -1);
      for (int i = 0; i < values.length; i++) {
        values[i] = Double.parseDouble(parts[i].substring(parts[i].indexOf('=') + 1));
      }
      return new Loaded(values[0], values[1], values[2], values[3]);
    }
  }

  public static void main(String[] arguments) {
    PolicyCompiler compiler = compiler();
    CurrentRoutes routes = new CurrentRoutes(compiler.compile(ResourceSet.EMPTY).table());
    long before = heap();
    long collectedBefore = collections();
    long[] errors = {0};
    long begun = System.nanoTime();
    try (PolicyFeed feed =
        new PolicyFeed(
            List.of(new FileResources(Path.of(arguments[0]))),
            compiler,
            routes,
            (compiled, _) ->
                errors[0] = compiled.problems().stream().filter(Problem::isError).count())) {
      feed.start();
      long published = System.nanoTime();
      ClientView view = routes.get().view(Questions.client());
      long viewed = System.nanoTime();
      long collected = collections() - collectedBefore;
      Decision decision =
          view.decide(Questions.TLS, Questions.tls("a." + GeneratedPolicy.domain(0)));
      if (errors[0] > 0 || !(decision instanceof Decision.ByName)) {
        throw new IllegalStateException(errors[0] + " errors, " + decision);
      }
      long after = heap();
      System.out.printf(
          "load_ms=%.1f view_ms=%.1f gc_ms=%d heap_kb=%d%n",
          (published - begun) / 1e6,
          (viewed - published) / 1e6,
          collected,
          (after - before) / 1024);
    }
  }

  static PolicyCompiler compiler() {
    return new PolicyCompiler(
        new MeshSettings(
            "istio-system",
            "cluster.local",
            MeshSettings.OutboundTrafficPolicy.REGISTRY_ONLY,
            List.of("*")),
        EgressSettings.DEFAULTS);
  }

  private static long collections() {
    return ManagementFactory.getGarbageCollectorMXBeans().stream()
        .mapToLong(bean -> Math.max(0, bean.getCollectionTime()))
        .sum();
  }

  @SuppressWarnings("CallToSystemGC")
  private static long heap() {
    System.gc();
    return ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed();
  }
}
