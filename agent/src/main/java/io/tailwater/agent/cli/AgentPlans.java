package io.tailwater.agent.cli;

import io.tailwater.agent.config.AgentConfig;
import io.tailwater.agent.control.capture.CaptureConfig;
import io.tailwater.agent.control.capture.KnownAgent;
import io.tailwater.iptables.netlink.PacketLog;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.Drift;
import io.tailwater.iptables.rule.Ipv6;
import io.tailwater.iptables.rule.KernelPass;
import io.tailwater.iptables.rule.Strictness;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;

/// What the `rules` command plans for a pod that an agent has captured: rules that know the agent
/// as that agent has written it down, so that they are the agent's own. Nothing is guessed from the
/// rules that are there.
final class AgentPlans {
  private AgentPlans() {}

  /// The plans under which the pod's rules are as wanted; the first is the one to apply. The others
  /// let the pod pass while no agent lives, have the kernel pass, or both marks while one is being
  /// replaced.
  ///
  /// @param say told where no agent is known, and so the public mark is planned with
  static List<CapturePlan> of(
      NetworkNamespace pod, CapturePlan plain, Optional<AgentConfig> agent, Consumer<String> say) {
    if (agent.isEmpty()) {
      say.accept(
          "without --config the agent is known by the public mark: rules of an agent that has"
              + " captured the pod are others");
      return List.of(plain);
    }
    AgentConfig config = agent.get();
    List<KnownAgent> known = known(pod, config, say);
    if (known.isEmpty()) {
      return List.of(plain);
    }
    List<CapturePlan> plans = new ArrayList<>();
    boolean closed = isClosed(known.getFirst(), config, say);
    CapturePlan policed =
        RulesCommand.under(plain, config.capture().udp(), closed)
            .withIpv6(ipv6(plain.ipv6(), known.getFirst()));
    for (KnownAgent one : known) {
      CapturePlan plan = strict(policed.withAgent(one.mark()), one.strictness(), config, closed);
      if (config.capture().inbound()) {
        plan = plan.withInbound(CapturePlan.Inbound.STANDARD);
      }
      plans.add(plan);
      boolean opens = RulesCommand.failsOpen(plan, config);
      if (opens) {
        plans.add(plan.withFailsOpen(true));
      }
      if (config.kernelPass().relayed().isEmpty()) {
        CapturePlan passing = plan.withKernelPass(KernelPass.STANDARD.withBypass(opens));
        plans.add(passing);
        plans.add(passing.withFailsOpen(opens));
      }
    }
    return plans;
  }

  /// What resources such as a Sidecar make of one pod only its agent knows.
  private static boolean isClosed(KnownAgent agent, AgentConfig config, Consumer<String> say) {
    boolean configured = RulesCommand.isClosed(config);
    boolean closed = agent.closed().orElse(configured);
    if (closed != configured) {
      say.accept(
          "by the agent's policy this pod is %s, other than by --config alone (a Sidecar,"
                  .formatted(closed ? "closed" : "open")
              + " egress.namespaces): planned with that");
    }
    return closed;
  }

  private static Ipv6 ipv6(Ipv6 asked, KnownAgent agent) {
    return switch (agent.ipv6()) {
      case "refused" -> Ipv6.REFUSE;
      case "uncaptured", "blocked" -> Ipv6.UNTOUCHED;
      default -> asked;
    };
  }

  private static List<KnownAgent> known(
      NetworkNamespace pod, AgentConfig config, Consumer<String> say) {
    String why = "no agent has captured it";
    try {
      List<KnownAgent> known = KnownAgent.of(config.stateDir(), pod.id());
      if (!known.isEmpty()) {
        return known;
      }
    } catch (IOException e) {
      why = e.toString();
    }
    say.accept(
        "stateDir %s says of %s by which mark its agent is known: nothing (%s); the public mark is"
                .formatted(config.stateDir(), pod.path(), why)
            + " planned with");
    return List.of();
  }

  /// The plan with all that keeps a pod from getting round it, as the agent's.
  static CapturePlan strict(CapturePlan plan, Strictness known, AgentConfig agent, boolean closed) {
    return plan.withStrictness(
        known
            .withClosed(closed)
            .withKnownProtocolsOnly(closed && agent.capture().udp() != CaptureConfig.Udp.OFF)
            .withLog(PacketLog.GROUP));
  }

  /// What differs, a line each.
  static List<String> lines(Drift drift) {
    return switch (drift) {
      case Drift.None _, Drift.NotInstalled _ -> List.of();
      case Drift.Missing(List<String> lines) -> lines;
      case Drift.Changed(List<String> lines) -> lines;
    };
  }
}
