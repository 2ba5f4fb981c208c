package io.tailwater.agent.control.source;

import java.util.AbstractMap;
import java.util.AbstractSet;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/// The fields of a small mapping, in their order. A large policy holds some fifty thousand mappings
/// as long as it is in force, most of them with two to five keys: a hash table for each was a third
/// of its memory. Immutable.
final class Fields extends AbstractMap<String, YamlValue.Field> {
  /// Above it a hash table pays.
  private static final int FEW = 12;

  private final YamlValue.Field[] fields;

  private Fields(YamlValue.Field[] fields) {
    this.fields = fields;
  }

  /// An immutable copy in the same order.
  static Map<String, YamlValue.Field> copyOf(Map<String, YamlValue.Field> fields) {
    if (fields instanceof Fields) {
      return fields;
    }
    return fields.size() > FEW
        ? Collections.unmodifiableMap(new LinkedHashMap<>(fields))
        : new Fields(fields.values().toArray(YamlValue.Field[]::new));
  }

  @Override
  public int size() {
    return fields.length;
  }

  @Override
  public YamlValue.@Nullable Field get(Object key) {
    for (YamlValue.Field field : fields) {
      if (field.key().equals(key)) {
        return field;
      }
    }
    return null;
  }

  @Override
  public boolean containsKey(Object key) {
    return get(key) != null;
  }

  // AbstractMap would keep the views of keys and values with each map.

  @Override
  public Collection<YamlValue.Field> values() {
    return Collections.unmodifiableList(Arrays.asList(fields));
  }

  @Override
  public Set<String> keySet() {
    return new View<>(YamlValue.Field::key);
  }

  @Override
  public Set<Entry<String, YamlValue.Field>> entrySet() {
    return new View<>(field -> Map.entry(field.key(), field));
  }

  private final class View<T> extends AbstractSet<T> {
    private final Function<YamlValue.Field, T> of;

    View(Function<YamlValue.Field, T> of) {
      this.of = of;
    }

    @Override
    public int size() {
      return fields.length;
    }

    @Override
    public Iterator<T> iterator() {
      Iterator<YamlValue.Field> all = values().iterator();
      return new Iterator<>() {
        @Override
        public boolean hasNext() {
          return all.hasNext();
        }

        @Override
        public T next() {
          return of.apply(all.next());
        }
      };
    }
  }
}
