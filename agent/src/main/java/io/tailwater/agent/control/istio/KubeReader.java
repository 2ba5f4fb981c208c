package io.tailwater.agent.control.istio;

import io.tailwater.agent.control.source.FieldReader;
import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Problems;
import io.tailwater.agent.control.source.YamlValue;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostName;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// Reads Kubernetes' own kinds as far as they are destinations. Their many other fields are left
/// alone; those that are read are checked. Stateless; any thread.
public final class KubeReader {
  /// Who sees a Service, as a list by comma.
  static final String EXPORT_TO = "networking.istio.io/exportTo";

  private static final String SERVICE_NAME = "kubernetes.io/service-name";
  private static final String REDIRECTION = "ambient.istio.io/redirection";

  /// Ports on which the server speaks first, so that nothing is detected where nothing is said
  /// (Istio `pkg/config/kube`).
  private static final Set<Integer> SERVER_FIRST = Set.of(25, 53, 3306, 27017);

  private static final String GRPC_WEB = "grpc-web";

  private KubeReader() {}

  // ---- Service -----------------------------------------------------------------------------

  /// Reads a Service; empty when what is read of it has errors.
  public static Optional<KubeService> service(KubeObject object, Problems problems) {
    return IstioFields.read(
        object,
        problems,
        own -> {
          FieldReader top = new FieldReader(object.root(), "", own);
          Optional<FieldReader> spec = IstioFields.spec(top);
          return spec.map(s -> service(object, s));
        });
  }

  private static KubeService service(KubeObject object, FieldReader spec) {
    List<String> texts = new ArrayList<>();
    spec.string("clusterIP").ifPresent(texts::add);
    spec.strings("clusterIPs").forEach(t -> texts.add(t.text()));
    boolean headless = texts.contains("None");
    for (String text : texts) {
      if (!text.isEmpty() && !text.equals("None") && CidrBlock.parseAddress(text).isEmpty()) {
        spec.error("clusterIP", "\"" + text + "\" is neither an IP address nor None");
      }
    }
    Optional<HostName> externalName = Optional.empty();
    if (spec.string("type").orElse("").equals("ExternalName")) {
      String name = spec.string("externalName").orElse("");
      externalName =
          HostName.parse(name) instanceof HostName.Parsed.Valid(HostName valid, _)
              ? Optional.of(valid)
              : Optional.empty();
      if (externalName.isEmpty()) {
        spec.error("externalName", "\"" + name + "\" is not a host name");
      }
    }
    return new KubeService(
        object.key().ref(),
        object.age(),
        headless || externalName.isPresent() ? List.of() : IstioFields.addresses(texts),
        headless,
        externalName,
        ports(spec),
        spec.stringMap("selector"),
        spec.bool("publishNotReadyAddresses").orElse(false),
        exportTo(object, spec),
        object.labels());
  }

  private static List<KubeService.Port> ports(FieldReader spec) {
    List<KubeService.Port> out = new ArrayList<>();
    Set<Integer> numbers = new HashSet<>();
    for (FieldReader port : spec.mappings("ports")) {
      Optional<Integer> number = port.integer("port", 1, 65535);
      if (!port.has("port")) {
        port.error("port", "is missing");
      }
      String name = port.string("name").orElse("");
      Optional<String> application = port.string("appProtocol").filter(t -> !t.isEmpty());
      String transport = port.string("protocol").orElse("TCP");
      Optional<KubeService.TargetPort> target = targetPort(port);
      if (number.isEmpty() || !transport.equals("TCP")) {
        continue;
      }
      if (!numbers.add(number.get())) {
        port.error("port", "port " + number.get() + " is already defined in this Service");
      }
      out.add(
          new KubeService.Port(
              number.get(),
              name,
              protocol(number.get(), name, application),
              target.orElseGet(() -> new KubeService.TargetPort.Numbered(number.get()))));
    }
    return out;
  }

  private static Optional<KubeService.TargetPort> targetPort(FieldReader port) {
    Optional<YamlValue> value = port.value("targetPort");
    if (value.isEmpty()) {
      return Optional.empty();
    }
    if (value.get() instanceof YamlValue.Scalar(_, String text, YamlValue.Scalar.Kind kind)
        && kind == YamlValue.Scalar.Kind.STRING) {
      return text.isEmpty()
          ? Optional.empty()
          : Optional.of(new KubeService.TargetPort.Named(text));
    }
    return port.integer("targetPort", 0, 65535)
        .filter(n -> n != 0)
        .map(KubeService.TargetPort.Numbered::new);
  }

  /// What a port speaks: `appProtocol`, else its name up to the first hyphen; what says nothing is
  /// detected.
  static Protocol protocol(int number, String name, Optional<String> application) {
    String said =
        switch (application.orElse(name)) {
          case "kubernetes.io/h2c" -> "http2";
          case "kubernetes.io/ws" -> "http";
          case "kubernetes.io/wss" -> "https";
          default -> application.orElse(name);
        };
    if (said.toLowerCase(Locale.ROOT).startsWith(GRPC_WEB)) {
      return Protocol.GRPC_WEB;
    }
    int hyphen = said.indexOf('-');
    Protocol protocol =
        Protocol.parse(hyphen < 0 ? said : said.substring(0, hyphen)).orElse(Protocol.UNSET);
    return protocol == Protocol.UNSET && SERVER_FIRST.contains(number) ? Protocol.TCP : protocol;
  }

  private static List<String> exportTo(KubeObject object, FieldReader spec) {
    List<String> out = new ArrayList<>();
    String text = object.annotations().getOrDefault(EXPORT_TO, "");
    if (text.isBlank()) {
      return out;
    }
    for (String part : text.split(",", -1)) {
      String to = part.strip();
      if (!Set.of("*", ".", "~").contains(to) && !KubeObject.isLabel(to)) {
        spec.problems()
            .error(
                object.line(),
                "metadata.annotations." + EXPORT_TO,
                "\"" + to + "\" is neither a namespace nor one of \".\", \"*\", \"~\"");
      }
      out.add(to);
    }
    return out;
  }

  // ---- EndpointSlice -----------------------------------------------------------------------

  /// Reads an EndpointSlice; empty when what is read of it has errors.
  public static Optional<EndpointSlice> endpointSlice(KubeObject object, Problems problems) {
    return IstioFields.read(
        object,
        problems,
        own -> Optional.of(endpointSlice(object, new FieldReader(object.root(), "", own))));
  }

  private static EndpointSlice endpointSlice(KubeObject object, FieldReader top) {
    boolean addressed = !top.string("addressType").orElse("").equals("FQDN");
    List<EndpointSlice.Endpoint> endpoints = new ArrayList<>();
    for (FieldReader endpoint : top.mappings("endpoints")) {
      // Absent means not known, which Kubernetes asks to be read as ready.
      boolean ready = endpoint.mapping("conditions").flatMap(c -> c.bool("ready")).orElse(true);
      Optional<String> zone = endpoint.string("zone");
      List<FieldReader.Text> addresses = endpoint.strings("addresses");
      if (!addressed) {
        continue;
      }
      for (FieldReader.Text text : addresses) {
        Optional<InetAddress> address = CidrBlock.parseAddress(text.text());
        if (address.isEmpty()) {
          top.problems()
              .error(text.line(), text.path(), "\"" + text.text() + "\" is not an IP address");
        } else if (isNobodys(address.get())) {
          top.problems()
              .error(
                  text.line(),
                  text.path(),
                  "\""
                      + text.text()
                      + "\" may not be an endpoint: it is unspecified, loopback, link-local or"
                      + " multicast");
        }
      }
      addresses.stream()
          .flatMap(t -> CidrBlock.parseAddress(t.text()).stream())
          .findFirst()
          .ifPresent(a -> endpoints.add(new EndpointSlice.Endpoint(a, ready, zone)));
    }
    Map<String, Integer> ports = new HashMap<>();
    for (FieldReader port : top.mappings("ports")) {
      String name = port.string("name").orElse("");
      Optional<Integer> number = port.integer("port", 1, 65535);
      if (port.string("protocol").orElse("TCP").equals("TCP")) {
        number.ifPresent(n -> ports.put(name, n));
      }
    }
    return new EndpointSlice(
        object.key().ref(), object.labels().getOrDefault(SERVICE_NAME, ""), endpoints, ports);
  }

  /// What Kubernetes refuses as an endpoint, so that no slice leads back into the node.
  private static boolean isNobodys(InetAddress address) {
    return address.isAnyLocalAddress()
        || address.isLoopbackAddress()
        || address.isLinkLocalAddress()
        || address.isMulticastAddress();
  }

  // ---- Pod ---------------------------------------------------------------------------------

  /// Reads a Pod; empty when what is read of it has errors.
  public static Optional<KubePod> pod(KubeObject object, Problems problems) {
    return IstioFields.read(
        object, problems, own -> Optional.of(pod(object, new FieldReader(object.root(), "", own))));
  }

  private static KubePod pod(KubeObject object, FieldReader top) {
    Optional<FieldReader> spec = top.mapping("spec");
    Optional<FieldReader> status = top.mapping("status");
    List<FieldReader.Text> addresses = new ArrayList<>();
    boolean ready = false;
    String phase = "";
    if (status.isPresent()) {
      FieldReader of = status.get();
      of.string("podIP")
          .ifPresent(ip ->
              addresses.add(new FieldReader.Text(of.pathOf("podIP"), of.lineOf("podIP"), ip)));
      for (FieldReader ip : of.mappings("podIPs")) {
        ip.string("ip")
            .ifPresent(text ->
                addresses.add(new FieldReader.Text(ip.pathOf("ip"), ip.lineOf("ip"), text)));
      }
      for (FieldReader condition : of.mappings("conditions")) {
        ready |=
            condition.string("type").orElse("").equals("Ready")
                && condition.string("status").orElse("").equals("True");
      }
      phase = of.string("phase").orElse("");
    }
    List<InetAddress> found = new ArrayList<>();
    for (FieldReader.Text text : addresses) {
      Optional<InetAddress> address = CidrBlock.parseAddress(text.text());
      if (address.isEmpty() && !text.text().isEmpty()) {
        top.problems()
            .error(text.line(), text.path(), "\"" + text.text() + "\" is not an IP address");
      }
      address.filter(a -> !found.contains(a)).ifPresent(found::add);
    }
    boolean ended = phase.equals("Succeeded") || phase.equals("Failed");
    boolean leaving =
        object.root().mapping("metadata").flatMap(m -> m.get("deletionTimestamp")).isPresent();
    return new KubePod(
        object.key().ref(),
        found,
        object.labels(),
        ready && !ended && !leaving,
        ended,
        spec.flatMap(s -> s.bool("hostNetwork")).orElse(false),
        object.annotations().getOrDefault(REDIRECTION, "").equals("enabled")
            || object.labels().getOrDefault(WorkloadEntryReader.TUNNEL, "").equals("http"),
        spec.map(KubeReader::containerPorts).orElse(Map.of()),
        spec.flatMap(s -> s.string("nodeName")).orElse(""));
  }

  private static Map<String, Integer> containerPorts(FieldReader spec) {
    Map<String, Integer> out = new HashMap<>();
    // Containers that stay beside the others are init containers that never end.
    for (String list : List.of("containers", "initContainers")) {
      for (FieldReader container : spec.mappings(list)) {
        for (FieldReader port : container.mappings("ports")) {
          Optional<String> name = port.string("name");
          Optional<Integer> number = port.integer("containerPort", 1, 65535);
          if (port.string("protocol").orElse("TCP").equals("TCP")) {
            name.ifPresent(n -> number.ifPresent(p -> out.putIfAbsent(n, p)));
          }
        }
      }
    }
    return out;
  }
}
