package io.tailwater.agent.dataplane.gate;

import io.tailwater.iptables.queue.FlowTuple;
import java.nio.ByteBuffer;

/// What is done with held packets and with the connections that they belong to. `id` is the
/// kernel's number of a held packet; each is answered exactly once. On the gate's thread; what the
/// kernel refuses is counted there, not thrown.
public interface Verdicts {
  /// The packet goes on.
  void accept(int id);

  /// Another packet goes on in its place.
  void accept(int id, ByteBuffer instead);

  /// The packet is gone; the sender's TCP sends it again.
  void drop(int id);

  /// The connection is released that the packet belongs to, and the packet goes on.
  void release(FlowTuple tuple, int id);

  /// The connection is released, and another packet goes on in the place of this one.
  void release(FlowTuple tuple, int id, ByteBuffer instead);

  /// The connection is released; nothing of it is held. Only on the node: in a pod's namespace no
  /// connection is released but by a packet of its own, because another one may have its ends.
  void release(FlowTuple tuple);

  /// A packet of ours goes out, or to the pod, past the rules; its checksums are right.
  void send(ByteBuffer packet);

  /// The connection is denied and both ends are reset; the packet resets its sender.
  ///
  /// @param seq what the server expects next
  /// @param ack what the client has acknowledged
  void refuse(FlowTuple tuple, int id, int seq, int ack);

  /// The connection is denied and the server is reset, and the client where the kernel can; else
  /// when it sends again. Nothing of it is held.
  void refuse(FlowTuple tuple, int seq, int ack);

  /// Whether the connection was answered and is open still. Asked rarely: it waits for the kernel.
  boolean isOpen(FlowTuple tuple);
}
