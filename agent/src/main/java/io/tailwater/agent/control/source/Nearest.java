package io.tailwater.agent.control.source;

import java.util.Collection;
import java.util.Locale;
import java.util.Optional;

/// Finds the word somebody probably meant.
public final class Nearest {
  private Nearest() {}

  /// Shorter words lie in others by chance.
  private static final int WHOLE_WORD = 4;

  /// The nearest of the known words, if one is near enough: at most a third of the letters differ,
  /// or one of the two ends with the other (`labels` and `matchLabels`).
  public static Optional<String> of(String word, Collection<String> known) {
    String lower = word.toLowerCase(Locale.ROOT);
    String best = "";
    int least = Math.max(1, word.length() / 3) + 1;
    for (String candidate : known.stream().sorted().toList()) {
      int distance = distance(lower, candidate.toLowerCase(Locale.ROOT));
      if (distance < least) {
        least = distance;
        best = candidate;
      }
    }
    return best.isEmpty()
        ? known.stream().filter(k -> ends(lower, k.toLowerCase(Locale.ROOT))).min(String::compareTo)
        : Optional.of(best);
  }

  private static boolean ends(String a, String b) {
    return Math.min(a.length(), b.length()) >= WHOLE_WORD && (a.endsWith(b) || b.endsWith(a));
  }

  /// `; did you mean "x"?`, or nothing.
  public static String hint(String word, Collection<String> known) {
    return of(word, known).map(near -> "; did you mean \"" + near + "\"?").orElse("");
  }

  /// Letters to insert, delete, replace or swap (optimal string alignment).
  static int distance(String a, String b) {
    int[][] d = new int[a.length() + 1][b.length() + 1];
    for (int i = 0; i <= a.length(); i++) {
      for (int j = 0; j <= b.length(); j++) {
        if (i == 0 || j == 0) {
          d[i][j] = i + j;
          continue;
        }
        int replace = d[i - 1][j - 1] + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
        d[i][j] = Math.min(replace, Math.min(d[i - 1][j], d[i][j - 1]) + 1);
        if (i > 1
            && j > 1
            && a.charAt(i - 1) == b.charAt(j - 2)
            && a.charAt(i - 2) == b.charAt(j - 1)) {
          d[i][j] = Math.min(d[i][j], d[i - 2][j - 2] + 1);
        }
      }
    }
    return d[a.length()][b.length()];
  }
}
