package io.tailwater.perf.load;

import java.io.IOException;

/// Ends this process when standard input ends: the driver that held the other end is gone, however
/// it went.
final class EndWithParent {
  private EndWithParent() {}

  static void watch() {
    Thread.ofPlatform()
        .daemon()
        .name("end-with-parent")
        .start(() -> {
          try {
            while (System.in.read() >= 0) {
              // nothing is said on this pipe; only its end matters
            }
          } catch (IOException e) {
            // a broken pipe is an end, too
          }
          Runtime.getRuntime().halt(0);
        });
  }
}
