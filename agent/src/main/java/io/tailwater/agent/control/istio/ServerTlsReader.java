package io.tailwater.agent.control.istio;

import io.tailwater.agent.control.source.FieldReader;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// Validates the `tls` of a server (Istio's `ServerTLSSettings`, `validateTLSOptions`): of Gateways
/// and of the ingress listeners of Sidecars. Stateless.
final class ServerTlsReader {
  /// Who shows a certificate to whom.
  enum Mode {
    PASSTHROUGH,
    SIMPLE,
    MUTUAL,
    AUTO_PASSTHROUGH,
    ISTIO_MUTUAL,
    OPTIONAL_MUTUAL
  }

  private static final Map<String, Mode> MODES =
      Map.of(
          "PASSTHROUGH", Mode.PASSTHROUGH,
          "SIMPLE", Mode.SIMPLE,
          "MUTUAL", Mode.MUTUAL,
          "AUTO_PASSTHROUGH", Mode.AUTO_PASSTHROUGH,
          "ISTIO_MUTUAL", Mode.ISTIO_MUTUAL,
          "OPTIONAL_MUTUAL", Mode.OPTIONAL_MUTUAL);
  private static final Map<String, Integer> VERSIONS =
      Map.of("TLS_AUTO", 0, "TLSV1_0", 10, "TLSV1_1", 11, "TLSV1_2", 12, "TLSV1_3", 13);

  /// Versions whose ciphers are off unless they are named.
  private static final Set<Integer> OLD = Set.of(10, 11);

  /// What matters to who has the `tls`.
  ///
  /// @param redirects whether it does nothing but redirect to HTTPS, or passes TLS through
  record Read(Mode mode, boolean redirects, boolean httpsRedirect) {}

  private ServerTlsReader() {}

  static Read read(FieldReader tls) {
    Mode mode = tls.oneOf("mode", MODES).orElse(Mode.PASSTHROUGH);
    boolean httpsRedirect = tls.bool("httpsRedirect").orElse(false);
    boolean oneSecret = set(tls, "credentialName");
    boolean secret = listed(tls, "credentialNames") || oneSecret;
    boolean listed = listed(tls, "tlsCertificates");
    boolean certificate = set(tls, "serverCertificate") || listed;
    boolean key = set(tls, "privateKey") || listed;
    boolean caSecret = set(tls, "caCertCredentialName");
    boolean ca = set(tls, "caCertificates") || caSecret;
    boolean crl = set(tls, "caCrl");
    Optional<Integer> least = tls.oneOf("minProtocolVersion", VERSIONS);
    tls.oneOf("maxProtocolVersion", VERSIONS);
    List<FieldReader.Text> ciphers = tls.strings("cipherSuites");
    for (String names :
        List.of("subjectAltNames", "verifyCertificateSpki", "verifyCertificateHash")) {
      tls.strings(names);
    }
    tls.finish();
    if (least.filter(OLD::contains).isPresent() && ciphers.isEmpty()) {
      tls.warning("minProtocolVersion", "needs cipherSuites: the default ones are for TLS 1.2");
    }
    switch (mode) {
      case ISTIO_MUTUAL -> {
        if (secret || key || certificate || ca) {
          tls.error("mode", "ISTIO_MUTUAL uses the mesh's certificates: name no others");
        }
      }
      case PASSTHROUGH, AUTO_PASSTHROUGH -> {
        if (secret || key || certificate || ca || crl) {
          tls.warning("mode", mode + " uses no certificates: those that are named have no effect");
        }
      }
      case SIMPLE, MUTUAL, OPTIONAL_MUTUAL -> {
        if (!secret) {
          files(tls, mode, certificate, key, ca, crl);
        }
      }
    }
    boolean passes = mode == Mode.PASSTHROUGH && !certificate && !key && !ca;
    return new Read(mode, passes, httpsRedirect);
  }

  private static void files(
      FieldReader tls, Mode mode, boolean certificate, boolean key, boolean ca, boolean crl) {
    if (!certificate) {
      tls.error("serverCertificate", "is missing; mode " + mode + " needs it or credentialName");
    }
    if (!key) {
      tls.error("privateKey", "is missing; mode " + mode + " needs it or credentialName");
    }
    if (mode != Mode.SIMPLE && !ca) {
      tls.error("caCertificates", "is missing; mode " + mode + " needs it or credentialName");
    }
    if (mode == Mode.SIMPLE && crl) {
      tls.error("caCrl", "is not possible with mode SIMPLE, which asks clients for nothing");
    }
  }

  private static boolean set(FieldReader tls, String key) {
    return !tls.string(key).orElse("").isEmpty();
  }

  private static boolean listed(FieldReader tls, String key) {
    return !tls.items(key).isEmpty();
  }
}
