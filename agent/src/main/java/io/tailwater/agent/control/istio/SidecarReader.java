package io.tailwater.agent.control.istio;

import io.tailwater.agent.control.source.FieldReader;
import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Problems;
import io.tailwater.agent.control.source.YamlValue;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// Reads and validates a Sidecar with the rules of Istio's webhook (`pkg/config/validation`,
/// `ValidateSidecar`), every problem at once. One use, one thread.
public final class SidecarReader {
  private static final String UNIX = "unix://";
  private static final Set<String> LOOPBACKS =
      Set.of("", "127.0.0.1", "0.0.0.0", "::1", "::", "[::1]", "[::]");

  private enum Capture {
    DEFAULT,
    IPTABLES,
    NONE
  }

  /// What Gateways have in `tls`, and ingress listeners have not.
  private static final List<String> UNSUPPORTED =
      List.of(
          "subjectAltNames",
          "httpsRedirect",
          "credentialName",
          "credentialNames",
          "tlsCertificates");

  private static final Map<String, Capture> CAPTURES =
      Map.of("DEFAULT", Capture.DEFAULT, "IPTABLES", Capture.IPTABLES, "NONE", Capture.NONE);

  private static final Map<String, MeshSettings.OutboundTrafficPolicy> MODES =
      Map.of(
          "ALLOW_ANY", MeshSettings.OutboundTrafficPolicy.ALLOW_ANY,
          "REGISTRY_ONLY", MeshSettings.OutboundTrafficPolicy.REGISTRY_ONLY);

  private final KubeObject object;
  private final Problems problems;

  private SidecarReader(KubeObject object, Problems problems) {
    this.object = object;
    this.problems = problems;
  }

  /// Reads one; empty when it has errors.
  public static Optional<Sidecar> read(KubeObject object, Problems problems) {
    return IstioFields.read(object, problems, own -> new SidecarReader(object, own).read());
  }

  /// What stands for a Sidecar that has errors: it selects whom it seems to select and imports
  /// nothing. Its policy for unknown destinations counts only where it is stricter.
  public static Sidecar unreadable(KubeObject object) {
    Optional<YamlValue.Mapping> spec = object.spec();
    Optional<YamlValue> policy = spec.flatMap(s -> s.get("outboundTrafficPolicy"));
    boolean allows =
        policy.orElse(null) instanceof YamlValue.Mapping m
            && m.text("mode").orElse("").equals("ALLOW_ANY");
    return new Sidecar(
        object.key().ref(),
        object.age(),
        spec.flatMap(s -> s.mapping("workloadSelector"))
            .map(s -> s.texts("labels"))
            .orElse(Map.of()),
        List.of(
            new Sidecar.Egress(
                Optional.empty(),
                Optional.empty(),
                List.of(new Sidecar.Import(false, "~", Optional.empty())))),
        policy
            .filter(_ -> !allows)
            .map(_ ->
                new Sidecar.Outbound(
                    MeshSettings.OutboundTrafficPolicy.REGISTRY_ONLY, Optional.empty())));
  }

  private Optional<Sidecar> read() {
    Optional<FieldReader> reader = IstioFields.spec(object, problems);
    if (reader.isEmpty()) {
      return Optional.empty();
    }
    FieldReader spec = reader.get();
    Optional<Map<String, String>> selector = IstioFields.workloadSelector(spec);
    if (selector.isPresent() && selector.get().isEmpty()) {
      spec.warning("workloadSelector", "has no labels, so it applies to every workload");
    }
    boolean says = false;
    for (String key : List.of("egress", "ingress")) {
      says |= !spec.lacks(key);
    }
    for (String key : List.of("outboundTrafficPolicy", "inboundConnectionPool")) {
      says |= spec.has(key);
    }
    if (!says) {
      problems.error(
          spec.mapping().line(),
          spec.path(),
          "is empty: a Sidecar needs egress, ingress, outboundTrafficPolicy or"
              + " inboundConnectionPool");
    }
    ingress(spec);
    List<Sidecar.Egress> egress = egress(spec);
    Optional<Sidecar.Outbound> outbound = spec.mapping("outboundTrafficPolicy").map(this::outbound);
    spec.finish();
    return Optional.of(
        new Sidecar(object.key().ref(), object.age(), selector.orElse(Map.of()), egress, outbound));
  }

  // ---- egress ------------------------------------------------------------------------------

  private List<Sidecar.Egress> egress(FieldReader spec) {
    List<FieldReader> listeners = spec.mappings("egress");
    List<Sidecar.Egress> out = new ArrayList<>();
    Set<Integer> ports = new HashSet<>();
    Set<String> sockets = new HashSet<>();
    for (int i = 0; i < listeners.size(); i++) {
      FieldReader listener = listeners.get(i);
      Optional<String> bind = listener.string("bind").filter(b -> !b.isEmpty());
      Capture capture = listener.oneOf("captureMode", CAPTURES).orElse(Capture.DEFAULT);
      Optional<Sidecar.Port> port = Optional.empty();
      Optional<FieldReader> portReader = listener.mapping("port");
      if (portReader.isPresent()) {
        port = port(portReader.get(), bind, capture);
        boolean again =
            port.map(p -> p.number() == 0 ? !sockets.add(bind.orElse("")) : !ports.add(p.number()))
                .orElse(false);
        if (again) {
          listener.error("port", "is there twice: each egress listener has a port of its own");
        }
      } else if (i < listeners.size() - 1) {
        listener.error("port", "is missing: the egress listener without a port must be the last");
      }
      List<Sidecar.Import> hosts = hosts(listener);
      listener.finish();
      boolean socket = port.map(p -> p.number() == 0).orElse(false);
      boolean captured = capture != Capture.NONE && !socket;
      if (!captured) {
        listener.warning(
            "port",
            "is not honoured: "
                + (socket ? "a socket file" : "captureMode NONE")
                + " opens a place in the pod, and the agent opens none");
      }
      out.add(new Sidecar.Egress(port, bind, hosts, captured));
    }
    return out;
  }

  private Optional<Sidecar.Port> port(FieldReader port, Optional<String> bind, Capture capture) {
    Optional<Integer> number = port.integer("number", 0, 65535);
    String name = portName(port);
    Protocol protocol = protocol(port);
    targetPort(port);
    port.finish();
    int at = number.orElse(0);
    boolean unix = bind.map(b -> b.startsWith(UNIX)).orElse(false);
    if (at == 0) {
      if (port.mapping().get("number").isEmpty() || number.isPresent()) {
        if (!unix) {
          port.error("number", "is missing; port 0 is only for a bind of " + UNIX + "/path");
        } else if (capture == Capture.IPTABLES) {
          port.error("number", "port 0 with captureMode IPTABLES: a socket file is not captured");
        }
      }
      unixPath(port, bind);
    } else if (bind.isPresent() && CidrBlock.parseAddress(bind.get()).isEmpty()) {
      port.problems()
          .error(
              port.mapping().line(),
              port.path().replaceAll("port$", "bind"),
              "\"" + bind.get() + "\" is not an IP address");
    }
    return Optional.of(new Sidecar.Port(at, name, protocol));
  }

  private static void unixPath(FieldReader port, Optional<String> bind) {
    if (bind.isPresent() && bind.get().startsWith(UNIX)) {
      IstioFields.notSocketPath(bind.get().substring(UNIX.length()))
          .ifPresent(why ->
              port.problems()
                  .error(port.mapping().line(), port.path().replaceAll("port$", "bind"), why));
    }
  }

  private static String portName(FieldReader port) {
    String name = port.string("name").orElse("");
    if (!name.isEmpty() && !IstioFields.isDnsLabel(name)) {
      port.error("name", "\"" + name + "\" is not a DNS label");
    }
    return name;
  }

  private static Protocol protocol(FieldReader port) {
    String text = port.string("protocol").orElse("");
    Optional<Protocol> protocol = Protocol.parse(text);
    if (protocol.isEmpty()) {
      port.error("protocol", IstioFields.noProtocol(text));
    }
    return protocol.orElse(Protocol.UNSET);
  }

  private static void targetPort(FieldReader port) {
    if (port.integer("targetPort", 0, 65535).orElse(0) != 0) {
      port.error("targetPort", "has no meaning in a Sidecar; leave it out");
    }
  }

  private List<Sidecar.Import> hosts(FieldReader listener) {
    List<FieldReader.Text> texts = listener.strings("hosts");
    if (listener.lacks("hosts")) {
      listener.error("hosts", "at least one host is needed, like \"./*\" or \"*/*\"");
    }
    List<Sidecar.Import> out = new ArrayList<>();
    Map<String, Set<String>> seen = new HashMap<>();
    for (FieldReader.Text text : texts) {
      Optional<Sidecar.Import> item = host(text);
      if (item.isEmpty()) {
        continue;
      }
      int slash = text.text().indexOf('/');
      Set<String> names =
          seen.computeIfAbsent(text.text().substring(0, slash), _ -> new HashSet<>());
      String name = text.text().substring(slash + 1);
      boolean again =
          name.equals("*") ? !names.isEmpty() : names.contains(name) || names.contains("*");
      if (again) {
        problems.warning(
            text.line(), text.path(), "\"" + text.text() + "\" repeats what another host imports");
      }
      names.add(name);
      out.add(item.get());
    }
    boolean all = seen.getOrDefault("*", Set.of()).contains("*");
    if (all && seen.keySet().stream().anyMatch(n -> !n.startsWith("~") && !n.equals("*"))) {
      listener.warning("hosts", "\"*/*\" imports everything already; the others add nothing");
    }
    return out;
  }

  private Optional<Sidecar.Import> host(FieldReader.Text text) {
    int slash = text.text().indexOf('/');
    if (slash < 0) {
      problems.error(
          text.line(),
          text.path(),
          "\"" + text.text() + "\" must be namespace/dnsName, like \"./*\" or \"*/*.example.com\"");
      return Optional.empty();
    }
    String namespace = text.text().substring(0, slash);
    String name = text.text().substring(slash + 1);
    if (namespace.isEmpty() || name.isEmpty()) {
      problems.error(
          text.line(),
          text.path(),
          "\"" + text.text() + "\" lacks its " + (name.isEmpty() ? "dnsName" : "namespace"));
      return Optional.empty();
    }
    boolean excludes = namespace.length() > 1 && namespace.startsWith("~");
    String bare = excludes ? namespace.substring(1) : namespace;
    boolean good =
        bare.equals("*")
            || bare.equals(".")
            || (bare.equals("~") && !excludes)
            || KubeObject.isLabel(bare);
    if (!good) {
      problems.error(
          text.line(),
          text.path(),
          "\"" + namespace + "\" is neither a namespace nor one of \"*\", \".\", \"~\"");
      return Optional.empty();
    }
    Optional<String> wrong = IstioFields.notDnsName(name);
    if (wrong.isPresent()) {
      problems.error(text.line(), text.path(), "\"" + name + "\" " + wrong.get());
      return Optional.empty();
    }
    return Optional.of(new Sidecar.Import(excludes, bare, pattern(name)));
  }

  private static Optional<HostPattern> pattern(String name) {
    if (name.equals("*")) {
      return Optional.empty();
    }
    return Optional.of(
        name.startsWith("*.")
            ? new HostPattern.Wildcard(HostName.of(name.substring(2)))
            : new HostPattern.Exact(HostName.of(name)));
  }

  // ---- outboundTrafficPolicy ---------------------------------------------------------------

  /// Replaces the mesh's whole; an empty one is REGISTRY_ONLY, the enum's first value.
  private Sidecar.Outbound outbound(FieldReader policy) {
    MeshSettings.OutboundTrafficPolicy mode = MeshSettings.OutboundTrafficPolicy.REGISTRY_ONLY;
    if (policy.mapping().text("mode").orElse("").equals("ALLOW_ANY_DYNAMIC_DNS")) {
      policy.error("mode", "ALLOW_ANY_DYNAMIC_DNS is for the whole mesh only, not for a Sidecar");
      policy.ignore("mode");
    } else {
      mode = policy.oneOf("mode", MODES).orElse(mode);
    }
    Optional<Sidecar.EgressProxy> proxy = Optional.empty();
    Optional<FieldReader> reader = policy.mapping("egressProxy");
    if (reader.isPresent()) {
      if (mode != MeshSettings.OutboundTrafficPolicy.ALLOW_ANY) {
        policy.error("egressProxy", "is allowed only with mode ALLOW_ANY");
      }
      proxy = egressProxy(reader.get());
    }
    if (policy.has("tls")) {
      policy.error("tls", "is for the whole mesh only, not for a Sidecar");
    }
    policy.finish();
    return new Sidecar.Outbound(mode, proxy);
  }

  private static Optional<Sidecar.EgressProxy> egressProxy(FieldReader proxy) {
    String host = proxy.string("host").orElse("");
    Optional<String> wrong = IstioFields.notFullName(host);
    if (wrong.isPresent()) {
      proxy.error("host", "\"" + host + "\" " + wrong.get());
    }
    String subset = proxy.string("subset").orElse("");
    if (!subset.isEmpty() && !IstioFields.isDnsLabel(subset)) {
      proxy.error("subset", "\"" + subset + "\" is not a DNS label");
    }
    Optional<FieldReader> port = proxy.mapping("port");
    Optional<Integer> number = port.flatMap(p -> p.integer("number", 1, 65535));
    if (port.isEmpty() || !port.get().has("number")) {
      proxy.error("port", "is missing; egressProxy needs port: {number: ...}");
    }
    port.ifPresent(FieldReader::finish);
    proxy.finish();
    return number
        .filter(_ -> wrong.isEmpty())
        .map(n -> new Sidecar.EgressProxy(HostName.of(host).text(), subset, n));
  }

  // ---- ingress -----------------------------------------------------------------------------

  /// Ingress listeners say nothing about outbound connections: they are validated and left.
  private void ingress(FieldReader spec) {
    Set<Integer> ports = new HashSet<>();
    for (FieldReader listener : spec.mappings("ingress")) {
      Optional<String> bind = listener.string("bind").filter(b -> !b.isEmpty());
      listener.oneOf("captureMode", CAPTURES);
      Optional<FieldReader> port = listener.mapping("port");
      Protocol protocol = Protocol.UNSET;
      if (port.isEmpty()) {
        listener.error("port", "is missing; an ingress listener needs one");
      } else {
        Optional<Integer> number = port.get().integer("number", 1, 65535);
        if (!port.get().has("number")) {
          port.get().error("number", "is missing");
        }
        portName(port.get());
        protocol = protocol(port.get());
        targetPort(port.get());
        port.get().finish();
        if (number.map(n -> !ports.add(n)).orElse(false)) {
          listener.error("port", "is there twice: each ingress listener has a port of its own");
        }
      }
      if (bind.isPresent() && CidrBlock.parseAddress(bind.get()).isEmpty()) {
        listener.error("bind", "\"" + bind.get() + "\" is not an IP address");
      }
      listener.string("defaultEndpoint").ifPresent(e -> defaultEndpoint(listener, e));
      Optional<FieldReader> tls = listener.mapping("tls");
      if (tls.isPresent()) {
        ingressTls(tls.get(), protocol);
      }
      Optional<FieldReader> pool = listener.mapping("connectionPool");
      pool.ifPresent(TrafficPolicyReader::pool);
      if (pool.filter(p -> p.has("http")).isPresent()
          && protocol.family() != Protocol.Family.HTTP) {
        listener.warning("connectionPool", "its http settings have no effect on a port of TCP");
      }
      listener.finish();
    }
    spec.mapping("inboundConnectionPool").ifPresent(TrafficPolicyReader::pool);
  }

  private static void defaultEndpoint(FieldReader listener, String endpoint) {
    if (endpoint.startsWith(UNIX)) {
      IstioFields.notSocketPath(endpoint.substring(UNIX.length()))
          .ifPresent(why -> listener.error("defaultEndpoint", why));
      return;
    }
    if (endpoint.isEmpty()) {
      return;
    }
    int colon = endpoint.lastIndexOf(':');
    String port = endpoint.substring(colon + 1);
    boolean good =
        colon >= 0
            && LOOPBACKS.contains(endpoint.substring(0, colon))
            && port.matches("[0-9]{1,5}")
            && Integer.parseInt(port) >= 1
            && Integer.parseInt(port) <= 65535;
    if (!good) {
      listener.error(
          "defaultEndpoint",
          "\""
              + endpoint
              + "\" must be 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, [::]:PORT or unix:///path");
    }
  }

  private static void ingressTls(FieldReader tls, Protocol protocol) {
    if (protocol.family() != Protocol.Family.TLS) {
      tls.error("needs a port of protocol HTTPS or TLS");
    }
    ServerTlsReader.Read read = ServerTlsReader.read(tls);
    for (String key : UNSUPPORTED) {
      boolean off = key.equals("httpsRedirect") && !read.httpsRedirect();
      if (tls.has(key) && !off) {
        tls.error(key, "is not supported for ingress listeners of a Sidecar");
      }
    }
    if (read.mode() == ServerTlsReader.Mode.ISTIO_MUTUAL
        || read.mode() == ServerTlsReader.Mode.AUTO_PASSTHROUGH) {
      tls.error("mode", read.mode() + " is not supported for ingress listeners of a Sidecar");
    }
  }
}
