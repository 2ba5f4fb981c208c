package io.tailwater.perf.wire;

import java.nio.ByteBuffer;
import java.util.Random;
import java.util.zip.CRC32C;

/// The bytes of a bulk transfer: one block of {@link #BLOCK} fixed random bytes, over and over.
/// Both ends know it, so a checksum tells loss and reordering apart from mere counts.
public final class Pattern {
  /// Length of the block, a power of two.
  public static final int BLOCK = 1 << 20;

  private Pattern() {}

  /// A direct buffer with the block, position 0, limit BLOCK.
  public static ByteBuffer block() {
    byte[] bytes = new byte[BLOCK];
    new Random(20).nextBytes(bytes);
    return ByteBuffer.allocateDirect(BLOCK).put(bytes).flip();
  }

  /// CRC32C of the first `amount` bytes of the transfer.
  public static long checksum(long amount) {
    ByteBuffer block = block();
    CRC32C crc = new CRC32C();
    for (long left = amount; left > 0; left -= BLOCK) {
      crc.update(block.duplicate().limit((int) Math.min(left, BLOCK)));
    }
    return crc.getValue();
  }
}
