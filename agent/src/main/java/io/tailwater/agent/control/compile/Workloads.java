package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.EndpointSlice;
import io.tailwater.agent.control.istio.KubePod;
import io.tailwater.agent.control.istio.KubeService;
import io.tailwater.agent.control.istio.ServiceEntry;
import io.tailwater.agent.control.istio.WorkloadEntry;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.traffic.ResourceRef;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/// The Pods, WorkloadEntries and EndpointSlices: who is behind a selector, and whose an address is.
/// Immutable.
final class Workloads {
  /// A workload that an address belongs to.
  ///
  /// @param inside whether Kubernetes gave it the address; a WorkloadEntry's was written by
  ///   somebody
  record Known(
      InetAddress address,
      ResourceRef ref,
      Map<String, String> labels,
      boolean hbone,
      boolean inside) {}

  private record Label(String namespace, String key, String value) {}

  private record ServiceName(String namespace, String name) {}

  private final Map<Label, List<KubePod>> pods = new HashMap<>();
  private final Map<Label, List<WorkloadEntry>> entries = new HashMap<>();
  private final Map<ServiceName, List<EndpointSlice>> slices = new HashMap<>();
  private final Map<InetAddress, Known> addresses = new HashMap<>();

  Workloads(List<KubePod> pods, List<WorkloadEntry> entries, List<EndpointSlice> slices) {
    for (KubePod pod : pods) {
      pod.labels()
          .forEach((key, value) ->
              this.pods
                  .computeIfAbsent(new Label(pod.namespace(), key, value), _ -> new ArrayList<>())
                  .add(pod));
      // What has ended has given its address back, and the node's own are no pod's.
      if (!pod.ended() && !pod.hostNetwork()) {
        for (InetAddress address : pod.addresses()) {
          addresses.putIfAbsent(
              address, new Known(address, pod.ref(), pod.labels(), pod.hbone(), true));
        }
      }
    }
    for (WorkloadEntry entry : entries) {
      entry
          .labels()
          .forEach((key, value) ->
              this.entries
                  .computeIfAbsent(new Label(entry.namespace(), key, value), _ -> new ArrayList<>())
                  .add(entry));
      if (entry.place() instanceof ServiceEntry.Place.Ip(InetAddress address)) {
        addresses.putIfAbsent(
            address, new Known(address, entry.ref(), entry.labels(), entry.hbone(), false));
      }
    }
    for (EndpointSlice slice : slices) {
      if (!slice.service().isEmpty()) {
        this.slices
            .computeIfAbsent(
                new ServiceName(slice.namespace(), slice.service()), _ -> new ArrayList<>())
            .add(slice);
      }
    }
  }

  /// Every workload that can be dialled by its address.
  Map<InetAddress, Known> byAddress() {
    return addresses;
  }

  // ---- behind a Service --------------------------------------------------------------------

  /// The endpoints of a Service's port: those of its EndpointSlices or, without any, the ready Pods
  /// that its selector matches; and the WorkloadEntries that it matches.
  List<Backend.Labelled> behind(KubeService service, KubeService.Port port) {
    Set<Backend.Labelled> out = new LinkedHashSet<>();
    List<EndpointSlice> written =
        slices.getOrDefault(new ServiceName(service.namespace(), service.name()), List.of());
    if (written.isEmpty()) {
      for (KubePod pod : matching(pods, service.namespace(), service.selector())) {
        if (pod.ready() || (service.unready() && !pod.ended())) {
          OptionalInt target = target(port, pod);
          target.ifPresent(
              number -> addressesFor(service, pod).forEach(a -> out.add(endpoint(a, number, pod))));
        }
      }
    }
    for (EndpointSlice slice : written) {
      @Nullable Integer target = slice.ports().get(port.name());
      if (target == null) {
        continue;
      }
      for (EndpointSlice.Endpoint endpoint : slice.endpoints()) {
        if (endpoint.ready() || service.unready()) {
          @Nullable Known pod = addresses.get(endpoint.address());
          out.add(
              new Backend.Labelled(
                  new Target.Endpoint.Address(
                      new InetSocketAddress(endpoint.address(), target),
                      new Target.Traits(1, "", pod != null && pod.hbone())),
                  pod == null ? Map.of() : pod.labels()));
        }
      }
    }
    for (WorkloadEntry entry : matching(entries, service.namespace(), service.selector())) {
      int number =
          switch (port.target()) {
            case KubeService.TargetPort.Numbered(int target) -> target;
            case KubeService.TargetPort.Named(String name) ->
                entry.ports().getOrDefault(name, port.number());
          };
      endpoint(entry, entry.ports().getOrDefault(port.name(), number), false).ifPresent(out::add);
    }
    return List.copyOf(out);
  }

  /// The port in the pod; a name that no container has leads nowhere.
  private static OptionalInt target(KubeService.Port port, KubePod pod) {
    return switch (port.target()) {
      case KubeService.TargetPort.Numbered(int number) -> OptionalInt.of(number);
      case KubeService.TargetPort.Named(String name) -> {
        @Nullable Integer number = pod.containerPorts().get(name);
        yield number == null ? OptionalInt.empty() : OptionalInt.of(number);
      }
    };
  }

  /// Of a pod's addresses those of the Service's families; a headless one has the pod's first.
  private static List<InetAddress> addressesFor(KubeService service, KubePod pod) {
    if (service.addresses().isEmpty()) {
      return pod.addresses().stream().limit(1).toList();
    }
    return pod.addresses().stream()
        .filter(a -> service.addresses().stream().anyMatch(s -> s.getClass() == a.getClass()))
        .toList();
  }

  private static Backend.Labelled endpoint(InetAddress address, int port, KubePod pod) {
    return new Backend.Labelled(
        new Target.Endpoint.Address(
            new InetSocketAddress(address, port), new Target.Traits(1, "", pod.hbone())),
        pod.labels());
  }

  // ---- behind a selector of a ServiceEntry -------------------------------------------------

  /// The ready Pods and the WorkloadEntries of a namespace that a `workloadSelector` matches. The
  /// port is the workload's own of the port's name, else `targetPort`, else the same.
  ///
  /// @param lookUp whether names of workloads are looked up (resolution DNS)
  List<Backend.Labelled> selected(
      String namespace, Map<String, String> selector, ServiceEntry.Port port, boolean lookUp) {
    int target = port.targetPort().orElse(port.number());
    Set<Backend.Labelled> out = new LinkedHashSet<>();
    for (WorkloadEntry entry : matching(entries, namespace, selector)) {
      endpoint(entry, entry.ports().getOrDefault(port.name(), target), lookUp).ifPresent(out::add);
    }
    for (KubePod pod : matching(pods, namespace, selector)) {
      if (pod.ready()) {
        pod.addresses().stream().limit(1).forEach(a -> out.add(endpoint(a, target, pod)));
      }
    }
    return List.copyOf(out);
  }

  private static Optional<Backend.Labelled> endpoint(
      WorkloadEntry entry, int port, boolean lookUp) {
    Target.Traits traits =
        new Target.Traits(Math.max(1, entry.weight()), entry.locality(), entry.hbone());
    Optional<Target.Endpoint> place =
        switch (entry.place()) {
          case ServiceEntry.Place.Ip(InetAddress address) ->
              Optional.of(
                  new Target.Endpoint.Address(new InetSocketAddress(address, port), traits));
          case ServiceEntry.Place.Name(var name) ->
              lookUp ? Optional.of(new Target.Endpoint.Name(name, port, traits)) : Optional.empty();
          case ServiceEntry.Place.Unix(String path) ->
              Optional.of(new Target.Endpoint.Unix(path, traits));
          case ServiceEntry.Place.Elsewhere _ -> Optional.empty();
        };
    return place.map(p -> new Backend.Labelled(p, entry.labels()));
  }

  /// What has every label of a selector; an empty selector matches nothing, as Istio and Kubernetes
  /// have it for services. Starts with the label that fewest have.
  private static <T> List<T> matching(
      Map<Label, List<T>> byLabel, String namespace, Map<String, String> selector) {
    List<List<T>> each = new ArrayList<>();
    selector.forEach((key, value) ->
        each.add(byLabel.getOrDefault(new Label(namespace, key, value), List.of())));
    each.sort((a, b) -> Integer.compare(a.size(), b.size()));
    if (each.isEmpty()) {
      return List.of();
    }
    List<T> out = new ArrayList<>(each.getFirst());
    for (List<T> others : each.subList(1, each.size())) {
      out.retainAll(Set.copyOf(others));
    }
    return out;
  }
}
