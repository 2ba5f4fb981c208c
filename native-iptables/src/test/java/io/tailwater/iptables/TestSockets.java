package io.tailwater.iptables;

import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.Syscalls;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import jnr.ffi.LastError;
import jnr.ffi.LibraryLoader;
import jnr.ffi.Pointer;
import jnr.ffi.Runtime;

/// Raw sockets for tests, so that a mark can be set before connecting and the original destination
/// be read. Blocking calls end after two seconds (EAGAIN).
public final class TestSockets {
  /// The calls that production code leaves to Netty.
  public interface SocketCalls {
    int bind(int fd, byte[] address, int length);

    int listen(int fd, int backlog);

    int accept(int fd, long address, long length);

    int connect(int fd, byte[] address, int length);

    int getsockname(int fd, byte[] address, int[] length);
  }

  private static final SocketCalls C = LibraryLoader.create(SocketCalls.class).load("c");
  private static final Runtime RUNTIME = Runtime.getRuntime(C);

  private TestSockets() {}

  /// A socket of the address's family, made in the calling thread's namespace.
  public static int socket(InetAddress address, int type) {
    int family = address instanceof Inet4Address ? Syscalls.AF_INET : Syscalls.AF_INET6;
    int fd = Syscalls.socket(family, type | Syscalls.SOCK_CLOEXEC, 0);
    byte[] twoSeconds =
        ByteBuffer.allocate(16).order(ByteOrder.nativeOrder()).putLong(2).putLong(0).array();
    Syscalls.setsockopt(fd, Syscalls.SOL_SOCKET, Syscalls.SO_RCVTIMEO, twoSeconds);
    Syscalls.setsockopt(fd, Syscalls.SOL_SOCKET, Syscalls.SO_SNDTIMEO, twoSeconds);
    return fd;
  }

  public static int listen(InetSocketAddress at) {
    int fd = socket(at.getAddress(), Syscalls.SOCK_STREAM);
    Syscalls.setsockopt(fd, Syscalls.SOL_SOCKET, Syscalls.SO_REUSEADDR, 1);
    check("bind " + at, bind(fd, at));
    check("listen", C.listen(fd, 16));
    return fd;
  }

  public static int bind(int fd, InetSocketAddress at) {
    byte[] address = encode(at);
    return result(C.bind(fd, address, address.length));
  }

  /// 0, or -errno.
  public static int connect(int fd, InetSocketAddress to) {
    byte[] address = encode(to);
    return result(C.connect(fd, address, address.length));
  }

  /// A descriptor, or -errno (EAGAIN when nobody came in two seconds).
  public static int accept(int fd) {
    return result(C.accept(fd, 0, 0));
  }

  public static InetSocketAddress originalDestination(int fd, InetAddress family) {
    return family instanceof Inet4Address
        ? decode(Syscalls.getsockopt(fd, Syscalls.IPPROTO_IP, Syscalls.SO_ORIGINAL_DST, 16))
        : decode(Syscalls.getsockopt(fd, Syscalls.IPPROTO_IPV6, Syscalls.IP6T_SO_ORIGINAL_DST, 28));
  }

  /// The buffer is a direct one.
  public static long write(int fd, ByteBuffer one) {
    return Syscalls.write(fd, Pointer.wrap(RUNTIME, one).address(), one.capacity());
  }

  /// The buffer is a direct one.
  public static long read(int fd, ByteBuffer one) {
    return Syscalls.read(fd, Pointer.wrap(RUNTIME, one).address(), one.capacity());
  }

  public static InetSocketAddress localAddress(int fd) {
    byte[] address = new byte[28];
    int[] length = {address.length};
    check("getsockname", result(C.getsockname(fd, address, length)));
    return decode(address);
  }

  private static int result(int returned) {
    return returned >= 0 ? returned : -LastError.getLastError(RUNTIME);
  }

  private static void check(String what, int returned) {
    if (returned < 0) {
      throw new IllegalStateException(what + ": " + Errno.describe(-returned));
    }
  }

  /// `struct sockaddr_in` and `sockaddr_in6`: family in host order, port in network order.
  private static byte[] encode(InetSocketAddress address) {
    boolean v4 = address.getAddress() instanceof Inet4Address;
    ByteBuffer bytes = ByteBuffer.allocate(v4 ? 16 : 28);
    bytes
        .order(ByteOrder.nativeOrder())
        .putShort((short) (v4 ? Syscalls.AF_INET : Syscalls.AF_INET6));
    bytes.order(ByteOrder.BIG_ENDIAN).putShort((short) address.getPort());
    if (!v4) {
      bytes.putInt(0);
    }
    bytes.put(address.getAddress().getAddress());
    return bytes.array();
  }

  private static InetSocketAddress decode(byte[] bytes) {
    ByteBuffer buffer = ByteBuffer.wrap(bytes);
    boolean v4 = buffer.order(ByteOrder.nativeOrder()).getShort() == Syscalls.AF_INET;
    int port = buffer.order(ByteOrder.BIG_ENDIAN).getShort() & 0xffff;
    try {
      return new InetSocketAddress(
          InetAddress.getByAddress(
              v4 ? Arrays.copyOfRange(bytes, 4, 8) : Arrays.copyOfRange(bytes, 8, 24)),
          port);
    } catch (UnknownHostException e) {
      throw new IllegalStateException(e);
    }
  }
}
