package io.tailwater.agent.control.capture;

import io.tailwater.agent.traffic.PodRef;
import io.tailwater.iptables.apply.NodeTrafficRules;
import io.tailwater.iptables.netlink.Link;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.Drift;
import io.tailwater.iptables.rule.NodePlan;
import io.tailwater.iptables.rule.StandingPods.StandingPod;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// What is kept on the node of pods that were let go of while their rules have to stay, also by an
/// agent before: until they are captured anew, or their interface is gone. An agent before has
/// written them down ([LeftPods]); where that is lost, the rules in the kernel tell whose
/// interfaces are closed, and these stay closed. Capture thread only.
final class LingeringPods {
  private static final Logger LOG = LoggerFactory.getLogger(LingeringPods.class);

  /// Of a pod that only its rules tell of, with its interface for a name.
  private static final String UNKNOWN_NAMESPACE = "?";

  private final LeftPods file;
  private final NetworkNamespace node;
  private final NodeTrafficRules rules;
  private final Function<List<NodePlan.Pod>, NodePlan> asPlan;
  private final Function<StandingPod, CapturePlan> asClosed;
  private final List<LeftPods.Left> pods = new ArrayList<>();

  /// @param asPlan the plan of these pods alone
  /// @param asClosed the plan of a pod of which nothing is known but its rules
  LingeringPods(
      LeftPods file,
      NetworkNamespace node,
      NodeTrafficRules rules,
      Function<List<NodePlan.Pod>, NodePlan> asPlan,
      Function<StandingPod, CapturePlan> asClosed) {
    this.file = file;
    this.node = node;
    this.rules = rules;
    this.asPlan = asPlan;
    this.asClosed = asClosed;
  }

  /// What an agent before has left stays until its pods are captured: some may come late, or fail.
  ///
  /// @throws io.tailwater.iptables.apply.RulesException where the kernel's rules cannot be read
  void recall(List<Link> links) {
    if (!pods.isEmpty()) {
      return;
    }
    List<LeftPods.Left> told = file.load(links);
    if (!told.isEmpty() && isNothingInForce(told)) {
      return; // somebody has removed the rules since
    }
    pods.addAll(told);
    List<LeftPods.Left> untold = untold(told, links);
    if (!untold.isEmpty()) {
      LOG.warn(
          "stateDir does not tell (any more) whose the rules are that stand on the node for {};"
              + " they are closed until they are captured",
          untold.stream().map(one -> one.rules().interfaces().getFirst()).toList());
      pods.addAll(untold);
    }
    if (!pods.isEmpty()) {
      LOG.info(
          "the rules that an agent before has left stay until their pods are captured: {}",
          pods.stream().map(one -> one.pod().toString()).toList());
    }
  }

  private boolean isNothingInForce(List<LeftPods.Left> told) {
    NodePlan was = asPlan.apply(told.stream().map(LeftPods.Left::rules).toList());
    return rules.verify(node, was).drift() instanceof Drift.NotInstalled;
  }

  /// Those that only the kernel knows of. What passes while no agent lives has passed until now.
  private List<LeftPods.Left> untold(List<LeftPods.Left> told, List<Link> links) {
    return rules.pods(node).stream()
        .filter(pod -> !pod.failsOpen())
        .filter(pod -> links.stream().anyMatch(link -> link.name().equals(pod.interfaceName())))
        .filter(pod ->
            told.stream().noneMatch(one -> one.rules().interfaces().contains(pod.interfaceName())))
        .map(this::closed)
        .toList();
  }

  private LeftPods.Left closed(StandingPod pod) {
    return new LeftPods.Left(
        new PodRef(UNKNOWN_NAMESPACE, pod.interfaceName()),
        new NodePlan.Pod(List.of(pod.interfaceName()), pod.addresses(), asClosed.apply(pod)));
  }

  /// The rules of a pod that is let go of stay.
  void keep(PodRef pod, NodePlan.Pod itsRules) {
    pods.add(new LeftPods.Left(pod, itsRules));
  }

  void forget(PodRef pod) {
    pods.removeIf(one -> one.pod().equals(pod));
  }

  /// Adds what is still to stay beside the pods that are wanted.
  void addTo(List<NodePlan.Pod> wanted, Supplier<List<Link>> links) {
    if (pods.isEmpty()) {
      return;
    }
    List<String> there = links.get().stream().map(Link::name).toList();
    List<String> used = wanted.stream().flatMap(pod -> pod.interfaces().stream()).toList();
    pods.removeIf(pod ->
        pod.rules().interfaces().stream().noneMatch(there::contains)
            || pod.rules().interfaces().stream().anyMatch(used::contains));
    pods.forEach(pod -> wanted.add(pod.rules()));
  }

  /// Writes down what shall outlast this agent, with the pods that are captured.
  void save(List<LeftPods.Left> captured, List<Link> links) {
    List<LeftPods.Left> all = new ArrayList<>(pods);
    all.addAll(captured);
    file.save(all, links);
  }
}
