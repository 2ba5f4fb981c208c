package io.tailwater.agent.control.istio;

import io.tailwater.agent.control.source.FieldReader;
import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Problems;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.ResourceRef;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// Validates a Gateway of Istio's own API as its webhook does (`ValidateGateway`), every problem at
/// once. Nothing of it is kept: it configures gateways, not this node. One use, one thread.
public final class GatewayReader {
  private static final String UNIX = "unix://";

  private GatewayReader() {}

  /// Its name, if it is valid.
  public static Optional<ResourceRef> read(KubeObject object, Problems problems) {
    return IstioFields.read(
        object,
        problems,
        own ->
            IstioFields.spec(object, own)
                .map(spec -> {
                  if (!KubeObject.isLabel(object.name())) {
                    own.error(
                        object.line(),
                        "metadata.name",
                        "\"" + object.name() + "\" is not a DNS label: a Gateway's has no dots");
                  }
                  gateway(spec);
                  return object.key().ref();
                }));
  }

  private static void gateway(FieldReader spec) {
    Map<String, String> selector = spec.stringMap("selector");
    IstioFields.checkLabels(spec, "selector", selector);
    List<FieldReader> servers = spec.mappings("servers");
    if (spec.lacks("servers")) {
      spec.error("servers", "at least one server is needed");
    }
    Set<String> names = new HashSet<>();
    for (FieldReader server : servers) {
      server(server, names);
    }
    spec.finish();
  }

  private static void server(FieldReader server, Set<String> names) {
    hosts(server);
    String bind = server.string("bind").orElse("");
    if (bind.startsWith(UNIX)) {
      IstioFields.notSocketPath(bind.substring(UNIX.length()))
          .ifPresent(why -> server.error("bind", why));
    } else if (!bind.isEmpty() && CidrBlock.parseAddress(bind).isEmpty()) {
      server.error("bind", "\"" + bind + "\" is neither an IP address nor a " + UNIX + " path");
    }
    server.ignore("defaultEndpoint", "name");
    Optional<FieldReader> tls = server.mapping("tls");
    Optional<FieldReader> port = server.mapping("port");
    if (port.isEmpty()) {
      server.error("port", "is missing");
    } else {
      Protocol protocol = port(port.get(), bind, names);
      tls(server, tls, protocol);
    }
    server.finish();
  }

  private static void hosts(FieldReader server) {
    List<FieldReader.Text> hosts = server.strings("hosts");
    if (server.lacks("hosts")) {
      server.error("hosts", "at least one host is needed");
    }
    for (FieldReader.Text text : hosts) {
      int slash = text.text().indexOf('/');
      String namespace = slash < 0 ? "*" : text.text().substring(0, slash);
      String name = text.text().substring(slash + 1);
      if (!namespace.equals("*") && !namespace.equals(".") && !KubeObject.isLabel(namespace)) {
        server
            .problems()
            .error(
                text.line(),
                text.path(),
                "\"" + namespace + "\" is neither a namespace nor one of \"*\", \".\"");
      }
      if (CidrBlock.parseAddress(name).isEmpty()) {
        IstioFields.notDnsName(name)
            .ifPresent(why ->
                server
                    .problems()
                    .error(text.line(), text.path(), "\"" + text.text() + "\" " + why));
      }
    }
  }

  private static Protocol port(FieldReader port, String bind, Set<String> names) {
    Optional<Integer> number = port.integer("number", bind.startsWith(UNIX) ? 0 : 1, 65535);
    if (number.isEmpty() && !port.has("number") && !bind.startsWith(UNIX)) {
      port.error("number", "is missing");
    }
    if (bind.startsWith(UNIX) && number.orElse(0) != 0) {
      port.error("number", "must be 0 with a bind of " + UNIX + "/path");
    }
    String name = port.string("name").orElse("");
    if (name.isEmpty()) {
      port.error("name", "is missing; every port of a Gateway has a name");
    } else if (!names.add(name)) {
      port.error("name", "the port name \"" + name + "\" is already used by another server");
    }
    String text = port.string("protocol").orElse("");
    Optional<Protocol> protocol = Protocol.parse(text).filter(p -> p != Protocol.UNSET);
    if (protocol.isEmpty()) {
      port.error("protocol", text.isEmpty() ? "is missing" : IstioFields.noProtocol(text));
    }
    if (port.integer("targetPort", 0, 65535).orElse(0) != 0) {
      port.error("targetPort", "has no meaning in a Gateway; leave it out");
    }
    port.finish();
    return protocol.orElse(Protocol.UNSET);
  }

  private static void tls(FieldReader server, Optional<FieldReader> reader, Protocol protocol) {
    boolean secure = protocol.family() == Protocol.Family.TLS;
    if (reader.isEmpty()) {
      if (secure) {
        server.error("tls", "is missing; a port of protocol " + protocol.text() + " needs it");
      }
      return;
    }
    ServerTlsReader.Read tls = ServerTlsReader.read(reader.get());
    if (!secure && protocol != Protocol.UNSET) {
      if (protocol.family() != Protocol.Family.HTTP) {
        server.error("tls", "needs a port of protocol HTTPS or TLS");
      } else if (!tls.redirects()) {
        server.error("tls", "may only hold httpsRedirect on an HTTP port");
      }
    }
    if (secure && tls.httpsRedirect()) {
      server.warning("tls", "httpsRedirect is for HTTP ports; it has no effect here");
    }
  }
}
