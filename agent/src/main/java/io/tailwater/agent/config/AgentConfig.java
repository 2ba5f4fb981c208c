package io.tailwater.agent.config;

import io.tailwater.agent.control.capture.CaptureConfig;
import io.tailwater.agent.control.capture.PassPermit;
import io.tailwater.agent.control.capture.PodEntry;
import io.tailwater.agent.control.capture.PodFolder;
import io.tailwater.agent.control.capture.PodSpec;
import io.tailwater.agent.control.istio.EgressSettings;
import io.tailwater.agent.control.istio.MeshSettings;
import io.tailwater.agent.dataplane.account.AccessLogConfig;
import io.tailwater.agent.dataplane.dns.DnsProxyConfig;
import io.tailwater.agent.dataplane.flow.FlowLimits;
import io.tailwater.agent.dataplane.resolve.ResolveConfig;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;

/// The agent's configuration, complete and valid: the sum of the rooms' own records. Never changes
/// while the agent runs. Made by [AgentConfigReader].
public record AgentConfig(
    String node,
    ListenAddress admin,
    ListenAddress.Tcp metrics,
    ListenAddress.Tcp readiness,
    Path stateDir,
    Optional<Path> meshConfigFile,
    MeshSettings mesh,
    EgressSettings egress,
    List<Source> sources,
    List<PodEntry> podEntries,
    CaptureConfig capture,
    ResolveConfig dns,
    DnsProxyConfig dnsProxy,
    Transport transport,
    Relay relay,
    FlowLimits limits,
    AccessLogConfig accessLog) {

  /// Where policy comes from.
  public sealed interface Source {
    /// A file or a folder of YAML, absolute.
    record Files(Path path) implements Source {}
  }

  /// How sockets are driven.
  public enum Transport {
    AUTO,
    EPOLL,
    IO_URING
  }

  /// The highest grade allowed.
  public enum Relay {
    AUTO,
    KERNEL,
    SPLICE,
    COPY
  }

  public AgentConfig {
    sources = List.copyOf(sources);
    podEntries = List.copyOf(podEntries);
  }

  /// The pods that are listed one by one.
  public List<PodSpec> pods() {
    return podEntries.stream().filter(PodSpec.class::isInstance).map(PodSpec.class::cast).toList();
  }

  /// The folders whose namespaces are pods.
  public List<PodFolder> podFolders() {
    return podEntries.stream()
        .filter(PodFolder.class::isInstance)
        .map(PodFolder.class::cast)
        .toList();
  }

  /// Whether connections may take the kernel pass, as far as the configuration tells.
  public PassPermit kernelPass() {
    return switch (relay) {
      case KERNEL -> PassPermit.ASKED;
      case AUTO -> PassPermit.automatic(capture);
      case SPLICE -> PassPermit.forbidden("relay: splice");
      case COPY -> PassPermit.forbidden("relay: copy");
    };
  }

  /// Every key with its value as it would be written, in the order of the reference, for
  /// `/config_dump`.
  public SequencedMap<String, String> effective() {
    SequencedMap<String, String> out = new LinkedHashMap<>();
    for (ConfigKey<?> key : ConfigKeys.all()) {
      out.put(key.path(), key.show(this));
    }
    return out;
  }
}
