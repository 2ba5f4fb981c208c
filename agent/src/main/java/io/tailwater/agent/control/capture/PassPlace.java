package io.tailwater.agent.control.capture;

import io.tailwater.agent.dataplane.transport.AgentMark;
import io.tailwater.iptables.apply.ReleasableSet;
import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netlink.NetlinkPoller;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.queue.Conntrack;
import io.tailwater.iptables.queue.ConntrackEntry;
import io.tailwater.iptables.queue.EndLog;
import io.tailwater.iptables.queue.EndSegment;
import io.tailwater.iptables.queue.FlowTuple;
import io.tailwater.iptables.queue.PacketQueue;
import io.tailwater.iptables.queue.QueuedPacket;
import io.tailwater.iptables.queue.RawPackets;
import io.tailwater.iptables.rule.KernelPass;
import io.tailwater.iptables.rule.Mark;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// What the kernel pass holds in a namespace with its rules, a pod's own or the node's: the set of
/// addresses, the queue, conntrack, packets in a pod's name, and the log of how connections end.
/// Opened before the rules that need it, closed after them.
///
/// Opened and closed on the capture thread; asked and answered on the gate's. The set may be
/// changed by any thread.
final class PassPlace implements PacketQueue.Packets, AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(PassPlace.class);

  /// `linux/netfilter/nf_conntrack_tcp.h`: behind it both sides have ended.
  private static final int LAST_ACK = 6;

  /// So long a list of all connections is good for every pod that asks.
  private static final long LISTED = TimeUnit.MILLISECONDS.toNanos(500);

  /// What is lost of a pod's packets is to be known, which the kernel tells of the socket only: so
  /// its buffer is full before the queue is. What the gate holds of it is bounded there.
  private static final int MOST_HELD_OF_POD = 1 << 20;

  private final KernelPasses all;
  private final NetworkNamespace namespace;
  private final PacketQueue.Place place;
  private final Optional<AgentMark> mark;
  private final Deque<AutoCloseable> opened = new ArrayDeque<>();
  private final ReleasableSet set;
  private final Conntrack conntrack;
  private final PacketQueue queue;
  private final Map<InetAddress, PodPass> byAddress = new ConcurrentHashMap<>();
  private volatile @Nullable PodPass only;
  private volatile RawPackets raw;
  private int rawMark;
  private List<ConntrackEntry> listed = List.of();
  private long listedNanos = System.nanoTime() - LISTED;
  private boolean complained;

  private PassPlace(
      KernelPasses all,
      NetworkNamespace namespace,
      PacketQueue.Place place,
      Optional<AgentMark> mark) {
    this.all = all;
    this.namespace = namespace;
    this.place = place;
    this.mark = mark;
    boolean kept = false;
    try {
      Conntrack.prepare(namespace);
      set =
          keep(
              isNode()
                  ? ReleasableSet.onNode(namespace, all.backend())
                  : ReleasableSet.inPod(namespace, all.backend()));
      conntrack = keep(Conntrack.open(namespace));
      rawMark = mark.map(AgentMark::value).orElse(0);
      raw = rawPackets();
      opened.push(() -> raw.close());
      queue =
          keep(
              PacketQueue.open(
                  namespace,
                  KernelPass.STANDARD,
                  isNode() ? KernelPass.HELD : MOST_HELD_OF_POD,
                  place));
      kept = true;
    } finally {
      if (!kept) {
        close();
      }
    }
  }

  /// In a pod's namespace.
  ///
  /// @throws SyscallException where the kernel lacks something, or with EBUSY while another agent
  ///   has the queue
  static PassPlace inPod(KernelPasses all, NetworkNamespace namespace, AgentMark mark) {
    return new PassPlace(all, namespace, PacketQueue.Place.POD, Optional.of(mark));
  }

  /// In the node's, for all pods.
  ///
  /// @throws SyscallException likewise
  static PassPlace onNode(KernelPasses all, NetworkNamespace node) {
    return new PassPlace(all, node, PacketQueue.Place.NODE, Optional.empty());
  }

  /// Begins to read.
  ///
  /// @throws SyscallException with EBUSY while another agent reads how connections end
  void start(NetlinkPoller poller) {
    keep(
        EndLog.watch(
            namespace,
            poller,
            KernelPass.STANDARD.endGroup(),
            this::ended,
            () -> {})); // what was lost is found missing
    queue.start(poller, this);
  }

  private <T extends AutoCloseable> T keep(T one) {
    opened.push(one);
    return one;
  }

  private RawPackets rawPackets() {
    return RawPackets.open(namespace, mark.map(_ -> new Mark(rawMark, -1)));
  }

  boolean isNode() {
    return place == PacketQueue.Place.NODE;
  }

  // ---- pods

  void add(PodPass pass) {
    if (isNode()) {
      pass.ips().forEach(address -> byAddress.put(address, pass));
    } else {
      only = pass;
    }
  }

  /// Whether that was the last one.
  boolean remove(PodPass pass) {
    byAddress.values().removeIf(one -> one == pass);
    only = null;
    return byAddress.isEmpty();
  }

  private @Nullable PodPass of(InetAddress address) {
    PodPass one = only;
    return one != null ? one : byAddress.get(address);
  }

  @Override
  public void held(PacketQueue from, QueuedPacket packet) {
    ByteBuffer payload = packet.payload();
    PodPass one = only;
    PodPass pass = one != null ? one : FlowTuple.sourceOfPacket(payload).map(this::of).orElse(null);
    if (pass == null) {
      answered("dropping a packet", queue.drop(packet.id())); // of a pod that is not taken yet
      return;
    }
    all.held(
        pass, packet.id(), payload, packet.checksumIsLeftToHardware(), packet.isSegmentedLater());
  }

  @Override
  public void begun(PacketQueue from, ByteBuffer packet) {
    PodPass one = only;
    if (one != null) {
      all.begun(one, packet);
    }
  }

  /// What a pod has sent it sends again. On the node nothing else is lost.
  @Override
  public void lost(PacketQueue from) {
    PodPass one = only;
    if (one != null) {
      all.lost(one);
    }
  }

  @Override
  public void recovered(PacketQueue from) {
    PodPass one = only;
    if (one != null) {
      all.recovered(one);
    }
  }

  private void ended(EndSegment segment) {
    PodPass pass = of(segment.flow().sourceAddress());
    PodPass found = pass != null ? pass : of(segment.flow().destinationAddress());
    if ((found == null || !all.ended(found, segment)) && isNode()) {
      translated(segment);
    }
  }

  /// What a server sends has the node's own address in the place of the pod's, or that of one
  /// server of a Service, where the rules are: only conntrack knows whose it is.
  private void translated(EndSegment segment) {
    find(segment.flow())
        .map(entry -> entry.flow())
        .filter(flow -> !flow.equals(segment.flow()))
        .ifPresent(flow -> {
          PodPass pass = of(flow.sourceAddress());
          if (pass != null) {
            all.ended(pass, segment.of(flow.reversed()));
          }
        });
  }

  PacketQueue.Counters counters() {
    return queue.counters();
  }

  PacketQueue queue() {
    return queue;
  }

  RawPackets raw() {
    return raw;
  }

  /// The agent's mark may have been replaced.
  void renew() {
    int next = mark.map(AgentMark::value).orElse(0);
    if (rawMark != next) {
      RawPackets before = raw;
      rawMark = next;
      raw = rawPackets();
      before.close();
    }
  }

  // ---- the set

  synchronized void add(List<ReleasableSet.Element> elements) {
    answered("adding to the set", set.add(elements));
  }

  synchronized void remove(List<ReleasableSet.Element> elements) {
    answered("removing from the set", set.remove(elements));
  }

  // ---- connections

  void mark(FlowTuple tuple, Mark how) {
    try {
      conntrack.mark(tuple, how); // if it is gone, there is nothing to mark
    } catch (SyscallException e) {
      answered("marking a connection", e.errno());
    }
  }

  Optional<ConntrackEntry> find(FlowTuple tuple) {
    try {
      return conntrack.find(tuple);
    } catch (SyscallException e) {
      answered("asking for a connection", e.errno());
      return Optional.empty();
    }
  }

  /// Those that are released and have not ended, of all pods.
  List<ConntrackEntry> released() {
    long now = System.nanoTime();
    if (now - listedNanos >= LISTED || !isNode()) {
      List<ConntrackEntry> out = new ArrayList<>();
      try {
        conntrack.list(
            KernelPass.RELEASED,
            entry -> {
              if (entry.tcpState() <= LAST_ACK) {
                out.add(entry);
              }
            });
      } catch (SyscallException e) {
        answered("listing connections", e.errno());
      }
      listed = out;
      listedNanos = now;
    }
    return listed;
  }

  /// Counts what the kernel did not do, and says it once.
  void answered(String what, int errno) {
    if (errno == 0) {
      return;
    }
    all.failed();
    if (!complained) {
      complained = true;
      LOG.warn("kernel pass in {}: {}: {}", namespace, what, Errno.describe(errno));
    }
  }

  @Override
  public void close() {
    while (!opened.isEmpty()) {
      try {
        opened.pop().close();
      } catch (Exception e) {
        LOG.error("closing what the kernel pass held in {}", namespace, e);
      }
    }
  }
}
