package io.tailwater.iptables.netlink;

import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.libc.Syscalls;
import io.tailwater.iptables.netns.NetworkNamespace;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import jnr.ffi.Memory;
import jnr.ffi.Pointer;

/// A netlink socket of one network namespace, without blocking. It lives there for ever, whichever
/// thread uses it.
///
/// One thread at a time, except that [#send] is safe beside a [NetlinkPoller] that receives: the
/// kernel takes each datagram whole. Close it through the poller where one receives from it.
///
/// Only the kernel is listened to: in a pod's namespace any process with CAP_NET_ADMIN could send
/// messages that look like the kernel's.
public final class NetlinkSocket implements AutoCloseable {
  public static final int ROUTE = 0;
  public static final int SOCK_DIAG = 4;
  public static final int NETFILTER = 12;

  /// The result of [#receive] for a message that somebody else than the kernel has sent.
  public static final int FOREIGN = 0;

  private static final int SOL_NETLINK = 270;
  private static final int NETLINK_ADD_MEMBERSHIP = 1;
  private static final int NETLINK_CAP_ACK = 10;
  private static final int SO_RCVBUFFORCE = 33;

  /// `struct sockaddr_nl`: u16 family, u16 padding, u32 port, u32 groups.
  private static final int ADDRESS = 12;

  private final int fd;
  private final int port;
  private final Pointer from = Memory.allocateDirect(NetlinkMemory.RUNTIME, 4 + ADDRESS);
  private boolean closed;

  private NetlinkSocket(int fd, int port) {
    this.fd = fd;
    this.port = port;
  }

  /// Makes a socket in a namespace. On a platform thread outside of any.
  ///
  /// @param protocol [#ROUTE], [#SOCK_DIAG], [#NETFILTER] or another of `linux/netlink.h`
  /// @param groups numbers (not bits) of the multicast groups to join, such as 7 for
  ///   NFNLGRP_NFTABLES
  /// @throws SyscallException when the kernel refuses; nothing stays open then
  public static NetlinkSocket open(NetworkNamespace namespace, int protocol, int... groups) {
    return namespace.call(() -> here(protocol, groups));
  }

  /// Makes a socket in the namespace of the calling thread.
  public static NetlinkSocket here(int protocol, int... groups) {
    int fd =
        Syscalls.socket(
            Syscalls.AF_NETLINK,
            Syscalls.SOCK_RAW | Syscalls.SOCK_CLOEXEC | Syscalls.SOCK_NONBLOCK,
            protocol);
    boolean kept = false;
    try {
      byte[] address = new byte[ADDRESS];
      ByteBuffer.wrap(address).order(ByteOrder.nativeOrder()).putShort((short) Syscalls.AF_NETLINK);
      Syscalls.bind(fd, address);
      for (int group : groups) {
        Syscalls.setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group);
      }
      // Acknowledgements need not carry the whole request back.
      Syscalls.setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);
      int port =
          ByteBuffer.wrap(Syscalls.localAddress(fd, ADDRESS))
              .order(ByteOrder.nativeOrder())
              .getInt(4);
      kept = true;
      return new NetlinkSocket(fd, port);
    } finally {
      if (!kept) {
        Syscalls.close(fd);
      }
    }
  }

  /// The number that the kernel knows this socket by: [NetlinkMessages#port] of an event that a
  /// request of this socket has caused.
  public int port() {
    return port;
  }

  /// Room for messages that have not been received, in bytes; also beyond the system's limit. What
  /// does not fit is lost, and the next reception says ENOBUFS.
  ///
  /// @throws SyscallException when the kernel refuses; the socket is closed then
  public NetlinkSocket receiveBuffer(int bytes) {
    boolean kept = false;
    try {
      Syscalls.setsockopt(fd, Syscalls.SOL_SOCKET, SO_RCVBUFFORCE, bytes);
      kept = true;
      return this;
    } finally {
      if (!kept) {
        close();
      }
    }
  }

  /// Sends all that was written, in one datagram. The number of bytes, or `-errno`; does not block.
  public long send(MessageWriter messages) {
    return Syscalls.write(fd, messages.memory().address(), messages.length());
  }

  /// Receives one datagram: its bytes, [#FOREIGN], or `-errno`: EAGAIN when there is none, ENOBUFS
  /// when some were lost, EMSGSIZE when it did not fit. Allocates nothing.
  public long receive(NetlinkMemory into) {
    from.putInt(0, ADDRESS);
    long length =
        Syscalls.receive(
            fd, into.address(), into.bytes().capacity(), Syscalls.MSG_TRUNC, from.address());
    if (length > 0 && from.getInt(4 + 4) != 0) {
      return FOREIGN;
    }
    return length > into.bytes().capacity() ? -Errno.EMSGSIZE : length;
  }

  /// Sends requests and waits until the last one is answered: acknowledged, refused, or its dump
  /// ended. Requests need the ACK or DUMP flag; `answers` is told every message that is neither.
  /// Not while a poller receives from this socket.
  ///
  /// @param lastSequence of the last request
  /// @throws SyscallException with the kernel's error of the first request that it refused, or
  ///   ETIMEDOUT
  public void ask(
      MessageWriter requests,
      int lastSequence,
      long timeoutMillis,
      NetlinkMemory memory,
      Consumer<NetlinkMessages> answers) {
    long sent = send(requests);
    if (sent < 0) {
      throw refused((int) -sent);
    }
    NetlinkMessages messages = new NetlinkMessages(memory);
    long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(timeoutMillis);
    while (true) {
      long length = receive(memory);
      if (length == -Errno.EAGAIN || length == -Errno.EINTR) {
        await(deadline);
        continue;
      }
      if (length < 0 && length != -Errno.ENOBUFS) {
        throw refused((int) -length);
      }
      messages.received((int) Math.max(length, 0));
      while (messages.next()) {
        int type = messages.type();
        if (type == NetlinkMessages.ERROR || type == NetlinkMessages.DONE) {
          if (messages.errno() != 0) {
            throw refused(messages.errno());
          }
          if (messages.sequence() == lastSequence) {
            return;
          }
        } else {
          answers.accept(messages);
        }
      }
    }
  }

  private void await(long deadline) {
    long left = deadline - System.nanoTime();
    if (left <= 0) {
      throw refused(Errno.ETIMEDOUT);
    }
    long ready = Syscalls.awaitReadable(fd, (int) Math.max(1, TimeUnit.NANOSECONDS.toMillis(left)));
    if (ready < 0 && ready != -Errno.EINTR) {
      throw refused((int) -ready);
    }
  }

  private static SyscallException refused(int errno) {
    return new SyscallException(
        "netlink request",
        errno,
        errno == Errno.EPERM ? "CAP_NET_ADMIN is needed: run as root" : "");
  }

  int descriptor() {
    return fd;
  }

  /// Idempotent.
  @Override
  public void close() {
    if (!closed) {
      closed = true;
      Syscalls.close(fd);
    }
  }
}
