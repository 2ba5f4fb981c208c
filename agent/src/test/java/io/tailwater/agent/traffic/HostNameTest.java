package io.tailwater.agent.traffic;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Locale;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class HostNameTest {
  private static String why(String raw) {
    return switch (HostName.parse(raw)) {
      case HostName.Parsed.Invalid(String why) -> why;
      case HostName.Parsed.Valid(HostName name, _) -> "(valid: " + name + ")";
    };
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "a",
        "localhost",
        "en.wikipedia.org",
        "xn--bcher-kva.example",
        "a_b.example",
        "_dmarc.x",
        "-a-.org",
        "1.org",
        "1.2.3.org",
        "0x1.org",
        "a.1a",
        "a.0xg",
        "a.x0",
        "4.3.2.1.in-addr.arpa"
      })
  void namesAreValidAsTheyAre(String raw) {
    assertThat(HostName.parse(raw)).isEqualTo(new HostName.Parsed.Valid(HostName.of(raw), false));
    assertThat(HostName.of(raw).text()).isEqualTo(raw);
    assertThat(HostName.of(raw)).hasToString(raw);
  }

  @Test
  void upperCaseIsFolded() {
    assertThat(HostName.of("EN.WikiPedia.ORG")).isEqualTo(HostName.of("en.wikipedia.org"));
    assertThat(HostName.of("EN.WikiPedia.ORG").text()).isEqualTo("en.wikipedia.org");
    assertThat(HostName.of("AZ[az".substring(0, 2)).text()).isEqualTo("az");
  }

  @Test
  void foldingDoesNotDependOnTheLocale() {
    Locale before = Locale.getDefault();
    Locale.setDefault(Locale.forLanguageTag("tr"));
    try {
      assertThat(HostName.of("WIKI.ORG").text()).isEqualTo("wiki.org");
    } finally {
      Locale.setDefault(before);
    }
  }

  @Test
  void oneTrailingDotIsTakenOffAndTold() {
    assertThat(HostName.parse("a.org."))
        .isEqualTo(new HostName.Parsed.Valid(HostName.of("a.org"), true));
    assertThat(HostName.parse("A.ORG."))
        .isEqualTo(new HostName.Parsed.Valid(HostName.of("a.org"), true));
  }

  @ParameterizedTest
  @CsvSource({
    "'', is empty",
    "., is empty",
    ".., has an empty label",
    ".a, has an empty label",
    "a..b, has an empty label",
    "a.., has an empty label",
    "a..., has an empty label"
  })
  void emptyLabelsAreInvalid(String raw, String why) {
    assertThat(why(raw)).isEqualTo(why);
  }

  @Test
  void labelsHaveUpTo63Characters() {
    String longest = "a".repeat(63);

    assertThat(HostName.of(longest).text()).isEqualTo(longest);
    assertThat(HostName.of("x." + longest + ".org").text()).contains(longest);
    assertThat(why(longest + "a")).isEqualTo("has a label longer than 63 characters");
    assertThat(why("x." + longest + "a.org")).isEqualTo("has a label longer than 63 characters");
    assertThat(why("org." + longest + "a")).isEqualTo("has a label longer than 63 characters");
  }

  @Test
  void namesHaveUpTo253CharactersAndARootDot() {
    String longest = ("a".repeat(49) + ".").repeat(5) + "abc";

    assertThat(longest).hasSize(253);
    assertThat(HostName.of(longest).text()).isEqualTo(longest);
    assertThat(HostName.of(longest + ".").text()).isEqualTo(longest);
    assertThat(why(longest + "d")).isEqualTo("is longer than 253 characters");
    assertThat(why(longest + "d.")).isEqualTo("is longer than 253 characters");
    assertThat(why("a".repeat(1_000_000))).isEqualTo("is longer than 253 characters");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "1.2.3.4",
        "1.2.3.4.",
        "1.2.3",
        "127.1",
        "1",
        "0",
        "2130706433",
        "0177.0.0.1",
        "08",
        "0x7f000001",
        "0X7F000001",
        "0x",
        "0X",
        "a.0x",
        "a.0xFf",
        "a.b.007",
        "a.org.1",
        "99999999999999999999999999"
      })
  void addressesAndWhatEndsInANumberAreInvalid(String raw) {
    assertThat(why(raw)).isEqualTo("is an address or ends in a number");
  }

  @ParameterizedTest
  @ValueSource(strings = {"::1", "2001:db8::1", "[::1]", "a.org:443", "fe80::1%eth0"})
  void ipv6AddressesAndPortsAreInvalid(String raw) {
    assertThat(why(raw)).startsWith("has the character '");
  }

  @Test
  void onlyLettersDigitsHyphenUnderscoreAndDotAreValid() {
    for (char c = 0; c < 0x300; c++) {
      boolean allowed =
          (c >= 'a' && c <= 'z')
              || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9')
              || c == '-'
              || c == '_'
              || c == '.';

      assertThat(HostName.parse("a" + c + "b") instanceof HostName.Parsed.Valid)
          .as("U+%04x", (int) c)
          .isEqualTo(allowed);
    }
  }

  @Test
  void theReasonNamesTheKindOfCharacter() {
    assertThat(why("a b")).isEqualTo("has a blank or a control character");
    assertThat(why("a\0b")).isEqualTo("has a blank or a control character");
    assertThat(why("a\n")).isEqualTo("has a blank or a control character");
    assertThat(why("a\u007f")).isEqualTo("has a blank or a control character");
    assertThat(why("a/b")).isEqualTo("has the character '/'");
    assertThat(why("*.a.org")).isEqualTo("has the character '*'");
    assertThat(why("b\u00fccher")).isEqualTo("has a character that is not ASCII");
    assertThat(why("\u0661")).isEqualTo("has a character that is not ASCII");
    assertThat(why("a\u3002org")).isEqualTo("has a character that is not ASCII");
    assertThat(why("\u212a.org")).isEqualTo("has a character that is not ASCII");
    assertThat(why("\ud83c\udf0a.org")).isEqualTo("has a character that is not ASCII");
  }

  @Test
  void ofThrowsWithTheReason() {
    assertThatThrownBy(() -> HostName.of("a b"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("the name \"a b\" has a blank or a control character");
  }

  @Test
  void equalNamesAreEqualInEveryRespect() {
    HostName one = HostName.of("A.org.");
    HostName two = HostName.of("a.ORG");

    assertThat(one).isEqualTo(two).hasSameHashCodeAs(two).isEqualByComparingTo(two);
    assertThat(one).isNotEqualTo(HostName.of("b.org")).isNotEqualTo("a.org");
    assertThat(List.of(HostName.of("b"), HostName.of("a")).stream().sorted())
        .containsExactly(HostName.of("a"), HostName.of("b"));
  }

  @Test
  void aValidNameIsItsOwnCanonicalText() {
    Random random = new Random(20261121);
    String alphabet = "aZ09-_..xX:\u00fc \0";
    int valid = 0;
    for (int i = 0; i < 100_000; i++) {
      StringBuilder raw = new StringBuilder();
      int length = random.nextInt(12);
      for (int j = 0; j < length; j++) {
        // the odd characters rarely, or hardly a name would be valid
        raw.append(alphabet.charAt(random.nextInt(random.nextInt(8) == 0 ? 14 : 10)));
      }
      if (HostName.parse(raw.toString())
          instanceof HostName.Parsed.Valid(HostName name, boolean dot)) {
        valid++;
        assertThat(HostName.parse(name.text())).isEqualTo(new HostName.Parsed.Valid(name, false));
        assertThat(name.text() + (dot ? "." : "")).isEqualToIgnoringCase(raw);
        assertThat(name.text()).matches("[a-z0-9_-]+(\\.[a-z0-9_-]+)*");
      }
    }
    assertThat(valid).isGreaterThan(10_000);
  }
}
