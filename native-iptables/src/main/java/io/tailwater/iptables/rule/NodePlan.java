package io.tailwater.iptables.rule;

import java.net.Inet4Address;
import java.net.InetAddress;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/// What is captured in the node's own namespace, where the pods' traffic comes out of their
/// host-side interfaces. Both families in one plan.
///
/// @param pods each with interfaces of its own
/// @param strangers interfaces, as patterns with a final `+`, from which nothing passes unless it
///   is the interface of one of the pods
/// @param strangersFailOpen whether strangers pass while no agent lives
/// @param log the group that packets of strangers are logged to; those of pods have their plan's
/// @param answered how many DNS questions of one pod the agent answers in a second: far more do not
///   reach it, because it has one socket for all pods; empty for no such limit
public record NodePlan(
    List<Pod> pods,
    List<String> strangers,
    boolean strangersFailOpen,
    Optional<Integer> log,
    Optional<Integer> answered) {
  /// Packets that are delivered on the node although they are addressed to somebody else: a policy
  /// route leads them to the local table. None of its bits is in [#UPSTREAM] or [#ACCEPTED], or
  /// else the agent's own packets would come back to it.
  public static final Mark LOCAL = new Mark(0x200, 0x200);

  /// Packets that are refused as soon as a hook comes where refusing is possible.
  public static final Mark REFUSED = new Mark(0x800, 0x800);

  /// The agent's sockets that stand at a pod's address and dial upstreams.
  public static final Mark UPSTREAM = Mark.AGENT;

  /// The agent's sockets that stand at the dialled address and answer the pod.
  public static final Mark ACCEPTED = new Mark(0x538, 0xfff);

  /// The conntrack zone of what is between pod and agent. Between agent and server the same
  /// addresses and ports may occur once more.
  public static final int ZONE = 133;

  /// The routing table that delivers here whatever it is asked for.
  public static final int ROUTE_TABLE = 133;

  /// The preference of the rule that leads to [#ROUTE_TABLE]: before everything but `local`.
  public static final int RULE_PREFERENCE = 32;

  /// One pod.
  ///
  /// @param interfaces the host-side ends of its own interfaces, by name
  /// @param addresses what it may send from; everything else is somebody else's
  /// @param plan what becomes of its traffic; ports are those on the node's loopback
  public record Pod(List<String> interfaces, List<InetAddress> addresses, CapturePlan plan) {
    public Pod {
      interfaces = List.copyOf(interfaces);
      addresses = List.copyOf(addresses);
      interfaces.forEach(Names::checkInterface);
      if (interfaces.stream().anyMatch(name -> name.endsWith("+"))) {
        throw new IllegalArgumentException("A pod's interface is a name, not a pattern");
      }
    }

    /// Its addresses of one family.
    List<Cidr> addresses(IpFamily family) {
      return addresses.stream()
          .filter(address -> (address instanceof Inet4Address) == (family == IpFamily.V4))
          .map(address -> new Cidr(address, address.getAddress().length * 8))
          .toList();
    }
  }

  public NodePlan {
    pods = List.copyOf(pods);
    strangers = List.copyOf(strangers);
    strangers.forEach(Names::checkInterface);
    strangersFailOpen &= !strangers.isEmpty();
    if (answered.isPresent() && answered.get() < 1) {
      throw new IllegalArgumentException("At least one question is answered in a second");
    }
    if (pods.stream()
            .flatMap(pod -> pod.plan().kernelPass().stream())
            .map(pass -> pass.withBypass(false))
            .distinct()
            .count()
        > 1) {
      throw new IllegalArgumentException("The pods of a node share one queue and one log group");
    }
    Set<String> seen = new HashSet<>();
    for (Pod pod : pods) {
      for (String name : pod.interfaces()) {
        if (!seen.add(name)) {
          throw new IllegalArgumentException("Interface " + name + " belongs to two pods");
        }
      }
    }
  }

  /// A plan whose strangers are refused also while no agent lives.
  public NodePlan(List<Pod> pods, List<String> strangers, Optional<Integer> log) {
    this(pods, strangers, false, log, Optional.empty());
  }

  /// Whether an interface is one of the strangers': it matches, and is no pod's.
  public boolean isStranger(String name) {
    return strangers.stream()
            .anyMatch(pattern ->
                pattern.endsWith("+")
                    ? name.startsWith(pattern.substring(0, pattern.length() - 1))
                    : name.equals(pattern))
        && pods.stream().noneMatch(pod -> pod.interfaces().contains(name));
  }

  /// Whether anything depends on a living agent: the rules ask [AddressSet#alive].
  public boolean failsOpen() {
    return strangersFailOpen || pods.stream().anyMatch(pod -> pod.plan().failsOpen());
  }
}
