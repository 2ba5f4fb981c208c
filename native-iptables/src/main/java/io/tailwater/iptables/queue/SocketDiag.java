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
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/// The TCP sockets of one namespace, a pod's own (`linux/inet_diag.h`, `linux/sock_diag.h`): list
/// them, end one, ask for its bytes, hear of its end.
///
/// One thread at a time; each call asks the kernel and has its answer at once.
public final class SocketDiag implements AutoCloseable {
  private static final int BY_FAMILY = 20;
  private static final int DESTROY = 21;

  /// INET_DIAG_INFO: `struct tcp_info`.
  private static final int INFO = 2;

  /// INET_DIAG_MARK: u32. The kernel tells it to who may administer the network.
  private static final int MARK = 15;

  /// `net/tcp_states.h`, a bit for each: what may still carry data, and LISTEN. Not SYN_SENT and
  /// SYN_RECV, which have carried none, nor TIME_WAIT and CLOSE.
  private static final int LIVING = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11;

  /// `SKNLGRP_INET_TCP_DESTROY` and `SKNLGRP_INET6_TCP_DESTROY`.
  private static final int[] DESTROYED = {1, 3};

  /// `struct inet_diag_req_v2`: family, protocol, extensions, padding, u32 states, then the
  /// socket's id: be16 ports, 16 bytes for each address, u32 interface, two u32 cookie.
  private static final int REQUEST = 56;

  private static final int STATES = 4;
  private static final int ID = 8;
  private static final int ID_LENGTH = 48;

  /// `struct inet_diag_msg`: family, state, timer, retransmissions, the id, 5 x u32.
  private static final int MESSAGE = 72;

  private static final int MESSAGE_ID = 4;

  /// Sequence of a question whose answer is waited for, and those of the others.
  private static final int ASKED = 1;

  private static final int FIRST_QUESTION = 2;

  /// RFC 4291, 2.5.5.2.
  private static final long MAPPED = 0xffff;

  private static final int TIMEOUT_MILLIS = 2000;

  /// What the kernel fills of a list at once.
  private static final int ANSWER = 8192;

  private static final int EVENT_BUFFER = 1 << 20;

  private final NetlinkSocket socket;
  private final MessageWriter request = new MessageWriter(256);
  private final NetlinkMemory answer = new NetlinkMemory(ANSWER);
  private final NetlinkMessages messages = new NetlinkMessages(answer);
  private int lastQuestion = FIRST_QUESTION;

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
    return destroy(request(flow, 0));
  }

  /// Ends this very socket, whatever has its ports by now.
  public Ended destroy(TcpSocket one) {
    byte[] request = request(one.family(), 0, -1);
    System.arraycopy(one.id(), 0, request, ID, ID_LENGTH);
    return destroy(request);
  }

  private Ended destroy(byte[] body) {
    try {
      ask(DESTROY, MessageWriter.ACK, body, _ -> {});
      return Ended.YES;
    } catch (SyscallException e) {
      return switch (e.errno()) {
        case Errno.ENOENT, Errno.ESTALE -> Ended.NO_SOCKET;
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
      ask(BY_FAMILY, MessageWriter.ACK, request(flow, 1 << (INFO - 1)), found);
    } catch (SyscallException e) {
      if (e.errno() != Errno.ENOENT) {
        throw e;
      }
    }
    return found.bytes;
  }

  /// What a socket has sent.
  ///
  /// @param bytes of payload, each counted once; [SocketBytes#UNKNOWN] when there is no such socket
  ///   or the kernel does not tell
  /// @param again whether its timer has run out since something was acknowledged, so that it sends
  ///   its oldest bytes again
  public record Sent(long bytes, boolean again) {
    static final Sent UNKNOWN = new Sent(SocketBytes.UNKNOWN, false);
  }

  /// What the pod's socket of a connection has sent. Asked for every connection: two system calls.
  ///
  /// @param flow with the pod's end as its source
  public Sent sent(FlowTuple flow) {
    lastQuestion = lastQuestion == Integer.MAX_VALUE ? FIRST_QUESTION : lastQuestion + 1;
    byte[] body = request(flow, 1 << (INFO - 1));
    question(BY_FAMILY, MessageWriter.REQUEST, lastQuestion, body);
    if (socket.send(request) < 0) {
      return Sent.UNKNOWN;
    }
    // The kernel has answered before it returns.
    for (long length = socket.receive(answer); length > 0; length = socket.receive(answer)) {
      messages.received((int) length);
      while (messages.next()) {
        if (messages.sequence() == lastQuestion) {
          return sent(messages);
        }
      }
    }
    return Sent.UNKNOWN;
  }

  private static Sent sent(NetlinkMessages message) {
    Attributes info = info(message);
    return info == null
        ? Sent.UNKNOWN
        : new Sent(sent(info), info.u8(SocketBytes.RETRANSMITS) != 0);
  }

  private static final class Found implements Consumer<NetlinkMessages> {
    private Optional<SocketBytes> bytes = Optional.empty();

    @Override
    public void accept(NetlinkMessages message) {
      bytes = read(message);
    }
  }

  /// The sockets of both families that listen or may still carry data.
  public List<TcpSocket> list() {
    List<TcpSocket> all = new ArrayList<>();
    for (int family : List.of(Syscalls.AF_INET, Syscalls.AF_INET6)) {
      ask(
          BY_FAMILY,
          MessageWriter.DUMP,
          request(family, 0, LIVING),
          message -> listed(message).ifPresent(all::add));
    }
    return all;
  }

  private static Optional<TcpSocket> listed(NetlinkMessages message) {
    if (message.type() != BY_FAMILY) {
      return Optional.empty();
    }
    int mark = 0;
    Attributes attribute = message.attributes(MESSAGE, new Attributes());
    while (attribute.next()) {
      if (attribute.type() == MARK) {
        mark = attribute.u32();
      }
    }
    byte[] id = new byte[ID_LENGTH];
    ByteBuffer words = ByteBuffer.wrap(id).order(ByteOrder.nativeOrder());
    while (words.hasRemaining()) {
      words.putInt(message.ownHeader32(MESSAGE_ID + words.position()));
    }
    return Optional.of(
        new TcpSocket(message.ownHeader8(0), message.ownHeader8(1), flow(message), mark, id));
  }

  /// Of one socket.
  private static byte[] request(FlowTuple flow, int extensions) {
    byte[] request = request(flow.family(), extensions, -1);
    ByteBuffer body = ByteBuffer.wrap(request);
    body.putInt(ID, flow.ports());
    flow.putAddresses(body, ID + 4, ID + 20);
    body.putInt(ID + 40, -1).putInt(ID + 44, -1);
    return request;
  }

  private static byte[] request(int family, int extensions, int states) {
    byte[] request = new byte[REQUEST];
    ByteBuffer.wrap(request)
        .order(ByteOrder.nativeOrder())
        .put(0, (byte) family)
        .put(1, (byte) Syscalls.IPPROTO_TCP)
        .put(2, (byte) extensions)
        .putInt(STATES, states);
    return request;
  }

  private void ask(int type, int flags, byte[] body, Consumer<NetlinkMessages> answers) {
    question(type, MessageWriter.REQUEST | flags, ASKED, body);
    socket.ask(request, ASKED, TIMEOUT_MILLIS, answer, answers);
  }

  private void question(int type, int flags, int sequence, byte[] body) {
    request.clear().begin(type, flags, sequence).raw(body).end();
  }

  /// Has a poller tell of every TCP socket of the namespace that ends, also of those that have
  /// nothing to do with us. Nothing is told of some that are reset. On a platform thread outside of
  /// any namespace; `ended` and `lost` on the poller's.
  public static NetlinkPoller.Watch watch(
      NetworkNamespace namespace,
      NetlinkPoller poller,
      Consumer<SocketBytes> ended,
      Runnable lost) {
    return poller.add(
        NetlinkSocket.open(namespace, NetlinkSocket.SOCK_DIAG, DESTROYED)
            .receiveBuffer(EVENT_BUFFER),
        new Ends(ended, lost));
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
    Attributes info = info(message);
    return info == null
        ? Optional.empty()
        : Optional.of(
            new SocketBytes(
                flow(message),
                message.ownHeader8(1),
                info.u64(SocketBytes.ACKNOWLEDGED),
                info.u64(SocketBytes.RECEIVED),
                sent(info)));
  }

  private static @Nullable Attributes info(NetlinkMessages message) {
    if (message.type() == BY_FAMILY) {
      Attributes attribute = message.attributes(MESSAGE, new Attributes());
      while (attribute.next()) {
        if (attribute.type() == INFO && attribute.length() >= SocketBytes.INFO_LENGTH) {
          return attribute;
        }
      }
    }
    return null;
  }

  private static long sent(Attributes info) {
    return info.length() < SocketBytes.LONGER_INFO
        ? SocketBytes.UNKNOWN
        : info.u64(SocketBytes.SENT) - info.u64(SocketBytes.SENT_AGAIN);
  }

  /// A socket of IPv6 may speak IPv4, with addresses like `::ffff:192.0.2.1`.
  private static FlowTuple flow(NetlinkMessages message) {
    boolean six = message.ownHeader8(0) == Syscalls.AF_INET6;
    long source = six ? be64(message, MESSAGE_ID + 12) : be64(message, MESSAGE_ID + 4) >>> 32;
    long destination = six ? be64(message, MESSAGE_ID + 28) : be64(message, MESSAGE_ID + 20) >>> 32;
    long sourceHigh = six ? be64(message, MESSAGE_ID + 4) : 0;
    long destinationHigh = six ? be64(message, MESSAGE_ID + 20) : 0;
    int ports = (int) (be64(message, MESSAGE_ID) >>> 32);
    return (sourceHigh | destinationHigh) == 0
            && source >>> 32 == MAPPED
            && destination >>> 32 == MAPPED
        ? new FlowTuple(false, 0, source & 0xffffffffL, 0, destination & 0xffffffffL, ports)
        : new FlowTuple(six, sourceHigh, source, destinationHigh, destination, ports);
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
