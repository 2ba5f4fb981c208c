package io.tailwater.agent.control.capture;

import io.tailwater.agent.dataplane.flow.ServedPod;
import io.tailwater.iptables.netns.NetworkNamespace;
import java.util.Collection;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/// How a pod is captured: what differs between the capture modes. [InPod] has a listener and rules
/// in each pod's namespace, [OnNode] one listener and one set of rules in the node's. Capture
/// thread only, but for [#bring].
sealed interface PodCapture permits InPod, OnNode {
  /// Brings all but the rules in place: who the pod is, its listeners. What was reached stays. Sets
  /// [CapturedPod#failure] where rules are to come all the same.
  ///
  /// @param changed is told when somebody has changed the pod's rules; on any thread
  void prepare(CapturedPod pod, NetworkNamespace namespace, Consumer<CapturedPod> changed)
      throws Exception;

  /// Brings the rules of one pod; perhaps on another thread that the capture thread waits for.
  void bring(CapturedPod pod, NetworkNamespace namespace, ServedPod served, long now);

  /// Brings what pods have in common, after all of them. Called in every round; sets
  /// [CapturedPod#failure] of the pods that it concerns.
  ///
  /// @param due the pods of this round
  void bringCommon(List<CapturedPod> due, long now);

  /// When something is to be done that is due for no single pod.
  long dueNanos(long now);

  /// Lets go of a pod.
  ///
  /// @param removeRules false where they are to stay, or have gone with the namespace
  void release(CapturedPod pod, boolean removeRules, boolean endConnections);

  /// Stops accepting the pod's connections, because another agent does. Those that are open go on.
  void handOver(CapturedPod pod);

  /// The agent before has let go of what only one can hold: it is tried again.
  void tookOver(Collection<CapturedPod> pods, long now);

  /// The agent leaves; every pod has been released or handed over.
  void leave(CaptureLoop.Leave how);

  /// After [#leave]: lets go of what keeps connections going that outlast it, once they have ended.
  /// True when nothing is left. Any platform thread, outside of any namespace.
  ///
  /// @param now also where some have not
  boolean finish(boolean now);

  /// Whether what the pod sends passes while no agent runs.
  boolean opensOnLeave(@Nullable ServedPod served);

  /// Lets what the pod sends pass from now on, by rules that stay. False where they cannot: then
  /// they have to go.
  boolean letPass(CapturedPod pod);

  /// Whether rules of inbound capture were met since it was asked last.
  boolean foundInbound();

  /// How changes of rules are noticed, for people.
  String noticed(CapturedPod pod);

  /// Repairs that a notification has led to. Any thread.
  long notifiedRepairs();

  /// Repairs that a sweep has led to. Any thread.
  long sweptRepairs();
}
