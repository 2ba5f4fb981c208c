package io.tailwater.agent.dataplane.connect;

import io.tailwater.agent.dataplane.resolve.AddressFilter;
import io.tailwater.agent.dataplane.resolve.Addresses;
import io.tailwater.agent.dataplane.resolve.Resolver;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.PodRef;
import io.tailwater.agent.traffic.Refusal;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Executor;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/// From a target to the addresses that may be dialled for it: names are resolved, and every address
/// is put to the filter.
public final class Candidates {
  private final Resolver resolver;
  private final AddressFilter filter;

  public Candidates(Resolver resolver, AddressFilter filter) {
    this.resolver = resolver;
    this.filter = filter;
  }

  /// Whether the dialled address itself may be dialled under the rule.
  public boolean admits(OriginalDst dst, AddressRule rule) {
    return filter.admits(dst.address(), rule);
  }

  /// What came out.
  public sealed interface Found {
    /// At least one, in the order in which they are to be tried.
    record Some(List<InetSocketAddress> addresses) implements Found {}

    /// None: [Refusal#DNS_FAILURE], [Refusal#ADDRESS_FILTERED], [Refusal#LIMIT] where a bound of
    /// the cache is reached, or [Refusal#NOT_SUPPORTED_YET] for socket files; with a clause for
    /// people.
    record None(Refusal why, String detail) implements Found {}
  }

  /// Finds the candidates; `then` runs on the loop, at once where nothing has to be waited for. On
  /// the loop.
  public void find(
      PodRef tenant,
      OriginalDst dst,
      Target target,
      AddressRule rule,
      Executor loop,
      Consumer<Found> then) {
    switch (target) {
      case Target.Dialled(int port) ->
          then.accept(judge(List.of(new InetSocketAddress(dst.address(), port)), rule, null));
      case Target.Endpoints(List<Target.Endpoint> endpoints, _) -> {
        if (endpoints.stream().anyMatch(Target.Endpoint.Unix.class::isInstance)) {
          then.accept(
              new Found.None(Refusal.NOT_SUPPORTED_YET, "unix:// endpoints are not dialled yet"));
        } else {
          new Gathering(tenant, endpoints, rule, loop, then).start();
        }
      }
    }
  }

  private Found judge(
      Iterable<InetSocketAddress> addresses, AddressRule rule, Addresses.@Nullable Failed failed) {
    Set<InetSocketAddress> admitted = new LinkedHashSet<>();
    String refused = null;
    for (InetSocketAddress address : addresses) {
      InetAddress ip = address.getAddress();
      if (filter.admits(ip, rule)) {
        admitted.add(address);
      } else if (refused == null) {
        refused = AddressText.of(ip) + " " + filter.reason(ip, rule);
      }
    }
    if (!admitted.isEmpty()) {
      return new Found.Some(List.copyOf(admitted));
    }
    if (refused != null) {
      return new Found.None(Refusal.ADDRESS_FILTERED, refused);
    }
    Refusal why =
        failed != null && failed.failure() == Addresses.Failure.OVERFLOW
            ? Refusal.LIMIT
            : Refusal.DNS_FAILURE;
    return new Found.None(why, failed == null ? "" : failed.detail());
  }

  /// Collects the answers for all endpoints; loop only.
  private final class Gathering {
    private final PodRef tenant;
    private final List<Target.Endpoint> endpoints;
    private final AddressRule rule;
    private final Executor loop;
    private final Consumer<Found> then;
    private final List<List<InetSocketAddress>> perEndpoint = new ArrayList<>();
    private int missing;
    private Addresses.@Nullable Failed failed;

    Gathering(
        PodRef tenant,
        List<Target.Endpoint> endpoints,
        AddressRule rule,
        Executor loop,
        Consumer<Found> then) {
      this.tenant = tenant;
      this.endpoints = endpoints;
      this.rule = rule;
      this.loop = loop;
      this.then = then;
    }

    void start() {
      missing = endpoints.size();
      for (int i = 0; i < endpoints.size(); i++) {
        perEndpoint.add(List.of());
      }
      for (int i = 0; i < endpoints.size(); i++) {
        switch (endpoints.get(i)) {
          case Target.Endpoint.Address(InetSocketAddress address, _) -> {
            perEndpoint.set(i, List.of(address));
            arrived();
          }
          case Target.Endpoint.Name(HostName name, int port, _) -> look(i, name, port);
          case Target.Endpoint.Unix _ -> throw new IllegalStateException("refused before");
        }
      }
    }

    private void look(int index, HostName name, int port) {
      Addresses present = resolver.ifPresent(tenant, name);
      if (present != null) {
        take(index, port, present);
      } else {
        resolver.resolve(tenant, name, loop, answer -> take(index, port, answer));
      }
    }

    private void take(int index, int port, Addresses answer) {
      switch (answer) {
        case Addresses.Found(List<InetAddress> addresses, _) ->
            perEndpoint.set(
                index, addresses.stream().map(a -> new InetSocketAddress(a, port)).toList());
        case Addresses.Failed f -> failed = f;
      }
      arrived();
    }

    private void arrived() {
      if (--missing == 0) {
        then.accept(judge(interleaved(), rule, failed));
      }
    }

    /// The first address of each endpoint, then the second of each, so that trying goes over all
    /// endpoints first.
    private List<InetSocketAddress> interleaved() {
      List<InetSocketAddress> all = new ArrayList<>();
      int longest = perEndpoint.stream().mapToInt(List::size).max().orElse(0);
      for (int round = 0; round < longest; round++) {
        for (List<InetSocketAddress> one : perEndpoint) {
          if (round < one.size()) {
            all.add(one.get(round));
          }
        }
      }
      return all;
    }
  }
}
