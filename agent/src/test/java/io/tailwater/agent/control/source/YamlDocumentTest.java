package io.tailwater.agent.control.source;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class YamlDocumentTest {
  private static YamlValue.Mapping parsed(YamlDocument document) {
    assertThat(document).isInstanceOf(YamlDocument.Parsed.class);
    return (YamlValue.Mapping) ((YamlDocument.Parsed) document).root();
  }

  private static YamlDocument.Broken broken(String text) {
    List<YamlDocument> documents = YamlDocument.readAll(text);
    assertThat(documents).hasSize(1);
    assertThat(documents.getFirst()).isInstanceOf(YamlDocument.Broken.class);
    return (YamlDocument.Broken) documents.getFirst();
  }

  @Test
  void linesAreThoseOfTheFileInEveryDocument() {
    List<YamlDocument> documents =
        YamlDocument.readAll("# first\na: 1\n---\n\nb:\n  c: x\n--- {d: y}\n");
    assertThat(documents).hasSize(3);
    assertThat(parsed(documents.get(0)).fields().get("a").line()).isEqualTo(2);
    assertThat(parsed(documents.get(1)).mapping("b").orElseThrow().fields().get("c").line())
        .isEqualTo(6);
    assertThat(parsed(documents.get(2)).fields().get("d").line()).isEqualTo(7);
  }

  @Test
  void brokenDocumentDoesNotTakeTheOthersWithIt() {
    List<YamlDocument> documents = YamlDocument.readAll("a: 1\n---\nb: [\n---\nc: 3\n");
    assertThat(documents).hasSize(3);
    assertThat(documents.get(1)).isInstanceOf(YamlDocument.Broken.class);
    assertThat(((YamlDocument.Broken) documents.get(1)).line()).isBetween(2, 4);
    assertThat(parsed(documents.get(2)).text("c")).contains("3");
  }

  @ParameterizedTest
  @CsvSource({
    "off, STRING",
    "on, STRING",
    "no, STRING",
    "~, NULL",
    "null, NULL",
    "true, BOOLEAN",
    "False, BOOLEAN",
    "443, INTEGER",
    "0x1f, INTEGER",
    "-1, INTEGER",
    "1.5, FLOAT",
    ".inf, FLOAT",
    "1.2.3.4, STRING",
    "NONE, STRING",
    "'\"443\"', STRING",
    "'\"~\"', STRING",
    "!!str 443, STRING",
    "2026-01-01T00:00:00Z, STRING"
  })
  void plainScalarsAreReadByTheCoreSchema(String text, YamlValue.Scalar.Kind kind) {
    YamlValue value =
        parsed(YamlDocument.readAll("v: " + text).getFirst()).fields().get("v").value();
    assertThat(((YamlValue.Scalar) value).kind()).isEqualTo(kind);
  }

  @Test
  void duplicateKeysAreErrors() {
    assertThat(broken("a: 1\nb: 2\na: 3\n"))
        .isEqualTo(new YamlDocument.Broken(3, "the key \"a\" is there twice"));
  }

  @Test
  void depthIsBounded() {
    assertThat(broken("a: " + "[".repeat(100_000)).why()).contains("nested deeper");
  }

  @Test
  void aliasesAreCountedEachTimeTheyAreUsed() {
    StringBuilder text = new StringBuilder("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 10; i++) {
      text.append(
          "a%d: &a%d [%s]\n".formatted(i, i, ("*a" + (i - 1) + ", ").repeat(9) + "*a" + (i - 1)));
    }
    assertThat(broken(text.toString()).why()).contains("values");
  }

  @Test
  void aliasMayNotHoldItself() {
    assertThat(broken("a: &a [*a]").why()).contains("no anchor before it");
  }

  @Test
  void mergeKeysFillWhatIsNotThere() {
    YamlValue.Mapping root =
        parsed(YamlDocument.readAll("base: &b {x: 1, y: 2}\nv: {<<: *b, y: 3}\n").getFirst());
    assertThat(root.texts("v")).containsEntry("x", "1").containsEntry("y", "3");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "a: !foo 1",
        "? [a]\n: 1",
        "a: 'x",
        "a: b: c",
        "\ta: 1",
        "a: *x",
        "- a\nb: 1",
        "a: \"\\q\"",
        "a: 1\n...\nb: 2"
      })
  void whatIsNoYamlSaysWhy(String text) {
    assertThat(broken(text).why()).isNotBlank();
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "\n\n", "# nothing\n", "---\n---\n", "%YAML 1.2\n", "\uFEFF# mark\n"})
  void emptyDocumentsAreLeftOut(String text) {
    assertThat(YamlDocument.readAll(text)).isEmpty();
  }

  @Test
  void jsonIsYaml() {
    assertThat(
            parsed(YamlDocument.readAll("{\"a\": {\"b\": [1, true, null, \"x\"]}}").getFirst())
                .mapping("a")
                .orElseThrow()
                .items("b"))
        .hasSize(4);
  }
}
