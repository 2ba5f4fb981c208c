package io.tailwater.agent.control.capture;

import io.tailwater.iptables.apply.InstallReport;
import io.tailwater.iptables.apply.RulesException;
import io.tailwater.iptables.apply.TrafficRules;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.NamespaceRules;
import io.tailwater.iptables.rule.ProbeRules;
import java.net.InetAddress;
import java.nio.file.Path;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Keeps the rules of the node's own namespace by which probes reach pods whose inbound is
/// captured. Others rewrite the tables there (firewalld on each reload), so they are looked at
/// again and again. Capture thread only.
final class ProbeKeeper {
  private static final Logger LOG = LoggerFactory.getLogger(ProbeKeeper.class);

  /// How often the rules are read back. The kernel would tell of changes there, but a busy node
  /// changes rules all the time.
  private static final long LOOK_NANOS = TimeUnit.SECONDS.toNanos(15);

  private static final Path HERE = Path.of("/proc/self/ns/net");

  private final TrafficRules rules;
  private @Nullable NamespaceRules inForce;
  private long nextLookNanos;
  private String problem = "";

  ProbeKeeper(TrafficRules rules) {
    this.rules = rules;
  }

  /// Brings the rules to what these pods need. Failure is told, and tried again: without them
  /// probes go through the agent as all connections do.
  void keep(Iterable<CapturedPod> pods, long now) {
    NamespaceRules wanted = wanted(pods);
    if (wanted.equals(inForce) && now - nextLookNanos < 0) {
      return;
    }
    if (inForce == null && !problem.isEmpty() && now - nextLookNanos < 0) {
      return;
    }
    nextLookNanos = now + LOOK_NANOS;
    boolean had = wanted.equals(inForce);
    try (NetworkNamespace node = NetworkNamespace.open(HERE)) {
      InstallReport report = install(node, wanted);
      boolean repaired =
          report.families().values().stream()
              .anyMatch(outcome ->
                  outcome.state() != InstallReport.State.UNCHANGED
                      && outcome.state() != InstallReport.State.SKIPPED);
      if (had && repaired) {
        LOG.warn("somebody had changed the node's rules for probes; they are back");
      }
      inForce = wanted;
      problem = "";
    } catch (RuntimeException e) {
      failed(e);
    }
  }

  private InstallReport install(NetworkNamespace node, NamespaceRules wanted) {
    try {
      return rules.install(node, wanted);
    } catch (RulesException e) {
      if (e.family().filter(IpFamily.V6::equals).isEmpty()) {
        throw e;
      }
      failed(e);
      return rules.install(node, wanted.withoutIpv6());
    }
  }

  private void failed(RuntimeException e) {
    inForce = null;
    String why = String.valueOf(e.getMessage());
    if (!why.equals(problem)) {
      LOG.error("probes of the node go through the agent: {}; trying again", why);
    }
    problem = why;
  }

  private static NamespaceRules wanted(Iterable<CapturedPod> pods) {
    SortedMap<String, InetAddress> addresses = new TreeMap<>();
    for (CapturedPod pod : pods) {
      if (pod.inboundListener != null && pod.served != null) {
        pod.served.pod().ips().forEach(ip -> addresses.put(ip.getHostAddress(), ip));
      }
    }
    return ProbeRules.of(addresses.values());
  }

  /// Takes them away, also those of an agent before.
  void remove() {
    inForce = null;
    try (NetworkNamespace node = NetworkNamespace.open(HERE)) {
      rules.remove(node);
    } catch (RuntimeException e) {
      LOG.error("the node's rules for probes could not be removed: {}", e.getMessage());
    }
  }
}
