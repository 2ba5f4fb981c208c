package io.tailwater.agent.control.capture;

import io.tailwater.agent.dataplane.gate.GatedPod;
import io.tailwater.agent.dataplane.gate.KernelConnections;
import io.tailwater.agent.dataplane.gate.ReleasableAddresses;
import io.tailwater.agent.dataplane.gate.Verdicts;
import io.tailwater.agent.dataplane.transport.AgentMark;
import io.tailwater.iptables.apply.ReleasableSet;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netlink.NetlinkPoller;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.queue.Conntrack;
import io.tailwater.iptables.queue.ConntrackEntry;
import io.tailwater.iptables.queue.EndLog;
import io.tailwater.iptables.queue.FlowTuple;
import io.tailwater.iptables.queue.PacketQueue;
import io.tailwater.iptables.queue.RawPackets;
import io.tailwater.iptables.queue.SocketBytes;
import io.tailwater.iptables.queue.SocketDiag;
import io.tailwater.iptables.rule.KernelPass;
import io.tailwater.iptables.rule.Mark;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// What the kernel pass of one pod holds in the pod's namespace: the set of addresses, the queue,
/// conntrack, the pod's sockets, and the log of how connections end. Opened before the rules that
/// need it, closed after them.
///
/// Opened and closed on the capture thread; answers and questions on the gate's; the set is changed
/// under the lock of [ReleasableAddresses].
final class PodPass
    implements Verdicts, KernelConnections, ReleasableAddresses.KernelSet, AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(PodPass.class);

  /// `net/tcp_states.h`: the only state in which neither FIN counts.
  private static final int SOCKET_ESTABLISHED = 1;

  /// `linux/netfilter/nf_conntrack_tcp.h`
  private static final int ESTABLISHED = 3;

  private static final int CLOSE_WAIT = 5;
  private static final int LAST_ACK = 6;

  private final KernelPasses all;
  private final NetworkNamespace namespace;
  private final AgentMark mark;
  private final Deque<AutoCloseable> opened = new ArrayDeque<>();
  private final ReleasableSet set;
  private final Conntrack conntrack;
  private final SocketDiag sockets;
  private final PacketQueue queue;
  private final GatedPod gated;
  private RawPackets raw;
  private int rawMark;
  private boolean complained;

  /// Opens everything; nothing is read before [#start].
  ///
  /// @throws SyscallException where the kernel lacks something, or with EBUSY while another agent
  ///   has the queue
  static PodPass open(KernelPasses all, CapturedPod pod, NetworkNamespace namespace) {
    return new PodPass(all, pod, namespace);
  }

  private PodPass(KernelPasses all, CapturedPod pod, NetworkNamespace namespace) {
    this.all = all;
    this.namespace = namespace;
    this.mark = java.util.Objects.requireNonNull(pod.guard).marks().live();
    boolean kept = false;
    try {
      Conntrack.prepare(namespace);
      set = keep(ReleasableSet.inPod(namespace, all.backend()));
      conntrack = keep(Conntrack.open(namespace));
      sockets = keep(SocketDiag.open(namespace));
      rawMark = mark.value();
      raw = RawPackets.open(namespace, Optional.of(new Mark(rawMark, -1)));
      queue =
          keep(
              PacketQueue.open(
                  namespace, KernelPass.STANDARD.queue(), KernelPass.HELD, PacketQueue.Place.POD));
      gated = all.gated(java.util.Objects.requireNonNull(pod.served), this);
      kept = true;
    } finally {
      if (!kept) {
        closeOpened();
      }
    }
  }

  private <T extends AutoCloseable> T keep(T one) {
    opened.push(one);
    return one;
  }

  GatedPod gated() {
    return gated;
  }

  /// Begins to read.
  ///
  /// @throws SyscallException with EBUSY while another agent reads how connections end
  void start(NetlinkPoller poller, PacketQueue.Packets packets) {
    keep(
        EndLog.watch(
            namespace,
            poller,
            KernelPass.STANDARD.endGroup(),
            segment -> all.ended(gated, segment),
            () -> {})); // what was lost is found missing
    queue.start(poller, packets);
  }

  PacketQueue.Counters counters() {
    return queue.counters();
  }

  /// The agent's mark may have been replaced.
  void renew() {
    if (rawMark != mark.value()) {
      int next = mark.value();
      RawPackets fresh = RawPackets.open(namespace, Optional.of(new Mark(next, -1)));
      RawPackets old = swap(fresh);
      rawMark = next;
      old.close();
    }
  }

  private synchronized RawPackets swap(RawPackets fresh) {
    RawPackets old = raw;
    raw = fresh;
    return old;
  }

  private synchronized RawPackets raw() {
    return raw;
  }

  /// What is in the set leads to the relay from now on.
  void flush() {
    answered("emptying the set", set.flush());
  }

  @Override
  public void close() {
    closeOpened();
  }

  private void closeOpened() {
    RawPackets packets = raw;
    if (packets != null) {
      packets.close();
    }
    while (!opened.isEmpty()) {
      try {
        opened.pop().close();
      } catch (Exception e) {
        LOG.error("closing what the kernel pass held in {}", namespace, e);
      }
    }
  }

  private void answered(String what, int errno) {
    if (errno != 0) {
      all.failed(what);
      if (!complained) {
        complained = true;
        LOG.warn(
            "pod {}: {}: {}",
            gated.pod().pod().ref(),
            what,
            io.tailwater.iptables.libc.Errno.describe(errno));
      }
    }
  }

  // ---- verdicts

  @Override
  public void accept(int id) {
    answered("accepting a packet", queue.accept(id));
  }

  @Override
  public void accept(int id, ByteBuffer instead) {
    answered("accepting a packet", queue.accept(id, instead));
  }

  @Override
  public void drop(int id) {
    answered("dropping a packet", queue.drop(id));
  }

  @Override
  public void release(FlowTuple tuple, int id) {
    answered("releasing a connection", queue.release(id, tuple));
  }

  @Override
  public void release(FlowTuple tuple, int id, ByteBuffer instead) {
    answered("releasing a connection", queue.release(id, tuple, instead));
  }

  @Override
  public void release(FlowTuple tuple) {
    mark(tuple, KernelPass.RELEASED);
  }

  @Override
  public void send(ByteBuffer packet) {
    answered("sending a segment", raw().send(packet));
  }

  @Override
  public void refuse(FlowTuple tuple, int id, int seq, int ack) {
    answered("refusing a connection", queue.refuse(id, tuple));
    answered("resetting a server", raw().reset(tuple, seq, ack));
  }

  @Override
  public void refuse(FlowTuple tuple, int seq, int ack) {
    mark(tuple, KernelPass.REVOKED);
    answered("resetting a server", raw().reset(tuple, seq, ack));
    destroy(tuple);
  }

  private void mark(FlowTuple tuple, Mark how) {
    try {
      conntrack.mark(tuple, how); // if it is gone, there is nothing to mark
    } catch (SyscallException e) {
      answered("marking a connection", e.errno());
    }
  }

  private void destroy(FlowTuple tuple) {
    try {
      sockets.destroy(tuple);
    } catch (SyscallException e) {
      answered("ending a socket", e.errno());
    }
  }

  @Override
  public boolean isOpen(FlowTuple tuple) {
    return find(tuple)
        .map(entry -> entry.tcpState() == ESTABLISHED || entry.tcpState() == CLOSE_WAIT)
        .orElse(false);
  }

  private Optional<ConntrackEntry> find(FlowTuple tuple) {
    try {
      return conntrack.find(tuple);
    } catch (SyscallException e) {
      answered("asking for a connection", e.errno());
      return Optional.empty();
    }
  }

  // ---- released connections

  @Override
  public Optional<Bytes> bytes(FlowTuple tuple) {
    return ofSocket(tuple).or(() -> find(tuple).map(PodPass::estimate));
  }

  private Optional<Bytes> ofSocket(FlowTuple tuple) {
    try {
      return sockets
          .bytes(tuple)
          .filter(socket -> socket.state() == SOCKET_ESTABLISHED)
          .map(PodPass::exact);
    } catch (SyscallException e) {
      answered("asking for a socket", e.errno());
      return Optional.empty();
    }
  }

  /// Its SYN was acknowledged too.
  private static Bytes exact(SocketBytes socket) {
    return new Bytes(Math.max(0, socket.acknowledged() - 1), socket.received(), true);
  }

  private static Bytes estimate(ConntrackEntry entry) {
    return new Bytes(entry.payloadUp(), entry.payloadDown(), false);
  }

  @Override
  public Map<FlowTuple, Bytes> released() {
    Map<FlowTuple, Bytes> out = new HashMap<>();
    try {
      conntrack.list(
          KernelPass.RELEASED,
          entry -> {
            if (entry.tcpState() <= LAST_ACK) {
              out.put(entry.flow(), estimate(entry));
            }
          });
    } catch (SyscallException e) {
      answered("listing connections", e.errno());
    }
    return out;
  }

  @Override
  public void end(FlowTuple tuple) {
    mark(tuple, KernelPass.REVOKED); // first, so that nothing goes on meanwhile
    destroy(tuple);
  }

  // ---- the set

  @Override
  public void add(InetAddress address, int port, long seconds) {
    int bounded = Math.clamp(seconds, 1, ReleasableSet.MOST_SECONDS);
    answered("adding to the set", set.add(List.of(element(address, port, bounded))));
  }

  @Override
  public void remove(InetAddress address, int port) {
    answered("removing from the set", set.remove(List.of(element(address, port, 1))));
  }

  private static ReleasableSet.Element element(InetAddress address, int port, int seconds) {
    return ReleasableSet.Element.of(new InetSocketAddress(address, port), seconds);
  }
}
