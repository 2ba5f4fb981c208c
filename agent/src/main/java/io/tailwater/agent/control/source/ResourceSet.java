package io.tailwater.agent.control.source;

import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/// All resources of all sources as one: per key the one of the latest source, whole. Immutable.
public final class ResourceSet {
  /// Nothing.
  public static final ResourceSet EMPTY = of(List.of());

  private final Map<ResourceKey, KubeObject> objects;
  private final Map<String, List<KubeObject>> byKind;
  private final List<Problem> problems;

  private ResourceSet(Map<ResourceKey, KubeObject> objects, List<Problem> problems) {
    this.objects = objects;
    this.problems = List.copyOf(problems);
    this.byKind = new HashMap<>();
    for (KubeObject object : objects.values()) {
      byKind.computeIfAbsent(kindKey(object.key()), _ -> new ArrayList<>()).add(object);
    }
  }

  private static String kindKey(ResourceKey key) {
    return key.group() + "/" + key.kind();
  }

  /// Merges snapshots in the order of their sources: the later wins, and says so.
  public static ResourceSet of(List<SourceSnapshot> sources) {
    Map<ResourceKey, KubeObject> objects = new LinkedHashMap<>();
    Map<ResourceKey, String> from = new HashMap<>();
    List<Problem> problems = new ArrayList<>();
    for (SourceSnapshot source : sources) {
      problems.addAll(source.problems());
      for (KubeObject object : source.objects()) {
        @Nullable KubeObject before = objects.put(object.key(), object);
        String earlier = from.put(object.key(), source.source());
        if (before != null && earlier != null) {
          boolean same = earlier.equals(source.source());
          problems.add(
              Problem.of(
                  Problem.Severity.WARNING,
                  object,
                  "replaces the one in "
                      + before.file()
                      + ":"
                      + before.line()
                      + (same ? "" : ", because its source comes later")));
        }
      }
    }
    return new ResourceSet(objects, problems);
  }

  /// The object of a key.
  public Optional<KubeObject> get(ResourceKey key) {
    return Optional.ofNullable(objects.get(key));
  }

  /// Every object.
  public Collection<KubeObject> all() {
    return java.util.Collections.unmodifiableCollection(objects.values());
  }

  /// The objects of a kind.
  public List<KubeObject> ofKind(String group, String kind) {
    return byKind.getOrDefault(group + "/" + kind, List.of());
  }

  /// The group and kind pairs that occur, sorted, as `group/kind`.
  public Collection<String> kinds() {
    return new TreeSet<>(byKind.keySet());
  }

  /// What is wrong with the sources themselves.
  public List<Problem> problems() {
    return problems;
  }

  /// How many objects.
  public int size() {
    return objects.size();
  }
}
