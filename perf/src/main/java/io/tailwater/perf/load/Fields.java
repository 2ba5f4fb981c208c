package io.tailwater.perf.load;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Collectors;

/// One line between the driver and a load process: a word, then `key=value` pairs, separated by
/// spaces. Values hold no spaces; {@link #text} writes them as underscores.
public record Fields(String verb, Map<String, String> values) {
  public Fields {
    values = Map.copyOf(values);
  }

  /// @throws IllegalArgumentException if a pair has no `=`
  public static Fields parse(String line) {
    String[] words = line.strip().split("\\s+", -1);
    Map<String, String> values = new LinkedHashMap<>();
    for (int i = 1; i < words.length; i++) {
      int equals = words[i].indexOf('=');
      if (equals < 1) {
        throw new IllegalArgumentException("expected key=value, found '" + words[i] + "'");
      }
      values.put(words[i].substring(0, equals), words[i].substring(equals + 1));
    }
    return new Fields(words[0], values);
  }

  public Fields with(String key, Object value) {
    Map<String, String> more = new LinkedHashMap<>(values);
    more.put(key, text(String.valueOf(value)));
    return new Fields(verb, more);
  }

  public static Fields of(String verb) {
    return new Fields(verb, Map.of());
  }

  /// @throws IllegalArgumentException if the key is missing
  public String get(String key) {
    String value = values.get(key);
    if (value == null) {
      throw new IllegalArgumentException(verb + ": " + key + " is missing");
    }
    return value;
  }

  public long number(String key) {
    return Long.parseLong(get(key));
  }

  public double decimal(String key) {
    return Double.parseDouble(get(key));
  }

  public String line() {
    return values.entrySet().stream()
        .sorted(Map.Entry.comparingByKey())
        .map(e -> " " + e.getKey() + "=" + e.getValue())
        .collect(Collectors.joining("", verb, ""));
  }

  private static String text(String value) {
    return value.replaceAll("\\s+", "_");
  }
}
