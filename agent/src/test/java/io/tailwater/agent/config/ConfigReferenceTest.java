package io.tailwater.agent.config;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

class ConfigReferenceTest {

  /// Run with `-Dgoldens=write` to write the page anew.
  @Test
  void thePageInTheDocumentationIsTheOneThatTheKeysMake() throws Exception {
    Path page = Path.of("..", "docs", "configuration.md");
    if (System.getProperty("goldens", "").equals("write")) {
      Files.createDirectories(page.getParent());
      Files.writeString(page, ConfigReference.page());
    }

    assertThat(page).content().isEqualTo(ConfigReference.page());
  }
}
