package io.tailwater.agent.cli;

import io.tailwater.agent.dataplane.account.Inventory;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostName;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Predicate;

/// The ServiceEntries that allow what pods were seen to call, and what none can allow: the exact
/// names, for the namespace that called them alone. Pure.
///
/// @param allowed how many destinations policy allows by name already
/// @param cannot what was called without a name that an entry could have
/// @param wider names that one wildcard would cover, which is for people to decide
record ObservedEntries(List<Entry> entries, int allowed, List<Cannot> cannot, List<Wider> wider) {
  /// More ports of one host go into another entry, so that its name has room for them.
  private static final int PORTS_PER_ENTRY = 10;

  /// Longest part of an object's name that comes from the host.
  private static final int LONGEST_BASE = 180;

  /// From so many names below one domain on a wildcard is worth a thought.
  private static final int WORTH_A_WILDCARD = 4;

  ObservedEntries {
    entries = List.copyOf(entries);
    cannot = List.copyOf(cannot);
    wider = List.copyOf(wider);
  }

  /// How often and by whom.
  record Seen(long count, long refused, Instant first, Instant last, Set<String> pods) {
    private static Seen of(Inventory.Called call) {
      return new Seen(
          call.count(),
          call.refused(),
          call.first(),
          call.last(),
          new TreeSet<>(Set.of(call.pod().name())));
    }

    private Seen and(Seen other) {
      Set<String> all = new TreeSet<>(pods);
      all.addAll(other.pods);
      return new Seen(
          count + other.count,
          refused + other.refused,
          first.isBefore(other.first) ? first : other.first,
          last.isAfter(other.last) ? last : other.last,
          all);
    }
  }

  /// One port. `other` is what was spoken there besides and is not allowed by the entry.
  record Port(int number, Inventory.Protocol protocol, Optional<Inventory.Protocol> other) {
    String name() {
      return protocol.name().toLowerCase(java.util.Locale.ROOT) + "-" + number;
    }
  }

  /// One entry.
  record Entry(String namespace, String name, HostName host, List<Port> ports, Seen seen) {
    Entry {
      ports = List.copyOf(ports);
    }

    String location() {
      return host.text().endsWith(".cluster.local") ? "MESH_INTERNAL" : "MESH_EXTERNAL";
    }
  }

  /// What no entry can allow by name; `why` is a sentence without its full stop.
  record Cannot(
      String namespace,
      String name,
      int port,
      Inventory.Protocol protocol,
      String why,
      Seen seen) {}

  /// Names below one domain.
  record Wider(String namespace, String domain, List<String> names) {
    Wider {
      names = List.copyOf(names);
    }
  }

  private record Destination(String namespace, String name, int port, Inventory.Protocol protocol) {
    private static final Comparator<Destination> ORDER =
        Comparator.comparing(Destination::namespace)
            .thenComparing(Destination::name)
            .thenComparingInt(Destination::port)
            .thenComparing(Destination::protocol);
  }

  private record HostOf(String namespace, String host) {}

  /// Makes them.
  ///
  /// @param isAllowed whether policy lets a call through by name already
  static ObservedEntries of(List<Inventory.Called> calls, Predicate<Inventory.Called> isAllowed) {
    Map<Destination, Seen> seen = new TreeMap<>(Destination.ORDER);
    Set<Destination> allowed = new HashSet<>();
    for (Inventory.Called call : calls) {
      Destination to =
          new Destination(call.pod().namespace(), call.name(), call.port(), call.protocol());
      if (isAllowed.test(call)) {
        allowed.add(to);
      } else {
        seen.merge(to, Seen.of(call), Seen::and);
      }
    }
    List<Cannot> cannot = new ArrayList<>();
    Map<HostOf, Map<Integer, Map<Inventory.Protocol, Seen>>> hosts = new LinkedHashMap<>();
    seen.forEach((to, what) -> {
      Optional<String> why = unnamed(to);
      if (why.isPresent()) {
        cannot.add(new Cannot(to.namespace, to.name, to.port, to.protocol, why.get(), what));
      } else {
        hosts
            .computeIfAbsent(new HostOf(to.namespace, to.name), _ -> new TreeMap<>())
            .computeIfAbsent(to.port, _ -> new TreeMap<>())
            .put(to.protocol, what);
      }
    });
    List<Entry> entries = new ArrayList<>();
    Set<HostOf> names = new HashSet<>();
    hosts.forEach((host, ports) -> entries.addAll(entries(host, ports, names)));
    allowed.removeAll(seen.keySet());
    return new ObservedEntries(entries, allowed.size(), cannot, wider(entries));
  }

  /// Why no entry can have the name that was called.
  private static Optional<String> unnamed(Destination to) {
    if (to.protocol == Inventory.Protocol.TCP || CidrBlock.parseAddress(to.name).isPresent()) {
      return Optional.of(
          "it carried no name, and an address is not allowed by name; if it is meant, write a"
              + " ServiceEntry with addresses and resolution NONE");
    }
    if (!(HostName.parse(to.name) instanceof HostName.Parsed.Valid(HostName name, _))) {
      return Optional.of("it is no host name");
    }
    if (name.text().indexOf('.') < 0) {
      return Optional.of("it is a short name; make the client say the full one");
    }
    return name.text().matches("([a-z0-9]([-a-z0-9]*[a-z0-9])?\\.)*[a-z0-9]([-a-z0-9]*[a-z0-9])?")
        ? Optional.empty()
        : Optional.of("a host of a ServiceEntry has no underscores, nor hyphens at a label's end");
  }

  private static List<Entry> entries(
      HostOf host, Map<Integer, Map<Inventory.Protocol, Seen>> byPort, Set<HostOf> names) {
    List<Entry> out = new ArrayList<>();
    List<Port> ports = new ArrayList<>();
    Optional<Seen> all = Optional.empty();
    for (Map.Entry<Integer, Map<Inventory.Protocol, Seen>> one : byPort.entrySet()) {
      List<Inventory.Protocol> most =
          one.getValue().entrySet().stream()
              .sorted(
                  Comparator.comparingLong(
                          (Map.Entry<Inventory.Protocol, Seen> e) -> e.getValue().count())
                      .reversed())
              .map(Map.Entry::getKey)
              .toList();
      ports.add(
          new Port(
              one.getKey(),
              most.getFirst(),
              most.size() > 1 ? Optional.of(most.get(1)) : Optional.empty()));
      for (Seen seen : one.getValue().values()) {
        all = Optional.of(all.map(s -> s.and(seen)).orElse(seen));
      }
      if (ports.size() == PORTS_PER_ENTRY) {
        out.add(entry(host, ports, all.get(), names));
        ports.clear();
        all = Optional.empty();
      }
    }
    if (all.isPresent()) {
      out.add(entry(host, ports, all.get(), names));
    }
    return out;
  }

  /// Its name carries its ports: what is generated later for other ports of the host replaces
  /// nothing. For one port it is the name that `explain` suggests.
  private static Entry entry(HostOf host, List<Port> ports, Seen seen, Set<HostOf> names) {
    String base = host.host.replace('.', '-');
    StringBuilder name =
        new StringBuilder(
            base.length() > LONGEST_BASE
                ? base.substring(0, LONGEST_BASE).replaceAll("-+$", "")
                : base);
    ports.forEach(port -> name.append('-').append(port.number()));
    String unique = name.toString();
    for (int i = 2; !names.add(new HostOf(host.namespace, unique)); i++) {
      unique = name + "-x" + i;
    }
    return new Entry(host.namespace, unique, HostName.of(host.host), ports, seen);
  }

  private static List<Wider> wider(List<Entry> entries) {
    Map<HostOf, Set<String>> below = new LinkedHashMap<>();
    for (Entry entry : entries) {
      String host = entry.host.text();
      String domain = host.substring(host.indexOf('.') + 1);
      if (domain.indexOf('.') > 0) {
        below.computeIfAbsent(new HostOf(entry.namespace, domain), _ -> new TreeSet<>()).add(host);
      }
    }
    List<Wider> out = new ArrayList<>();
    below.forEach((domain, hosts) -> {
      if (hosts.size() >= WORTH_A_WILDCARD) {
        out.add(new Wider(domain.namespace, domain.host, List.copyOf(hosts)));
      }
    });
    return out;
  }
}
