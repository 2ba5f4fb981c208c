package io.tailwater.agent.control.istio;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/// What a port speaks, as Istio names it; case does not count.
public enum Protocol {
  HTTP("HTTP", Family.HTTP),
  HTTP2("HTTP2", Family.HTTP),
  GRPC("GRPC", Family.HTTP),
  GRPC_WEB("GRPC-Web", Family.HTTP),
  HTTPS("HTTPS", Family.TLS),
  TLS("TLS", Family.TLS),
  TCP("TCP", Family.TCP),
  MONGO("Mongo", Family.TCP),
  MYSQL("MySQL", Family.TCP),
  REDIS("Redis", Family.TCP),
  UDP("UDP", Family.UDP),
  /// Not said: to be detected.
  UNSET("", Family.UNSET);

  /// How connections to the port are told apart.
  public enum Family {
    /// By Host.
    HTTP,
    /// By SNI; HTTPS is routed like TLS, never terminated.
    TLS,
    /// By destination.
    TCP,
    /// Not at all here.
    UDP,
    /// By what the bytes turn out to be.
    UNSET
  }

  private static final Map<String, Protocol> BY_NAME = new LinkedHashMap<>();

  static {
    for (Protocol protocol : values()) {
      BY_NAME.put(protocol.text.toLowerCase(Locale.ROOT), protocol);
    }
  }

  private final String text;
  private final Family family;

  Protocol(String text, Family family) {
    this.text = text;
    this.family = family;
  }

  /// Istio's spelling.
  public String text() {
    return text;
  }

  public Family family() {
    return family;
  }

  /// Reads one; an empty text is UNSET.
  public static Optional<Protocol> parse(String text) {
    return Optional.ofNullable(BY_NAME.get(text.toLowerCase(Locale.ROOT)));
  }

  /// What may be written.
  public static List<String> names() {
    return Arrays.stream(values()).map(Protocol::text).filter(t -> !t.isEmpty()).toList();
  }
}
