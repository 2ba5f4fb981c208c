package io.tailwater.agent.control.capture;

import io.tailwater.agent.traffic.Pod;
import java.time.Instant;
import java.util.List;

/// What is captured right now, for `/pods` and readiness. Any thread; a snapshot.
public interface CapturedPods {
  /// Every pod that is wanted, captured or not, ordered by namespace and name.
  List<Status> status();

  /// One pod. `state` is one of pending, captured, failing, removed; `problem` tells why it is not
  /// captured, or is empty; `ipv6` is captured, refused, blocked (by a policy rule), uncaptured or
  /// absent; `backend` the kind of rules in force; `drift` how changes of the rules are noticed,
  /// empty while there are none; `knownBy` is how they know the agent, by its mark or by that and
  /// its control group; `guard` is `on` where nothing can get past the rules, or says what can;
  /// `grade` is `kernel` where connections may take the kernel pass, or why none can, and empty
  /// where none is asked to.
  record Status(
      Pod pod,
      String netns,
      String state,
      String problem,
      String backend,
      String ipv6,
      String drift,
      String knownBy,
      String guard,
      String grade,
      int connections,
      Instant since) {}
}
