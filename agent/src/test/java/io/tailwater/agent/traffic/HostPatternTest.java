package io.tailwater.agent.traffic;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class HostPatternTest {
  private static final HostPattern EXACT = new HostPattern.Exact(HostName.of("en.wikipedia.org"));
  private static final HostPattern WILDCARD =
      new HostPattern.Wildcard(HostName.of("wikipedia.org"));

  private static boolean covers(HostPattern pattern, String name) {
    return pattern.covers(HostName.of(name));
  }

  @ParameterizedTest
  @ValueSource(strings = {"en.wikipedia.org", "EN.Wikipedia.org", "en.wikipedia.org."})
  void exactCoversItsNameInAnySpelling(String name) {
    assertThat(covers(EXACT, name)).isTrue();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"wikipedia.org", "m.en.wikipedia.org", "xen.wikipedia.org", "en.wikipedia.org.x"})
  void exactCoversNothingElse(String name) {
    assertThat(covers(EXACT, name)).isFalse();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "en.wikipedia.org", "a.wikipedia.org", "m.en.wikipedia.org", "a.b.c.d.wikipedia.org",
        "DE.WIKIPEDIA.ORG", "de.wikipedia.org.", "_x.wikipedia.org", "1.wikipedia.org",
        "wikipedia.org.wikipedia.org"
      })
  void wildcardCoversEveryNameBelowItsSuffix(String name) {
    assertThat(covers(WILDCARD, name)).isTrue();
  }

  @Test
  void wildcardDoesNotCoverItsSuffix() {
    assertThat(covers(WILDCARD, "wikipedia.org")).isFalse();
    assertThat(covers(WILDCARD, "wikipedia.org.")).isFalse();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "evilwikipedia.org",
        "a.evilwikipedia.org",
        "x-wikipedia.org",
        "a.wikipedia.org.evil.com",
        "wikipedia.org.evil.com",
        "org",
        "a",
        "a.org",
        "wikipedia.com",
        "en.wikipedia.orgx"
      })
  void wildcardMatchesOnLabelBoundariesOnly(String name) {
    assertThat(covers(WILDCARD, name)).isFalse();
  }

  @Test
  void wildcardOfOneLabelCoversAllBelowIt() {
    HostPattern org = new HostPattern.Wildcard(HostName.of("org"));

    assertThat(covers(org, "wikipedia.org")).isTrue();
    assertThat(covers(org, "en.wikipedia.org")).isTrue();
    assertThat(covers(org, "org")).isFalse();
    assertThat(covers(org, "xorg")).isFalse();
  }

  @Test
  void textIsAsPolicyWritesIt() {
    assertThat(EXACT.text()).isEqualTo("en.wikipedia.org");
    assertThat(WILDCARD.text()).isEqualTo("*.wikipedia.org");
  }
}
