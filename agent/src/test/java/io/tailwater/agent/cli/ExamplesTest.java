package io.tailwater.agent.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import picocli.CommandLine;

/// The files of `examples/` say in their comments what `check` and `explain` answer; they are
/// right.
///
/// `# check:` is followed by the sum that `check` prints for the file alone, `# explain:` by a pod
/// and a destination; the indented lines below hold the word that the answer's result begins with,
/// then what else the answer contains.
class ExamplesTest {
  private static final Path EXAMPLES = Path.of("../examples");
  private static final Pattern QUESTION = Pattern.compile("# explain: (\\S+) -> (\\S+)");

  private record Ran(int code, String out) {}

  private static Ran run(Object command, String... arguments) {
    StringWriter out = new StringWriter();
    PrintWriter writer = new PrintWriter(out, true);
    int code = new CommandLine(command).setOut(writer).setErr(writer).execute(arguments);
    return new Ran(code, out.toString());
  }

  private static List<Path> files() throws IOException {
    try (Stream<Path> all = Files.walk(EXAMPLES, 2)) {
      return all.filter(file -> file.toString().endsWith(".yaml"))
          .filter(file -> !file.getParent().equals(EXAMPLES))
          .filter(file -> !file.getParent().endsWith("policy-tests"))
          .sorted()
          .toList();
    }
  }

  @TestFactory
  Stream<DynamicTest> checkSaysOfEachFileWhatItsCommentSays() throws IOException {
    return files().stream()
        .map(file ->
            DynamicTest.dynamicTest(
                file.toString(),
                () -> {
                  String sum =
                      Files.readAllLines(file).stream()
                          .filter(line -> line.startsWith("# check:"))
                          .map(line -> line.substring("# check:".length()).strip())
                          .findFirst()
                          .orElseThrow(() -> new AssertionError("no comment '# check:'"));
                  Ran ran = run(new CheckCommand(), file.toString());
                  assertThat(ran.out()).contains(sum);
                  assertThat(ran.code()).isZero();
                }));
  }

  @TestFactory
  Stream<DynamicTest> explainSaysOfEachFileWhatItsCommentSays() throws IOException {
    List<DynamicTest> tests = new ArrayList<>();
    for (Path file : files()) {
      List<String> lines = Files.readAllLines(file);
      int before = tests.size();
      for (int i = 0; i < lines.size(); i++) {
        Matcher question = QUESTION.matcher(lines.get(i));
        if (question.matches()) {
          List<String> expected =
              lines.subList(i + 1, lines.size()).stream()
                  .takeWhile(line -> line.startsWith("#   "))
                  .map(line -> line.substring(1).strip())
                  .toList();
          tests.add(
              DynamicTest.dynamicTest(
                  file + ": " + question.group(2),
                  () -> explains(question.group(1), question.group(2), expected)));
        }
      }
      assertThat(tests.size()).as("comments '# explain:' of %s", file).isGreaterThan(before);
    }
    return tests.stream();
  }

  private static void explains(String from, String to, List<String> expected) {
    Ran ran =
        run(
            new ExplainCommand(),
            "--config",
            EXAMPLES.resolve("agent.yaml").toString(),
            "--from",
            from,
            "--to",
            to);
    assertThat(ran.code()).as(ran.out()).isZero();
    assertThat(ran.out().lines().skip(1).findFirst().orElse("").strip())
        .startsWith(expected.getFirst());
    assertThat(ran.out()).contains(expected.subList(1, expected.size()));
  }

  @Test
  void theFilesStandTogether() {
    Ran ran = run(new CheckCommand(), EXAMPLES.toString());
    assertThat(ran.code()).as(ran.out()).isZero();
    assertThat(ran.out()).contains("0 errors");
  }
}
