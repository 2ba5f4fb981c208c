package io.tailwater.agent.dataplane.route;

import com.google.re2j.Pattern;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/// How a VirtualService compares a text of a request (Istio's `StringMatch`). Immutable.
public sealed interface TextMatch {
  /// Whether it holds for a text; null is an absent one.
  boolean holds(@Nullable String text);

  /// The whole text.
  record Exact(String value) implements TextMatch {
    @Override
    public boolean holds(@Nullable String text) {
      return value.equals(text);
    }
  }

  /// How it begins.
  record Prefix(String value) implements TextMatch {
    @Override
    public boolean holds(@Nullable String text) {
      return text != null && text.startsWith(value);
    }
  }

  /// The whole text, by an expression of RE2, which takes time linear in the text.
  record Regex(Pattern pattern) implements TextMatch {
    @Override
    public boolean holds(@Nullable String text) {
      return text != null && pattern.matches(text);
    }
  }

  /// That it is there at all.
  record Present() implements TextMatch {
    @Override
    public boolean holds(@Nullable String text) {
      return text != null;
    }
  }

  /// The same without regard to case, for texts that are ASCII.
  record IgnoringCase(TextMatch lowered) implements TextMatch {
    @Override
    public boolean holds(@Nullable String text) {
      return text != null && lowered.holds(text.toLowerCase(Locale.ROOT));
    }
  }
}
