package io.tailwater.iptables.libc;

import java.util.HashMap;
import java.util.Map;

/// Error numbers of Linux (`asm-generic/errno-base.h`, `asm-generic/errno.h`): the same on x86-64
/// and arm64. Plain ints, because the data path compares them with negated results.
public final class Errno {
  public static final int EPERM = 1;
  public static final int ENOENT = 2;
  public static final int ESRCH = 3;
  public static final int EINTR = 4;
  public static final int EIO = 5;
  public static final int EBADF = 9;
  public static final int EAGAIN = 11;
  public static final int ENOMEM = 12;
  public static final int EACCES = 13;
  public static final int EFAULT = 14;
  public static final int EBUSY = 16;
  public static final int EEXIST = 17;
  public static final int ENODEV = 19;
  public static final int ENOTDIR = 20;
  public static final int EINVAL = 22;
  public static final int ENFILE = 23;
  public static final int EMFILE = 24;
  public static final int ENOTTY = 25;
  public static final int ENOSPC = 28;
  public static final int EPIPE = 32;
  public static final int ENOSYS = 38;
  public static final int ENOTSOCK = 88;
  public static final int ENOPROTOOPT = 92;
  public static final int EMSGSIZE = 90;
  public static final int EPROTONOSUPPORT = 93;
  public static final int EOPNOTSUPP = 95;
  public static final int EAFNOSUPPORT = 97;
  public static final int EADDRINUSE = 98;
  public static final int EADDRNOTAVAIL = 99;
  public static final int ENETUNREACH = 101;
  public static final int ECONNABORTED = 103;
  public static final int ECONNRESET = 104;
  public static final int ENOBUFS = 105;
  public static final int ENOTCONN = 107;
  public static final int ETIMEDOUT = 110;
  public static final int ECONNREFUSED = 111;
  public static final int EHOSTUNREACH = 113;
  public static final int EINPROGRESS = 115;
  public static final int ESTALE = 116;

  private static final Map<Integer, String> NAMES = names();

  private Errno() {}

  /// The symbolic name with the usual sentence, such as `EPERM (operation not permitted)`; `errno
  /// 200` for an unknown number.
  public static String describe(int errno) {
    return NAMES.getOrDefault(errno, "errno " + errno);
  }

  private static Map<Integer, String> names() {
    Map<Integer, String> names = new HashMap<>();
    names.put(EPERM, "EPERM (operation not permitted)");
    names.put(ENOENT, "ENOENT (no such file or entry)");
    names.put(ESRCH, "ESRCH (no such thing)");
    names.put(EINTR, "EINTR (interrupted)");
    names.put(EIO, "EIO (input/output error)");
    names.put(EBADF, "EBADF (bad descriptor)");
    names.put(EAGAIN, "EAGAIN (would block)");
    names.put(ENOMEM, "ENOMEM (out of memory)");
    names.put(EACCES, "EACCES (permission denied)");
    names.put(EFAULT, "EFAULT (bad address)");
    names.put(EBUSY, "EBUSY (busy)");
    names.put(EEXIST, "EEXIST (exists already)");
    names.put(ENODEV, "ENODEV (no such device)");
    names.put(ENOTDIR, "ENOTDIR (not a directory)");
    names.put(EINVAL, "EINVAL (invalid argument)");
    names.put(ENFILE, "ENFILE (too many open files on this machine)");
    names.put(EMFILE, "EMFILE (too many open files in this process)");
    names.put(ENOTTY, "ENOTTY (not for this kind of file)");
    names.put(ENOSPC, "ENOSPC (no space)");
    names.put(EPIPE, "EPIPE (nobody reads)");
    names.put(ENOSYS, "ENOSYS (the kernel has no such call)");
    names.put(ENOTSOCK, "ENOTSOCK (not a socket)");
    names.put(ENOPROTOOPT, "ENOPROTOOPT (no such option)");
    names.put(EMSGSIZE, "EMSGSIZE (message too long)");
    names.put(EPROTONOSUPPORT, "EPROTONOSUPPORT (protocol not supported)");
    names.put(EOPNOTSUPP, "EOPNOTSUPP (not supported)");
    names.put(EAFNOSUPPORT, "EAFNOSUPPORT (address family not supported)");
    names.put(EADDRINUSE, "EADDRINUSE (address in use)");
    names.put(EADDRNOTAVAIL, "EADDRNOTAVAIL (address not available)");
    names.put(ENETUNREACH, "ENETUNREACH (network unreachable)");
    names.put(ECONNABORTED, "ECONNABORTED (connection aborted)");
    names.put(ECONNRESET, "ECONNRESET (connection reset)");
    names.put(ENOBUFS, "ENOBUFS (no buffer space)");
    names.put(ENOTCONN, "ENOTCONN (not connected)");
    names.put(ETIMEDOUT, "ETIMEDOUT (timed out)");
    names.put(ECONNREFUSED, "ECONNREFUSED (connection refused)");
    names.put(EHOSTUNREACH, "EHOSTUNREACH (no route to host)");
    names.put(EINPROGRESS, "EINPROGRESS (in progress)");
    names.put(ESTALE, "ESTALE (not the one that was meant)");
    return Map.copyOf(names);
  }
}
