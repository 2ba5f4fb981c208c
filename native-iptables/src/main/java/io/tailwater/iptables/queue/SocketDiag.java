package io.tailwater.iptables.queue;

import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.libc.Syscalls;
import io.tailwater.iptables.netlink.Attributes;
import io.tailwater.iptables.netlink.MessageWriter;
import io.tailwater.iptables.netlink.NetlinkMemory;
import io.tailwater.iptables.netlink.NetlinkMessages;
import io.tailwater.iptables.netlink.NetlinkPoller;
import io.tailwater.iptables.netlink.NetlinkSocket;
import io.tailwater.iptables.netns.NetworkNamespace;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;
import java.util.function.Consumer;

/// The TCP sockets of one namespace, a pod's own (`linux/inet_diag.h`, `linux/sock_diag.h`): end
/// one, ask for its bytes, hear of its end.
///
/// One thread at a time; each call asks the kernel and has its answer at once.
public final class SocketDiag implements AutoCloseable {
  private static final int BY_FAMILY = 20;
  private static final int DESTROY = 21;

  /// INET_DIAG_INFO: `struct tcp_info`.
  private static final int INFO = 2;

  /// `SKNLGRP_INET_TCP_DESTROY` and `SKNLGRP_INET6_TCP_DESTROY`.
  private static final int[] DESTROYED = {1, 3};

  /// `struct inet_diag_req_v2`: family, protocol, extensions, padding, u32 states, then the
  /// socket's id: be16 ports, 16 bytes for each address, u32 interface, two u32 cookie.
  private static final int REQUEST = 56;

  private static final int ID = 8;

  /// `struct inet_diag_msg`: family, state, timer, retransmissions, the id, 5 x u32.
  private static final int MESSAGE = 72;

  private static final int MESSAGE_ID = 4;

  private static final int TIMEOUT_MILLIS = 2000;
  private static final int EVENT_BUFFER = 1 << 20;

  private final NetlinkSocket socket;
  private final MessageWriter request = new MessageWriter(256);
  private final NetlinkMemory answer = new NetlinkMemory(8192);

  private SocketDiag(NetlinkSocket socket) {
    this.socket = socket;
  }

  /// On a platform thread outside of any namespace.
  public static SocketDiag open(NetworkNamespace namespace) {
    return new SocketDiag(NetlinkSocket.open(namespace, NetlinkSocket.SOCK_DIAG));
  }

  /// What became of a socket that was to be ended.
  public enum Ended {
    /// Both sides learn it at once: the pod by ECONNABORTED, the other by a reset.
    YES,
    /// There is no such socket here.
    NO_SOCKET,
    /// The kernel cannot end sockets (CONFIG_INET_DIAG_DESTROY).
    NOT_IN_THIS_KERNEL
  }

  /// Ends the pod's socket of a connection.
  ///
  /// @param flow with the pod's end as its source
  public Ended destroy(FlowTuple flow) {
    try {
      ask(DESTROY, flow, 0, _ -> {});
      return Ended.YES;
    } catch (SyscallException e) {
      return switch (e.errno()) {
        case Errno.ENOENT -> Ended.NO_SOCKET;
        case Errno.EOPNOTSUPP -> Ended.NOT_IN_THIS_KERNEL;
        default -> throw e;
      };
    }
  }

  /// What the kernel knows of the pod's socket of a connection, its bytes exactly; empty when there
  /// is none, or the kernel does not tell.
  ///
  /// @param flow with the pod's end as its source
  public Optional<SocketBytes> bytes(FlowTuple flow) {
    Found found = new Found();
    try {
      ask(BY_FAMILY, flow, 1 << (INFO - 1), found);
    } catch (SyscallException e) {
      if (e.errno() != Errno.ENOENT) {
        throw e;
      }
    }
    return found.bytes;
  }

  private static final class Found implements Consumer<NetlinkMessages> {
    private Optional<SocketBytes> bytes = Optional.empty();

    @Override
    public void accept(NetlinkMessages message) {
      bytes = read(message);
    }
  }

  private void ask(int type, FlowTuple flow, int extensions, Consumer<NetlinkMessages> answers) {
    ByteBuffer body = ByteBuffer.allocate(REQUEST);
    body.put(0, (byte) flow.family()).put(1, (byte) Syscalls.IPPROTO_TCP);
    body.put(2, (byte) extensions).putInt(4, -1);
    body.putInt(ID, flow.ports());
    flow.putAddresses(body, ID + 4, ID + 20);
    body.putInt(ID + 40, -1).putInt(ID + 44, -1);
    request.clear().begin(type, MessageWriter.REQUEST | MessageWriter.ACK, 1);
    socket.ask(request.raw(body.array()).end(), 1, TIMEOUT_MILLIS, answer, answers);
  }

  /// Has a poller tell of every TCP socket of the namespace that ends, also of those that have
  /// nothing to do with us. Nothing is told of some that are reset. On a platform thread outside of
  /// any namespace; `ended` and `lost` on the poller's.
  public static NetlinkPoller.Watch watch(
      NetworkNamespace namespace,
      NetlinkPoller poller,
      Consumer<SocketBytes> ended,
      Runnable lost) {
    NetlinkSocket socket = NetlinkSocket.open(namespace, NetlinkSocket.SOCK_DIAG, DESTROYED);
    boolean kept = false;
    try {
      socket.receiveBuffer(EVENT_BUFFER);
      NetlinkPoller.Watch watch = poller.add(socket, new Ends(ended, lost));
      kept = true;
      return watch;
    } finally {
      if (!kept) {
        socket.close();
      }
    }
  }

  private record Ends(Consumer<SocketBytes> ended, Runnable gone)
      implements NetlinkPoller.Receiver {
    @Override
    public void received(NetlinkMessages messages) {
      while (messages.next()) {
        read(messages).ifPresent(ended);
      }
    }

    @Override
    public void lost() {
      gone.run();
    }
  }

  private static Optional<SocketBytes> read(NetlinkMessages message) {
    if (message.type() != BY_FAMILY) {
      return Optional.empty();
    }
    Attributes attribute = message.attributes(MESSAGE, new Attributes());
    while (attribute.next()) {
      if (attribute.type() == INFO && attribute.length() >= SocketBytes.INFO_LENGTH) {
        return Optional.of(
            new SocketBytes(
                flow(message),
                message.ownHeader8(1),
                attribute.u64(SocketBytes.ACKNOWLEDGED),
                attribute.u64(SocketBytes.RECEIVED)));
      }
    }
    return Optional.empty();
  }

  private static FlowTuple flow(NetlinkMessages message) {
    boolean six = message.ownHeader8(0) == Syscalls.AF_INET6;
    return new FlowTuple(
        six,
        six ? be64(message, MESSAGE_ID + 4) : 0,
        six ? be64(message, MESSAGE_ID + 12) : be64(message, MESSAGE_ID + 4) >>> 32,
        six ? be64(message, MESSAGE_ID + 20) : 0,
        six ? be64(message, MESSAGE_ID + 28) : be64(message, MESSAGE_ID + 20) >>> 32,
        (int) (be64(message, MESSAGE_ID) >>> 32));
  }

  private static long be64(NetlinkMessages message, int at) {
    long first = message.ownHeader32(at) & 0xffffffffL;
    long second = message.ownHeader32(at + 4) & 0xffffffffL;
    return ByteOrder.nativeOrder() == ByteOrder.BIG_ENDIAN
        ? first << 32 | second
        : Long.reverseBytes(second << 32 | first);
  }

  @Override
  public void close() {
    socket.close();
  }
}
