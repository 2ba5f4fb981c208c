package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.HostScope;
import io.tailwater.agent.control.istio.VirtualService;
import io.tailwater.agent.control.istio.Visibility;
import io.tailwater.agent.traffic.HostPattern;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Predicate;

/// The VirtualServices that hold for pods, oldest first, by the hosts that they are about.
/// Immutable; any thread.
final class VirtualServices {
  /// Oldest first.
  private static final Comparator<VirtualService> AGE =
      Comparator.comparing(VirtualService::age)
          .thenComparing(VirtualService::name)
          .thenComparing(VirtualService::namespace);

  /// One of them; `rank` tells the older from the younger.
  record Ranked(int rank, VirtualService service, Visibility visibility) {}

  private static final Comparator<Ranked> RANK = Comparator.comparingInt(Ranked::rank);

  private final List<Ranked> all;
  private final Map<HostScope, List<Ranked>> names = new HashMap<>();
  private final List<Ranked> withWildcards = new ArrayList<>();

  VirtualServices(List<VirtualService> services) {
    List<VirtualService> sorted =
        services.stream().filter(VirtualService::isForMesh).sorted(AGE).toList();
    List<Ranked> ranked = new ArrayList<>();
    for (VirtualService service : sorted) {
      ranked.add(
          new Ranked(
              ranked.size(),
              service,
              Visibility.of(service.exportTo(), service.namespace(), List.of("*"))));
    }
    this.all = List.copyOf(ranked);
    index();
  }

  private VirtualServices(List<Ranked> some, Predicate<Ranked> which) {
    this.all = some.stream().filter(which).toList();
    index();
  }

  private void index() {
    for (Ranked one : all) {
      boolean wildcard = false;
      for (HostScope host : one.service.hosts()) {
        if (host.below()) {
          wildcard = true;
        } else {
          names.computeIfAbsent(host, _ -> new ArrayList<>(1)).add(one);
        }
      }
      if (wildcard) {
        withWildcards.add(one);
      }
    }
  }

  /// Those that a condition holds for.
  VirtualServices only(Predicate<Ranked> which) {
    return new VirtualServices(all, which);
  }

  List<Ranked> all() {
    return all;
  }

  boolean isEmpty() {
    return all.isEmpty();
  }

  /// Those that have a name in common with a service, oldest first.
  List<VirtualService> about(HostPattern host) {
    if (all.isEmpty()) {
      return List.of();
    }
    HostScope service = HostScope.of(host);
    Set<Ranked> found = new TreeSet<>(RANK);
    if (service.below()) {
      for (Ranked one : all) {
        if (one.service.hosts().stream().anyMatch(service::overlaps)) {
          found.add(one);
        }
      }
    } else {
      found.addAll(names.getOrDefault(service, List.of()));
      for (Ranked one : withWildcards) {
        if (one.service.hosts().stream().anyMatch(h -> h.contains(service))) {
          found.add(one);
        }
      }
    }
    return found.stream().map(Ranked::service).toList();
  }

  /// The labels that their matches ask of pods.
  Set<Map<String, String>> labels() {
    Set<Map<String, String>> out = new HashSet<>();
    sources().forEach(s -> out.add(s.labels()));
    out.remove(Map.<String, String>of());
    return out;
  }

  /// The namespaces that see something else than others on their account.
  Set<String> namespaces() {
    Set<String> out = new HashSet<>();
    for (Ranked one : all) {
      if (!one.visibility.everyone()) {
        out.addAll(one.visibility.namespaces());
      }
    }
    sources().forEach(s -> out.add(s.sourceNamespace()));
    out.remove("");
    return out;
  }

  /// Where the routes of one lead; those that are for another namespace than `client` left out.
  static List<VirtualService.Destination> destinations(
      VirtualService service, Optional<String> client) {
    List<VirtualService.Destination> out = new ArrayList<>();
    Predicate<VirtualService.Source> mine =
        source ->
            source.sourceNamespace().isEmpty()
                || client.map(source.sourceNamespace()::equals).orElse(true);
    for (VirtualService.Tls route : service.tls()) {
      if (route.match().stream().anyMatch(m -> mine.test(m.source()))) {
        route.route().forEach(w -> out.add(w.destination()));
      }
    }
    for (VirtualService.Tcp route : service.tcp()) {
      if (route.match().isEmpty() || route.match().stream().anyMatch(m -> mine.test(m.source()))) {
        route.route().forEach(w -> out.add(w.destination()));
      }
    }
    for (VirtualService.Http route : service.http()) {
      if (route.match().isEmpty() || route.match().stream().anyMatch(m -> mine.test(m.source()))) {
        route.route().forEach(w -> out.add(w.destination()));
      }
    }
    return out;
  }

  private List<VirtualService.Source> sources() {
    List<VirtualService.Source> out = new ArrayList<>();
    for (Ranked one : all) {
      one.service.tls().forEach(r -> r.match().forEach(m -> out.add(m.source())));
      one.service.tcp().forEach(r -> r.match().forEach(m -> out.add(m.source())));
      one.service.http().forEach(r -> r.match().forEach(m -> out.add(m.source())));
    }
    return out;
  }
}
