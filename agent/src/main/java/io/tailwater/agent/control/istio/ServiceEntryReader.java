package io.tailwater.agent.control.istio;

import io.tailwater.agent.control.source.FieldReader;
import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Nearest;
import io.tailwater.agent.control.source.Problems;
import io.tailwater.agent.control.source.YamlValue;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// Reads and validates a ServiceEntry with the rules of Istio's webhook and schema
/// (`pkg/config/validation`), every problem at once. One use, one thread.
public final class ServiceEntryReader {
  /// The label that binds an entry, Service or namespace to a waypoint.
  public static final String USE_WAYPOINT = "istio.io/use-waypoint";

  /// Excepts blocks from the address filter for one entry of the root namespace.
  static final String ALLOW_ADDRESSES = "tailwater.io/allow-addresses";

  private static final int MAX_HOSTS = 256;
  private static final int MAX_ADDRESSES = 256;
  private static final int MAX_PORTS = 256;
  private static final int MAX_ENDPOINTS = 4096;

  private static final Map<String, ServiceEntry.Location> LOCATIONS =
      byName(ServiceEntry.Location.values());
  private static final Map<String, ServiceEntry.Resolution> RESOLUTIONS =
      byName(ServiceEntry.Resolution.values());

  private final KubeObject object;
  private final Problems problems;
  private final String rootNamespace;
  private boolean failed;

  private ServiceEntryReader(KubeObject object, String rootNamespace, Problems problems) {
    this.object = object;
    this.rootNamespace = rootNamespace;
    this.problems = problems;
  }

  private static <E extends Enum<E>> Map<String, E> byName(E[] values) {
    Map<String, E> out = new LinkedHashMap<>();
    for (E value : values) {
      out.put(value.name(), value);
    }
    return out;
  }

  /// Reads one; empty when it has errors. `problems` collects errors and warnings.
  public static Optional<ServiceEntry> read(
      KubeObject object, String rootNamespace, Problems problems) {
    return IstioFields.read(
        object, problems, own -> new ServiceEntryReader(object, rootNamespace, own).read());
  }

  private Optional<ServiceEntry> read() {
    Optional<FieldReader> specReader = IstioFields.spec(object, problems);
    if (specReader.isEmpty()) {
      return Optional.empty();
    }
    FieldReader spec = specReader.get();
    ServiceEntry.Resolution resolution =
        spec.oneOf("resolution", RESOLUTIONS).orElse(ServiceEntry.Resolution.NONE);
    ServiceEntry.Location location =
        spec.oneOf("location", LOCATIONS).orElse(ServiceEntry.Location.MESH_EXTERNAL);
    List<HostPattern> hosts = hosts(spec, resolution);
    List<CidrBlock> addresses = addresses(spec, resolution);
    List<ServiceEntry.Port> ports = ports(spec, resolution);
    Optional<Map<String, String>> selector = selector(spec);
    List<ServiceEntry.Endpoint> endpoints = endpoints(spec, resolution, ports);
    List<String> exportTo = exportTo(spec);
    List<String> sans =
        spec.strings("subjectAltNames").stream().map(FieldReader.Text::text).toList();
    spec.finish();

    acrossFields(spec, resolution, location, ports, selector);
    ServiceEntry entry =
        new ServiceEntry(
            object.key().ref(),
            object.age(),
            hosts,
            addresses,
            ports,
            location,
            resolution,
            endpoints,
            selector,
            exportTo,
            sans,
            allocated(),
            allowedAddresses(),
            object.labels());
    return failed ? Optional.empty() : Optional.of(entry);
  }

  // ---- hosts -------------------------------------------------------------------------------

  private List<HostPattern> hosts(FieldReader spec, ServiceEntry.Resolution resolution) {
    List<FieldReader.Text> texts = spec.strings("hosts");
    if (spec.lacks("hosts")) {
      spec.error("hosts", "at least one host is needed");
    }
    limit(spec, "hosts", texts.size(), MAX_HOSTS);
    boolean dynamic = resolution == ServiceEntry.Resolution.DYNAMIC_DNS;
    List<HostPattern> out = new ArrayList<>();
    Set<String> seen = new HashSet<>();
    for (FieldReader.Text text : texts) {
      String raw = text.text();
      if (raw.equals("*")) {
        problems.error(
            text.line(),
            text.path(),
            "\"*\" alone is not allowed in a ServiceEntry; name a domain, like \"*.example.com\"");
        continue;
      }
      boolean wildcard = raw.startsWith("*");
      if (dynamic && !wildcard) {
        problems.error(
            text.line(),
            text.path(),
            "\""
                + raw
                + "\" must be a wildcard: DYNAMIC_DNS resolves the name that the client asks for;"
                + " use resolution DNS for one name");
        continue;
      }
      Optional<HostName> name = hostName(wildcard ? withoutStar(raw) : raw, raw, text);
      if (name.isEmpty()) {
        continue;
      }
      if (!seen.add((wildcard ? "*." : "") + name.get().text())) {
        problems.warning(text.line(), text.path(), "\"" + raw + "\" is there twice");
        continue;
      }
      if (wildcard && !raw.startsWith("*.")) {
        problems.warning(
            text.line(),
            text.path(),
            "\""
                + raw
                + "\" covers nothing: a wildcard stands for whole labels, like \"*."
                + withoutStar(raw)
                + "\"");
        continue;
      }
      out.add(wildcard ? new HostPattern.Wildcard(name.get()) : new HostPattern.Exact(name.get()));
    }
    return out;
  }

  private static String withoutStar(String raw) {
    return raw.startsWith("*.") ? raw.substring(2) : raw.substring(1);
  }

  private Optional<HostName> hostName(String text, String shown, FieldReader.Text where) {
    return switch (HostName.parse(text)) {
      case HostName.Parsed.Invalid(String why) -> {
        problems.error(
            where.line(), where.path(), "\"" + shown + "\" " + IstioFields.whyNoName(text, why));
        yield Optional.empty();
      }
      case HostName.Parsed.Valid(HostName name, _) -> {
        String bad = notDns1123(name.text());
        if (!bad.isEmpty()) {
          problems.error(where.line(), where.path(), "\"" + shown + "\" " + bad);
          yield Optional.empty();
        }
        yield Optional.of(name);
      }
    };
  }

  /// HostName is wider than what a resource may hold: why the name is no RFC 1123 name, or nothing.
  static String notDns1123(String name) {
    if (name.indexOf('_') >= 0) {
      return "has an underscore, which a host name may not have";
    }
    for (String label : name.split("\\.", -1)) {
      if (label.startsWith("-") || label.endsWith("-")) {
        return "has a label that begins or ends with a hyphen";
      }
    }
    return "";
  }

  private void limit(FieldReader spec, String key, int size, int max) {
    if (size > max) {
      spec.error(key, "has " + size + " items; at most " + max + " are allowed");
    }
  }

  // ---- addresses ---------------------------------------------------------------------------

  private List<CidrBlock> addresses(FieldReader spec, ServiceEntry.Resolution resolution) {
    List<FieldReader.Text> texts = spec.strings("addresses");
    limit(spec, "addresses", texts.size(), MAX_ADDRESSES);
    if (!texts.isEmpty() && resolution == ServiceEntry.Resolution.DYNAMIC_DNS) {
      spec.error("addresses", "cannot be set with resolution DYNAMIC_DNS");
    }
    List<CidrBlock> out = new ArrayList<>();
    for (FieldReader.Text text : texts) {
      Optional<CidrBlock> block = CidrBlock.parse(text.text());
      if (block.isEmpty()) {
        problems.error(
            text.line(),
            text.path(),
            "\"" + text.text() + "\" is neither an IP address nor a block like 192.0.2.0/24");
        continue;
      }
      if (text.text().indexOf('/') >= 0
          && resolution != ServiceEntry.Resolution.NONE
          && resolution != ServiceEntry.Resolution.STATIC) {
        problems.error(
            text.line(),
            text.path(),
            "a block is allowed only with resolution NONE or STATIC, not " + resolution);
      }
      out.add(block.get());
    }
    return out;
  }

  // ---- ports -------------------------------------------------------------------------------

  private List<ServiceEntry.Port> ports(FieldReader spec, ServiceEntry.Resolution resolution) {
    List<FieldReader> readers = spec.mappings("ports");
    limit(spec, "ports", readers.size(), MAX_PORTS);
    List<ServiceEntry.Port> out = new ArrayList<>();
    Set<Integer> numbers = new HashSet<>();
    Set<String> names = new HashSet<>();
    for (FieldReader reader : readers) {
      Optional<Integer> number = reader.integer("number", 1, 65535);
      if (!reader.has("number")) {
        reader.error("number", "is missing");
      } else if (number.isPresent() && !numbers.add(number.get())) {
        reader.error("number", "port " + number.get() + " is already defined in this entry");
      }
      Optional<String> name = reader.string("name");
      if (!reader.has("name") || name.map(String::isEmpty).orElse(false)) {
        reader.error("name", "is missing; every port of a ServiceEntry has a name");
      } else if (name.isPresent()) {
        if (!IstioFields.isDnsLabel(name.get())) {
          reader.error("name", "\"" + name.get() + "\" is not a DNS label");
        } else if (!names.add(name.get())) {
          reader.error(
              "name", "the port name \"" + name.get() + "\" is already defined in this entry");
        }
      }
      Protocol protocol = protocol(reader, resolution);
      Optional<Integer> target = reader.integer("targetPort", 1, 65535);
      reader.finish();
      number.ifPresent(n -> out.add(new ServiceEntry.Port(n, name.orElse(""), protocol, target)));
    }
    return out;
  }

  private Protocol protocol(FieldReader port, ServiceEntry.Resolution resolution) {
    String text = port.string("protocol").orElse("");
    Optional<Protocol> protocol = Protocol.parse(text);
    if (protocol.isEmpty()) {
      port.error("protocol", IstioFields.noProtocol(text));
      return Protocol.UNSET;
    }
    if (resolution == ServiceEntry.Resolution.DYNAMIC_DNS) {
      switch (protocol.get()) {
        case HTTP, TLS, GRPC, HTTP2 -> {}
        case HTTPS ->
            port.error(
                "protocol", "with DYNAMIC_DNS write TLS instead of HTTPS (it means the same here)");
        case GRPC_WEB, TCP, MONGO, MYSQL, REDIS, UDP, UNSET ->
            port.error(
                "protocol",
                "must be HTTP, TLS, GRPC or HTTP2 with DYNAMIC_DNS, not "
                    + (text.isEmpty()
                        ? "unset: only their bytes carry a name"
                        : text + ": its bytes carry no name"));
      }
    }
    return protocol.get();
  }

  // ---- endpoints ---------------------------------------------------------------------------

  private List<ServiceEntry.Endpoint> endpoints(
      FieldReader spec, ServiceEntry.Resolution resolution, List<ServiceEntry.Port> ports) {
    List<FieldReader> readers = spec.mappings("endpoints");
    limit(spec, "endpoints", readers.size(), MAX_ENDPOINTS);
    if (!readers.isEmpty()) {
      if (resolution == ServiceEntry.Resolution.NONE) {
        spec.error(
            "endpoints", "cannot be set with resolution NONE, which keeps the dialled address");
      } else if (resolution == ServiceEntry.Resolution.DYNAMIC_DNS) {
        spec.error("endpoints", "cannot be set with resolution DYNAMIC_DNS");
      } else if (resolution == ServiceEntry.Resolution.DNS_ROUND_ROBIN && readers.size() > 1) {
        spec.error("endpoints", "DNS_ROUND_ROBIN takes no or one endpoint, not " + readers.size());
      }
    }
    Set<String> portNames = new HashSet<>();
    ports.forEach(p -> portNames.add(p.name()));
    List<ServiceEntry.Endpoint> out = new ArrayList<>();
    for (FieldReader reader : readers) {
      endpoint(reader, resolution, portNames, ports.size()).ifPresent(out::add);
    }
    return out;
  }

  private Optional<ServiceEntry.Endpoint> endpoint(
      FieldReader reader,
      ServiceEntry.Resolution resolution,
      Set<String> portNames,
      int servicePorts) {
    String network = reader.string("network").orElse("");
    Optional<ServiceEntry.Place> place = place(reader, resolution, network);
    Map<String, Integer> ports = reader.integerMap("ports", 1, 65535);
    for (String name : ports.keySet()) {
      if (!portNames.contains(name)) {
        reader.error(
            "ports",
            "\""
                + name
                + "\" is not the name of a port of this entry"
                + Nearest.hint(name, portNames));
      }
    }
    if (place.orElse(null) instanceof ServiceEntry.Place.Unix) {
      if (!ports.isEmpty()) {
        reader.error("ports", "a unix:// endpoint has no ports");
      }
      if (servicePorts != 1) {
        reader.error("address", "a unix:// endpoint needs exactly one port in the entry");
      }
    }
    IstioFields.checkEndpoint(reader);
    Map<String, String> labels = reader.stringMap("labels");
    IstioFields.checkLabels(reader, "labels", labels);
    int weight = IstioFields.unsigned(reader, "weight").orElse(0);
    String locality = reader.string("locality").orElse("");
    String account = reader.string("serviceAccount").orElse("");
    reader.finish();
    return place.map(
        p -> new ServiceEntry.Endpoint(p, ports, labels, network, locality, weight, account));
  }

  private Optional<ServiceEntry.Place> place(
      FieldReader reader, ServiceEntry.Resolution resolution, String network) {
    String address = reader.string("address").orElse("");
    if (address.isEmpty()) {
      if (network.isEmpty()) {
        reader.error("address", "is missing");
        return Optional.empty();
      }
      reader.warning("address", "is missing: endpoints of other networks are not reached");
      return Optional.of(new ServiceEntry.Place.Elsewhere());
    }
    Optional<InetAddress> ip = CidrBlock.parseAddress(address);
    if (ip.isPresent()) {
      return Optional.of(new ServiceEntry.Place.Ip(ip.get()));
    }
    if (address.startsWith("unix://")) {
      String path = address.substring("unix://".length());
      if (resolution != ServiceEntry.Resolution.STATIC) {
        reader.error("address", "a unix:// endpoint needs resolution STATIC");
      }
      IstioFields.notSocketPath(path).ifPresent(why -> reader.error("address", why));
      return Optional.of(new ServiceEntry.Place.Unix(path));
    }
    if (resolution == ServiceEntry.Resolution.STATIC) {
      reader.error(
          "address",
          "\""
              + address
              + "\" is not an IP address; with resolution STATIC an endpoint is an address or"
              + " unix:// path (use DNS for names)");
      return Optional.empty();
    }
    FieldReader.Text where =
        new FieldReader.Text(reader.pathOf("address"), reader.lineOf("address"), address);
    return hostName(address, address, where).map(ServiceEntry.Place.Name::new);
  }

  // ---- the rest ----------------------------------------------------------------------------

  private Optional<Map<String, String>> selector(FieldReader spec) {
    Optional<Map<String, String>> labels = IstioFields.workloadSelector(spec);
    if (labels.isPresent() && labels.get().isEmpty()) {
      spec.warning("workloadSelector", "has no labels, so it selects nothing");
    }
    return labels;
  }

  private List<String> exportTo(FieldReader spec) {
    List<String> out = new ArrayList<>();
    Set<String> seen = new HashSet<>();
    List<FieldReader.Text> texts = spec.strings("exportTo");
    for (FieldReader.Text text : texts) {
      String to = text.text();
      if (!seen.add(to.equals(".") ? object.namespace() : to)) {
        problems.error(
            text.line(),
            text.path(),
            "\"" + to + "\" is there twice (\".\" is the entry's own namespace)");
      } else if ((to.equals("*") || to.equals("~")) && texts.size() > 1) {
        problems.error(text.line(), text.path(), "\"" + to + "\" must stand alone");
      } else if (!to.equals("*") && !to.equals("~") && !to.equals(".") && !KubeObject.isLabel(to)) {
        problems.error(
            text.line(),
            text.path(),
            "\"" + to + "\" is neither a namespace nor one of \".\", \"*\", \"~\"");
      }
      out.add(to);
    }
    return out;
  }

  private void acrossFields(
      FieldReader spec,
      ServiceEntry.Resolution resolution,
      ServiceEntry.Location location,
      List<ServiceEntry.Port> ports,
      Optional<Map<String, String>> selector) {
    int hosts = spec.items("hosts").size();
    boolean hasAddresses = !spec.lacks("addresses");
    boolean hasEndpoints = !spec.lacks("endpoints");
    if (selector.isPresent()) {
      if (hasEndpoints) {
        spec.error("workloadSelector", "and endpoints exclude each other");
      }
      if (resolution == ServiceEntry.Resolution.NONE) {
        spec.warning(
            "workloadSelector",
            "has no effect with resolution NONE, which keeps the dialled address");
      }
    }
    boolean byLookup =
        resolution == ServiceEntry.Resolution.DNS
            || resolution == ServiceEntry.Resolution.DNS_ROUND_ROBIN;
    if (byLookup && !hasEndpoints) {
      for (FieldReader.Text host : spec.strings("hosts")) {
        if (host.text().startsWith("*")) {
          problems.error(
              host.line(),
              host.path(),
              "\""
                  + host.text()
                  + "\" must be a full name, because resolution "
                  + resolution
                  + " without endpoints looks it up; use DYNAMIC_DNS for a wildcard");
        }
      }
    }
    boolean otherThanByName =
        ports.stream()
            .anyMatch(p ->
                p.protocol().family() != Protocol.Family.HTTP
                    && p.protocol().family() != Protocol.Family.TLS);
    if (hosts > 1 && otherThanByName) {
      if (resolution != ServiceEntry.Resolution.NONE) {
        spec.error(
            "hosts",
            "several hosts need HTTP, HTTPS, GRPC, HTTP2 or TLS ports: others are not told apart by"
                + " name");
      } else if (hasAddresses) {
        spec.warning(
            "hosts",
            "the hosts share their addresses on ports without a name; the first one gets the"
                + " connections");
      }
    }
    if (!hasAddresses) {
      for (ServiceEntry.Port port : ports) {
        if (port.protocol().family() == Protocol.Family.TCP) {
          spec.warning(
              "ports",
              "port "
                  + port.number()
                  + " takes every connection to that port, whatever its address: set addresses to"
                  + " tell it apart");
        }
      }
    }
    if (resolution != ServiceEntry.Resolution.DYNAMIC_DNS) {
      for (ServiceEntry.Port port : ports) {
        if (port.protocol() == Protocol.UNSET) {
          spec.warning(
              "ports",
              "port "
                  + port.number()
                  + " has no protocol, so the client's first bytes decide"
                  + (hasAddresses ? "" : ", and what is no HTTP goes there whatever its address")
                  + ": write TLS, HTTP or TCP");
        }
      }
    }
    if (spec.lacks("ports")) {
      spec.warning("ports", "has no ports, so it matches nothing");
    }
    ports.stream()
        .filter(p -> p.protocol() == Protocol.UDP)
        .forEach(p -> spec.warning("ports", "port " + p.number() + " is UDP, which is not routed"));
    String waypoint = object.labels().getOrDefault(USE_WAYPOINT, "").toLowerCase(Locale.ROOT);
    if (resolution == ServiceEntry.Resolution.DYNAMIC_DNS
        && location == ServiceEntry.Location.MESH_INTERNAL
        && !waypoint.isEmpty()
        && !waypoint.equals("none")) {
      spec.error(
          "location",
          "MESH_INTERNAL with DYNAMIC_DNS cannot be bound to a waypoint (label "
              + USE_WAYPOINT
              + ")");
    }
  }

  /// `status.addresses` is what a control plane wrote: what does not fit is skipped, not refused.
  private List<ServiceEntry.Allocated> allocated() {
    List<ServiceEntry.Allocated> out = new ArrayList<>();
    List<YamlValue> items =
        object.root().mapping("status").map(s -> s.items("addresses")).orElse(List.of());
    for (YamlValue item : items) {
      if (item instanceof YamlValue.Mapping mapping) {
        mapping
            .text("value")
            .flatMap(CidrBlock::parseAddress)
            .ifPresent(
                a -> out.add(new ServiceEntry.Allocated(a, mapping.text("host").orElse(""))));
      }
    }
    return out;
  }

  private List<CidrBlock> allowedAddresses() {
    String text = object.annotations().getOrDefault(ALLOW_ADDRESSES, "");
    if (text.isBlank()) {
      return List.of();
    }
    int line = object.line();
    String field = "metadata.annotations." + ALLOW_ADDRESSES;
    if (!object.namespace().equals(rootNamespace)) {
      problems.warning(
          line,
          field,
          "has no effect outside the root namespace "
              + rootNamespace
              + ": tenants do not except themselves from the address filter");
      return List.of();
    }
    List<CidrBlock> out = new ArrayList<>();
    for (String part : text.split(",", -1)) {
      Optional<CidrBlock> block = CidrBlock.parse(part.strip());
      if (block.isEmpty()) {
        problems.error(
            line, field, "\"" + part.strip() + "\" is not an address or block like 10.0.0.0/8");
        failed = true;
      }
      block.ifPresent(out::add);
    }
    return out;
  }
}
