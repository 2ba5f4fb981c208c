package io.tailwater.iptables.rule;

import java.util.List;
import java.util.Optional;

/// How the agent is told from the pod's own programs, and what becomes of those that pretend to be
/// it or try to go round it.
///
/// @param joining a second mark of the agent's that is let past, while it changes from one to the
///   other
/// @param former marks that the agent had before: what began with them goes on, nothing new is let
///   past
/// @param cgroup the agent's control group: its mark counts only from there
/// @param closed wrong marks and forwarded packets are refused; otherwise they are captured or left
///   alone
/// @param knownProtocolsOnly everything but TCP, UDP and ICMP is refused
/// @param log the group that refusals are logged to
public record Strictness(
    Optional<Mark> joining,
    List<Mark> former,
    Optional<ControlGroup> cgroup,
    boolean closed,
    boolean knownProtocolsOnly,
    Optional<Integer> log) {
  /// Nothing is known of the agent but its mark; nothing is logged.
  public static final Strictness NONE =
      new Strictness(Optional.empty(), List.of(), Optional.empty(), false, false, Optional.empty());

  public Strictness {
    former = List.copyOf(former);
  }

  public Strictness withJoining(Mark mark) {
    return new Strictness(Optional.of(mark), former, cgroup, closed, knownProtocolsOnly, log);
  }

  public Strictness withFormer(List<Mark> marks) {
    return new Strictness(joining, marks, cgroup, closed, knownProtocolsOnly, log);
  }

  public Strictness withCgroup(Optional<ControlGroup> group) {
    return new Strictness(joining, former, group, closed, knownProtocolsOnly, log);
  }

  public Strictness withClosed(boolean yes) {
    return new Strictness(joining, former, cgroup, yes, knownProtocolsOnly, log);
  }

  public Strictness withKnownProtocolsOnly(boolean yes) {
    return new Strictness(joining, former, cgroup, closed, yes, log);
  }

  public Strictness withLog(int group) {
    return new Strictness(joining, former, cgroup, closed, knownProtocolsOnly, Optional.of(group));
  }
}
