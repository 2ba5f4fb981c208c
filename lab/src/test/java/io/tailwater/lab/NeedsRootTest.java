package io.tailwater.lab;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class NeedsRootTest {
  @Test
  @NeedsRoot
  void aTestThatNeedsRootRunsOnlyAsRoot() {
    assertThat(Privileges.missing()).isEmpty();
  }

  @Test
  void aProgramThatIsNotThereIsNamed() {
    assertThat(Privileges.missing("no-such-program")).contains("no `no-such-program` on the PATH");
  }

  @Test
  void systemProgramsAreFoundWhateverThePath() {
    assertThat(Privileges.find("sh")).isPresent();
  }
}
