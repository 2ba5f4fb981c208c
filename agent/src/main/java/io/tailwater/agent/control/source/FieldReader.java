package io.tailwater.agent.control.source;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/// Reads the fields of one mapping strictly: a wrong type is named, and whatever nobody asked for
/// is an unknown key, reported with the nearest known one. Ask for every key, then call `finish`.
/// One thread.
public final class FieldReader {
  private final YamlValue.Mapping map;
  private final String path;
  private final Problems problems;
  private final Set<String> asked = new HashSet<>();
  private final Set<String> told = new HashSet<>(0);

  /// `path` is how messages name the mapping; empty for the root.
  public FieldReader(YamlValue.Mapping map, String path, Problems problems) {
    this.map = map;
    this.path = path;
    this.problems = problems;
  }

  /// The mapping itself.
  public YamlValue.Mapping mapping() {
    return map;
  }

  /// Where problems go.
  public Problems problems() {
    return problems;
  }

  /// How messages name a key of this mapping.
  public String pathOf(String key) {
    return path.isEmpty() ? key : path + "." + key;
  }

  /// How messages name the mapping.
  public String path() {
    return path;
  }

  /// Whether the key is there and not null.
  public boolean has(String key) {
    asked.add(key);
    return map.field(key).isPresent();
  }

  /// Whether nothing is said under the key: it is absent, null or a list without items. What is of
  /// the wrong type is there.
  public boolean lacks(String key) {
    return value(key)
        .map(v -> v instanceof YamlValue.Sequence(_, List<YamlValue> items) && items.isEmpty())
        .orElse(true);
  }

  /// The line of a key, or of the mapping where the key is absent.
  public int lineOf(String key) {
    YamlValue.@Nullable Field field = map.fields().get(key);
    return field == null ? map.line() : field.line();
  }

  public void error(String key, String message) {
    problems.error(lineOf(key), pathOf(key), message);
  }

  public void warning(String key, String message) {
    problems.warning(lineOf(key), pathOf(key), message);
  }

  /// About the mapping as a whole.
  public void error(String message) {
    problems.error(map.line(), path, message);
  }

  /// About the mapping as a whole.
  public void warning(String message) {
    problems.warning(map.line(), path, message);
  }

  /// The raw value.
  public Optional<YamlValue> value(String key) {
    asked.add(key);
    return map.get(key);
  }

  /// Keys that are known and need no look.
  public void ignore(String... keys) {
    asked.addAll(List.of(keys));
  }

  /// A text. A number or boolean without quotes is not one.
  public Optional<String> string(String key) {
    return value(key).flatMap(v -> text(v, key));
  }

  private Optional<String> text(YamlValue value, String key) {
    if (value instanceof YamlValue.Scalar(_, String text, YamlValue.Scalar.Kind kind)
        && kind == YamlValue.Scalar.Kind.STRING) {
      return Optional.of(text);
    }
    problems.error(
        value.line(),
        pathOf(key),
        "must be a text, not "
            + value.describe()
            + (value instanceof YamlValue.Scalar ? "; put it in quotes" : ""));
    return Optional.empty();
  }

  /// A whole number between the bounds, both included.
  public Optional<Integer> integer(String key, int min, int max) {
    return number(key, min, max).map(Math::toIntExact);
  }

  /// The same for numbers that may need more bits.
  public Optional<Long> number(String key, long min, long max) {
    return value(key).flatMap(v -> number(v, pathOf(key), min, max));
  }

  /// A number with or without a fraction.
  public Optional<Double> decimal(String key) {
    Optional<YamlValue> value = value(key);
    if (value.orElse(null) instanceof YamlValue.Scalar(_, String text, YamlValue.Scalar.Kind kind)
        && (kind == YamlValue.Scalar.Kind.INTEGER || kind == YamlValue.Scalar.Kind.FLOAT)) {
      try {
        return Optional.of(Double.parseDouble(text));
      } catch (NumberFormatException _) {
        // Written in another base: reported like every other text.
      }
    }
    value.ifPresent(v -> error(key, "must be a number, not " + v.describe()));
    return Optional.empty();
  }

  /// A list of whole numbers; an item that is none, or out of bounds, is reported and left out.
  public List<Integer> integers(String key, int min, int max) {
    List<Integer> out = new ArrayList<>();
    for (Item item : items(key)) {
      number(item.value, item.path, min, max).map(Math::toIntExact).ifPresent(out::add);
    }
    return out;
  }

  private Optional<Long> number(YamlValue value, String where, long min, long max) {
    if (value instanceof YamlValue.Scalar(_, String text, YamlValue.Scalar.Kind kind)
        && kind == YamlValue.Scalar.Kind.INTEGER) {
      try {
        long number = Long.parseLong(text);
        if (number >= min && number <= max) {
          return Optional.of(number);
        }
      } catch (NumberFormatException _) {
        // Too long, or written in another base: out of range either way.
      }
      problems.error(
          value.line(), where, "must be between " + min + " and " + max + ", not " + text);
      return Optional.empty();
    }
    problems.error(value.line(), where, "must be a whole number, not " + value.describe());
    return Optional.empty();
  }

  /// true or false.
  public Optional<Boolean> bool(String key) {
    return value(key)
        .flatMap(v -> {
          if (v instanceof YamlValue.Scalar(_, String text, YamlValue.Scalar.Kind kind)
              && kind == YamlValue.Scalar.Kind.BOOLEAN) {
            return Optional.of(text.toLowerCase(Locale.ROOT).equals("true"));
          }
          problems.error(v.line(), pathOf(key), "must be true or false, not " + v.describe());
          return Optional.empty();
        });
  }

  /// One of the given values, exactly as written there.
  public <E> Optional<E> oneOf(String key, Map<String, E> values) {
    Optional<String> text = string(key);
    if (text.isEmpty()) {
      return Optional.empty();
    }
    @Nullable E found = values.get(text.get());
    if (found != null) {
      return Optional.of(found);
    }
    error(
        key,
        "\""
            + text.get()
            + "\" is none of "
            + values.keySet().stream().sorted().collect(Collectors.joining(", "))
            + Nearest.hint(text.get(), values.keySet()));
    return Optional.empty();
  }

  /// The items of a list, each with its path; none where the key is absent or no list, which is
  /// told once.
  public List<Item> items(String key) {
    Optional<YamlValue> value = value(key);
    if (value.isEmpty()) {
      return List.of();
    }
    if (!(value.get() instanceof YamlValue.Sequence(_, List<YamlValue> values))) {
      if (told.add(key)) {
        problems.error(
            value.get().line(), pathOf(key), "must be a list, not " + value.get().describe());
      }
      return List.of();
    }
    List<Item> out = new ArrayList<>();
    for (int i = 0; i < values.size(); i++) {
      out.add(new Item(pathOf(key) + "[" + i + "]", values.get(i)));
    }
    return out;
  }

  /// One item of a list.
  public record Item(String path, YamlValue value) {
    /// Its line.
    public int line() {
      return value.line();
    }
  }

  /// A text of a list, with where it stands.
  public record Text(String path, int line, String text) {}

  /// A list of texts; an item that is none is reported and left out.
  public List<Text> strings(String key) {
    List<Text> out = new ArrayList<>();
    for (Item item : items(key)) {
      if (item.value instanceof YamlValue.Scalar(int line, String text, YamlValue.Scalar.Kind kind)
          && kind == YamlValue.Scalar.Kind.STRING) {
        out.add(new Text(item.path, line, text));
      } else {
        problems.error(
            item.line(),
            item.path,
            "must be a text, not "
                + item.value.describe()
                + (item.value instanceof YamlValue.Scalar ? "; put it in quotes" : ""));
      }
    }
    return out;
  }

  /// A list of mappings; an item that is none is reported and left out.
  public List<FieldReader> mappings(String key) {
    List<FieldReader> out = new ArrayList<>();
    for (Item item : items(key)) {
      if (item.value instanceof YamlValue.Mapping mapping) {
        out.add(new FieldReader(mapping, item.path, problems));
      } else {
        problems.error(item.line(), item.path, "must be a mapping, not " + item.value.describe());
      }
    }
    return out;
  }

  /// The mapping under a key.
  public Optional<FieldReader> mapping(String key) {
    Optional<YamlValue> value = value(key);
    if (value.isEmpty()) {
      return Optional.empty();
    }
    if (value.get() instanceof YamlValue.Mapping mapping) {
      return Optional.of(new FieldReader(mapping, pathOf(key), problems));
    }
    problems.error(
        value.get().line(), pathOf(key), "must be a mapping, not " + value.get().describe());
    return Optional.empty();
  }

  /// A mapping of texts to texts.
  public Map<String, String> stringMap(String key) {
    Map<String, String> out = new LinkedHashMap<>();
    mapping(key)
        .ifPresent(inner -> {
          for (String name : inner.map.keys()) {
            inner.string(name).ifPresent(text -> out.put(name, text));
          }
        });
    return out;
  }

  /// A mapping of texts to whole numbers.
  public Map<String, Integer> integerMap(String key, int min, int max) {
    Map<String, Integer> out = new LinkedHashMap<>();
    mapping(key)
        .ifPresent(inner -> {
          for (String name : inner.map.keys()) {
            inner.integer(name, min, max).ifPresent(number -> out.put(name, number));
          }
        });
    return out;
  }

  /// Reports every key that nobody asked for. Last call.
  public void finish() {
    for (String key : map.keys()) {
      if (!asked.contains(key)) {
        error(key, "unknown key" + Nearest.hint(key, asked));
      }
    }
  }
}
