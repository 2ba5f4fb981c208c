package io.tailwater.iptables.rule;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/// The arguments of a rule as text. The two variants and their versions print the same rule in
/// different orders and with more or fewer of the words that go without saying, so texts are
/// compared as sets of options.
final class RuleText {
  private RuleText() {}

  /// The options of a rule in an order of their own, without `-m`: `! --dport 53`, `-j RETURN`, `-p
  /// udp`.
  static List<String> options(String text) {
    List<String> options = new ArrayList<>();
    StringBuilder option = new StringBuilder();
    boolean negated = false;
    boolean skipping = false;
    for (String word : words(text)) {
      if (word.equals("!")) {
        negated = true;
      } else if (word.startsWith("-") && word.length() > 1) {
        flush(options, option, skipping);
        skipping = word.equals("-m") || word.equals("--match");
        option.append(negated ? "! " : "").append(word.equals("--to-port") ? "--to-ports" : word);
        negated = false;
      } else {
        option.append(' ').append(value(word));
      }
    }
    flush(options, option, skipping);
    options.remove("--limit-burst 5"); // not printed, because it is the default
    options.sort(null);
    return options;
  }

  static boolean same(String left, String right) {
    return left.equals(right) || options(left).equals(options(right));
  }

  /// The chain or target that a rule goes to with `-j` or `-g`.
  static Optional<String> jumpTarget(String text) {
    List<String> words = words(text);
    for (int i = 0; i + 1 < words.size(); i++) {
      if (words.get(i).equals("-j") || words.get(i).equals("-g")) {
        return Optional.of(words.get(i + 1));
      }
    }
    return Optional.empty();
  }

  private static void flush(List<String> options, StringBuilder option, boolean skipping) {
    if (!option.isEmpty() && !skipping) {
      options.add(option.toString());
    }
    option.setLength(0);
  }

  /// A host may be printed with or without the length of its prefix, a mark of 32 bits with or
  /// without its mask.
  private static String value(String word) {
    boolean host =
        (word.endsWith("/32") && word.contains("."))
            || (word.endsWith("/128") && word.contains(":"));
    boolean whole = word.startsWith("0x") && word.endsWith("/0xffffffff");
    return host || whole ? word.substring(0, word.indexOf('/')) : word;
  }

  /// Splits as a shell would, for the only quoting that `iptables-save` does: double quotes with
  /// backslashes inside.
  private static List<String> words(String text) {
    List<String> words = new ArrayList<>();
    StringBuilder word = new StringBuilder();
    boolean quoted = false;
    boolean any = false;
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (quoted && c == '\\' && i + 1 < text.length()) {
        i++;
        word.append(text.charAt(i));
      } else if (c == '"') {
        quoted = !quoted;
        any = true;
      } else if (c == ' ' && !quoted) {
        if (any) {
          words.add(word.toString());
        }
        word.setLength(0);
        any = false;
      } else {
        word.append(c);
        any = true;
      }
    }
    if (any) {
      words.add(word.toString());
    }
    return words;
  }
}
