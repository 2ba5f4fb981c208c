package io.tailwater.agent.control.capture;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/// Connections that wait in the queue of a listener that closes go to another one on the same port
/// (`net.ipv4.tcp_migrate_req`, Linux 5.14): that is how an agent hands over without losing one.
/// Everything in the namespace of the calling thread.
public final class QueuedConnections {
  private static final Path MIGRATE = Path.of("/proc/sys/net/ipv4/tcp_migrate_req");

  private QueuedConnections() {}

  /// From now on; false on an older kernel, or where /proc/sys is read-only: a few may be lost.
  static boolean migrate() {
    try {
      Files.writeString(MIGRATE, "1");
      return true;
    } catch (IOException _) {
      return false;
    }
  }

  /// While listeners are closed that are nobody's but the node's; then as it was.
  public static void migrateDuring(Runnable closing) {
    String before = "1";
    try {
      before = Files.readString(MIGRATE).strip();
    } catch (IOException _) {
      // migrate() will not be able to either
    }
    boolean changed = !before.equals("1") && migrate();
    try {
      closing.run();
    } finally {
      if (changed) {
        restore(before);
      }
    }
  }

  private static void restore(String before) {
    try {
      Files.writeString(MIGRATE, before);
    } catch (IOException _) {
      // what was writable a moment ago; nobody is harmed by connections that find a listener
    }
  }
}
