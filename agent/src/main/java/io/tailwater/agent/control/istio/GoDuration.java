package io.tailwater.agent.control.istio;

import io.tailwater.agent.control.source.FieldReader;
import java.math.BigDecimal;
import java.time.Duration;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// Durations as Istio's resources write them: `300ms`, `1.5s`, `1h30m` (Go's `ParseDuration`).
/// Stateless; any thread.
public final class GoDuration {
  private static final Pattern PART =
      Pattern.compile("\\G(\\d{1,12}(?:\\.\\d{0,9})?|\\.\\d{1,9})(ns|us|µs|μs|ms|s|m|h)");
  private static final Duration MILLISECOND = Duration.ofMillis(1);

  private GoDuration() {}

  /// Reads one; empty where the text is none, or one below zero.
  public static Optional<Duration> parse(String text) {
    if (text.equals("0")) {
      return Optional.of(Duration.ZERO);
    }
    Matcher part = PART.matcher(text);
    BigDecimal nanos = BigDecimal.ZERO;
    int end = 0;
    while (part.find()) {
      long unit =
          switch (part.group(2)) {
            case "ns" -> 1L;
            case "us", "µs", "μs" -> 1_000L;
            case "ms" -> 1_000_000L;
            case "s" -> 1_000_000_000L;
            case "m" -> 60_000_000_000L;
            default -> 3_600_000_000_000L;
          };
      nanos = nanos.add(new BigDecimal(part.group(1)).multiply(BigDecimal.valueOf(unit)));
      end = part.end();
    }
    if (end == 0
        || end != text.length()
        || nanos.compareTo(BigDecimal.valueOf(Long.MAX_VALUE)) > 0) {
      return Optional.empty();
    }
    return Optional.of(Duration.ofNanos(nanos.longValue()));
  }

  /// Reads one of whole milliseconds, at least one, as Istio's webhook asks of nearly all.
  static Optional<Duration> read(FieldReader reader, String key) {
    Optional<Duration> duration = readFine(reader, key);
    if (duration.isPresent() && duration.get().toNanos() % MILLISECOND.toNanos() != 0) {
      reader.error(key, "must be whole milliseconds, not " + duration.get().toNanos() + "ns");
      return Optional.empty();
    }
    return duration;
  }

  /// Reads one of at least a millisecond, as the schema asks.
  static Optional<Duration> readFine(FieldReader reader, String key) {
    Optional<Duration> duration = readOrZero(reader, key);
    if (duration.isPresent() && duration.get().compareTo(MILLISECOND) < 0) {
      reader.error(key, "must be at least 1ms, not " + reader.mapping().text(key).orElse(""));
      return Optional.empty();
    }
    return duration;
  }

  /// Reads one that may be of any length; zero then means none.
  static Optional<Duration> readOrZero(FieldReader reader, String key) {
    Optional<String> text = reader.string(key);
    Optional<Duration> duration = text.flatMap(GoDuration::parse);
    if (text.isPresent() && duration.isEmpty()) {
      reader.error(key, "\"" + text.get() + "\" is no duration like 300ms, 5s or 1h");
    }
    return duration;
  }
}
