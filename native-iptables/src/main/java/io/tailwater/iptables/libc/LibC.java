package io.tailwater.iptables.libc;

import jnr.ffi.annotations.In;
import jnr.ffi.annotations.Out;

/// The C library as jnr-ffi maps it. A Java `long` stands for `long`, `size_t`, `ssize_t` and for
/// addresses: all are 64 bits wide on the two architectures that we run on. `open`, `fcntl` and
/// `ioctl` are variadic in C; with integer arguments only, both calling conventions pass them like
/// ordinary ones.
///
/// jnr-ffi implements the interface in a class loader of its own, so the interface itself has to be
/// public; the class around it keeps it private to this package.
final class LibC {
  private LibC() {}

  /// The calls, named as in C.
  public interface Calls {
    int open(byte[] path, int flags, int mode);

    int close(int fd);

    int setns(int fd, int type);

    int unshare(int flags);

    int socket(int family, int type, int protocol);

    int setsockopt(int fd, int level, int option, byte[] value, int length);

    int getsockopt(int fd, int level, int option, byte[] value, int[] length);

    int ioctl(int fd, long request, long argument);

    int fcntl(int fd, int command, long argument);

    int pipe2(long twoInts, int flags);

    long splice(int in, long inOffset, int out, long outOffset, long length, int flags);

    long read(int fd, long address, long length);

    long write(int fd, long address, long length);

    long recv(int fd, long address, long length, int flags);

    long recvfrom(int fd, long address, long length, int flags, long from, long fromLength);

    long sendto(int fd, long address, long length, int flags, long to, long toLength);

    long recvmsg(int fd, long message, int flags);

    long sendmsg(int fd, long message, int flags);

    int bind(int fd, byte[] address, int length);

    int getsockname(int fd, byte[] address, int[] length);

    int poll(long descriptors, long count, int millis);

    int epoll_create1(int flags);

    int epoll_ctl(int epoll, int operation, int fd, long event);

    int epoll_wait(int epoll, long events, int most, int millis);

    int eventfd(int initial, int flags);

    int shutdown(int fd, int how);

    int memfd_create(byte[] name, int flags);

    long pread(int fd, @Out byte[] bytes, long length, long offset);

    long pwrite(int fd, @In byte[] bytes, long length, long offset);

    int posix_spawn(
        @Out int[] pid, byte[] path, long actions, long attributes, long arguments, long variables);

    int posix_spawn_file_actions_init(long actions);

    int posix_spawn_file_actions_adddup2(long actions, int from, int to);

    int posix_spawn_file_actions_destroy(long actions);

    int posix_spawnattr_init(long attributes);

    int posix_spawnattr_setflags(long attributes, short flags);

    int posix_spawnattr_setsigmask(long attributes, long signals);

    int posix_spawnattr_destroy(long attributes);

    int waitpid(int pid, @Out int[] status, int options);

    int kill(int pid, int signal);

    long signal(int signal, long handler);
  }

  /// What only newer versions have.
  public interface LaterCalls {
    /// glibc 2.34.
    int posix_spawn_file_actions_addclosefrom_np(long actions, int from);
  }
}
