package io.tailwater.agent.control.source;

import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// A node of a YAML or JSON document that remembers the line it stands on (counted from 1).
/// Immutable.
public sealed interface YamlValue {
  /// The line in its file.
  int line();

  /// What it is, for messages: "a list", "the number 3".
  String describe();

  /// Key and value of a mapping; `line` is the key's.
  record Field(String key, int line, YamlValue value) {}

  /// A mapping with the keys in the order of the file.
  record Mapping(int line, Map<String, Field> fields) implements YamlValue {
    public Mapping {
      fields = Fields.copyOf(fields);
    }

    /// The value of a key; empty where it is absent or null, which Kubernetes treats alike.
    public Optional<YamlValue> get(String key) {
      return field(key).map(Field::value);
    }

    /// Key and value; empty where the value is null.
    public Optional<Field> field(String key) {
      @Nullable Field field = fields.get(key);
      return field == null || field.value.isNull() ? Optional.empty() : Optional.of(field);
    }

    /// The mapping under a key; empty where it is something else.
    public Optional<Mapping> mapping(String key) {
      return get(key).filter(Mapping.class::isInstance).map(Mapping.class::cast);
    }

    /// The items under a key; none where it is something else.
    public List<YamlValue> items(String key) {
      return get(key).orElse(null) instanceof Sequence(_, List<YamlValue> items)
          ? items
          : List.of();
    }

    /// The text of the scalar under a key; empty where it is something else.
    public Optional<String> text(String key) {
      return get(key).filter(Scalar.class::isInstance).map(v -> ((Scalar) v).text());
    }

    /// The scalars under a key that holds a mapping of texts; none where it is something else.
    public Map<String, String> texts(String key) {
      Map<String, String> out = new LinkedHashMap<>();
      for (Field field : mapping(key).map(m -> m.fields.values()).orElse(List.of())) {
        if (field.value instanceof Scalar(_, String text, Scalar.Kind kind)
            && kind != Scalar.Kind.NULL) {
          out.put(field.key, text);
        }
      }
      return out;
    }

    /// The keys.
    public Collection<String> keys() {
      return fields.keySet();
    }

    @Override
    public String describe() {
      return "a mapping";
    }
  }

  /// A list.
  record Sequence(int line, List<YamlValue> items) implements YamlValue {
    public Sequence {
      items = List.copyOf(items);
    }

    @Override
    public String describe() {
      return "a list";
    }
  }

  /// A scalar. A quoted one is always a STRING.
  record Scalar(int line, String text, Kind kind) implements YamlValue {
    /// What YAML's core schema takes a plain scalar for.
    public enum Kind {
      STRING,
      INTEGER,
      FLOAT,
      BOOLEAN,
      NULL
    }

    @Override
    public String describe() {
      return switch (kind) {
        case STRING -> "the text \"" + text + "\"";
        case INTEGER, FLOAT -> "the number " + text;
        case BOOLEAN -> "the boolean " + text;
        case NULL -> "null";
      };
    }
  }

  /// Whether it is null: written as `null`, `~` or nothing.
  default boolean isNull() {
    return this instanceof Scalar(_, _, Scalar.Kind kind) && kind == Scalar.Kind.NULL;
  }
}
