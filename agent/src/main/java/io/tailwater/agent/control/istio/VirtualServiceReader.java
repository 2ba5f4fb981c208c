package io.tailwater.agent.control.istio;

import io.tailwater.agent.control.source.FieldReader;
import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Problems;
import io.tailwater.agent.traffic.CidrBlock;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// Reads and validates a VirtualService with the rules of Istio's webhook
/// (`pkg/config/validation`), every problem at once. One use, one thread.
public final class VirtualServiceReader {
  private final KubeObject object;
  private final Problems problems;

  private VirtualServiceReader(KubeObject object, Problems problems) {
    this.object = object;
    this.problems = problems;
  }

  /// Reads one; empty when it has errors. `problems` collects errors and warnings.
  public static Optional<VirtualService> read(KubeObject object, Problems problems) {
    return IstioFields.read(object, problems, own -> new VirtualServiceReader(object, own).read());
  }

  private Optional<VirtualService> read() {
    Optional<FieldReader> reader = IstioFields.spec(object, problems);
    if (reader.isEmpty()) {
      return Optional.empty();
    }
    FieldReader spec = reader.get();
    List<String> gateways = gateways(spec);
    boolean mesh = gateways.isEmpty() || gateways.contains(VirtualService.MESH);
    List<HostScope> hosts = hosts(spec, mesh);
    boolean delegate = spec.lacks("hosts");
    List<VirtualService.Http> http = new ArrayList<>();
    HttpRouteReader routes = new HttpRouteReader(this, delegate, mesh);
    for (FieldReader route : spec.mappings("http")) {
      http.add(routes.read(route));
    }
    List<VirtualService.Tls> tls = new ArrayList<>();
    for (FieldReader route : spec.mappings("tls")) {
      tls.add(tls(route, hosts, mesh));
    }
    List<VirtualService.Tcp> tcp = new ArrayList<>();
    for (FieldReader route : spec.mappings("tcp")) {
      tcp.add(tcp(route));
    }
    if (delegate) {
      delegated(spec);
    }
    boolean any = !spec.lacks("http") || !spec.lacks("tls") || !spec.lacks("tcp");
    if (!any) {
      spec.error("has no routes: http, tls or tcp is needed");
    }
    List<String> exportTo = Visibility.readExportTo(spec, object.namespace(), false);
    spec.finish();
    unreachable(spec, "http");
    unreachable(spec, "tls");
    unreachable(spec, "tcp");
    return Optional.of(
        new VirtualService(
            object.key().ref(), object.age(), hosts, gateways, exportTo, http, tls, tcp));
  }

  private static void delegated(FieldReader spec) {
    for (String key : List.of("gateways", "tls", "tcp")) {
      if (!spec.lacks(key)) {
        spec.error(key, "cannot be set without hosts: others delegate http routes to it");
      }
    }
    spec.warning("hosts", "is missing, and delegation is not honoured: it has no effect");
  }

  /// Rules after one that takes everything.
  private static void unreachable(FieldReader spec, String key) {
    int all = -1;
    List<FieldReader.Item> items = spec.items(key);
    for (int i = 0; i < items.size(); i++) {
      FieldReader.Item item = items.get(i);
      if (all >= 0) {
        spec.problems()
            .warning(
                item.line(),
                item.path(),
                "is never used: " + key + "[" + all + "] has no match and takes everything");
        return;
      }
      if (item.value() instanceof io.tailwater.agent.control.source.YamlValue.Mapping route
          && route.items("match").isEmpty()) {
        all = i;
      }
    }
  }

  // ---- hosts and gateways ------------------------------------------------------------------

  private List<String> gateways(FieldReader spec) {
    List<String> out = new ArrayList<>();
    for (FieldReader.Text text : spec.strings("gateways")) {
      gateway(text).ifPresent(out::add);
    }
    return out;
  }

  private Optional<String> gateway(FieldReader.Text text) {
    String name = text.text();
    int slash = name.indexOf('/');
    if (slash >= 0) {
      String gateway = name.substring(slash + 1);
      if (!KubeObject.isLabel(name.substring(0, slash)) || !KubeObject.isLabel(gateway)) {
        problems.error(text.line(), text.path(), "\"" + name + "\" is no NAMESPACE/NAME");
        return Optional.empty();
      }
      return Optional.of(name);
    }
    Optional<String> wrong = IstioFields.notFullName(name);
    if (wrong.isPresent()) {
      problems.error(text.line(), text.path(), "\"" + name + "\" " + wrong.get());
      return Optional.empty();
    }
    if (name.indexOf('.') >= 0) {
      problems.warning(
          text.line(), text.path(), "\"" + name + "\" is the old form; write NAMESPACE/NAME");
    }
    return Optional.of(name);
  }

  private List<HostScope> hosts(FieldReader spec, boolean mesh) {
    List<HostScope> out = new ArrayList<>();
    List<Boolean> whole = new ArrayList<>();
    for (FieldReader.Text text : spec.strings("hosts")) {
      Optional<HostScope> host = host(text, mesh);
      if (host.isEmpty()) {
        continue;
      }
      boolean full = text.text().indexOf('.') >= 0;
      for (int i = 0; i < out.size(); i++) {
        if (out.get(i).overlaps(host.get())) {
          String why =
              "\"" + text.text() + "\" and \"" + out.get(i).show() + "\" have names in common";
          // Istio compares them as they are written, where a short name is another one.
          if (full == whole.get(i)) {
            problems.error(text.line(), text.path(), why);
          } else {
            problems.warning(text.line(), text.path(), why);
          }
        }
      }
      out.add(host.get());
      whole.add(full);
    }
    return out;
  }

  private Optional<HostScope> host(FieldReader.Text text, boolean mesh) {
    switch (HostScope.read(text.text(), object.namespace())) {
      case HostScope.Read.Invalid(String why) -> {
        if (!isRoutedSni(text.text(), mesh)) {
          problems.error(text.line(), text.path(), "\"" + text.text() + "\" " + why);
        }
        return Optional.empty();
      }
      case HostScope.Read.Address _ -> {
        problems.warning(
            text.line(),
            text.path(),
            "\"" + text.text() + "\" is an address; routes are found by name");
        return Optional.empty();
      }
      case HostScope.Read.Scope(HostScope hosts) -> {
        if (mesh && hosts.equals(HostScope.ALL)) {
          problems.error(
              text.line(),
              text.path(),
              "\"*\" alone is not allowed for the gateway mesh; name a domain, like"
                  + " \"*.example.com\"");
          return Optional.empty();
        }
        return Optional.of(hosts);
      }
    }
  }

  /// Gateways may route by the server names that Istio makes of clusters.
  private static boolean isRoutedSni(String host, boolean mesh) {
    return !mesh && host.startsWith("outbound_.");
  }

  // ---- tls and tcp -------------------------------------------------------------------------

  private VirtualService.Tls tls(FieldReader route, List<HostScope> hosts, boolean mesh) {
    List<VirtualService.TlsMatch> matches = new ArrayList<>();
    for (FieldReader match : route.mappings("match")) {
      List<HostScope> names = sniHosts(match, hosts, mesh);
      List<CidrBlock> subnets = subnets(match);
      VirtualService.Source source = source(match);
      match.finish();
      matches.add(new VirtualService.TlsMatch(names, subnets, source));
    }
    if (route.lacks("match")) {
      route.error("match", "is missing: a TLS route needs at least one, with sniHosts");
    }
    List<VirtualService.Weighted> to = weighted(route, false);
    if (route.lacks("route")) {
      route.error("route", "is missing: at least one destination is needed");
    }
    route.finish();
    return new VirtualService.Tls(matches, to);
  }

  private List<HostScope> sniHosts(FieldReader match, List<HostScope> hosts, boolean mesh) {
    List<HostScope> out = new ArrayList<>();
    List<FieldReader.Text> texts = match.strings("sniHosts");
    if (match.lacks("sniHosts")) {
      match.error("sniHosts", "is missing: at least one name is needed");
    }
    for (FieldReader.Text text : texts) {
      switch (HostScope.read(text.text(), object.namespace())) {
        case HostScope.Read.Invalid(String why) -> {
          if (!isRoutedSni(text.text(), mesh)) {
            problems.error(text.line(), text.path(), "\"" + text.text() + "\" " + why);
          }
        }
        case HostScope.Read.Address _ ->
            problems.warning(
                text.line(),
                text.path(),
                "\"" + text.text() + "\" is an address; no client sends it as a server name");
        case HostScope.Read.Scope(HostScope sni) -> {
          if (hosts.stream().noneMatch(h -> h.contains(sni))) {
            problems.error(
                text.line(),
                text.path(),
                "\"" + text.text() + "\" is not among the hosts of this VirtualService");
          } else if (sni.pattern().isEmpty()) {
            problems.warning(
                text.line(),
                text.path(),
                "\"" + text.text() + "\" covers nothing: a wildcard stands for whole labels");
          } else {
            out.add(sni);
          }
        }
      }
    }
    return out;
  }

  private VirtualService.Tcp tcp(FieldReader route) {
    List<VirtualService.TcpMatch> matches = new ArrayList<>();
    for (FieldReader match : route.mappings("match")) {
      List<CidrBlock> subnets = subnets(match);
      VirtualService.Source source = source(match);
      if (match.has("sourceSubnet")) {
        match.string("sourceSubnet");
        match.warning("sourceSubnet", "is not honoured, as in Istio");
      }
      match.finish();
      matches.add(new VirtualService.TcpMatch(subnets, source));
    }
    List<VirtualService.Weighted> to = weighted(route, false);
    if (route.lacks("route")) {
      route.error("route", "is missing: at least one destination is needed");
    }
    route.finish();
    return new VirtualService.Tcp(matches, to);
  }

  private List<CidrBlock> subnets(FieldReader match) {
    List<CidrBlock> out = new ArrayList<>();
    for (FieldReader.Text text : match.strings("destinationSubnets")) {
      Optional<CidrBlock> block = CidrBlock.parse(text.text());
      if (block.isEmpty()) {
        problems.error(
            text.line(),
            text.path(),
            "\"" + text.text() + "\" is neither an IP address nor a block like 192.0.2.0/24");
      }
      block.ifPresent(out::add);
    }
    return out;
  }

  /// What all matches say of the client and the port.
  VirtualService.Source source(FieldReader match) {
    int port = match.integer("port", 0, 65535).orElse(0);
    Map<String, String> labels = match.stringMap("sourceLabels");
    IstioFields.checkLabels(match, "sourceLabels", labels);
    String namespace = match.string("sourceNamespace").orElse("");
    if (!namespace.isEmpty() && !KubeObject.isLabel(namespace)) {
      match.error("sourceNamespace", "\"" + namespace + "\" is not a valid namespace name");
    }
    return new VirtualService.Source(port, labels, namespace, gateways(match));
  }

  // ---- destinations ------------------------------------------------------------------------

  /// The destinations of a route, with headers where they are of `http`.
  List<VirtualService.Weighted> weighted(FieldReader route, boolean http) {
    List<VirtualService.Weighted> out = new ArrayList<>();
    List<FieldReader> readers = route.mappings("route");
    int total = 0;
    for (FieldReader reader : readers) {
      Optional<VirtualService.Destination> destination =
          reader.mapping("destination").flatMap(this::destination);
      if (!reader.has("destination")) {
        reader.error("destination", "is missing");
      }
      int weight = reader.integer("weight", 0, Integer.MAX_VALUE / 256).orElse(0);
      VirtualService.HeaderChanges headers =
          http ? HeaderChangesReader.read(reader) : VirtualService.HeaderChanges.NONE;
      reader.finish();
      total += weight;
      destination.ifPresent(d -> out.add(new VirtualService.Weighted(d, weight, headers)));
    }
    if (readers.size() > 1 && total == 0) {
      route.error("route", "the weights add up to 0");
    }
    return out;
  }

  Optional<VirtualService.Destination> destination(FieldReader reader) {
    Optional<String> text = reader.string("host");
    if (!reader.has("host")) {
      reader.error("host", "is missing");
    }
    Optional<HostScope> host = text.flatMap(t -> destinationHost(reader, t));
    Optional<String> subset = reader.string("subset").filter(s -> !s.isEmpty());
    if (subset.isPresent() && !IstioFields.isDnsLabel(subset.get())) {
      reader.error("subset", "\"" + subset.get() + "\" is not a DNS label");
    }
    Optional<FieldReader> port = reader.mapping("port");
    Optional<Integer> number = port.flatMap(p -> p.integer("number", 1, 65535));
    port.ifPresent(p -> {
      if (!p.has("number")) {
        p.error("number", "is missing");
      }
      p.finish();
    });
    reader.finish();
    return host.map(h -> new VirtualService.Destination(h.show(), number, subset));
  }

  private Optional<HostScope> destinationHost(FieldReader reader, String text) {
    return switch (HostScope.read(text, object.namespace())) {
      case HostScope.Read.Invalid(String why) -> {
        reader.error("host", "\"" + text + "\" " + why);
        yield Optional.empty();
      }
      case HostScope.Read.Address(String address) -> {
        reader.error(
            "host",
            "\""
                + address
                + "\" is an address, and destinations are host names: make a ServiceEntry with this"
                + " endpoint and name its host");
        yield Optional.empty();
      }
      case HostScope.Read.Scope(HostScope hosts) -> {
        if (hosts.equals(HostScope.ALL)) {
          reader.error("host", "\"*\" is no destination");
          yield Optional.empty();
        }
        yield Optional.of(hosts);
      }
    };
  }
}
