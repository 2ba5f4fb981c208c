package io.tailwater.agent.control.istio;

import io.tailwater.agent.dataplane.route.TextMatch;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.ResourceRef;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Predicate;

/// A valid VirtualService. `exportTo` is as written, empty where absent; without `hosts` it is one
/// that others delegate to.
public record VirtualService(
    ResourceRef ref,
    Instant age,
    List<HostScope> hosts,
    List<String> gateways,
    List<String> exportTo,
    List<Http> http,
    List<Tls> tls,
    List<Tcp> tcp) {
  /// The gateway that stands for the pods themselves.
  public static final String MESH = "mesh";

  public VirtualService {
    hosts = List.copyOf(hosts);
    gateways = List.copyOf(gateways);
    exportTo = List.copyOf(exportTo);
    http = List.copyOf(http);
    tls = List.copyOf(tls);
    tcp = List.copyOf(tcp);
  }

  /// Whether it holds for what pods send, not for gateways alone.
  public boolean isForMesh() {
    return gateways.isEmpty() || gateways.contains(MESH);
  }

  /// What a match says of the client and the port, which is known before a connection is.
  ///
  /// @param port 0 is every port
  /// @param sourceNamespace empty is every namespace
  public record Source(
      int port, Map<String, String> labels, String sourceNamespace, List<String> gateways) {
    public Source {
      labels = Map.copyOf(labels);
      gateways = List.copyOf(gateways);
    }

    /// Whether it holds for pods of a namespace, on a port.
    ///
    /// @param selected whether labels that it asks for are the pods'
    public boolean holds(int of, String namespace, Predicate<Map<String, String>> selected) {
      return (port == 0 || port == of)
          && (sourceNamespace.isEmpty() || sourceNamespace.equals(namespace))
          && (gateways.isEmpty() || gateways.contains(MESH))
          && (labels.isEmpty() || selected.test(labels));
    }
  }

  /// Where a route leads.
  ///
  /// @param host a full name, or a wildcard that a service has
  /// @param port empty is the only port of the service, else the one that was dialled
  public record Destination(String host, Optional<Integer> port, Optional<String> subset) {}

  /// A destination with its share; 0 is none, unless it is the only one.
  public record Weighted(Destination destination, int weight, HeaderChanges headers) {}

  /// What is done to the headers of requests and responses; names are in lower case.
  public record HeaderChanges(Changes request, Changes response) {
    public static final HeaderChanges NONE = new HeaderChanges(Changes.NONE, Changes.NONE);
  }

  /// Of one direction.
  public record Changes(Map<String, String> set, Map<String, String> add, List<String> remove) {
    public static final Changes NONE = new Changes(Map.of(), Map.of(), List.of());

    public Changes {
      set = Map.copyOf(set);
      add = Map.copyOf(add);
      remove = List.copyOf(remove);
    }
  }

  /// A route of `tls`.
  public record Tls(List<TlsMatch> match, List<Weighted> route) {
    public Tls {
      match = List.copyOf(match);
      route = List.copyOf(route);
    }
  }

  /// One match of a route of `tls`.
  public record TlsMatch(List<HostScope> sniHosts, List<CidrBlock> subnets, Source source) {
    public TlsMatch {
      sniHosts = List.copyOf(sniHosts);
      subnets = List.copyOf(subnets);
    }
  }

  /// A route of `tcp`; without a match it takes everything.
  public record Tcp(List<TcpMatch> match, List<Weighted> route) {
    public Tcp {
      match = List.copyOf(match);
      route = List.copyOf(route);
    }
  }

  /// One match of a route of `tcp`.
  public record TcpMatch(List<CidrBlock> subnets, Source source) {
    public TcpMatch {
      subnets = List.copyOf(subnets);
    }
  }

  /// A route of `http`; without a match it takes everything.
  ///
  /// @param cannot what of it is not honoured and cannot be left out, as a clause after "because"
  public record Http(
      String name,
      List<HttpMatch> match,
      List<Weighted> route,
      Optional<Rewrite> rewrite,
      HeaderChanges headers,
      Optional<Duration> timeout,
      Optional<Retries> retries,
      Optional<String> cannot) {
    public Http {
      match = List.copyOf(match);
      route = List.copyOf(route);
    }
  }

  /// One match of a route of `http`. Header names are in lower case.
  public record HttpMatch(
      Optional<TextMatch> uri,
      Optional<TextMatch> scheme,
      Optional<TextMatch> method,
      Optional<TextMatch> authority,
      Map<String, TextMatch> headers,
      Map<String, TextMatch> withoutHeaders,
      Map<String, TextMatch> queryParams,
      Source source) {
    public HttpMatch {
      headers = Map.copyOf(headers);
      withoutHeaders = Map.copyOf(withoutHeaders);
      queryParams = Map.copyOf(queryParams);
    }
  }

  /// What is sent instead of the client's path and Host.
  public record Rewrite(Optional<String> uri, Optional<String> authority) {}

  /// A `retries`.
  public record Retries(int attempts, Optional<Duration> perTryTimeout, List<String> on) {
    public Retries {
      on = List.copyOf(on);
    }
  }

  /// Its namespace.
  public String namespace() {
    return ref.namespace();
  }

  /// Its name.
  public String name() {
    return ref.name();
  }
}
