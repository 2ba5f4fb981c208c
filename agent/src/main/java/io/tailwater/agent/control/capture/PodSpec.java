package io.tailwater.agent.control.capture;

import io.tailwater.agent.traffic.PodRef;
import java.net.InetAddress;
import java.util.List;
import java.util.Map;

/// A pod to capture as the configuration or a source names it. `netns` is the path of its network
/// namespace; `ips` may be empty: they are found out by entering it.
public record PodSpec(
    PodRef ref,
    String serviceAccount,
    Map<String, String> labels,
    String netns,
    List<InetAddress> ips)
    implements PodEntry {
  public PodSpec {
    labels = Map.copyOf(labels);
    ips = List.copyOf(ips);
  }
}
