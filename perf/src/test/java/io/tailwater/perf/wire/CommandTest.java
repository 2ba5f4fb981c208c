package io.tailwater.perf.wire;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

class CommandTest {
  @Test
  void whatIsEncodedIsDecoded() {
    for (Command.Mode mode : Command.Mode.values()) {
      Command command = new Command(mode, true, 128, 1L << 40);

      assertThat(command.encode()).hasSize(Command.BYTES);
      assertThat(Command.decode(ByteBuffer.wrap(command.encode()))).isEqualTo(command);
    }
  }

  @Test
  void otherBytesAreRefused() {
    assertThatThrownBy(() -> Command.decode(ByteBuffer.allocate(Command.BYTES)))
        .isInstanceOf(IllegalArgumentException.class);
    byte[] unknownMode = Command.echo(128).encode();
    unknownMode[2] = 9;
    assertThatThrownBy(() -> Command.decode(ByteBuffer.wrap(unknownMode)))
        .hasMessageContaining("mode 9");
  }

  @Test
  void checksumOfTheBulkBytesTellsLengthsApart() {
    assertThat(Pattern.checksum(Pattern.BLOCK + 1)).isNotEqualTo(Pattern.checksum(Pattern.BLOCK));
    assertThat(Pattern.checksum(0)).isZero();
  }
}
