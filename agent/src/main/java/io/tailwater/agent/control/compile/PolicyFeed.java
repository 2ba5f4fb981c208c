package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.control.source.ResourceSet;
import io.tailwater.agent.control.source.ResourceSource;
import io.tailwater.agent.control.source.SourceSnapshot;
import io.tailwater.agent.dataplane.route.CurrentRoutes;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/// Keeps the table in force up to date: takes the snapshots of all sources, compiles them as one
/// set and publishes. Sources call from their own threads; compiling is guarded by one lock.
public final class PolicyFeed implements AutoCloseable {
  /// Hears of each table that was published. Called under the feed's lock; must be quick.
  @FunctionalInterface
  public interface Listener {
    /// `fresh` are the problems that the compile before did not have.
    void published(PolicyCompiler.Compiled compiled, List<Problem> fresh);
  }

  private final List<? extends ResourceSource> sources;
  private final PolicyCompiler compiler;
  private final CurrentRoutes routes;
  private final Secrets secrets;
  private final Listener listener;
  private final List<Optional<SourceSnapshot>> snapshots = new ArrayList<>();
  private Set<Problem> known = Set.of();
  private boolean started;

  /// @param sources in the order of their rank: a later one wins
  public PolicyFeed(
      List<? extends ResourceSource> sources,
      PolicyCompiler compiler,
      CurrentRoutes routes,
      Listener listener) {
    this(sources, compiler, routes, new Secrets(), listener);
  }

  /// @param secrets is given the Secrets before the table that names them
  public PolicyFeed(
      List<? extends ResourceSource> sources,
      PolicyCompiler compiler,
      CurrentRoutes routes,
      Secrets secrets,
      Listener listener) {
    this.secrets = secrets;
    this.sources = List.copyOf(sources);
    this.compiler = compiler;
    this.routes = routes;
    this.listener = listener;
    this.sources.forEach(_ -> snapshots.add(Optional.empty()));
  }

  /// Reads every source once and publishes the first table before it returns; then follows them.
  public void start() {
    for (int i = 0; i < sources.size(); i++) {
      int rank = i;
      sources.get(i).start(snapshot -> changed(rank, snapshot));
    }
    synchronized (this) {
      started = true;
      publish();
    }
  }

  private synchronized void changed(int rank, SourceSnapshot snapshot) {
    snapshots.set(rank, Optional.of(snapshot));
    if (started) {
      publish();
    }
  }

  private synchronized void publish() {
    ResourceSet set = ResourceSet.of(snapshots.stream().flatMap(Optional::stream).toList());
    PolicyCompiler.Compiled compiled = compiler.compile(set);
    secrets.publish(compiled.secrets());
    routes.publish(compiled.table());
    Set<Problem> before = known;
    known = Set.copyOf(compiled.problems());
    listener.published(
        compiled, compiled.problems().stream().filter(p -> !before.contains(p)).toList());
  }

  @Override
  public void close() {
    sources.forEach(ResourceSource::close);
  }
}
