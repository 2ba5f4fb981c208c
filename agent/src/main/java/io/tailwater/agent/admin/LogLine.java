package io.tailwater.agent.admin;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Optional;
import java.util.logging.Formatter;
import java.util.logging.Level;
import java.util.logging.LogRecord;

/// One record, one line, in ztunnel's form: time, level, scope, message, with tabs between. A stack
/// trace follows on lines of its own. Control characters in messages are escaped.
final class LogLine extends Formatter {
  private static final DateTimeFormatter TIME =
      DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSSSSS'Z'").withZone(ZoneOffset.UTC);
  private static final String OURS = "io.tailwater.agent.";

  @Override
  public String format(LogRecord record) {
    StringBuilder out = new StringBuilder(160);
    out.append(TIME.format(record.getInstant())).append('\t');
    out.append(level(record.getLevel())).append('\t');
    String scope = Optional.ofNullable(record.getLoggerName()).orElse("");
    out.append(scope.startsWith(OURS) ? scope.substring(OURS.length()) : scope).append('\t');
    out.append(TextTable.clean(formatMessage(record))).append('\n');
    Optional.ofNullable(record.getThrown()).ifPresent(thrown -> trace(out, thrown));
    return out.toString();
  }

  private static void trace(StringBuilder out, Throwable thrown) {
    StringWriter text = new StringWriter();
    thrown.printStackTrace(new PrintWriter(text));
    text.toString()
        .lines()
        .forEach(l -> out.append("  ").append(TextTable.clean(l.replace("\t", "  "))).append('\n'));
  }

  private static String level(Level level) {
    int value = level.intValue();
    if (value >= Level.SEVERE.intValue()) {
      return "error";
    }
    if (value >= Level.WARNING.intValue()) {
      return "warn";
    }
    if (value >= Level.INFO.intValue()) {
      return "info";
    }
    return value >= Level.FINE.intValue() ? "debug" : "trace";
  }
}
