package io.tailwater.agent.dataplane.sniff;

import io.tailwater.agent.traffic.HostName;
import java.util.Optional;

/// What the first client bytes said.
public sealed interface Preface {
  /// A well-formed ClientHello with exactly one usable server name. With `ech`, the name is the
  /// outer one (RFC 9849): it is resolved and dialled, so at worst the client reaches the front.
  record Tls(HostName sni, boolean ech) implements Preface {
    // by hand, as in PodRef
    @Override
    public boolean equals(Object other) {
      return this == other
          || (other instanceof Tls that && ech == that.ech && sni.equals(that.sni));
    }

    @Override
    public int hashCode() {
      return 31 * sni.hashCode() + Boolean.hashCode(ech);
    }
  }

  /// A well-formed ClientHello without a server name.
  record TlsWithoutName() implements Preface {}

  /// A ClientHello that is not well formed, or whose name is no host name. `shownName` is the
  /// claimed name, escaped for showing only, never for matching.
  record MalformedTls(String why, Optional<String> shownName) implements Preface {}

  /// A plaintext HTTP request head: HTTP/1.x with its Host, or HTTP/2 with prior knowledge (its
  /// `:authority` is not read here). `port` is the one written in Host, if any.
  record Http(
      Optional<HostName> host, Optional<Integer> port, boolean http2, String method, String path)
      implements Preface {}

  /// Bytes that are neither.
  record Opaque() implements Preface {}

  /// Nothing to judge by: the client stayed silent or closed, or nothing was asked of it.
  record Silent() implements Preface {}
}
