package io.tailwater.agent.control.capture;

import io.tailwater.agent.dataplane.flow.ServedPod;
import io.tailwater.agent.dataplane.gate.GatedPod;
import io.tailwater.agent.dataplane.gate.KernelConnections;
import io.tailwater.agent.dataplane.gate.ReleasableAddresses;
import io.tailwater.agent.dataplane.gate.Verdicts;
import io.tailwater.iptables.apply.ReleasableSet;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.queue.ConntrackEntry;
import io.tailwater.iptables.queue.FlowTuple;
import io.tailwater.iptables.queue.SocketBytes;
import io.tailwater.iptables.queue.SocketDiag;
import io.tailwater.iptables.rule.KernelPass;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// The kernel pass of one pod: what the gate decides for it is carried out in its [PassPlace], and
/// by the pod's own sockets.
///
/// Opened and closed on the capture thread; answers and questions on the gate's; the set is changed
/// under the lock of [ReleasableAddresses].
final class PodPass
    implements Verdicts, KernelConnections, ReleasableAddresses.KernelSet, AutoCloseable {
  /// `net/tcp_states.h`: the only state in which neither FIN counts.
  private static final int SOCKET_ESTABLISHED = 1;

  /// `linux/netfilter/nf_conntrack_tcp.h`
  private static final int ESTABLISHED = 3;

  private static final int CLOSE_WAIT = 5;

  private final PassPlace place;
  private final SocketDiag sockets;
  private final GatedPod gated;
  private final List<InetAddress> ips;

  /// Where it is in the set now, for the end. Under the lock of the addresses.
  private final Set<InetSocketAddress> inSet = new HashSet<>();

  /// @param pod the pod's own namespace, wherever the rules stand
  /// @throws SyscallException when the kernel does not tell of sockets
  PodPass(KernelPasses all, PassPlace place, ServedPod served, NetworkNamespace pod) {
    this.place = place;
    this.ips = served.pod().ips();
    this.sockets = SocketDiag.open(pod);
    this.gated = all.gated(served, this, !place.isNode());
  }

  PassPlace place() {
    return place;
  }

  GatedPod gated() {
    return gated;
  }

  List<InetAddress> ips() {
    return ips;
  }

  /// What it has in the set leads to the relay from now on. After [ReleasableAddresses#close].
  void flush() {
    inSet.forEach(one -> place.remove(elements(one, 1)));
    inSet.clear();
  }

  /// Lets go of the pod's sockets.
  @Override
  public void close() {
    sockets.close();
  }

  // ---- verdicts

  @Override
  public void accept(int id) {
    place.answered("accepting a packet", place.queue().accept(id));
  }

  @Override
  public void accept(int id, ByteBuffer instead) {
    place.answered("accepting a packet", place.queue().accept(id, instead));
  }

  @Override
  public void drop(int id) {
    place.answered("dropping a packet", place.queue().drop(id));
  }

  @Override
  public void release(FlowTuple tuple, int id) {
    place.answered("releasing a connection", place.queue().release(id, tuple));
  }

  @Override
  public void release(FlowTuple tuple, int id, ByteBuffer instead) {
    place.answered("releasing a connection", place.queue().release(id, tuple, instead));
  }

  @Override
  public void release(FlowTuple tuple) {
    place.mark(tuple, KernelPass.RELEASED);
  }

  @Override
  public void send(ByteBuffer packet) {
    place.answered("sending a segment", place.raw().send(packet));
  }

  @Override
  public void refuse(FlowTuple tuple, int id, int seq, int ack) {
    place.answered("refusing a connection", place.queue().refuse(id, tuple));
    place.answered("resetting a server", place.raw().reset(tuple, seq, ack));
  }

  @Override
  public void refuse(FlowTuple tuple, int seq, int ack) {
    place.mark(tuple, KernelPass.REVOKED);
    place.answered("resetting a server", place.raw().reset(tuple, seq, ack));
    destroy(tuple);
  }

  private void destroy(FlowTuple tuple) {
    try {
      sockets.destroy(tuple);
    } catch (SyscallException e) {
      place.answered("ending a socket", e.errno());
    }
  }

  @Override
  public boolean isOpen(FlowTuple tuple) {
    return place
        .find(tuple)
        .map(entry -> entry.tcpState() == ESTABLISHED || entry.tcpState() == CLOSE_WAIT)
        .orElse(false);
  }

  // ---- released connections

  @Override
  public Optional<Bytes> bytes(FlowTuple tuple) {
    return ofSocket(tuple).or(() -> place.find(tuple).map(PodPass::estimate));
  }

  private Optional<Bytes> ofSocket(FlowTuple tuple) {
    try {
      return sockets
          .bytes(tuple)
          .filter(socket -> socket.state() == SOCKET_ESTABLISHED)
          .map(PodPass::exact);
    } catch (SyscallException e) {
      place.answered("asking for a socket", e.errno());
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
  public SocketDiag.Sent sent(FlowTuple tuple) {
    return sockets.sent(tuple);
  }

  @Override
  public Map<FlowTuple, Bytes> released() {
    Map<FlowTuple, Bytes> out = new HashMap<>();
    for (ConntrackEntry entry : place.released()) {
      if (!place.isNode() || ips.contains(entry.flow().sourceAddress())) {
        out.put(entry.flow(), estimate(entry));
      }
    }
    return out;
  }

  @Override
  public void end(FlowTuple tuple) {
    place.mark(tuple, KernelPass.REVOKED); // first, so that nothing goes on meanwhile
    destroy(tuple);
  }

  // ---- the set

  @Override
  public void add(InetAddress address, int port, long seconds) {
    InetSocketAddress to = new InetSocketAddress(address, port);
    inSet.add(to);
    place.add(elements(to, Math.clamp(seconds, 1, ReleasableSet.MOST_SECONDS)));
  }

  @Override
  public void remove(InetAddress address, int port) {
    InetSocketAddress to = new InetSocketAddress(address, port);
    inSet.remove(to);
    place.remove(elements(to, 1));
  }

  /// On the node one for each of the pod's addresses of that family.
  private List<ReleasableSet.Element> elements(InetSocketAddress to, int seconds) {
    return place.isNode()
        ? ips.stream()
            .filter(ip -> ip.getClass().equals(to.getAddress().getClass()))
            .map(ip -> ReleasableSet.Element.of(ip, to, seconds))
            .toList()
        : List.of(ReleasableSet.Element.of(to, seconds));
  }
}
