package io.tailwater.agent.cli;

import io.tailwater.agent.config.AgentConfig;
import io.tailwater.agent.config.AgentConfigReader;
import io.tailwater.agent.config.ConfigProblem;
import io.tailwater.agent.control.capture.CaptureConfig;
import io.tailwater.agent.control.capture.KnownAgent;
import io.tailwater.agent.control.istio.MeshSettings;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.iptables.apply.InstallReport;
import io.tailwater.iptables.apply.NodeTrafficRules;
import io.tailwater.iptables.apply.NodeTrafficRules.Installed;
import io.tailwater.iptables.apply.NodeTrafficRules.Standing;
import io.tailwater.iptables.apply.PolicyRoutes;
import io.tailwater.iptables.apply.Processes;
import io.tailwater.iptables.apply.RuleBackend;
import io.tailwater.iptables.apply.RulePrograms;
import io.tailwater.iptables.apply.RulesException;
import io.tailwater.iptables.apply.TrafficRules;
import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netns.NetnsException;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.Drift;
import io.tailwater.iptables.rule.EarlierConnections;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.Ipv6;
import io.tailwater.iptables.rule.NamespaceRules;
import io.tailwater.iptables.rule.NodePlan;
import io.tailwater.iptables.rule.Strictness;
import io.tailwater.iptables.rule.UdpPolicy;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// `rules`: the capture rules of one namespace. 0 fine, 1 they differ or could not be changed, 2
/// bad usage, 3 a privilege or program is missing.
@Command(
    name = "rules",
    description = {
      "The capture rules of one namespace: show what they would be, apply, verify or remove them.",
      "Rules without an agent refuse what the pod sends; `remove` is the way out."
    },
    footer = {
      "%nExample: tailwater rules show",
      "         tailwater rules verify --netns /run/netns/ratings --config agent.yaml"
    },
    mixinStandardHelpOptions = true)
final class RulesCommand implements Callable<Integer> {
  /// What to do.
  enum Action {
    show,
    apply,
    verify,
    remove
  }

  @Spec private @Nullable CommandSpec spec;

  @Parameters(paramLabel = "show|apply|verify|remove", description = "What to do.")
  private Action action = Action.show;

  @Option(
      names = "--netns",
      paramLabel = "PATH",
      description = {
        "The network namespace, such as /run/netns/ratings; with --mode node that of the node",
        "(default: the one that this command runs in)."
      })
  private @Nullable Path netns;

  @Option(
      names = "--config",
      paramLabel = "FILE",
      description = "The agent's configuration, for what it says of capture.")
  private @Nullable Path config;

  @Option(
      names = "--backend",
      paramLabel = "BACKEND",
      description = "auto, iptables-nft, iptables-legacy or nft (default: as configured).")
  private String backend = "";

  @Option(
      names = "--mode",
      paramLabel = "MODE",
      description = {
        "in-pod, or node: the rules of the node's namespace for the pods that the",
        "configuration lists (default: as configured)."
      })
  private String mode = "";

  @Option(names = "--no-dns", description = "Do not capture DNS.")
  private boolean noDns;

  @Option(names = "--no-ipv6", description = "Refuse IPv6 instead of capturing it.")
  private boolean noIpv6;

  @Option(names = "--inbound", description = "With inbound capture (show only).")
  private boolean inbound;

  @Mixin private OutputOption output = new OutputOption();

  @Override
  public Integer call() {
    if (!List.of("", "in-pod", "node").contains(mode)) {
      throw usage("--mode must be in-pod or node, not \"" + mode + "\"");
    }
    if (inbound && action != Action.show) {
      throw usage(
          "only `show` takes --inbound: without the agent and its policy routes nobody would be"
              + " reached");
    }
    Optional<RuleBackend> asked =
        Backend.read(command().commandLine(), backend.isEmpty() ? "auto" : backend);
    Optional<AgentConfig> agent = Optional.empty();
    if (config != null) {
      AgentConfigReader.Loaded loaded = AgentConfigReader.read(config, System.getenv());
      for (ConfigProblem problem : loaded.problems()) {
        err().println(problem);
      }
      err().flush();
      if (loaded.config().isEmpty()) {
        return 2;
      }
      agent = loaded.config();
    }
    boolean onNode =
        mode.isEmpty()
            ? agent.filter(a -> a.capture().mode() == CaptureConfig.Mode.NODE).isPresent()
            : mode.equals("node");
    Optional<RuleBackend> forced = backend.isEmpty() ? configured(agent) : asked;
    try {
      return onNode ? onNode(agent, forced) : inPod(agent, forced);
    } catch (NetnsException e) {
      return failed(e, 1);
    } catch (SyscallException e) {
      return failed(e, e.errno() == Errno.EPERM || e.errno() == Errno.EACCES ? 3 : 1);
    } catch (RulesException e) {
      return failed(e, lacksSomething(String.valueOf(e.getMessage())) ? 3 : 1);
    }
  }

  private int inPod(Optional<AgentConfig> agent, Optional<RuleBackend> forced) {
    CapturePlan wanted = plan(agent);
    if (action == Action.show) {
      return show(
          "",
          NamespaceRules.of(wanted),
          forced.orElse(RuleBackend.IPTABLES_NFT),
          PodRules.show(wanted));
    }
    if (netns == null) {
      throw usage("--netns is missing: name the namespace, such as /run/netns/ratings");
    }
    PodRules rules = new PodRules(rules(forced));
    try (NetworkNamespace namespace = NetworkNamespace.open(netns)) {
      if (action == Action.remove) {
        return report(rules.remove(namespace));
      }
      List<CapturePlan> plans = AgentPlans.of(namespace, wanted, agent, this::say);
      Optional<String> unseen = rules.groupOutOfSight(plans.getFirst());
      if (unseen.isPresent()) {
        say(unseen.get());
        return 3;
      }
      if (action == Action.apply) {
        return report(rules.apply(namespace, plans.getFirst()));
      }
      PodRules.Difference found = rules.verify(namespace, plans);
      return drift(netns, found.drift(), found.guard());
    }
  }

  private int onNode(Optional<AgentConfig> agent, Optional<RuleBackend> forced) {
    Path path = netns == null ? Path.of("/proc/self/ns/net") : netns;
    if (action == Action.show && agent.isEmpty()) {
      return show(
          PolicyRoutes.NODE.show(),
          NamespaceRules.of(NodePods.example(plan(agent))),
          forced.orElse(RuleBackend.IPTABLES_NFT),
          "");
    }
    try (NetworkNamespace node = NetworkNamespace.open(path)) {
      if (action == Action.remove) {
        return report(new PodRules.Outcome(new NodeTrafficRules(rules(forced)).remove(node), ""));
      }
      AgentConfig listed =
          agent.orElseThrow(() -> usage("--config is missing: it lists the pods of the node"));
      CapturePlan plan = onNode(plan(agent), listed);
      NodePlan pods = NodePods.of(node, listed, plan);
      if (action == Action.show) {
        return show(
            PolicyRoutes.NODE.show(),
            NamespaceRules.of(pods),
            forced.orElse(RuleBackend.IPTABLES_NFT),
            "");
      }
      NodeTrafficRules rules = new NodeTrafficRules(rules(forced));
      if (action == Action.apply) {
        Installed installed = rules.install(node, pods);
        installed.ipv6Lacks().ifPresent(this::sayBlocked);
        return report(new PodRules.Outcome(installed.report(), ""));
      }
      Standing found = rules.verify(node, pods);
      if (!(found.drift() instanceof Drift.None) && failsOpen(plan, listed)) {
        // An agent's rules let these pods pass while none lives; what `apply` brings does not.
        found = rules.verify(node, NodePods.of(node, listed, plan.withFailsOpen(true)));
      }
      found.ipv6Lacks().ifPresent(this::sayBlocked);
      return drift(path, withBeside(found), "");
    }
  }

  private void sayBlocked(String why) {
    say("IPv6 cannot be captured on this node, so closed pods have it blocked: " + why);
  }

  private static Drift withBeside(Standing found) {
    List<String> beside = found.beside();
    if (beside.isEmpty()) {
      return found.drift();
    }
    return switch (found.drift()) {
      case Drift.Changed(List<String> lines) -> new Drift.Changed(both(lines, beside));
      case Drift.Missing(List<String> lines) -> new Drift.Missing(both(lines, beside));
      case Drift.None _, Drift.NotInstalled _ -> new Drift.Missing(beside);
    };
  }

  /// What differs from a pod's own namespace: nobody's marks come so far, and refusals are told.
  private static CapturePlan onNode(CapturePlan plan, AgentConfig agent) {
    return AgentPlans.strict(plan, Strictness.NONE, agent, isClosed(agent));
  }

  static boolean failsOpen(CapturePlan plan, AgentConfig agent) {
    return switch (agent.capture().onFailure()) {
      case CLOSED -> false;
      case OPEN -> true;
      case AUTO -> !plan.strictness().closed();
    };
  }

  static boolean isClosed(AgentConfig agent) {
    return agent.egress().mode() == EgressMode.ENFORCE
        && agent.mesh().outboundTrafficPolicy() == MeshSettings.OutboundTrafficPolicy.REGISTRY_ONLY;
  }

  private static List<String> both(List<String> first, List<String> second) {
    return Stream.concat(first.stream(), second.stream()).toList();
  }

  private static boolean lacksSomething(String message) {
    return message.contains("ermission denied")
        || message.contains("not permitted")
        || message.startsWith("No usable ");
  }

  private int failed(RuntimeException e, int code) {
    say(String.valueOf(e.getMessage()));
    return code;
  }

  private void say(String what) {
    err().println("tailwater rules: " + KnownAgent.withoutMarks(what));
    err().flush();
  }

  private static TrafficRules rules(Optional<RuleBackend> forced) {
    Processes processes = new Processes();
    return new TrafficRules(RulePrograms.detect(forced, processes), processes);
  }

  private static Optional<RuleBackend> configured(Optional<AgentConfig> agent) {
    return agent.flatMap(a -> a.capture().backend().forced());
  }

  /// As the agent would plan it for a pod whose namespace no resource singles out.
  private CapturePlan plan(Optional<AgentConfig> agent) {
    boolean closed = agent.map(RulesCommand::isClosed).orElse(false);
    CapturePlan plan =
        under(
            CapturePlan.egress(),
            agent.map(a -> a.capture().udp()).orElse(CaptureConfig.Udp.AUTO),
            closed);
    if (!noDns && agent.map(a -> a.capture().dns()).orElse(true)) {
      plan = plan.withDns(CapturePlan.DNS_PORT);
    }
    if (noIpv6) {
      plan = plan.withIpv6(Ipv6.REFUSE);
    }
    return inbound ? plan.withInbound(CapturePlan.Inbound.STANDARD) : plan;
  }

  /// What policy makes of a plan.
  static CapturePlan under(CapturePlan plan, CaptureConfig.Udp asked, boolean closed) {
    UdpPolicy udp =
        switch (asked) {
          case ALL -> UdpPolicy.ALL;
          case OFF -> UdpPolicy.OFF;
          case AUTO -> closed ? UdpPolicy.QUIC : UdpPolicy.OFF;
        };
    return plan.withUdp(udp)
        .withEarlier(closed ? EarlierConnections.CUT : EarlierConnections.SPARED);
  }

  private int show(String routes, NamespaceRules wanted, RuleBackend backend, String guard) {
    String text = routes + TrafficRules.show(wanted, backend) + guard;
    if (output.isJson()) {
      out()
          .println(
              Printed.json(json -> {
                json.writeStartObject();
                json.writeStringField("rules", text);
                json.writeEndObject();
              }));
    } else {
      out().print(text);
    }
    out().flush();
    return 0;
  }

  private int report(PodRules.Outcome outcome) {
    InstallReport report = outcome.report();
    if (output.isJson()) {
      out()
          .println(
              Printed.json(json -> {
                json.writeStartObject();
                json.writeStringField("netns", report.netns().toString());
                json.writeStringField("backend", report.backend().toString());
                json.writeArrayFieldStart("families");
                for (Map.Entry<IpFamily, InstallReport.Outcome> e : report.families().entrySet()) {
                  json.writeStartObject();
                  json.writeStringField("family", e.getKey().toString());
                  json.writeStringField(
                      "state", e.getValue().state().name().toLowerCase(Locale.ROOT));
                  json.writeStringField("detail", e.getValue().detail());
                  json.writeEndObject();
                }
                json.writeEndArray();
                json.writeArrayFieldStart("alsoRemoved");
                for (RuleBackend other : report.alsoRemoved()) {
                  json.writeString(other.toString());
                }
                json.writeEndArray();
                json.writeStringField("guard", outcome.guard());
                json.writeEndObject();
              }));
    } else {
      out().println(report);
      if (!outcome.guard().isEmpty()) {
        out().println("guard at the interfaces: " + outcome.guard());
      }
    }
    out().flush();
    return 0;
  }

  /// @param unguarded why the guard could not be looked at, or empty
  private int drift(Path namespace, Drift drift, String unguarded) {
    String state =
        switch (drift) {
          case Drift.None _ -> "as wanted";
          case Drift.NotInstalled _ -> "not installed";
          case Drift.Missing _ -> "incomplete";
          case Drift.Changed _ -> "changed";
        };
    List<String> what = AgentPlans.lines(drift).stream().map(KnownAgent::withoutMarks).toList();
    if (output.isJson()) {
      out()
          .println(
              Printed.json(json -> {
                json.writeStartObject();
                json.writeStringField("netns", namespace.toString());
                json.writeStringField("state", state);
                json.writeArrayFieldStart("differences");
                for (String line : what) {
                  json.writeString(line);
                }
                json.writeEndArray();
                json.writeStringField("unguarded", unguarded);
                json.writeEndObject();
              }));
    } else {
      out().println(namespace + ": " + state);
      what.forEach(line -> out().println("  " + line));
      if (!unguarded.isEmpty()) {
        out().println("  no guard at the interfaces: " + unguarded);
      }
    }
    out().flush();
    return drift instanceof Drift.None ? 0 : 1;
  }

  private PrintWriter out() {
    return command().commandLine().getOut();
  }

  private PrintWriter err() {
    return command().commandLine().getErr();
  }

  private CommandSpec command() {
    return Optional.ofNullable(spec).orElseThrow();
  }

  private ParameterException usage(String message) {
    return new ParameterException(command().commandLine(), message);
  }
}
