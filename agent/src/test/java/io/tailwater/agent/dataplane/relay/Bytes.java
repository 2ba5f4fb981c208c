package io.tailwater.agent.dataplane.relay;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.locks.LockSupport;

/// Seeded streams of bytes, written and read in chunks of random size with pauses, and their
/// hashes.
final class Bytes {
  /// More than all buffers on the way can hold.
  private static final long MUCH = 64 << 20;

  private static final ThreadFactory THREADS = Thread.ofVirtual().name("peer-", 0).factory();

  /// How much came, and its SHA-256.
  record Digest(long length, String sha256) {}

  /// How a peer behaves: chunks of 1 to `largest` bytes, and after `pauseOneIn` of them a rest.
  record Pace(int largest, int pauseOneIn, int restMicros) {
    static final Pace BRISK = new Pace(1 << 20, 16, 500);
    static final Pace SMALL = new Pace(700, 200, 200);
    static final Pace SLOW = new Pace(16 << 10, 2, 700);
  }

  private Bytes() {}

  static byte[] random(long seed, int length) {
    byte[] bytes = new byte[length];
    new Random(seed).nextBytes(bytes);
    return bytes;
  }

  /// Writes `length` bytes of the seed; the digest is of what was written.
  static CompletableFuture<Digest> write(SocketChannel to, long seed, long length, Pace pace) {
    return begin(() -> {
      MessageDigest sha = sha256();
      Random random = new Random(seed);
      long left = length;
      while (left > 0) {
        byte[] chunk = new byte[(int) Math.min(left, size(random, pace))];
        random.nextBytes(chunk);
        sha.update(chunk);
        ByteBuffer buffer = ByteBuffer.wrap(chunk);
        while (buffer.hasRemaining()) {
          to.write(buffer);
        }
        left -= chunk.length;
        rest(random, pace);
      }
      return new Digest(length, HexFormat.of().formatHex(sha.digest()));
    });
  }

  /// Writes and then sends FIN.
  static CompletableFuture<Digest> writeAndFin(
      SocketChannel to, long seed, long length, Pace pace) {
    return write(to, seed, length, pace)
        .thenApply(digest -> {
          try {
            to.shutdownOutput();
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
          return digest;
        });
  }

  /// Reads until FIN.
  static CompletableFuture<Digest> read(SocketChannel from, long seed, Pace pace) {
    return begin(() -> {
      MessageDigest sha = sha256();
      Random random = new Random(seed);
      long length = 0;
      while (true) {
        ByteBuffer buffer = ByteBuffer.allocate(size(random, pace));
        int n = from.read(buffer);
        if (n < 0) {
          return new Digest(length, HexFormat.of().formatHex(sha.digest()));
        }
        sha.update(buffer.array(), 0, n);
        length += n;
        rest(random, pace);
      }
    });
  }

  /// Writes until nothing is taken any more for a while; the digest is of what was taken.
  static Digest fill(SocketChannel to, long seed) throws IOException {
    MessageDigest sha = sha256();
    Random random = new Random(seed);
    long length = 0;
    to.configureBlocking(false);
    for (int refused = 0; refused < 60 && length < MUCH; ) {
      byte[] chunk = new byte[16 << 10];
      random.nextBytes(chunk);
      int taken = to.write(ByteBuffer.wrap(chunk));
      sha.update(chunk, 0, taken);
      length += taken;
      if (taken > 0) {
        refused = 0;
      } else {
        refused++;
        LockSupport.parkNanos(5_000_000);
      }
    }
    to.configureBlocking(true);
    return new Digest(length, HexFormat.of().formatHex(sha.digest()));
  }

  /// Sends FIN.
  static void fin(SocketChannel channel) {
    try {
      channel.shutdownOutput();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// Closes with RST.
  static void reset(SocketChannel channel) {
    try {
      channel.setOption(StandardSocketOptions.SO_LINGER, 0);
      channel.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// The peer has ended it, by FIN or reset.
  static void assertEnded(SocketChannel channel) {
    ByteBuffer buffer = ByteBuffer.allocate(64 << 10);
    try {
      while (channel.read(buffer.clear()) >= 0) {
        // what came before
      }
    } catch (IOException e) {
      assertThat(e).hasMessageContaining("reset");
    }
  }

  /// The peer has reset it: whatever still comes, its end is an error and no FIN.
  static void assertReset(SocketChannel channel) {
    ByteBuffer buffer = ByteBuffer.allocate(64 << 10);
    assertThatThrownBy(
            () -> {
              while (channel.read(buffer.clear()) >= 0) {
                // what came before the reset
              }
            })
        .isInstanceOf(IOException.class)
        .hasMessageContaining("reset");
  }

  static byte[] readExactly(SocketChannel from, int length) throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate(length);
    while (buffer.hasRemaining()) {
      if (from.read(buffer) < 0) {
        throw new IOException("FIN after " + buffer.position() + " of " + length + " bytes");
      }
    }
    return buffer.array();
  }

  static Digest of(byte[]... parts) {
    MessageDigest sha = sha256();
    long length = 0;
    for (byte[] part : parts) {
      sha.update(part);
      length += part.length;
    }
    return new Digest(length, HexFormat.of().formatHex(sha.digest()));
  }

  /// Sizes over all orders of magnitude, up to the pace's largest.
  private static int size(Random random, Pace pace) {
    double exponent = random.nextDouble() * Math.log(pace.largest());
    return Math.max(1, (int) Math.exp(exponent));
  }

  private static void rest(Random random, Pace pace) {
    if (random.nextInt(pace.pauseOneIn()) == 0) {
      LockSupport.parkNanos(random.nextInt(pace.restMicros()) * 1000L);
    }
  }

  private interface Work {
    Digest run() throws IOException;
  }

  private static CompletableFuture<Digest> begin(Work work) {
    CompletableFuture<Digest> done = new CompletableFuture<>();
    THREADS
        .newThread(() -> {
          try {
            done.complete(work.run());
          } catch (IOException | RuntimeException e) {
            done.completeExceptionally(e);
          }
        })
        .start();
    return done;
  }

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }
}
