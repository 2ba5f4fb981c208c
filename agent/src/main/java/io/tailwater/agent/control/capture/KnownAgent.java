package io.tailwater.agent.control.capture;

import io.tailwater.iptables.netns.NetnsId;
import io.tailwater.iptables.rule.ControlGroup;
import io.tailwater.iptables.rule.Mark;
import io.tailwater.iptables.rule.Strictness;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;

/// How the rules of a pod know the agent that has captured it, and what they are like, as that
/// agent has written it down: for whoever looks at the rules from outside. Immutable.
///
/// @param mark the agent's secret mark; never to be printed
/// @param strictness the other marks, and the control group
/// @param closed whether policy lets the pod reach only what it knows; empty where that is not said
/// @param ipv6 what became of IPv6, as `pods` tells it, such as `blocked`; empty where that is not
///   said
public record KnownAgent(Mark mark, Strictness strictness, Optional<Boolean> closed, String ipv6) {
  private static final Pattern HEX = Pattern.compile("0x([0-9a-fA-F]{1,8})(?![0-9a-fA-F])");

  /// The upper half of those marks of rules that are everybody's to know.
  private static final int OURS = Mark.INBOUND.value() >>> 16;

  /// What is written down of a namespace, the likeliest first: while a mark is being replaced,
  /// rules may know both. Empty where no agent has captured it.
  ///
  /// @throws IOException when it is there and cannot be read
  public static List<KnownAgent> of(Path stateDir, NetnsId namespace) throws IOException {
    Path file = PodMarks.file(stateDir, namespace);
    List<Mark> marks = PodMarks.load(file).stream().map(mark -> new Mark(mark, -1)).toList();
    if (marks.isEmpty()) {
      return List.of();
    }
    List<String> rules = lines(PodMarks.rulesFile(file));
    Strictness with = Strictness.NONE.withCgroup(group(rules));
    Optional<Boolean> closed = value(rules, "policy ").map("closed"::equals);
    String ipv6 = value(rules, "ipv6 ").orElse("");
    List<KnownAgent> known = new ArrayList<>();
    known.add(
        new KnownAgent(
            marks.getFirst(), with.withFormer(marks.subList(1, marks.size())), closed, ipv6));
    if (marks.size() > 1) {
      Strictness joining = with.withJoining(marks.getFirst());
      known.add(
          new KnownAgent(
              marks.get(1), joining.withFormer(marks.subList(2, marks.size())), closed, ipv6));
    }
    return known;
  }

  private static List<String> lines(Path file) throws IOException {
    try {
      return Files.readAllLines(file, StandardCharsets.UTF_8);
    } catch (NoSuchFileException _) {
      return List.of();
    }
  }

  private static Optional<String> value(List<String> lines, String key) {
    return lines.stream()
        .filter(line -> line.startsWith(key))
        .map(line -> line.substring(key.length()))
        .findFirst();
  }

  private static Optional<ControlGroup> group(List<String> lines) throws IOException {
    Optional<String> group = value(lines, "group ");
    if (group.isEmpty()) {
      return Optional.empty();
    }
    String text = group.get();
    int space = Math.max(0, text.indexOf(' '));
    try {
      return Optional.of(
          new ControlGroup(text.substring(space + 1), Long.parseLong(text.substring(0, space))));
    } catch (IllegalArgumentException e) {
      throw new IOException("no control group: " + text, e);
    }
  }

  /// A text about rules without any mark that could be a pod's secret, known or not.
  public static String withoutMarks(String text) {
    return HEX.matcher(text)
        .replaceAll(
            hex -> isMasked(Integer.parseUnsignedInt(hex.group(1), 16)) ? "SECRET" : hex.group());
  }

  /// Whether a mark is hidden by [#withoutMarks]: not the short marks and the masks of rules.
  static boolean isMasked(int mark) {
    int high = mark >>> 12;
    return high != 0 && high != 0xfffff && mark >>> 16 != OURS;
  }

  /// For people, without the mark.
  @Override
  public String toString() {
    return "a secret mark" + strictness.cgroup().map(group -> ", " + group).orElse("");
  }
}
