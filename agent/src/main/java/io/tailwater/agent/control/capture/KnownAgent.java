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

/// How the rules of a pod know the agent that has captured it, as that agent has written it down:
/// for whoever looks at the rules from outside. Immutable.
///
/// @param mark the agent's secret mark; never to be printed
/// @param strictness the other marks, and the control group
public record KnownAgent(Mark mark, Strictness strictness) {
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
    Strictness with = Strictness.NONE.withCgroup(group(PodMarks.groupFile(file)));
    List<KnownAgent> known = new ArrayList<>();
    known.add(new KnownAgent(marks.getFirst(), with.withFormer(marks.subList(1, marks.size()))));
    if (marks.size() > 1) {
      Strictness joining = with.withJoining(marks.getFirst());
      known.add(new KnownAgent(marks.get(1), joining.withFormer(marks.subList(2, marks.size()))));
    }
    return known;
  }

  private static Optional<ControlGroup> group(Path file) throws IOException {
    try {
      String line = Files.readString(file, StandardCharsets.UTF_8).strip();
      int space = line.indexOf(' ');
      return Optional.of(
          new ControlGroup(
              line.substring(space + 1), Long.parseLong(line.substring(0, Math.max(0, space)))));
    } catch (NoSuchFileException _) {
      return Optional.empty();
    } catch (IllegalArgumentException e) {
      throw new IOException(file + ": " + e.getMessage(), e);
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
