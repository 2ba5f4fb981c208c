package io.tailwater.lab.demo;

import java.io.Console;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Optional;

/// What the demo prints: colour on a terminal only, a tick or a cross for each expectation, and the
/// count of crosses. One thread.
final class Screen {
  private final PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
  private final boolean colour =
      Optional.ofNullable(System.console()).filter(Console::isTerminal).isPresent()
          && System.getenv("NO_COLOR") == null
          && !"dumb".equals(System.getenv("TERM"));
  private int crosses;
  private int ticks;

  void title(String text) {
    out.println();
    out.println(in("1", text));
  }

  void line(String text) {
    out.println("  " + text);
  }

  /// Text as it came from somewhere, indented and grey.
  void quote(String text) {
    text.strip().lines().forEach(line -> out.println("    " + in("2", line)));
  }

  /// An expectation: what was expected, and what was seen.
  void expect(boolean held, String what, String seen) {
    if (held) {
      ticks++;
      out.println("  " + in("32", "✓") + " " + pad(what) + in("2", seen));
    } else {
      crosses++;
      // One line is enough; curl explains itself at length.
      out.println(
          "  " + in("31", "✗") + " " + pad(what) + in("31", seen.lines().findFirst().orElse("")));
    }
  }

  boolean allHeld() {
    return crosses == 0;
  }

  void sum() {
    out.println();
    String text = ticks + " expectations held, " + crosses + " did not";
    out.println(in(crosses == 0 ? "1;32" : "1;31", text));
  }

  private static String pad(String text) {
    return text + " ".repeat(Math.max(2, 46 - text.length()));
  }

  private String in(String code, String text) {
    return colour ? "\u001b[" + code + "m" + text + "\u001b[0m" : text;
  }
}
