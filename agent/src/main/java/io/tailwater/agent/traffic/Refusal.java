package io.tailwater.agent.traffic;

/// Why a connection did not get where it wanted to. The code is at once the `error` of a policy
/// test, the metric label, the access-log reason and what `denials` and `explain` print.
public enum Refusal {
  /// HTTP to a name that nothing allows, on a port that has an HTTP listener.
  HTTP_502("http_502", Side.POLICY, "no entry allows this Host; answered with 502"),
  /// Unknown destination under REGISTRY_ONLY.
  CONNECTION_CLOSED("connection_closed", Side.POLICY, "no entry allows this destination"),
  /// A route names a cluster that does not exist.
  CLUSTER_NOT_FOUND(
      "cluster_not_found", Side.POLICY, "the route names a destination that does not exist"),
  /// The destination is known and has nothing to dial.
  NO_HEALTHY_UPSTREAM("no_healthy_upstream", Side.UPSTREAM, "the destination has no endpoint"),
  /// The name did not resolve.
  DNS_FAILURE("dns_failure", Side.UPSTREAM, "the name could not be resolved"),
  /// L4 authorization at the node.
  POLICY_DENIED("policy_denied", Side.POLICY, "an authorization policy denies it"),
  /// Every address of the name is one that is never dialled.
  ADDRESS_FILTERED(
      "address_filtered",
      Side.POLICY,
      "the address filter refuses every address of the destination"),
  /// Bound to a waypoint that cannot be used.
  WAYPOINT_UNAVAILABLE("waypoint_unavailable", Side.UPSTREAM, "its waypoint cannot be used"),
  /// TLS began and the ClientHello is not well formed.
  MALFORMED_HELLO("malformed_hello", Side.CLIENT, "the ClientHello is malformed"),
  /// A ClientHello without a server name where the name decides.
  NO_SNI(
      "no_sni", Side.CLIENT, "the ClientHello carries no server name, and the name decides here"),
  /// The client did not send its ClientHello in time.
  HELLO_TIMEOUT(
      "hello_timeout",
      Side.CLIENT,
      "no complete ClientHello came in time, and the name decides here"),
  /// No address of the destination accepted the connection.
  CONNECT_FAILED(
      "connect_failed", Side.UPSTREAM, "no address of the destination accepted the connection"),
  /// A limit of the agent.
  LIMIT("limit", Side.AGENT, "a limit of the agent is reached"),
  /// The pod dialled a capture port itself.
  DIRECT_HIT("direct_hit", Side.CLIENT, "a capture port was dialled directly"),
  /// It came from an address of no captured pod.
  UNKNOWN_SOURCE("unknown_source", Side.CLIENT, "the source address belongs to no captured pod"),
  /// A name that nothing allows, asked of captured DNS.
  NAME_REFUSED(
      "name_refused", Side.POLICY, "no resource knows the name, and dns.unknownNames refuses it"),
  /// UDP that is not let out.
  UDP("udp", Side.POLICY, "UDP is refused for this pod"),
  /// IPv6 that cannot be captured.
  IPV6("ipv6", Side.POLICY, "IPv6 is refused for this pod because it cannot be captured"),
  /// A packet or connection with a mark that is not the agent's.
  MARK("mark", Side.CLIENT, "it carries a packet mark, and only the agent's own may"),
  /// ICMP that is not let out.
  ICMP("icmp", Side.POLICY, "ICMP other than errors and answers is refused for this pod"),
  /// Another protocol than TCP, UDP and ICMP.
  PROTOCOL(
      "protocol", Side.POLICY, "protocols other than TCP, UDP and ICMP are refused for this pod"),
  /// TCP that got past the redirection.
  UNCAPTURED(
      "uncaptured",
      Side.CLIENT,
      "it went round the redirection to the agent, by a prepared or invalid connection, a false"
          + " address or forwarding"),
  /// A frame that a packet socket sent past all rules.
  PACKET_SOCKET("packet_socket", Side.CLIENT, "a packet socket sent it past the rules of this pod"),
  /// Released to an address that does not belong to the name.
  RELEASED_ADDRESS_MISMATCH(
      "released_address_mismatch", Side.POLICY, "the dialled address does not belong to the name"),
  /// A resource governs it that this version does not honour.
  NOT_SUPPORTED_YET(
      "not_supported_yet",
      Side.AGENT,
      "a resource governs this destination that this version does not honour");

  /// Whose doing it is.
  public enum Side {
    CLIENT,
    POLICY,
    UPSTREAM,
    AGENT
  }

  private final String code;
  private final Side side;
  private final String sentence;

  Refusal(String code, Side side, String sentence) {
    this.code = code;
    this.side = side;
    this.sentence = sentence;
  }

  /// The stable code.
  public String code() {
    return code;
  }

  public Side side() {
    return side;
  }

  /// One clause for people.
  public String sentence() {
    return sentence;
  }

  /// Whether the same connection may succeed later without a change of policy.
  public boolean mayRetry() {
    return side == Side.UPSTREAM || side == Side.AGENT;
  }

  /// Whether it is a decision of policy or agent (a denial) and not a failure on the way.
  public boolean isDenial() {
    return side != Side.UPSTREAM;
  }
}
