package io.tailwater.perf.load;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Locale;

/// One epoll set. The kernel's `struct epoll_event` is packed on x86-64 (12 bytes) and not
/// elsewhere (16). One thread.
final class Epoll {
  private static final int MAXIMUM = 256;
  private static final boolean PACKED =
      System.getProperty("os.arch").toLowerCase(Locale.ROOT).matches("amd64|x86_64");
  private static final int SIZE = PACKED ? 12 : 16;
  private static final int DATA = PACKED ? 4 : 8;

  private final int fd = Sys.check(Sys.C.epoll_create1(Sys.SOCK_CLOEXEC), "epoll_create1");
  private final ByteBuffer events =
      ByteBuffer.allocateDirect(MAXIMUM * SIZE).order(ByteOrder.nativeOrder());
  private final ByteBuffer one = ByteBuffer.allocateDirect(SIZE).order(ByteOrder.nativeOrder());
  private final long eventsAddress = Sys.address(events);
  private final long oneAddress = Sys.address(one);

  void add(int descriptor, int mask) {
    control(Sys.EPOLL_CTL_ADD, descriptor, mask);
  }

  void modify(int descriptor, int mask) {
    control(Sys.EPOLL_CTL_MOD, descriptor, mask);
  }

  private void control(int operation, int descriptor, int mask) {
    one.putInt(0, mask).putLong(DATA, descriptor);
    Sys.check(Sys.C.epoll_ctl(fd, operation, descriptor, oneAddress), "epoll_ctl");
  }

  /// How many descriptors are ready; 0 after the timeout or a signal.
  int await(int timeoutMillis) {
    int count = Sys.C.epoll_wait(fd, eventsAddress, MAXIMUM, timeoutMillis);
    if (count >= 0) {
      return count;
    }
    if (Sys.errno() == Sys.EINTR) {
      return 0;
    }
    throw new IllegalStateException("epoll_wait: " + Sys.reason());
  }

  int descriptor(int index) {
    return events.getInt(index * SIZE + DATA);
  }

  int mask(int index) {
    return events.getInt(index * SIZE);
  }
}
