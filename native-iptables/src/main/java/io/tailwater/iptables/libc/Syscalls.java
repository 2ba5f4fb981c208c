package io.tailwater.iptables.libc;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import jnr.ffi.LastError;
import jnr.ffi.LibraryLoader;
import jnr.ffi.Memory;
import jnr.ffi.Pointer;
import jnr.ffi.Runtime;

/// System calls of Linux, typed. Any thread; nothing here blocks longer than the call itself.
///
/// Two kinds. Calls of the data path ([#splice], [#read], [#write], [#close], [#shutdown], [#pipe],
/// [#pipeSize], [#receive], [#receiveMessage], [#send], [#sendMessage], [#awaitReadable], [#poll],
/// [#epollWait], [#epollControl]) take and return primitives, allocate nothing and throw nothing:
/// the result is `>= 0`, or `-errno` (see [Errno]). All others throw [SyscallException] with a hint
/// for the operator.
public final class Syscalls {
  public static final int AF_INET = 2;
  public static final int AF_INET6 = 10;
  public static final int AF_NETLINK = 16;

  public static final int SOCK_STREAM = 1;
  public static final int SOCK_DGRAM = 2;
  public static final int SOCK_RAW = 3;
  public static final int SOCK_SEQPACKET = 5;
  public static final int SOCK_NONBLOCK = 0x800;
  public static final int SOCK_CLOEXEC = 0x80000;

  public static final int IPPROTO_IP = 0;
  public static final int IPPROTO_TCP = 6;
  public static final int IPPROTO_UDP = 17;
  public static final int IPPROTO_IPV6 = 41;

  /// What is sent carries its own IP header.
  public static final int IPPROTO_RAW = 255;

  public static final int SOL_SOCKET = 1;
  public static final int SO_REUSEADDR = 2;
  public static final int SO_ERROR = 4;
  public static final int SO_REUSEPORT = 15;
  public static final int SO_RCVTIMEO = 20;
  public static final int SO_SNDTIMEO = 21;

  /// Packet mark of everything the socket sends. Needs CAP_NET_ADMIN (or CAP_NET_RAW since Linux
  /// 5.17).
  public static final int SO_MARK = 36;

  /// Unsigned 64-bit cookie of the socket's network namespace (Linux 5.14).
  public static final int SO_NETNS_COOKIE = 71;

  /// Destination before REDIRECT: `getsockopt(IPPROTO_IP, 80)` fills a `sockaddr_in` of 16 bytes.
  public static final int SO_ORIGINAL_DST = 80;

  /// The same for IPv6: `getsockopt(IPPROTO_IPV6, 80)` fills a `sockaddr_in6` of 28 bytes.
  public static final int IP6T_SO_ORIGINAL_DST = 80;

  public static final int IP_TRANSPARENT = 19;
  public static final int IP_PKTINFO = 8;
  public static final int IP_RECVORIGDSTADDR = 20;
  public static final int IPV6_V6ONLY = 26;
  public static final int IPV6_PKTINFO = 50;
  public static final int IPV6_RECVORIGDSTADDR = 74;
  public static final int IPV6_TRANSPARENT = 75;

  public static final int SHUT_RD = 0;
  public static final int SHUT_WR = 1;
  public static final int SHUT_RDWR = 2;

  public static final int O_RDONLY = 0;
  public static final int O_NONBLOCK = 0x800;
  public static final int O_CLOEXEC = 0x80000;

  public static final int SPLICE_F_MOVE = 1;
  public static final int SPLICE_F_NONBLOCK = 2;
  public static final int SPLICE_F_MORE = 4;

  public static final int CLONE_NEWNS = 0x00020000;
  public static final int CLONE_NEWNET = 0x40000000;

  /// `ioctl(fd, NS_GET_NSTYPE)`: the `CLONE_NEW*` flag of a namespace descriptor; ENOTTY on any
  /// other file.
  private static final long NS_GET_NSTYPE = 0xb703;

  public static final int EPOLLIN = 0x1;
  public static final int EPOLLERR = 0x8;
  public static final int EPOLLHUP = 0x10;

  public static final int EPOLL_CTL_ADD = 1;
  public static final int EPOLL_CTL_DEL = 2;

  public static final int MSG_TRUNC = 0x20;

  private static final int MSG_PEEK = 0x2;
  private static final int MSG_DONTWAIT = 0x40;
  private static final int POLLIN = 1;
  private static final int F_SETPIPE_SZ = 1031;
  private static final int F_GETPIPE_SZ = 1032;
  private static final int MFD_CLOEXEC = 1;

  static final LibC.Calls C = load();
  static final Runtime RUNTIME = Runtime.getRuntime(C);

  /// Eight bytes per thread for `pipe2`, so that taking a pipe allocates nothing.
  private static final ThreadLocal<Pointer> TWO_INTS =
      ThreadLocal.withInitial(() -> Memory.allocateDirect(RUNTIME, 8));

  private Syscalls() {}

  /// Loads the native library and does one call of each shape that starts a thread or compiles a
  /// stub. Call it once at start, in the agent's own namespace, before anything enters another one:
  /// jnr-ffi's finalizer thread is born here, and a thread born in a pod's namespace stays there
  /// and keeps it alive.
  public static void warmUp() {
    long from = pipe(O_CLOEXEC | O_NONBLOCK);
    if (from < 0) {
      throw failure("pipe2()", (int) -from);
    }
    long to = pipe(O_CLOEXEC | O_NONBLOCK);
    if (to < 0) {
      close(readEnd(from));
      close(writeEnd(from));
      throw failure("pipe2()", (int) -to);
    }
    long moved = splice(readEnd(from), writeEnd(to), 1, SPLICE_F_NONBLOCK);
    close(readEnd(from));
    close(writeEnd(from));
    close(readEnd(to));
    close(writeEnd(to));
    // An empty pipe has nothing to move; any other answer means that arguments do not arrive as we
    // pass them.
    if (moved != -Errno.EAGAIN) {
      throw failure("splice() between empty pipes", moved < 0 ? (int) -moved : Errno.EINVAL);
    }
  }

  // Data path: result or -errno.

  /// `splice(2)` without offsets: moves up to `length` bytes from one descriptor to the other, one
  /// of which is a pipe. 0 is the end of the input.
  public static long splice(int in, int out, long length, int flags) {
    return result(C.splice(in, 0, out, 0, length, flags));
  }

  /// `read(2)` into memory outside the heap.
  public static long read(int fd, long address, long length) {
    return result(C.read(fd, address, length));
  }

  /// `recv(2)` with MSG_PEEK and MSG_DONTWAIT into memory outside the heap: the bytes stay in the
  /// socket. 0 is the end of the input.
  public static long peek(int fd, long address, long length) {
    return result(C.recv(fd, address, length, MSG_PEEK | MSG_DONTWAIT));
  }

  /// `recvfrom(2)` with MSG_DONTWAIT and the given `MSG_*` flags into memory outside the heap; the
  /// sender's address goes to `from`, which has room for `fromRoom` bytes after four bytes that
  /// hold that number (the kernel overwrites it): the caller fills them in before each call.
  public static long receive(int fd, long address, long length, int flags, long from) {
    return result(C.recvfrom(fd, address, length, flags | MSG_DONTWAIT, from + 4, from));
  }

  /// `sendto(2)` with MSG_DONTWAIT from memory outside the heap, to an address of so many bytes at
  /// `to`.
  public static long send(int fd, long address, long length, long to, int toLength) {
    return result(C.sendto(fd, address, length, MSG_DONTWAIT, to, toLength));
  }

  /// `recvmsg(2)` with MSG_DONTWAIT into the `struct msghdr` at `message`.
  public static long receiveMessage(int fd, long message) {
    return result(C.recvmsg(fd, message, MSG_DONTWAIT));
  }

  /// `sendmsg(2)` with MSG_DONTWAIT of the `struct msghdr` at `message`.
  public static long sendMessage(int fd, long message) {
    return result(C.sendmsg(fd, message, MSG_DONTWAIT));
  }

  /// `poll(2)` of one descriptor for reading: 1 when there is something (or an error) to read, 0
  /// when the time is over.
  public static long awaitReadable(int fd, int millis) {
    Pointer one = TWO_INTS.get();
    one.putInt(0, fd);
    one.putInt(4, POLLIN); // events in the lower half, what happened in the upper
    return result(C.poll(one.address(), 1, millis));
  }

  /// `poll(2)` of one descriptor without waiting: which of `events` hold now, as `EPOLL*` bits;
  /// [#EPOLLERR] and [#EPOLLHUP] are told in any case.
  public static long poll(int fd, int events) {
    Pointer one = TWO_INTS.get();
    one.putInt(0, fd);
    one.putShort(4, (short) events);
    one.putShort(6, (short) 0);
    long count = result(C.poll(one.address(), 1, 0));
    return count <= 0 ? count : one.getShort(6);
  }

  /// `epoll_wait(2)` for up to `most` events at `events`; the time is without end below 0.
  public static long epollWait(int epoll, long events, int most, int millis) {
    return result(C.epoll_wait(epoll, events, most, millis));
  }

  /// `epoll_ctl(2)` with a `struct epoll_event` at `event`.
  public static long epollControl(int epoll, int operation, int fd, long event) {
    return result(C.epoll_ctl(epoll, operation, fd, event));
  }

  /// `write(2)` from memory outside the heap. The caller's process must ignore SIGPIPE, as the JVM
  /// does.
  public static long write(int fd, long address, long length) {
    return result(C.write(fd, address, length));
  }

  /// `close(2)`. The descriptor is gone even when an error is returned: never close it again.
  public static long close(int fd) {
    return result(C.close(fd));
  }

  /// `shutdown(2)` with one of [#SHUT_RD], [#SHUT_WR], [#SHUT_RDWR].
  public static long shutdown(int fd, int how) {
    return result(C.shutdown(fd, how));
  }

  /// `pipe2(2)` with `O_*` flags. Both descriptors come packed in one non-negative long: take them
  /// apart with [#readEnd] and [#writeEnd].
  public static long pipe(int flags) {
    Pointer both = TWO_INTS.get();
    int done = C.pipe2(both.address(), flags);
    if (done < 0) {
      return -lastError();
    }
    return ((long) both.getInt(4) << 32) | both.getInt(0);
  }

  /// The reading descriptor of a successful [#pipe].
  public static int readEnd(long pipe) {
    return (int) pipe;
  }

  /// The writing descriptor of a successful [#pipe].
  public static int writeEnd(long pipe) {
    return (int) (pipe >>> 32);
  }

  /// Sets the capacity of a pipe in bytes (`F_SETPIPE_SZ`), rounded up by the kernel to a power of
  /// two pages; returns the capacity that it has now. EPERM above `fs.pipe-max-size` or beyond the
  /// user's pages, EBUSY when more is buffered than would fit.
  public static long pipeSize(int fd, int bytes) {
    return result(C.fcntl(fd, F_SETPIPE_SZ, bytes));
  }

  /// The capacity of a pipe in bytes (`F_GETPIPE_SZ`).
  public static long pipeSize(int fd) {
    return result(C.fcntl(fd, F_GETPIPE_SZ, 0));
  }

  // Everything else: throws SyscallException.

  /// `open(2)` of an existing file.
  public static int open(Path path, int flags) {
    int fd = C.open(terminated(path.toString()), flags, 0);
    if (fd < 0) {
      throw failure("open(" + path + ")", lastError());
    }
    return fd;
  }

  /// Device and inode of what a descriptor stands for: the identity of a namespace. Read through
  /// `/proc/self/fd`, because the layout of `struct stat` differs between architectures.
  public static FileIdentity identity(int fd) {
    Path link = Path.of("/proc/self/fd/" + fd);
    try {
      var attributes = Files.readAttributes(link, "unix:dev,ino");
      return new FileIdentity((Long) attributes.get("dev"), (Long) attributes.get("ino"));
    } catch (IOException e) {
      throw failure(
          "fstat(" + fd + ")", Files.exists(Path.of("/proc/self")) ? Errno.EBADF : Errno.ENOENT);
    }
  }

  /// Device and inode.
  public record FileIdentity(long device, long inode) {}

  /// Whether the descriptor stands for a network namespace, as opposed to another kind of namespace
  /// or an ordinary file.
  public static boolean isNetworkNamespace(int fd) {
    return C.ioctl(fd, NS_GET_NSTYPE, 0) == CLONE_NEWNET;
  }

  /// `setns(2)`: moves the calling platform thread. Use `NetworkNamespace`, which also comes home.
  public static void setns(int fd, int type) {
    if (C.setns(fd, type) < 0) {
      throw failure("setns(" + fd + ", " + namespaceKind(type) + ")", lastError());
    }
  }

  /// `unshare(2)` of the calling platform thread; it can never be used for anything else
  /// afterwards. For probes and tests.
  public static void unshare(int flags) {
    if (C.unshare(flags) < 0) {
      throw failure("unshare(" + namespaceKind(flags) + ")", lastError());
    }
  }

  /// `socket(2)`. The socket lives in the network namespace that the calling thread is in.
  public static int socket(int family, int type, int protocol) {
    int fd = C.socket(family, type, protocol);
    if (fd < 0) {
      throw failure("socket(" + family + ", " + (type & 0xf) + ", " + protocol + ")", lastError());
    }
    return fd;
  }

  /// `bind(2)` to an address in the layout of its family.
  public static void bind(int fd, byte[] address) {
    if (C.bind(fd, address, address.length) < 0) {
      throw failure("bind(" + fd + ")", lastError());
    }
  }

  /// `getsockname(2)`: at most `length` bytes of the address that a socket is bound to.
  public static byte[] localAddress(int fd, int length) {
    byte[] address = new byte[length];
    if (C.getsockname(fd, address, new int[] {length}) < 0) {
      throw failure("getsockname(" + fd + ")", lastError());
    }
    return address;
  }

  /// `epoll_create1(2)`, close-on-exec.
  public static int epoll() {
    int fd = C.epoll_create1(O_CLOEXEC);
    if (fd < 0) {
      throw failure("epoll_create1()", lastError());
    }
    return fd;
  }

  /// `eventfd(2)`, close-on-exec and without blocking: eight bytes of a number written make it
  /// readable.
  public static int eventDescriptor() {
    int fd = C.eventfd(0, O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
      throw failure("eventfd()", lastError());
    }
    return fd;
  }

  /// `setsockopt(2)` with an int.
  public static void setsockopt(int fd, int level, int option, int value) {
    setsockopt(
        fd,
        level,
        option,
        ByteBuffer.allocate(4).order(ByteOrder.nativeOrder()).putInt(value).array());
  }

  /// `setsockopt(2)` with a value of any layout.
  public static void setsockopt(int fd, int level, int option, byte[] value) {
    if (C.setsockopt(fd, level, option, value, value.length) < 0) {
      throw failure("setsockopt(" + fd + ", " + optionName(level, option) + ")", lastError());
    }
  }

  /// `getsockopt(2)` of an int.
  public static int getsockopt(int fd, int level, int option) {
    return ByteBuffer.wrap(getsockopt(fd, level, option, 4))
        .order(ByteOrder.nativeOrder())
        .getInt();
  }

  /// `getsockopt(2)` of any layout: at most `length` bytes, exactly as many as the kernel filled.
  public static byte[] getsockopt(int fd, int level, int option, int length) {
    byte[] value = new byte[length];
    int[] filled = {length};
    if (C.getsockopt(fd, level, option, value, filled) < 0) {
      throw failure("getsockopt(" + fd + ", " + optionName(level, option) + ")", lastError());
    }
    return filled[0] == length ? value : Arrays.copyOf(value, filled[0]);
  }

  /// `memfd_create(2)`, close-on-exec: a file that is nowhere and ends with its last descriptor.
  public static int memoryFile(String name) {
    int fd = C.memfd_create(terminated(name), MFD_CLOEXEC);
    if (fd < 0) {
      throw failure("memfd_create()", lastError());
    }
    return fd;
  }

  /// `pwrite(2)` of all the bytes, from the beginning of a file whose position stays.
  public static void writeWhole(int fd, byte[] bytes) {
    for (int done = 0; done < bytes.length; ) {
      byte[] rest = done == 0 ? bytes : Arrays.copyOfRange(bytes, done, bytes.length);
      long written = C.pwrite(fd, rest, rest.length, done);
      if (written <= 0) {
        throw failure("pwrite(" + fd + ")", written < 0 ? lastError() : Errno.EIO);
      }
      done += (int) written;
    }
  }

  /// `pread(2)` of all that a file holds, whatever its position.
  public static byte[] readWhole(int fd) {
    ByteArrayOutputStream whole = new ByteArrayOutputStream();
    byte[] part = new byte[8192];
    while (true) {
      long length = C.pread(fd, part, part.length, whole.size());
      if (length < 0) {
        throw failure("pread(" + fd + ")", lastError());
      }
      if (length == 0) {
        return whole.toByteArray();
      }
      whole.write(part, 0, (int) length);
    }
  }

  /// Number of this process.
  public static long getpid() {
    return ProcessHandle.current().pid();
  }

  /// Number of the operating system's thread behind the calling platform thread.
  public static long gettid() {
    try {
      return Long.parseLong(
          Files.readSymbolicLink(Path.of("/proc/thread-self")).getFileName().toString());
    } catch (IOException e) {
      throw new SyscallException("gettid()", Errno.ENOENT, "/proc must be mounted");
    }
  }

  /// jnr-ffi's own machine code stubs pass garbage for the sixth argument (seen with 2.3.4 on
  /// x86-64: `splice` got its flags from the stack's leftovers). Its other way, through jffi, is
  /// right and costs 25 ns more per call.
  private static LibC.Calls load() {
    if (System.getProperty("jnr.ffi.x86asm.enabled") == null) {
      System.setProperty("jnr.ffi.x86asm.enabled", "false");
    }
    return LibraryLoader.create(LibC.Calls.class).failImmediately().load("c");
  }

  /// As C has it, with a zero byte at its end.
  static byte[] terminated(String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    return Arrays.copyOf(bytes, bytes.length + 1);
  }

  private static long result(long returned) {
    return returned >= 0 ? returned : -lastError();
  }

  static int lastError() {
    return LastError.getLastError(RUNTIME);
  }

  static SyscallException failure(String call, int errno) {
    return new SyscallException(call, errno, Hints.of(call, errno));
  }

  private static String namespaceKind(int flags) {
    return switch (flags) {
      case CLONE_NEWNET -> "CLONE_NEWNET";
      case CLONE_NEWNS -> "CLONE_NEWNS";
      default -> "0x" + Integer.toHexString(flags);
    };
  }

  private static String optionName(int level, int option) {
    if (level == SOL_SOCKET && option == SO_MARK) {
      return "SO_MARK";
    }
    if (level == IPPROTO_IP && option == IP_TRANSPARENT) {
      return "IP_TRANSPARENT";
    }
    if (level == IPPROTO_IPV6 && option == IPV6_TRANSPARENT) {
      return "IPV6_TRANSPARENT";
    }
    if ((level == IPPROTO_IP || level == IPPROTO_IPV6) && option == SO_ORIGINAL_DST) {
      return "SO_ORIGINAL_DST";
    }
    return "level " + level + ", option " + option;
  }
}
