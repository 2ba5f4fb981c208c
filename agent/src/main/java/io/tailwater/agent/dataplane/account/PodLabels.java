package io.tailwater.agent.dataplane.account;

import io.tailwater.agent.traffic.Pod;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// What a pod is called in labels, as ztunnel finds it out.
record PodLabels(
    String workload, String canonicalService, String canonicalRevision, String namespace) {

  static PodLabels of(Pod pod) {
    String workload = first(pod.labels(), pod.ref().name(), "service.istio.io/workload-name");
    return new PodLabels(
        workload,
        first(
            pod.labels(),
            workload,
            "service.istio.io/canonical-name",
            "app.kubernetes.io/name",
            "app"),
        first(
            pod.labels(),
            "latest",
            "service.istio.io/canonical-revision",
            "app.kubernetes.io/version",
            "version"),
        pod.namespace());
  }

  /// The first label that is set.
  private static String first(Map<String, String> labels, String otherwise, String... names) {
    for (String name : names) {
      @Nullable String value = labels.get(name);
      if (value != null && !value.isEmpty()) {
        return value;
      }
    }
    return otherwise;
  }

  // by hand, as in PodRef
  @Override
  public boolean equals(Object other) {
    return this == other
        || (other instanceof PodLabels that
            && workload.equals(that.workload)
            && canonicalService.equals(that.canonicalService)
            && canonicalRevision.equals(that.canonicalRevision)
            && namespace.equals(that.namespace));
  }

  @Override
  public int hashCode() {
    return 31 * workload.hashCode() + namespace.hashCode();
  }
}
