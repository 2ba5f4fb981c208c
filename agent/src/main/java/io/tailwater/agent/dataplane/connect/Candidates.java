package io.tailwater.agent.dataplane.connect;

import io.tailwater.agent.dataplane.resolve.AddressFilter;
import io.tailwater.agent.dataplane.resolve.Addresses;
import io.tailwater.agent.dataplane.resolve.Resolver;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.dataplane.upstream.Candidate;
import io.tailwater.agent.dataplane.upstream.Locality;
import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.PodRef;
import io.tailwater.agent.traffic.Refusal;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
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

  /// For whom, and from where.
  ///
  /// @param locality of the client, as `region/zone/subzone`; empty where unknown or of no meaning
  /// @param ipv6 whether the client can be given IPv6 addresses
  public record Asker(PodRef tenant, OriginalDst dst, String locality, boolean ipv6) {}

  /// What came out.
  public sealed interface Found {
    /// At least one that is no spare.
    record Some(List<Candidate> candidates) implements Found {}

    /// None: [Refusal#DNS_FAILURE], [Refusal#ADDRESS_FILTERED], [Refusal#LIMIT] where a bound of
    /// the cache is reached, [Refusal#CONNECT_FAILED] where the pod speaks no IPv6, or
    /// [Refusal#NOT_SUPPORTED_YET] for socket files; with a clause for people.
    record None(Refusal why, String detail) implements Found {}
  }

  /// Finds the candidates; `then` runs on the loop, at once where nothing has to be waited for. On
  /// the loop.
  public void find(
      Asker asker, Target target, AddressRule rule, Executor loop, Consumer<Found> then) {
    Judging judging = new Judging(asker, rule);
    switch (target) {
      case Target.Dialled(int port) -> {
        judging.add(
            List.of(new InetSocketAddress(asker.dst().address(), port)),
            Target.Traits.PLAIN,
            false);
        then.accept(judging.found(null));
      }
      case Target.Endpoints(List<Target.Endpoint> endpoints, boolean oneAddress) -> {
        if (hasSocketFile(endpoints)) {
          then.accept(
              new Found.None(Refusal.NOT_SUPPORTED_YET, "unix:// endpoints are not dialled yet"));
        } else if (target.tunnelled()) {
          then.accept(new Found.None(Refusal.NOT_SUPPORTED_YET, "HBONE is not spoken yet"));
        } else {
          new Gathering(judging, endpoints, oneAddress, loop, then).start();
        }
      }
    }
  }

  private static boolean hasSocketFile(List<Target.Endpoint> endpoints) {
    for (Target.Endpoint endpoint : endpoints) {
      if (endpoint instanceof Target.Endpoint.Unix) {
        return true;
      }
    }
    return false;
  }

  /// Puts addresses to the filter and makes candidates of those that it admits. Each counts once.
  private final class Judging {
    private final Asker asker;
    private final AddressRule rule;
    private final Map<InetSocketAddress, Candidate> admitted = new LinkedHashMap<>();
    private @Nullable String refused;
    private boolean tooNew;

    Judging(Asker asker, AddressRule rule) {
      this.asker = asker;
      this.rule = rule;
    }

    /// The addresses of one endpoint. Those of the family that comes first share connections among
    /// them; the other family is another way to the same. With `one` only the first of each counts.
    void add(List<InetSocketAddress> addresses, Target.Traits traits, boolean one) {
      int priority = Locality.distance(asker.locality(), traits.locality());
      Class<?> family = null;
      boolean spared = false;
      for (InetSocketAddress address : addresses) {
        InetAddress ip = address.getAddress();
        if (!filter.admits(ip, rule)) {
          if (refused == null) {
            refused = AddressText.of(ip) + " " + filter.reason(ip, rule);
          }
        } else if (ip instanceof Inet6Address && !asker.ipv6()) {
          tooNew = true;
        } else {
          boolean first = family == null;
          family = first ? ip.getClass() : family;
          boolean spare = !ip.getClass().equals(family);
          if (one && !first && (!spare || spared)) {
            continue;
          }
          spared |= spare;
          admitted.putIfAbsent(address, new Candidate(address, traits.weight(), priority, spare));
        }
      }
    }

    Found found(Addresses.@Nullable Failed failed) {
      if (!admitted.isEmpty()) {
        return new Found.Some(List.copyOf(admitted.values()));
      }
      if (tooNew) {
        return new Found.None(
            Refusal.CONNECT_FAILED,
            "the pod has no IPv6 and the destination has only IPv6 addresses");
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
  }

  /// Collects the answers for all endpoints; loop only.
  private final class Gathering {
    private final Judging judging;
    private final List<Target.Endpoint> endpoints;
    private final boolean oneAddress;
    private final Executor loop;
    private final Consumer<Found> then;
    private final List<List<InetSocketAddress>> perEndpoint = new ArrayList<>();
    private int missing;
    private Addresses.@Nullable Failed failed;

    Gathering(
        Judging judging,
        List<Target.Endpoint> endpoints,
        boolean oneAddress,
        Executor loop,
        Consumer<Found> then) {
      this.judging = judging;
      this.endpoints = endpoints;
      this.oneAddress = oneAddress;
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

    private PodRef tenant() {
      return judging.asker.tenant();
    }

    private void look(int index, HostName name, int port) {
      Addresses present = resolver.ifPresent(tenant(), name);
      if (present != null) {
        take(index, port, present);
      } else {
        resolver.resolve(tenant(), name, loop, answer -> take(index, port, answer));
      }
    }

    private void take(int index, int port, Addresses answer) {
      switch (answer) {
        case Addresses.Found(List<InetAddress> addresses, _) -> {
          List<InetSocketAddress> at = new ArrayList<>(addresses.size());
          for (InetAddress address : addresses) {
            at.add(new InetSocketAddress(address, port));
          }
          perEndpoint.set(index, at);
        }
        case Addresses.Failed f -> failed = f;
      }
      arrived();
    }

    private void arrived() {
      if (--missing == 0) {
        for (int i = 0; i < endpoints.size(); i++) {
          judging.add(perEndpoint.get(i), endpoints.get(i).traits(), oneAddress);
        }
        then.accept(judging.found(failed));
      }
    }
  }
}
