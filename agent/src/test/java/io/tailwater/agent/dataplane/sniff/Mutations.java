package io.tailwater.agent.dataplane.sniff;

import java.util.Arrays;
import java.util.Random;

/// Small random damage to the first bytes of a client, reproducible from the seed.
final class Mutations {
  private static final int[] INTERESTING = {0, 1, 2, 3, 4, 5, 22, 32, 33, 64, 127, 128, 254, 255};

  private Mutations() {}

  /// One to three changes: a byte set, raised or lowered by one, dropped, doubled or inserted, or
  /// the end cut off.
  static byte[] mutate(byte[] original, Random random) {
    byte[] bytes = original;
    int changes = 1 + random.nextInt(3);
    for (int i = 0; i < changes && bytes.length > 0; i++) {
      bytes = change(bytes, random);
    }
    return bytes;
  }

  private static byte[] change(byte[] original, Random random) {
    // headers and lengths are at the front: prefer it
    int at =
        random.nextBoolean()
            ? random.nextInt(original.length)
            : random.nextInt(Math.min(original.length, 90));
    byte[] bytes = original.clone();
    switch (random.nextInt(8)) {
      case 0 -> bytes[at] = (byte) random.nextInt(256);
      case 1 -> bytes[at] = (byte) INTERESTING[random.nextInt(INTERESTING.length)];
      case 2 -> bytes[at]++;
      case 3 -> bytes[at]--;
      case 4 -> bytes[at] ^= (byte) (1 << random.nextInt(8));
      case 5 -> {
        System.arraycopy(bytes, at + 1, bytes, at, bytes.length - at - 1);
        return Arrays.copyOf(bytes, bytes.length - 1);
      }
      case 6 -> {
        byte[] longer = Arrays.copyOf(bytes, bytes.length + 1);
        System.arraycopy(bytes, at, longer, at + 1, bytes.length - at);
        longer[at] = (byte) random.nextInt(256);
        return longer;
      }
      default -> {
        return random.nextInt(4) == 0 ? Arrays.copyOf(bytes, at) : bytes;
      }
    }
    return bytes;
  }
}
