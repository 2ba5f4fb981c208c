package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.control.source.Problems;
import io.tailwater.agent.control.source.ResourceKey;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// The resources of one kind across compiles: what was read once is kept with its object, and a
/// version that has errors leaves the last good one in force as long as the resource exists. One
/// thread at a time.
final class ReadResources<T> {
  /// Reads and validates one object.
  @FunctionalInterface
  interface Reader<T> {
    /// Empty when it has errors; all problems go to the collector.
    Optional<T> read(KubeObject object, Problems problems);
  }

  private record Read<T>(Optional<T> resource, List<Problem> problems) {}

  private final Reader<T> reader;
  private IdentityHashMap<KubeObject, Read<T>> read = new IdentityHashMap<>();
  private Map<ResourceKey, T> lastGood = new HashMap<>();

  ReadResources(Reader<T> reader) {
    this.reader = reader;
  }

  /// The resources in force, in the order of their objects.
  List<T> of(List<KubeObject> objects, List<Problem> problems) {
    IdentityHashMap<KubeObject, Read<T>> now = new IdentityHashMap<>();
    Map<ResourceKey, T> good = new HashMap<>();
    List<T> out = new ArrayList<>(objects.size());
    for (KubeObject object : objects) {
      @Nullable Read<T> known = read.get(object);
      Read<T> result = known != null ? known : read(object);
      now.put(object, result);
      problems.addAll(result.problems);
      Optional<T> kept = Optional.ofNullable(lastGood.get(object.key()));
      if (result.resource.isEmpty() && kept.isPresent()) {
        problems.add(
            Problem.of(Problem.Severity.WARNING, object, "the last good version stays in force"));
      }
      result
          .resource
          .or(() -> kept)
          .ifPresent(resource -> {
            out.add(resource);
            good.put(object.key(), resource);
          });
    }
    read = now;
    lastGood = good;
    return out;
  }

  private Read<T> read(KubeObject object) {
    Problems problems = new Problems(object.file());
    Optional<T> resource = reader.read(object, problems);
    return new Read<>(resource, problems.list());
  }
}
