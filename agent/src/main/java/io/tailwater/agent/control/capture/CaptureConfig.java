package io.tailwater.agent.control.capture;

import io.tailwater.iptables.apply.RuleBackend;
import io.tailwater.iptables.rule.CapturePlan;
import java.util.List;
import java.util.Optional;

/// The `capture:` section. `interfaces` is empty for `auto` and is read in node mode only.
public record CaptureConfig(
    Mode mode,
    Backend backend,
    List<String> interfaces,
    boolean dns,
    Udp udp,
    boolean inbound,
    OnFailure onFailure,
    OnPolicyChange onPolicyChange) {

  /// What this version does when nothing is said.
  public static final CaptureConfig DEFAULTS =
      new CaptureConfig(
          Mode.IN_POD,
          Backend.AUTO,
          List.of(),
          true,
          Udp.AUTO,
          false,
          OnFailure.AUTO,
          OnPolicyChange.END);

  /// Where the agent itself listens on the node in [Mode#NODE].
  public static final List<Integer> NODE_PORTS =
      List.of(CapturePlan.OUTBOUND_PORT, CapturePlan.DNS_PORT);

  /// Where the rules stand.
  public enum Mode {
    /// In the pod's own network namespace.
    IN_POD,
    /// In the node's namespace, with TPROXY.
    NODE
  }

  /// Who keeps the rules.
  public enum Backend {
    /// iptables-legacy where it has rules, else iptables-nft, else what works.
    AUTO(Optional.empty()),
    IPTABLES_NFT(Optional.of(RuleBackend.IPTABLES_NFT)),
    IPTABLES_LEGACY(Optional.of(RuleBackend.IPTABLES_LEGACY)),
    NFT(Optional.of(RuleBackend.NFT));

    private final Optional<RuleBackend> forced;

    Backend(Optional<RuleBackend> forced) {
      this.forced = forced;
    }

    /// The one that is asked for, or empty where it is to be found.
    public Optional<RuleBackend> forced() {
      return forced;
    }
  }

  /// What happens to UDP.
  public enum Udp {
    /// UDP 443 is refused for pods that enforce REGISTRY_ONLY, so that clients fall back to TCP.
    AUTO,
    /// All UDP is refused, captured DNS excepted.
    ALL,
    /// UDP is left alone.
    OFF
  }

  /// What new connections meet while no agent runs.
  public enum OnFailure {
    /// The rules stay and nobody listens: they are refused.
    CLOSED,
    /// They go out unseen.
    OPEN,
    /// Closed for pods that enforce REGISTRY_ONLY, else open.
    AUTO
  }

  /// What becomes of connections of the kernel pass whose name policy allows no more.
  public enum OnPolicyChange {
    /// They are ended, at both ends.
    END,
    /// They go on to their end, like those that are relayed.
    KEEP
  }

  public CaptureConfig {
    interfaces = List.copyOf(interfaces);
  }
}
