package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.traffic.HostName;
import java.util.List;

/// The narrowest ServiceEntry as YAML: one exact host, its ports, for its own namespace alone.
/// Pure.
public final class NarrowEntry {
  /// A port as Istio writes it.
  public record Port(int number, String name, String protocol) {
    /// Its item in `ports`, without an end of line.
    String yaml() {
      return "- {number: %d, name: %s, protocol: %s}".formatted(number, name, protocol);
    }
  }

  private NarrowEntry() {}

  /// The text, with an end of line.
  ///
  /// @param location MESH_EXTERNAL or MESH_INTERNAL
  public static String yaml(
      String name, String namespace, HostName host, String location, List<Port> ports) {
    StringBuilder out =
        new StringBuilder(
            """
            apiVersion: networking.istio.io/v1
            kind: ServiceEntry
            metadata:
              name: %s
              namespace: %s
            spec:
              hosts: ["%s"]
              exportTo: ["."]
              location: %s
              resolution: DNS
              ports:
            """
                .formatted(name, namespace, host.text(), location));
    for (Port port : ports) {
      out.append("    ").append(port.yaml()).append('\n');
    }
    return out.toString();
  }
}
