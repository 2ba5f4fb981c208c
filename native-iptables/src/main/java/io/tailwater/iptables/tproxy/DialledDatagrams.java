package io.tailwater.iptables.tproxy;

import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.libc.Syscalls;
import io.tailwater.iptables.netlink.NetlinkPoller;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;

/// UDP that TPROXY brings to a loopback address: each packet with its sender and whom it was for
/// (`IP_RECVORIGDSTADDR`), and answers that come from there. One family, one port that is dialled.
///
/// All answers leave by one socket, however many servers are asked: it is bound to an address that
/// nobody has, and each answer names the address to come from (`IP_PKTINFO`, which IP_TRANSPARENT
/// opens for the addresses of others).
public final class DialledDatagrams implements NetlinkPoller.Polled {
  /// RFC 5737 and 3849: what is bound there receives nothing.
  private static final InetAddress NOWHERE_4 = InetAddress.ofLiteral("192.0.2.254");

  private static final InetAddress NOWHERE_6 = InetAddress.ofLiteral("2001:db8::fffe");

  /// The largest payload of a UDP packet.
  private static final int LARGEST = 65_535;

  private static final int SO_RCVBUFFORCE = 33;

  /// A thousand packets or so may wait.
  private static final int WAITING_BYTES = 1 << 20;

  private final int requests;
  private final int answers;
  private final Receiver receiver;
  private final MessageMemory in = new MessageMemory(LARGEST);

  /// Guarded by itself.
  private final MessageMemory out = new MessageMemory(LARGEST);

  private boolean closed;

  /// Takes what is received. On the poller's thread; it must not block.
  public interface Receiver {
    /// One packet, whole; the receiver's now.
    ///
    /// @param by what received it and may [#answer] it
    void received(
        DialledDatagrams by, byte[] packet, InetSocketAddress from, InetSocketAddress dialled);
  }

  private DialledDatagrams(int requests, int answers, Receiver receiver) {
    this.requests = requests;
    this.answers = answers;
    this.receiver = receiver;
  }

  /// Opens both sockets in the namespace of the calling thread; the ports may be shared with
  /// another process of the same user, which takes over.
  ///
  /// @param at where the rules lead to
  /// @param dialled the port that is dialled, from which answers come
  /// @param mark on the answers
  /// @throws SyscallException when a port cannot be had or a privilege is missing; nothing stays
  ///   open then
  public static DialledDatagrams open(
      InetSocketAddress at, int dialled, int mark, Receiver receiver) {
    boolean six = at.getAddress() instanceof Inet6Address;
    int requests = socket(at, mark);
    try {
      Syscalls.setsockopt(
          requests,
          six ? Syscalls.IPPROTO_IPV6 : Syscalls.IPPROTO_IP,
          six ? Syscalls.IPV6_RECVORIGDSTADDR : Syscalls.IP_RECVORIGDSTADDR,
          1);
      Syscalls.setsockopt(requests, Syscalls.SOL_SOCKET, SO_RCVBUFFORCE, WAITING_BYTES);
      int answers = socket(new InetSocketAddress(six ? NOWHERE_6 : NOWHERE_4, dialled), mark);
      return new DialledDatagrams(requests, answers, receiver);
    } catch (SyscallException e) {
      Syscalls.close(requests);
      throw e;
    }
  }

  private static int socket(InetSocketAddress at, int mark) {
    boolean six = at.getAddress() instanceof Inet6Address;
    int fd =
        Syscalls.socket(
            six ? Syscalls.AF_INET6 : Syscalls.AF_INET,
            Syscalls.SOCK_DGRAM | Syscalls.SOCK_CLOEXEC | Syscalls.SOCK_NONBLOCK,
            0);
    boolean kept = false;
    try {
      Syscalls.setsockopt(fd, Syscalls.SOL_SOCKET, Syscalls.SO_MARK, mark);
      Syscalls.setsockopt(fd, Syscalls.SOL_SOCKET, Syscalls.SO_REUSEADDR, 1);
      Syscalls.setsockopt(fd, Syscalls.SOL_SOCKET, Syscalls.SO_REUSEPORT, 1);
      if (six) {
        Syscalls.setsockopt(fd, Syscalls.IPPROTO_IPV6, Syscalls.IPV6_V6ONLY, 1);
        Syscalls.setsockopt(fd, Syscalls.IPPROTO_IPV6, Syscalls.IPV6_TRANSPARENT, 1);
      } else {
        Syscalls.setsockopt(fd, Syscalls.IPPROTO_IP, Syscalls.IP_TRANSPARENT, 1);
      }
      bind(fd, at);
      kept = true;
      return fd;
    } finally {
      if (!kept) {
        Syscalls.close(fd);
      }
    }
  }

  private static void bind(int fd, InetSocketAddress at) {
    try {
      Syscalls.bind(fd, MessageMemory.layout(at));
    } catch (SyscallException e) {
      throw new SyscallException(
          "bind(" + at + ", UDP)",
          e.errno(),
          e.errno() == Errno.EADDRINUSE
              ? "Another program has UDP port "
                  + at.getPort()
                  + " of all addresses of the node (see 'ss -ulnp'): let it listen on the addresses"
                  + " that it needs"
              : "");
    }
  }

  /// Sends an answer from `from`, on the port that was dialled. The number of bytes, or `-errno`.
  /// Any thread; does not block.
  public long answer(byte[] packet, InetAddress from, InetSocketAddress to) {
    synchronized (out) {
      return closed ? -Errno.EBADF : out.send(answers, packet, from, to);
    }
  }

  @Override
  public int descriptor() {
    return requests;
  }

  @Override
  public boolean receive() {
    long length = in.receive(requests);
    if (length < 0) {
      return length != -Errno.EAGAIN && length != -Errno.EBADF;
    }
    InetSocketAddress dialled = in.dialled();
    if (dialled != null && !in.isTruncated()) {
      receiver.received(this, in.packet((int) length), in.sender(), dialled);
    }
    return true;
  }

  /// Receives no more; answers may still be sent.
  @Override
  public void close() {
    Syscalls.close(requests);
  }

  /// Lets go of the socket that answers. Any thread; a second call does nothing.
  public void answerNoMore() {
    synchronized (out) {
      if (!closed) {
        closed = true;
        Syscalls.close(answers);
      }
    }
  }
}
