package io.tailwater.perf.wire;

import java.nio.ByteBuffer;
import java.util.Arrays;

/// The 16 bytes after the hello that tell the server what this connection is for.
///
/// ```
/// 0  'T' 'W'          magic
/// 2  mode             1 echo, 2 up, 3 down
/// 3  flags            1: checksum the bulk bytes (correctness runs only, it costs CPU)
/// 4  message size     bytes of one echo message
/// 8  amount           bulk bytes of this connection
/// ```
///
/// Echo: every message of `size` bytes comes back unchanged. Up and down: the server answers with a
/// {@link #READY} receipt; then up sends `amount` bytes and gets a receipt with the count and the
/// checksum that arrived, down sends one byte (any) and gets `amount` bytes. A receipt is 16 bytes:
/// count, checksum.
public record Command(Mode mode, boolean checksum, int size, long amount) {
  /// Bytes of a command and of a receipt.
  public static final int BYTES = 16;

  /// The count in the receipt that says "connected to the end, start".
  public static final long READY = -1;

  private static final short MAGIC = (short) ('T' << 8 | 'W');

  public enum Mode {
    ECHO(1),
    UP(2),
    DOWN(3);

    private final byte code;

    Mode(int code) {
      this.code = (byte) code;
    }

    private static Mode of(byte code) {
      return Arrays.stream(values())
          .filter(mode -> mode.code == code)
          .findFirst()
          .orElseThrow(() -> new IllegalArgumentException("no benchmark mode " + code));
    }
  }

  public Command {
    if (size < 16 || size > 65_536) {
      throw new IllegalArgumentException("message size " + size + " is outside 16..65536");
    }
    if (amount < 0) {
      throw new IllegalArgumentException("negative amount " + amount);
    }
  }

  public static Command echo(int size) {
    return new Command(Mode.ECHO, false, size, 0);
  }

  public byte[] encode() {
    return ByteBuffer.allocate(BYTES)
        .putShort(MAGIC)
        .put(mode.code)
        .put((byte) (checksum ? 1 : 0))
        .putInt(size)
        .putLong(amount)
        .array();
  }

  /// @throws IllegalArgumentException if the bytes are no command
  public static Command decode(ByteBuffer in) {
    short magic = in.getShort();
    byte mode = in.get();
    int flags = in.get();
    int size = in.getInt();
    long amount = in.getLong();
    if (magic != MAGIC || (flags & ~1) != 0) {
      throw new IllegalArgumentException("not a benchmark command");
    }
    return new Command(Mode.of(mode), flags == 1, size, amount);
  }
}
