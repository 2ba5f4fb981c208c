package io.tailwater.agent.dataplane.route;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

class HostIndexTest {
  private static HostPattern host(String text) {
    return text.startsWith("*.")
        ? new HostPattern.Wildcard(HostName.of(text.substring(2)))
        : new HostPattern.Exact(HostName.of(text));
  }

  private static HostIndex<String> index(String... hosts) {
    Map<HostPattern, String> entries = new HashMap<>();
    for (String host : hosts) {
      entries.put(host(host), host);
    }
    return HostIndex.of(entries);
  }

  @Test
  void mostSpecificPatternWins() {
    HostIndex<String> index =
        index("*.org", "*.wikipedia.org", "*.m.wikipedia.org", "en.wikipedia.org");
    assertThat(index.find(HostName.of("en.wikipedia.org"))).isEqualTo("en.wikipedia.org");
    assertThat(index.find(HostName.of("de.wikipedia.org"))).isEqualTo("*.wikipedia.org");
    assertThat(index.find(HostName.of("en.m.wikipedia.org"))).isEqualTo("*.m.wikipedia.org");
    assertThat(index.find(HostName.of("m.wikipedia.org"))).isEqualTo("*.wikipedia.org");
    assertThat(index.find(HostName.of("wikipedia.org"))).isEqualTo("*.org");
    assertThat(index.find(HostName.of("org"))).isNull();
    assertThat(index.find(HostName.of("example.com"))).isNull();
  }

  @Test
  void emptyIndexFindsNothing() {
    assertThat(index().find(HostName.of("a.example"))).isNull();
    assertThat(index().isEmpty()).isTrue();
  }

  @Test
  void agreesWithTheDefinitionOnRandomNames() {
    Random random = new Random(7);
    String[] labels = {"a", "b", "aa", "ab", "x1"};
    Map<HostPattern, String> entries = new HashMap<>();
    for (int i = 0; i < 300; i++) {
      String name = name(random, labels);
      String host = random.nextBoolean() ? name : "*." + name;
      entries.put(host(host), host);
    }
    HostIndex<String> index = HostIndex.of(entries);
    for (int i = 0; i < 5_000; i++) {
      HostName name = HostName.of(name(random, labels));
      assertThat(index.find(name)).as(name.text()).isEqualTo(slow(entries, name));
    }
  }

  private static String name(Random random, String[] labels) {
    StringBuilder out = new StringBuilder();
    for (int i = random.nextInt(1, 5); i > 0; i--) {
      out.append(labels[random.nextInt(labels.length)]).append('.');
    }
    return out.append("com").toString();
  }

  private static @Nullable String slow(Map<HostPattern, String> entries, HostName name) {
    @Nullable String best = null;
    for (Map.Entry<HostPattern, String> entry : entries.entrySet()) {
      if (entry.getKey().covers(name)) {
        if (entry.getKey() instanceof HostPattern.Exact) {
          return entry.getValue();
        }
        if (best == null || entry.getValue().length() > best.length()) {
          best = entry.getValue();
        }
      }
    }
    return best;
  }
}
