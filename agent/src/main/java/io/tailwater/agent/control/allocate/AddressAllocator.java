package io.tailwater.agent.control.allocate;

import io.tailwater.agent.control.istio.Protocol;
import io.tailwater.agent.control.istio.ServiceEntry;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostPattern;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/// Gives hosts addresses of 240.240.0.0/16 and 2001:2::/48, as Istio's own allocator does: one of
/// each for a host, in order from the beginning, first come first served by age. A host keeps what
/// it has as long as nobody else has a better claim: an address that a user wrote wins, then what a
/// control plane wrote into `status.addresses` (the oldest entry keeps it), then ours.
///
/// A host that is gone keeps its address for a while, so that neither a reload nor a client's cache
/// ever meets another host there. One thread at a time.
public final class AddressAllocator {
  /// The label with which an entry refuses allocated addresses.
  private static final String ALLOCATE = "networking.istio.io/enable-autoallocate-ip";

  /// How many hosts that are gone keep their address.
  static final int MOST_GONE = 4096;

  /// Which hosts get addresses.
  public enum Which {
    /// Those with a port on which the client's bytes carry no name.
    NAMELESS,
    /// All, as Istio.
    ALL
  }

  /// One host of one namespace; entries of the same namespace share it.
  public record Host(String namespace, String host) {}

  /// What allocating came to.
  ///
  /// @param entries in the given order, with their addresses
  /// @param without those with a host for which no address is left
  public record Assigned(List<ServiceEntry> entries, List<ServiceEntry> without) {
    public Assigned {
      entries = List.copyOf(entries);
      without = List.copyOf(without);
    }
  }

  /// Where assignments outlive the process.
  public interface Store {
    /// What was kept, with its number; empty at the first start.
    Map<Host, Integer> load();

    /// Keeps them.
    void save(Map<Host, Integer> numbers);
  }

  private final Which which;
  private final Store store;

  /// Hosts that are there, then those that are gone, the longest gone first.
  private final Map<Host, Integer> numbers = new LinkedHashMap<>();

  private final Map<Host, Integer> gone = new LinkedHashMap<>();

  public AddressAllocator(Which which, Store store) {
    this.which = which;
    this.store = store;
    BitSet used = new BitSet();
    store
        .load()
        .forEach((host, number) -> {
          if (number >= 1 && number <= AddressBlocks.LAST && !used.get(number)) {
            used.set(number);
            gone.put(host, number);
          }
        });
  }

  /// Whether a control plane allocates addresses for the host of an entry at all.
  public static boolean isEligible(ServiceEntry entry, HostPattern host) {
    return entry.addresses().isEmpty()
        && entry.resolution() != ServiceEntry.Resolution.NONE
        && (host instanceof HostPattern.Exact
            || entry.resolution() == ServiceEntry.Resolution.DYNAMIC_DNS)
        && !"false".equalsIgnoreCase(entry.labels().get(ALLOCATE));
  }

  /// Whether every port of the entry is found by a name that the client's bytes carry.
  private static boolean isNamed(ServiceEntry entry) {
    return entry.ports().stream()
        .map(port -> port.protocol().family())
        .allMatch(family ->
            family == Protocol.Family.TLS
                || family == Protocol.Family.HTTP
                || family == Protocol.Family.UDP);
  }

  /// Gives every entry the addresses of its hosts.
  ///
  /// @param oldestFirst the entries in force
  /// @param written addresses that belong to somebody else, besides those of the entries
  public Assigned assign(List<ServiceEntry> oldestFirst, Collection<CidrBlock> written) {
    if (oldestFirst.isEmpty()) {
      // Before the sources have been read, or while one is being replaced: nobody has gone yet.
      return new Assigned(List.of(), List.of());
    }
    Claims claims = new Claims(oldestFirst, written);
    Set<Host> wanted = new HashSet<>();
    for (ServiceEntry entry : oldestFirst) {
      for (HostPattern host : entry.hosts()) {
        Host key = new Host(entry.namespace(), host.text());
        if (isEligible(entry, host)
            && !claims.given.containsKey(key)
            && (which == Which.ALL || !isNamed(entry))) {
          wanted.add(key);
        }
      }
    }
    settle(wanted, claims);
    List<ServiceEntry> out = new ArrayList<>(oldestFirst.size());
    List<ServiceEntry> without = new ArrayList<>();
    for (ServiceEntry entry : oldestFirst) {
      out.add(with(entry, wanted, claims, without));
    }
    Map<Host, Integer> all = new LinkedHashMap<>(gone);
    all.putAll(numbers);
    store.save(all);
    return new Assigned(out, without);
  }

  /// Who is no longer wanted lets go; whose address somebody else claims gets another one.
  private void settle(Set<Host> wanted, Claims claims) {
    Iterator<Map.Entry<Host, Integer>> held = numbers.entrySet().iterator();
    while (held.hasNext()) {
      Map.Entry<Host, Integer> one = held.next();
      if (!wanted.contains(one.getKey())) {
        gone.put(one.getKey(), one.getValue());
        held.remove();
      } else if (claims.has(one.getValue())) {
        held.remove();
      }
    }
    for (Host host : wanted) {
      Integer before = gone.remove(host);
      if (before != null && !claims.has(before)) {
        numbers.put(host, before);
      }
    }
    while (gone.size() > MOST_GONE) {
      gone.remove(gone.keySet().iterator().next());
    }
  }

  private ServiceEntry with(
      ServiceEntry entry, Set<Host> wanted, Claims claims, List<ServiceEntry> without) {
    List<ServiceEntry.Allocated> out = new ArrayList<>();
    boolean missing = false;
    for (HostPattern host : entry.hosts()) {
      Host key = new Host(entry.namespace(), host.text());
      if (!isEligible(entry, host)) {
        continue;
      }
      List<InetAddress> given = claims.given.get(key);
      if (given != null) {
        given.forEach(address -> out.add(new ServiceEntry.Allocated(address, host.text())));
      } else if (wanted.contains(key)) {
        int number = numbers.containsKey(key) ? numbers.get(key) : next(key, claims);
        if (number == 0) {
          missing = true;
        } else {
          out.add(new ServiceEntry.Allocated(AddressBlocks.v4(number), host.text()));
          out.add(new ServiceEntry.Allocated(AddressBlocks.v6(number), host.text()));
        }
      }
    }
    if (missing) {
      without.add(entry);
    }
    return out.equals(entry.allocated()) ? entry : entry.withAllocated(out);
  }

  /// The lowest number that nobody has, or 0.
  private int next(Host host, Claims claims) {
    int number = claims.nextFree(numbers.values(), gone.values());
    if (number == 0 && !gone.isEmpty()) {
      gone.clear();
      claims.forgetUsed();
      number = claims.nextFree(numbers.values(), gone.values());
    }
    if (number != 0) {
      numbers.put(host, number);
    }
    return number;
  }

  /// What others have a better claim to, for one pass.
  private static final class Claims {
    /// Addresses out of `status.addresses` that count, by host.
    private final Map<Host, List<InetAddress>> given = new HashMap<>();

    private final BitSet claimed = new BitSet();
    private final List<CidrBlock> blocks = new ArrayList<>();
    private BitSet used = new BitSet();
    private int next;

    Claims(List<ServiceEntry> oldestFirst, Collection<CidrBlock> written) {
      written.forEach(this::write);
      oldestFirst.forEach(entry -> entry.addresses().forEach(this::write));
      Map<InetAddress, Host> owners = new HashMap<>();
      for (ServiceEntry entry : oldestFirst) {
        for (HostPattern host : entry.hosts()) {
          if (isEligible(entry, host)) {
            status(entry, new Host(entry.namespace(), host.text()), owners);
          }
        }
      }
      owners.keySet().forEach(a -> AddressBlocks.number(a).ifPresent(claimed::set));
    }

    private void write(CidrBlock block) {
      if (block.isSingle()) {
        AddressBlocks.number(block.network()).ifPresent(claimed::set);
      } else if (AddressBlocks.touches(block)) {
        blocks.add(block);
      }
    }

    private void status(ServiceEntry entry, Host host, Map<InetAddress, Host> owners) {
      for (ServiceEntry.Allocated one : entry.allocated()) {
        boolean mine = one.host().isEmpty() || one.host().equalsIgnoreCase(host.host());
        boolean taken = AddressBlocks.number(one.address()).isPresent() && isWritten(one.address());
        if (mine && !taken && host.equals(owners.merge(one.address(), host, (first, _) -> first))) {
          List<InetAddress> addresses = given.computeIfAbsent(host, _ -> new ArrayList<>());
          if (!addresses.contains(one.address())) {
            addresses.add(one.address());
          }
        }
      }
    }

    private boolean isWritten(InetAddress address) {
      return AddressBlocks.number(address).stream().anyMatch(claimed::get)
          || blocks.stream().anyMatch(block -> block.contains(address));
    }

    boolean has(int number) {
      return claimed.get(number)
          || blocks.stream()
              .anyMatch(block ->
                  block.contains(AddressBlocks.v4(number))
                      || block.contains(AddressBlocks.v6(number)));
    }

    private void forgetUsed() {
      next = 0;
    }

    /// The lowest number that nobody has, or 0. Numbers are not let go of during a pass.
    int nextFree(Collection<Integer> held, Collection<Integer> kept) {
      if (next == 0) {
        used = new BitSet();
        held.forEach(used::set);
        kept.forEach(used::set);
        next = 1;
      }
      while (next <= AddressBlocks.LAST && (used.get(next) || has(next))) {
        next++;
      }
      return next > AddressBlocks.LAST ? 0 : next++;
    }
  }
}
