package io.tailwater.perf.load;

import java.nio.ByteBuffer;
import jnr.ffi.LibraryLoader;
import jnr.ffi.Pointer;
import jnr.ffi.Runtime;

/// The few system calls of the generator, as libc declares them. Addresses are plain longs, so that
/// a call costs no object. A result of -1 means that {@link #errno()} holds the reason. Any thread;
/// errno is the calling thread's.
final class Sys {
  static final int EAGAIN = 11;
  static final int EINTR = 4;
  static final int EINPROGRESS = 115;

  static final int AF_INET = 2;
  static final int SOCK_STREAM = 1;
  static final int SOCK_NONBLOCK = 0x800;
  static final int SOCK_CLOEXEC = 0x80000;
  static final int SOL_SOCKET = 1;
  static final int SO_REUSEADDR = 2;
  static final int SO_REUSEPORT = 15;
  static final int SO_ERROR = 4;
  static final int IPPROTO_TCP = 6;
  static final int TCP_NODELAY = 1;
  static final int MSG_NOSIGNAL = 0x4000;

  static final int EPOLL_CTL_ADD = 1;
  static final int EPOLL_CTL_MOD = 3;
  static final int EPOLLIN = 0x1;
  static final int EPOLLOUT = 0x4;
  static final int EPOLLERR = 0x8;
  static final int EPOLLHUP = 0x10;
  static final int EPOLLET = 1 << 31;

  /// libc, one method per call. Public because jnr-ffi generates a class that implements it.
  public interface LibC {
    int socket(int domain, int type, int protocol);

    int bind(int fd, long address, int length);

    int listen(int fd, int backlog);

    int accept4(int fd, long address, long length, int flags);

    int connect(int fd, long address, int length);

    int setsockopt(int fd, int level, int option, long value, int length);

    int getsockopt(int fd, int level, int option, long value, long length);

    long recv(int fd, long buffer, long length, int flags);

    long send(int fd, long buffer, long length, int flags);

    int close(int fd);

    int epoll_create1(int flags);

    int epoll_ctl(int epoll, int operation, int fd, long event);

    int epoll_wait(int epoll, long events, int maximum, int timeoutMillis);

    String strerror(int errno);
  }

  static final LibC C = LibraryLoader.create(LibC.class).load("c");
  private static final Runtime RUNTIME = Runtime.getRuntime(C);

  private Sys() {}

  static int errno() {
    return RUNTIME.getLastError();
  }

  static String reason() {
    int errno = errno();
    return C.strerror(errno) + " (errno " + errno + ")";
  }

  /// Where byte 0 of a direct buffer lies, whatever its position; it must stay reachable while the
  /// address is used.
  static long address(ByteBuffer direct) {
    return Pointer.wrap(RUNTIME, direct.duplicate().clear()).address();
  }

  /// @throws IllegalStateException with the reason if the call failed
  static int check(int result, String what) {
    if (result < 0) {
      throw new IllegalStateException(what + ": " + reason());
    }
    return result;
  }
}
