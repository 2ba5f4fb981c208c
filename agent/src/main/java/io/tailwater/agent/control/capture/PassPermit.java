package io.tailwater.agent.control.capture;

import io.tailwater.iptables.apply.RuleBackend;
import java.util.Optional;

/// Whether connections may take the kernel pass at all, by what is configured and what the machine
/// has.
///
/// @param asked whether it is asked for by name: then every pod that cannot have it is worth a
///   warning, and what the node has to be told for it is told
/// @param relayed why none may; empty where they may
public record PassPermit(boolean asked, Optional<String> relayed) {
  /// By name.
  public static final PassPermit ASKED = new PassPermit(true, Optional.empty());

  /// @param why a lower grade is the highest
  public static PassPermit forbidden(String why) {
    return new PassPermit(false, Optional.of(why));
  }

  /// Where it costs nobody anything: with the rules in pods of their own, by programs that it was
  /// seen to run with, and where the agent tells the pods what addresses they may dial.
  public static PassPermit automatic(CaptureConfig capture) {
    if (capture.mode() == CaptureConfig.Mode.NODE) {
      return forbidden(
          "it needs sysctls of connection tracking that hold for the whole node;"
              + " relay: kernel sets them");
    }
    if (!capture.dns()) {
      return forbidden(
          "capture.dns is off, so that nobody knows which addresses pods will dial;"
              + " relay: kernel learns them from relayed connections");
    }
    PassPermit permit = new PassPermit(false, Optional.empty());
    return capture.backend().forced().map(permit::keptBy).orElse(permit);
  }

  /// The same, now that it is known who keeps the rules.
  public PassPermit keptBy(RuleBackend backend) {
    return !asked && relayed.isEmpty() && backend == RuleBackend.NFT
        ? forbidden("the rules are kept by nft; with relay: kernel it is tried all the same")
        : this;
  }
}
