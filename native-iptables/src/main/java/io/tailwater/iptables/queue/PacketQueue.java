package io.tailwater.iptables.queue;

import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netlink.Attributes;
import io.tailwater.iptables.netlink.MessageWriter;
import io.tailwater.iptables.netlink.NetlinkMemory;
import io.tailwater.iptables.netlink.NetlinkMessages;
import io.tailwater.iptables.netlink.NetlinkPoller;
import io.tailwater.iptables.netlink.NetlinkSocket;
import io.tailwater.iptables.netlink.PacketLog;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.KernelPass;
import io.tailwater.iptables.rule.Mark;
import io.tailwater.iptables.rule.NodePlan;
import java.nio.ByteBuffer;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/// A queue of held packets of one namespace (NFQUEUE, `linux/netfilter/nfnetlink_queue.h`).
///
/// Packets come on the thread of the poller that reads it. Verdicts may be given there or on any
/// other thread, at once or later, in any order; each is one system call without waiting, and the
/// result is 0 or an error number. A packet without a verdict waits until the queue is closed; then
/// the kernel drops it, and the pod sends it again.
///
/// In a pod's namespace the SYN of connections comes by the same socket, as a log of packets that
/// have gone on, so that what is known of a connection is in the order of its packets.
///
/// The queue has one reader. Where none is, packets are dropped, or pass where the rule says
/// bypass. Flag FAIL_OPEN is never set: what does not fit is dropped and sent again.
///
/// While a small segment is held the pod's TCP may send no further one (Nagle, autocorking), so who
/// needs more of a connection drops what it has read: it comes again, with more behind it.
public final class PacketQueue implements AutoCloseable {
  /// NFNL_SUBSYS_QUEUE.
  private static final int SUBSYSTEM = 3;

  private static final int PACKET = SUBSYSTEM << 8;
  private static final int VERDICT = 1;
  private static final int CONFIG = 2;
  private static final int BATCH_VERDICT = 3;

  private static final int CONFIG_COMMAND = 1;
  private static final int CONFIG_PARAMETERS = 2;
  private static final int CONFIG_MAXIMUM = 3;
  private static final int CONFIG_MASK = 4;
  private static final int CONFIG_FLAGS = 5;
  private static final byte BIND = 1;
  private static final byte COPY_PACKET = 2;
  private static final int WHOLE_PACKETS = 0xffff;

  /// NFQA_CFG_F_GSO: several segments come as the one packet that they are.
  private static final int GSO = 4;

  private static final int A_HEADER = 1;
  private static final int A_VERDICT = 2;
  private static final int A_MARK = 3;
  private static final int A_IN = 5;
  private static final int A_OUT = 6;
  private static final int A_PAYLOAD = 10;
  private static final int A_WHOLE_LENGTH = 13;
  private static final int A_INFO = 14;

  private static final int NF_DROP = 0;
  private static final int NF_ACCEPT = 1;
  private static final int NF_REPEAT = 4;

  /// Sequences of requests: errors name them.
  private static final int ANSWERED = 1;

  /// IPv6 and TCP headers with all options.
  private static final int LOGGED_BYTES = 128;

  private static final int MARKED = 2;

  private static final int ANSWER_MILLIS = 2000;

  /// Room in the socket: a burst of hellos must not be lost while the thread is elsewhere.
  private static final int RECEIVE_BUFFER = 1 << 20;

  /// Headers of a verdict with a payload.
  private static final int VERDICT_ROOM = 256;

  private final NetlinkSocket socket;
  private final int number;
  private final Place place;
  private final MessageWriter writer = new MessageWriter(VERDICT_ROOM);
  private volatile NetlinkPoller.@Nullable Watch watch;

  /// Something came before it could be taken, and perhaps more than there was room for.
  private boolean gap;

  /// On the poller's thread.
  private boolean losing;

  private final AtomicLong received = new AtomicLong();
  private final AtomicLong lost = new AtomicLong();
  private final AtomicLong late = new AtomicLong();
  private final AtomicLong unmarked = new AtomicLong();
  private final AtomicLong failed = new AtomicLong();

  /// Where the rules stand, which is how a packet is refused.
  public enum Place {
    /// Queued in filter OUTPUT. A refused packet carries [KernelPass#REFUSED] and meets the chain
    /// again; an accepted one carries [KernelPass#JUDGED], by which its hop limit is set, or
    /// [KernelPass#JUDGED_AND_RELEASED], by which its connection is released.
    POD(
        NF_REPEAT,
        KernelPass.REFUSED.value(),
        KernelPass.JUDGED.value(),
        KernelPass.JUDGED_AND_RELEASED.value()),
    /// Queued in mangle PREROUTING. A refused packet carries [NodePlan#REFUSED] on to where
    /// refusing is possible.
    NODE(NF_ACCEPT, NodePlan.REFUSED.value(), 0, 0);

    private final int refusal;
    private final int refused;
    private final int judged;
    private final int released;

    Place(int refusal, int refused, int judged, int released) {
      this.refusal = refusal;
      this.refused = refused;
      this.judged = judged;
      this.released = released;
    }
  }

  /// Takes the packets. On the poller's thread; must not block.
  public interface Packets {
    /// One packet, valid during the call. It waits for a verdict from now on.
    void held(PacketQueue queue, QueuedPacket packet);

    /// The SYN of a connection has passed, in a pod's namespace: its packet from the IP header on,
    /// between position and limit, of which data may be missing; valid during the call.
    void begun(PacketQueue queue, ByteBuffer packet);

    /// The socket's buffer was full (ENOBUFS): the kernel has dropped packets that the pod will
    /// send again, and what was logged is lost. More may be, until [#recovered].
    void lost(PacketQueue queue);

    /// What comes from now on is without a gap again.
    void recovered(PacketQueue queue);
  }

  /// What has happened since the queue was opened.
  ///
  /// @param received packets
  /// @param lost times that packets were lost because we did not read in time
  /// @param late verdicts for packets that did not wait any more
  /// @param unmarked connections that conntrack did not know when they were to be marked: the
  ///   connection has ended, or its first packet has not left yet
  /// @param failed other errors of the kernel
  public record Counters(long received, long lost, long late, long unmarked, long failed) {}

  private PacketQueue(NetlinkSocket socket, int number, Place place) {
    this.socket = socket;
    this.number = number;
    this.place = place;
  }

  /// Becomes the reader of a queue. What comes before [#start] waits. On a platform thread outside
  /// of any namespace.
  ///
  /// @param held packets that may wait; more are dropped and sent again by the pod
  /// @throws SyscallException with EBUSY when another process (or agent) reads the queue, so try
  ///   again when it has ended; EPERM without CAP_NET_ADMIN; EOPNOTSUPP or EINVAL in a kernel
  ///   without queues
  public static PacketQueue open(
      NetworkNamespace namespace, KernelPass pass, int held, Place place) {
    NetlinkSocket socket = NetlinkSocket.open(namespace, NetlinkSocket.NETFILTER);
    boolean kept = false;
    try {
      socket.receiveBuffer(RECEIVE_BUFFER);
      PacketQueue queue = new PacketQueue(socket, pass.queue(), place);
      queue.bind(held, pass.beginGroup());
      kept = true;
      return queue;
    } finally {
      if (!kept) {
        socket.close();
      }
    }
  }

  private void bind(int held, int beginGroup) {
    MessageWriter requests = new MessageWriter(VERDICT_ROOM);
    int flags = MessageWriter.REQUEST | MessageWriter.ACK;
    requests.beginNetfilter(SUBSYSTEM, CONFIG, flags, 1, 0, number);
    requests.bytes(CONFIG_COMMAND, new byte[] {BIND, 0, 0, 2}).end();
    NetlinkMemory memory = new NetlinkMemory(NetlinkMemory.LARGEST);
    try {
      socket.ask(requests, 1, ANSWER_MILLIS, memory, _ -> {});
    } catch (SyscallException e) {
      throw taken(e);
    }
    byte[] whole = ByteBuffer.allocate(5).putInt(WHOLE_PACKETS).put(COPY_PACKET).array();
    requests.clear();
    requests.beginNetfilter(SUBSYSTEM, CONFIG, flags, 2, 0, number);
    requests.be32(CONFIG_MAXIMUM, held).be32(CONFIG_MASK, GSO).be32(CONFIG_FLAGS, GSO);
    requests.bytes(CONFIG_PARAMETERS, whole).end();
    socket.ask(requests, 2, ANSWER_MILLIS, memory, this::early);
    if (place == Place.POD) {
      PacketLog.alsoTo(socket, beginGroup, LOGGED_BYTES, memory, this::early);
    }
  }

  /// The kernel says EPERM both for a queue that is taken and for a missing capability; without the
  /// capability not even the socket's buffer could be set.
  private SyscallException taken(SyscallException e) {
    return e.errno() == Errno.EPERM || e.errno() == Errno.EBUSY
        ? new SyscallException(
            "reading queue " + number,
            Errno.EBUSY,
            "Another process reads it in this namespace: it has to end first")
        : e;
  }

  /// Came between two requests, perhaps without its bytes: the pod sends it again.
  private void early(NetlinkMessages message) {
    gap = true;
    if (message.type() == PACKET) {
      Attributes attribute = message.netfilterAttributes(new Attributes());
      while (attribute.next()) {
        if (attribute.type() == A_HEADER) {
          drop(attribute.be32());
        }
      }
    }
  }

  /// Begins to read; the queue is the poller's then, until [#close]. Once.
  ///
  /// @throws SyscallException when the kernel takes no more sockets
  public PacketQueue start(NetlinkPoller poller, Packets packets) {
    watch = poller.add(socket, new Reader(packets));
    return this;
  }

  public int number() {
    return number;
  }

  /// Any thread.
  public Counters counters() {
    return new Counters(received.get(), lost.get(), late.get(), unmarked.get(), failed.get());
  }

  /// Lets a packet pass as it is, and nothing else: the next of its connection is held again.
  public int accept(int id) {
    synchronized (guard()) {
      return send(verdict(writer.clear(), NF_ACCEPT, id, place.judged));
    }
  }

  /// Lets a packet pass with other bytes, from the IP header on, between position and limit. Its
  /// checksums (IPv4 and TCP) have to be right: the kernel repairs nothing, see [Checksums]. Not
  /// longer than the MTU: the kernel does not segment what was written anew.
  public int accept(int id, ByteBuffer packet) {
    // Rare, so it has memory of its own.
    MessageWriter large = new MessageWriter(VERDICT_ROOM + packet.remaining());
    begin(large, NF_ACCEPT, id, place.judged);
    return send(large.bytes(A_PAYLOAD, packet).end());
  }

  /// Drops a packet silently: the pod sends it again.
  public int drop(int id) {
    synchronized (guard()) {
      return send(verdict(writer.clear(), NF_DROP, id, 0));
    }
  }

  /// Drops all packets that wait with this number or an earlier one.
  public int dropUpTo(int id) {
    synchronized (guard()) {
      writer
          .clear()
          .beginNetfilter(SUBSYSTEM, BATCH_VERDICT, MessageWriter.REQUEST, ANSWERED, 0, number);
      return send(writer.be64(A_VERDICT, verdictAndId(NF_DROP, id)).end());
    }
  }

  /// Lets a connection go: its conntrack entry is marked [KernelPass#RELEASED] and the packet
  /// passes, in one system call. Nothing of it is held any more; its other held packets need an
  /// [#accept] each, in the order of their bytes.
  ///
  /// In a pod's namespace the entry is the packet's own. On the node it is the one that has these
  /// ends, which is the same, because a SYN that would make another waits in the queue. The entry
  /// must be there, which it is once the SYN has left. Otherwise the packet passes, the next one is
  /// held again, and [Counters#unmarked] rises: so release on again.
  public int release(int id, FlowTuple flow) {
    synchronized (guard()) {
      return send(verdict(released(writer.clear(), flow), NF_ACCEPT, id, place.released));
    }
  }

  private MessageWriter released(MessageWriter into, FlowTuple flow) {
    if (place == Place.NODE) {
      Conntrack.mark(into, MessageWriter.REQUEST, MARKED, flow, KernelPass.RELEASED);
    }
    return into;
  }

  /// The same with other bytes, as [#accept(int, ByteBuffer)].
  public int release(int id, FlowTuple flow, ByteBuffer packet) {
    MessageWriter large = new MessageWriter(2 * VERDICT_ROOM + packet.remaining());
    begin(released(large, flow), NF_ACCEPT, id, place.released);
    return send(large.bytes(A_PAYLOAD, packet).end());
  }

  /// Lets a connection go of which nothing is held. Not in a pod's namespace: another connection
  /// may have these ends by now.
  public int release(FlowTuple flow) {
    return mark(flow, KernelPass.RELEASED);
  }

  /// Denies a connection of which nothing is held: see [#refuse].
  public int deny(FlowTuple flow) {
    return mark(flow, KernelPass.REVOKED);
  }

  private int mark(FlowTuple flow, Mark mark) {
    synchronized (guard()) {
      Conntrack.mark(writer.clear(), MessageWriter.REQUEST, MARKED, flow, mark);
      return send(writer);
    }
  }

  /// Refuses a connection: its conntrack entry is marked [KernelPass#REVOKED], so that whatever
  /// comes in it later, from either side, is answered with a reset; and the packet itself is
  /// answered with a reset, whether or not there is an entry. The pod learns it at once
  /// (`ECONNRESET`). The server does not: send it a reset, see [RawPackets#reset].
  public int refuse(int id, FlowTuple flow) {
    synchronized (guard()) {
      Conntrack.mark(writer.clear(), MessageWriter.REQUEST, MARKED, flow, KernelPass.REVOKED);
      return send(verdict(writer, place.refusal, id, place.refused));
    }
  }

  /// The one lock that the poller's thread holds too while it is in our reader: with another there
  /// would be two orders to take them in.
  private Object guard() {
    NetlinkPoller.Watch reading = watch;
    return reading == null ? writer : reading;
  }

  private MessageWriter verdict(MessageWriter into, int verdict, int id, int mark) {
    return begin(into, verdict, id, mark).end();
  }

  /// @param mark 0: the packet's stays
  private MessageWriter begin(MessageWriter into, int verdict, int id, int mark) {
    into.beginNetfilter(SUBSYSTEM, VERDICT, MessageWriter.REQUEST, ANSWERED, 0, number);
    into.be64(A_VERDICT, verdictAndId(verdict, id));
    return mark == 0 ? into : into.be32(A_MARK, mark);
  }

  private static long verdictAndId(int verdict, int id) {
    return (long) verdict << 32 | (id & 0xffffffffL);
  }

  private int send(MessageWriter message) {
    NetlinkPoller.Watch reading = watch;
    long sent = reading == null ? socket.send(message) : reading.send(message);
    return sent < 0 ? (int) -sent : 0;
  }

  /// Reads no more. Packets that wait are dropped by the kernel, and sent again by the pod.
  /// Idempotent, any thread.
  @Override
  public void close() {
    NetlinkPoller.Watch reading = watch;
    if (reading == null) {
      socket.close();
    } else {
      reading.close();
    }
  }

  private final class Reader implements NetlinkPoller.Receiver {
    private final Packets packets;
    private final QueuedPacket packet = new QueuedPacket();
    private final Attributes attribute = new Attributes();

    Reader(Packets packets) {
      this.packets = packets;
    }

    @Override
    public void received(NetlinkMessages messages) {
      if (gap) {
        gap = false;
        losing = true;
        packets.lost(PacketQueue.this);
      }
      while (messages.next()) {
        if (messages.type() == PACKET) {
          take(messages);
        } else if (messages.type() == PacketLog.PACKET) {
          begun(messages);
        } else if (messages.type() == NetlinkMessages.ERROR) {
          error(messages);
        }
      }
    }

    private void take(NetlinkMessages message) {
      received.incrementAndGet();
      read(message);
      if (packet.mark() == place.refused) {
        // Refused before, and here again: the rule that answers it is gone.
        drop(packet.id());
      } else {
        packets.held(PacketQueue.this, packet);
      }
    }

    private void begun(NetlinkMessages message) {
      message.netfilterAttributes(attribute);
      while (attribute.next()) {
        if (attribute.type() == PacketLog.PAYLOAD) {
          packet.reset(message.memory()).payload(attribute.offset(), attribute.length());
          packets.begun(PacketQueue.this, packet.payload());
        }
      }
    }

    private void read(NetlinkMessages message) {
      packet.reset(message.memory());
      int in = 0;
      int out = 0;
      message.netfilterAttributes(attribute);
      while (attribute.next()) {
        switch (attribute.type()) {
          case A_HEADER ->
              packet.header(attribute.be32(), message.memory().get(attribute.offset() + 6));
          case A_MARK -> packet.mark(attribute.be32());
          case A_IN -> in = attribute.be32();
          case A_OUT -> out = attribute.be32();
          case A_PAYLOAD -> packet.payload(attribute.offset(), attribute.length());
          case A_WHOLE_LENGTH -> packet.whole(attribute.be32());
          case A_INFO -> packet.info(attribute.be32());
          default -> {} // hardware address, time, user
        }
      }
      packet.interfaces(in, out);
    }

    private void error(NetlinkMessages message) {
      int errno = message.errno();
      if (errno == Errno.ENOENT) {
        if (message.sequence() == MARKED) {
          unmarked.incrementAndGet();
        } else {
          late.incrementAndGet();
        }
      } else if (errno != 0) {
        failed.incrementAndGet();
      }
    }

    @Override
    public void lost() {
      lost.incrementAndGet();
      losing = true;
      packets.lost(PacketQueue.this);
    }

    @Override
    public void emptied() {
      if (losing) {
        losing = false;
        packets.recovered(PacketQueue.this);
      }
    }
  }
}
