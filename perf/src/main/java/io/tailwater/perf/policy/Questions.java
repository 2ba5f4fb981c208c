package io.tailwater.perf.policy;

import io.tailwater.agent.dataplane.route.Request;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.PodRef;
import io.tailwater.perf.peer.GeneratedPolicy;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// What the measured client asks for, and who it is. Stateless.
final class Questions {
  /// Addresses of no importance: the name decides.
  static final OriginalDst TLS = dst(443);

  static final OriginalDst HTTP = dst(80);

  private Questions() {}

  static Pod client() {
    return new Pod(
        new PodRef(GeneratedPolicy.CLIENT, "client"),
        "default",
        Map.of("app", "client"),
        List.of());
  }

  private static OriginalDst dst(int port) {
    return new OriginalDst(CidrBlock.parseAddress("203.0.113.250").orElseThrow(), port);
  }

  static Preface tls(String name) {
    return new Preface.Tls(HostName.of(name), false);
  }

  static Request http(String name) {
    return Request.of(
        new Preface.Http(Optional.of(HostName.of(name)), Optional.empty(), false, "GET", "/"));
  }
}
