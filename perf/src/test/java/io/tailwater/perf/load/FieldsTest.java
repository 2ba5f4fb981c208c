package io.tailwater.perf.load;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

class FieldsTest {
  @Test
  void aLineSurvivesTheWay() {
    Fields run = Fields.of("hold").with("connections", 5000).with("pids", "").with("why", "a b");

    assertThat(run.line()).isEqualTo("hold connections=5000 pids= why=a_b");
    assertThat(Fields.parse(run.line())).isEqualTo(run);
    assertThat(run.number("connections")).isEqualTo(5000);
  }

  @Test
  void whatIsMissingOrNoPairIsNamed() {
    assertThatThrownBy(() -> Fields.of("hold").get("size")).hasMessage("hold: size is missing");
    assertThatThrownBy(() -> Fields.parse("hold size")).hasMessageContaining("'size'");
  }

  @Test
  void onlyAddressLiteralsAreDialled() {
    assertThatThrownBy(() -> Sockets.sockaddr("example.org", 443))
        .isInstanceOf(IllegalArgumentException.class);
    assertThat(Sockets.sockaddr("198.51.100.10", 443).get(4)).isEqualTo((byte) 198);
  }
}
