package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.agent.traffic.ResourceRef;
import java.net.InetAddress;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Collectors;

/// What would let a refused connection through, as narrow as it can be written. Pure.
public sealed interface Suggestion {
  /// YAML to apply.
  record Yaml(String text) implements Suggestion {}

  /// There is none; `why` is a sentence without its full stop.
  record Cannot(String why) implements Suggestion {}

  /// What a refusal needs.
  ///
  /// @param namespace the client's
  /// @param preface what the client said; it may have been read in passing
  /// @param filtered the addresses that the address filter refused and that an exception would
  ///   admit, for `address_filtered`
  /// @param remedy the part that resources which are there have in it
  static Suggestion of(
      Refusal why,
      String namespace,
      OriginalDst dst,
      Preface preface,
      List<InetAddress> filtered,
      Optional<Remedy> remedy) {
    // The address of a Kubernetes Service, and a port that it has not.
    if (why == Refusal.NO_HEALTHY_UPSTREAM
        && remedy.orElse(null) instanceof Remedy.AddPort(ResourceRef to)) {
      return new Yaml(addedPort(to, port(dst.port(), spoken(preface))));
    }
    return switch (why) {
      case CONNECTION_CLOSED, HTTP_502 -> unknownDestination(namespace, dst, preface, remedy);
      case ADDRESS_FILTERED ->
          filtered.isEmpty()
              ? new Cannot("its addresses are never dialled, and no exception opens that list")
              : new Yaml(exception(filtered));
      case NO_SNI ->
          new Cannot("the client sends no server name; make it send one (SNI), the name decides");
      case MALFORMED_HELLO -> new Cannot("the ClientHello is malformed; no policy lets it through");
      case HELLO_TIMEOUT ->
          new Cannot(
              "the client sent nothing; if its server speaks first, give the entry a TCP port with"
                  + " addresses");
      case NOT_SUPPORTED_YET ->
          new Cannot("this version does not honour the resource that governs it");
      case DIRECT_HIT -> new Cannot("dial the destination, not the agent's port");
      case UNKNOWN_SOURCE ->
          new Cannot("list the pod that has this address, so that its policy is known");
      case NAME_REFUSED ->
          new Cannot(
              "a question for a name tells no port; write a ServiceEntry for the name and the port"
                  + " that is meant");
      case UDP -> new Cannot("UDP carries no name that could be checked; use TCP");
      case IPV6 -> new Cannot("IPv6 cannot be captured in this pod; use IPv4");
      case MARK -> new Cannot("let the program set no mark; then it is captured as others are");
      case ICMP -> new Cannot("capture.udp: all lets out no ICMP but errors and answers");
      case PROTOCOL -> new Cannot("no protocol but TCP carries a name that could be checked");
      case UNCAPTURED -> new Cannot("connect as other programs do; then it is captured");
      case PACKET_SOCKET -> new Cannot("use ordinary sockets; then it is captured");
      case CLUSTER_NOT_FOUND,
          NO_HEALTHY_UPSTREAM,
          DNS_FAILURE,
          POLICY_DENIED,
          WAYPOINT_UNAVAILABLE,
          CONNECT_FAILED,
          LIMIT,
          RELEASED_ADDRESS_MISMATCH ->
          new Cannot("the destination is allowed; " + why.sentence());
    };
  }

  private static Suggestion unknownDestination(
      String namespace, OriginalDst dst, Preface preface, Optional<Remedy> remedy) {
    return switch (preface) {
      case Preface.Tls(HostName name, _) -> named(namespace, name, dst.port(), "TLS", remedy);
      case Preface.Http http when http.host().isPresent() ->
          named(namespace, http.host().get(), dst.port(), "HTTP", remedy);
      case Preface.TlsWithoutName _,
          Preface.MalformedTls _,
          Preface.Http _,
          Preface.Opaque _,
          Preface.Silent _ ->
          new Cannot(
              "the connection to "
                  + dst
                  + " carried no name, and an address alone is not allowed by name; if it is meant,"
                  + " write a ServiceEntry with addresses and resolution NONE");
    };
  }

  private static Suggestion named(
      String namespace, HostName host, int number, String protocol, Optional<Remedy> remedy) {
    NarrowEntry.Port port = port(number, protocol);
    String entry =
        NarrowEntry.yaml(objectName(host, number), namespace, host, "MESH_EXTERNAL", List.of(port));
    return switch (remedy.orElse(null)) {
      case null -> new Yaml(entry);
      case Remedy.Import add -> new Yaml((add.entry() ? entry + "---\n" : "") + egressHost(add));
      case Remedy.AddPort(ResourceRef to) -> new Yaml(addedPort(to, port));
      case Remedy.None(String why) -> new Cannot(why);
    };
  }

  private static NarrowEntry.Port port(int number, String protocol) {
    return new NarrowEntry.Port(number, protocol.toLowerCase(Locale.ROOT) + "-" + number, protocol);
  }

  private static String spoken(Preface preface) {
    return switch (preface) {
      case Preface.Tls _, Preface.TlsWithoutName _, Preface.MalformedTls _ -> "TLS";
      case Preface.Http _ -> "HTTP";
      case Preface.Opaque _, Preface.Silent _ -> "TCP";
    };
  }

  private static String egressHost(Remedy.Import add) {
    return """
    # add to %s
    spec:
      egress:
        - %shosts:
            - "%s"
    """
        .formatted(
            add.sidecar(),
            add.listener().map(p -> "port: {number: " + p + "}\n      ").orElse(""),
            add.host());
  }

  private static String addedPort(ResourceRef to, NarrowEntry.Port port) {
    return """
    # add to %s
    spec:
      ports:
        %s
    """
        .formatted(
            to,
            to.kind().equals("Service")
                ? "- {port: %d, name: %s}".formatted(port.number(), port.name())
                : port.yaml());
  }

  /// A host name as an object name: at most 253 characters, no underscores.
  private static String objectName(HostName host, int port) {
    String base = host.text().replace('_', '-').replace('.', '-').replaceAll("^-+|-+$", "");
    return (base.length() > 240 ? base.substring(0, 240).replaceAll("-+$", "") : base) + "-" + port;
  }

  private static String exception(List<InetAddress> filtered) {
    String blocks =
        filtered.stream()
            .map(a -> AddressText.of(a) + "/" + a.getAddress().length * 8)
            .distinct()
            .sorted()
            .collect(Collectors.joining(", "));
    return """
    # in the agent's configuration
    egress:
      addressFilter:
        allow: [%s]
    # or, for one ServiceEntry of the root namespace
    # metadata:
    #   annotations:
    #     tailwater.io/allow-addresses: "%s"
    """
        .formatted(blocks, blocks);
  }
}
