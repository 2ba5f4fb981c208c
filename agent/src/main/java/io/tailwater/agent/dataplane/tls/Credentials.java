package io.tailwater.agent.dataplane.tls;

import io.tailwater.agent.traffic.PodRef;

/// Where certificates come from that no file of the agent holds: Kubernetes Secrets, and the
/// workloads' own certificates. Any thread; answers at once, from memory.
public interface Credentials {
  /// Nobody delivers any.
  Credentials NONE =
      new Credentials() {
        @Override
        public Found secret(String namespace, String name) {
          return new Found.Absent(
              "there is no Secret " + namespace + "/" + name + " in the agent's sources");
        }

        @Override
        public Found workload(PodRef pod) {
          return new Found.Absent(
              "mode ISTIO_MUTUAL shows the workload's certificate, and this agent has no source of"
                  + " them");
        }
      };

  /// The answer.
  sealed interface Found {
    /// It is there, whatever it holds.
    record Present(Credential credential) implements Found {}

    /// It is not; `why` is a clause for people.
    record Absent(String why) implements Found {}
  }

  /// A Secret by namespace and name, or the ConfigMap of a name that begins with `configmap://`.
  Found secret(String namespace, String name);

  /// The certificate of a pod's workload, with the mesh's authorities.
  Found workload(PodRef pod);
}
