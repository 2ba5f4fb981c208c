package io.tailwater.agent.control.istio;

import io.tailwater.agent.control.source.FieldReader;
import java.math.BigDecimal;
import java.time.Duration;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// Durations as Istio's resources write them: `300ms`, `1.5s`, `1h30m` (Go's `ParseDuration`).
final class GoDuration {
  private static final Pattern PART =
      Pattern.compile("\\G(\\d{1,12}(?:\\.\\d{1,9})?)(ns|us|ms|s|m|h)");
  private static final Duration MILLISECOND = Duration.ofMillis(1);

  private GoDuration() {}

  static Optional<Duration> parse(String text) {
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
            case "us" -> 1_000L;
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

  /// Reads one of at least a millisecond, as Istio asks of all durations.
  static Optional<Duration> read(FieldReader reader, String key) {
    return read(reader, key, false);
  }

  /// Reads one that may also be zero, which then means none.
  static Optional<Duration> readOrZero(FieldReader reader, String key) {
    return read(reader, key, true);
  }

  private static Optional<Duration> read(FieldReader reader, String key, boolean zero) {
    Optional<String> text = reader.string(key);
    Optional<Duration> duration = text.flatMap(GoDuration::parse);
    if (text.isPresent() && duration.isEmpty()) {
      reader.error(key, "\"" + text.get() + "\" is no duration like 300ms, 5s or 1h");
    } else if (duration.isPresent()
        && duration.get().compareTo(MILLISECOND) < 0
        && !(zero && duration.get().isZero())) {
      reader.error(key, "must be at least 1ms, not " + text.get());
      return Optional.empty();
    }
    return duration;
  }
}
