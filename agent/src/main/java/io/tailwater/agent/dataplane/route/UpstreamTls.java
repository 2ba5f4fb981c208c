package io.tailwater.agent.dataplane.route;

import java.util.List;
import java.util.Optional;

/// TLS that the agent originates towards a destination (Istio's `ClientTLSSettings`, contracts of
/// DestinationRule). Files and Secrets are named here and read where the handshake is made: what
/// cannot be read refuses the connection, it never makes it plaintext.
///
/// @param sni the configured server name; empty means the requested name ([#autoSni])
/// @param subjectAltNames names of which the certificate must carry one, exactly; with [#autoSan]
///   on top of the requested name
/// @param autoSan whether the certificate must carry the requested name as a DNS SAN
/// @param credentialName the Secret with the certificates
/// @param insecureSkipVerify whether the certificate is not judged at all
/// @param minVersion the oldest TLS version, as in `TLSv1.2`
/// @param maxVersion the newest TLS version
/// @param caCrl a file of revoked certificates; counts with `caCertificates` only
public record UpstreamTls(
    Mode mode,
    Optional<String> sni,
    List<String> subjectAltNames,
    boolean autoSan,
    Optional<String> caCertificates,
    Optional<String> clientCertificate,
    Optional<String> privateKey,
    Optional<String> credentialName,
    boolean insecureSkipVerify,
    String minVersion,
    String maxVersion,
    List<String> cipherSuites,
    Optional<String> caCrl) {
  /// Who shows a certificate. ISTIO_MUTUAL shows the workload's own.
  public enum Mode {
    SIMPLE,
    MUTUAL,
    ISTIO_MUTUAL
  }

  /// Without revoked certificates.
  public UpstreamTls(
      Mode mode,
      Optional<String> sni,
      List<String> subjectAltNames,
      boolean autoSan,
      Optional<String> caCertificates,
      Optional<String> clientCertificate,
      Optional<String> privateKey,
      Optional<String> credentialName,
      boolean insecureSkipVerify,
      String minVersion,
      String maxVersion,
      List<String> cipherSuites) {
    this(
        mode,
        sni,
        subjectAltNames,
        autoSan,
        caCertificates,
        clientCertificate,
        privateKey,
        credentialName,
        insecureSkipVerify,
        minVersion,
        maxVersion,
        cipherSuites,
        Optional.empty());
  }

  public UpstreamTls {
    subjectAltNames = List.copyOf(subjectAltNames);
    cipherSuites = List.copyOf(cipherSuites);
  }

  /// Whether the requested name is sent as server name.
  public boolean autoSni() {
    return sni.isEmpty();
  }

  /// The same for bytes that no Host comes with. What goes by the requested name acts on requests
  /// alone, as Envoy's `auto_sni` and `auto_san_validation` do.
  public UpstreamTls forBytes() {
    return autoSan
        ? new UpstreamTls(
            mode,
            sni,
            subjectAltNames,
            false,
            caCertificates,
            clientCertificate,
            privateKey,
            credentialName,
            insecureSkipVerify,
            minVersion,
            maxVersion,
            cipherSuites,
            caCrl)
        : this;
  }
}
