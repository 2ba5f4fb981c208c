package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// From a host name to what is configured for the most specific pattern that covers it: an exact
/// host first, then the longest wildcard, on label boundaries. Immutable. A look-up hashes the name
/// once from its end, so that every suffix's hash comes along without a substring; it allocates
/// nothing.
public final class HostIndex<V> {
  /// What is found, with the pattern that was matched.
  record Slot<V>(String text, int hash, V value) {}

  private final @Nullable Slot<V>[] exact;
  private final @Nullable Slot<V>[] suffixes;
  private final int size;

  private HostIndex(@Nullable Slot<V>[] exact, @Nullable Slot<V>[] suffixes, int size) {
    this.exact = exact;
    this.suffixes = suffixes;
    this.size = size;
  }

  /// Builds the index.
  public static <V> HostIndex<V> of(Map<HostPattern, V> entries) {
    List<HostPattern> hosts = List.copyOf(entries.keySet());
    int exactCount = (int) hosts.stream().filter(HostPattern.Exact.class::isInstance).count();
    @Nullable Slot<V>[] exact = table(exactCount);
    @Nullable Slot<V>[] suffixes = table(hosts.size() - exactCount);
    entries.forEach((host, value) -> {
      switch (host) {
        case HostPattern.Exact(HostName name) -> put(exact, name.text(), value);
        case HostPattern.Wildcard(HostName suffix) -> put(suffixes, suffix.text(), value);
      }
    });
    return new HostIndex<>(exact, suffixes, hosts.size());
  }

  @SuppressWarnings({"unchecked", "rawtypes"})
  private static <V> @Nullable Slot<V>[] table(int count) {
    int size = count == 0 ? 1 : Integer.highestOneBit(count * 2) << 1;
    return new Slot[size];
  }

  private static <V> void put(@Nullable Slot<V>[] table, String text, V value) {
    int hash = hash(text);
    int at = spread(hash) & (table.length - 1);
    while (table[at] != null) {
      at = (at + 1) & (table.length - 1);
    }
    table[at] = new Slot<>(text, hash, value);
  }

  private static int hash(String text) {
    int hash = 0;
    for (int i = text.length() - 1; i >= 0; i--) {
      hash = 31 * hash + text.charAt(i);
    }
    return hash;
  }

  private static int spread(int hash) {
    return hash ^ (hash >>> 16);
  }

  /// The value of the most specific pattern that covers the name, or null.
  public @Nullable V find(HostName name) {
    String text = name.text();
    int hash = 0;
    @Nullable V best = null;
    boolean anySuffix = suffixes.length > 1;
    for (int i = text.length() - 1; i >= 0; i--) {
      char c = text.charAt(i);
      if (anySuffix && c == '.' && i > 0) {
        // The text after this dot is a suffix that a wildcard may name; later ones are longer.
        @Nullable V found = get(suffixes, text, i + 1, hash);
        if (found != null) {
          best = found;
        }
      }
      hash = 31 * hash + c;
    }
    @Nullable V found = get(exact, text, 0, hash);
    return found != null ? found : best;
  }

  private static <V> @Nullable V get(@Nullable Slot<V>[] table, String text, int from, int hash) {
    int mask = table.length - 1;
    int at = spread(hash) & mask;
    for (@Nullable Slot<V> slot = table[at]; slot != null; slot = table[at]) {
      if (slot.hash == hash
          && slot.text.length() == text.length() - from
          && text.regionMatches(from, slot.text, 0, slot.text.length())) {
        return slot.value;
      }
      at = (at + 1) & mask;
    }
    return null;
  }

  public boolean isEmpty() {
    return size == 0;
  }

  /// How many patterns.
  public int size() {
    return size;
  }
}
