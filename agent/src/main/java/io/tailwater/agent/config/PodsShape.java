package io.tailwater.agent.config;

import io.tailwater.agent.control.capture.PodEntry;
import io.tailwater.agent.control.capture.PodFolder;
import io.tailwater.agent.control.capture.PodSpec;
import io.tailwater.agent.control.source.YamlValue;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// `pods:`, of which no two are the same pod, the same network namespace or the same folder, by
/// whatever paths: rules, addresses and policy of one namespace have one owner.
final class PodsShape implements Shape<List<PodEntry>> {
  private final PodShape one = new PodShape();
  private final Shape<List<PodEntry>> list = Shape.listOf(one);

  @Override
  public Optional<List<PodEntry>> read(YamlValue value, At at) {
    int before = at.problems().size();
    Optional<List<PodEntry>> entries = list.read(value, at);
    boolean each = at.problems().size() == before;
    if (each && value instanceof YamlValue.Sequence(_, List<YamlValue> items)) {
      distinct(items, at);
    }
    return entries;
  }

  private void distinct(List<YamlValue> items, At at) {
    Map<Object, String> seen = new HashMap<>();
    for (int i = 0; i < items.size(); i++) {
      YamlValue item = items.get(i);
      At here = at.below("[" + i + "]");
      Optional<PodEntry> entry = one.read(item, here.quiet());
      switch (entry.orElseThrow()) {
        case PodSpec pod -> {
          once(pod.ref(), "name", "the pod " + pod.ref() + " is", item, here, seen);
          Path path = Path.of(pod.netns());
          once(identity(path), "netns", "the namespace " + path + " is", item, here, seen);
        }
        case PodFolder(Path folder, _) ->
            once(identity(folder), "watch", "the folder " + folder + " is", item, here, seen);
      }
    }
  }

  private static void once(
      Object what, String field, String said, YamlValue item, At here, Map<Object, String> seen) {
    At at = here.below(field);
    int line =
        item instanceof YamlValue.Mapping map
            ? map.field(field).map(YamlValue.Field::line).orElse(item.line())
            : item.line();
    String before = seen.putIfAbsent(what, at.key() + " (" + at.where(line) + ")");
    if (before != null) {
      at.error(line, said + " listed twice: also in " + before + "; take one of them away");
    }
  }

  /// The file itself where it is there, because links and mounts give it several names.
  private static Object identity(Path path) {
    try {
      Object key = Files.readAttributes(path, BasicFileAttributes.class).fileKey();
      return key == null ? path.normalize() : key;
    } catch (IOException _) {
      return path.normalize();
    }
  }

  @Override
  public String show(List<PodEntry> value) {
    return list.show(value);
  }

  @Override
  public String syntax() {
    return list.syntax();
  }
}
