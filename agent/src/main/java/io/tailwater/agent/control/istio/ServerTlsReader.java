package io.tailwater.agent.control.istio;

import io.tailwater.agent.control.source.FieldReader;
import java.util.HashSet;
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
    tls.bool("insecureSkipVerify");
    boolean oneSecret = set(tls, "credentialName");
    tls.strings("credentialNames");
    boolean secret = some(tls, "credentialNames") || oneSecret;
    boolean listed = certificates(tls);
    boolean certificate = set(tls, "serverCertificate");
    boolean key = set(tls, "privateKey");
    boolean ca = set(tls, "caCertificates");
    boolean caSecret = set(tls, "caCertCredentialName");
    boolean crl = set(tls, "caCrl");
    versions(tls);
    for (String names :
        List.of("subjectAltNames", "verifyCertificateSpki", "verifyCertificateHash")) {
      tls.strings(names);
    }
    tls.strings("ecdhCurves");
    tls.finish();
    boolean own = secret || listed || certificate || key;
    switch (mode) {
      case ISTIO_MUTUAL -> {
        if (own || ca || caSecret) {
          tls.error("mode", "ISTIO_MUTUAL uses the mesh's certificates: name no others");
        }
      }
      case PASSTHROUGH, AUTO_PASSTHROUGH -> {
        if (own || ca || caSecret || crl) {
          tls.warning("mode", mode + " uses no certificates: those that are named have no effect");
        }
        oneSource(tls, certificate && key);
      }
      case SIMPLE, MUTUAL, OPTIONAL_MUTUAL -> {
        oneSource(tls, certificate && key);
        if (!secret) {
          files(tls, mode, certificate || listed, key || listed, ca, crl);
        }
      }
    }
    boolean passes = mode == Mode.PASSTHROUGH || mode == Mode.AUTO_PASSTHROUGH;
    return new Read(mode, passes && !certificate && !key && !ca, httpsRedirect);
  }

  private static void versions(FieldReader tls) {
    Optional<Integer> least = tls.oneOf("minProtocolVersion", VERSIONS);
    tls.oneOf("maxProtocolVersion", VERSIONS);
    List<FieldReader.Text> ciphers = tls.strings("cipherSuites");
    if (least.filter(OLD::contains).isPresent() && ciphers.isEmpty()) {
      tls.warning("minProtocolVersion", "needs cipherSuites: the default ones are for TLS 1.2");
    }
    Set<String> seen = new HashSet<>();
    for (FieldReader.Text cipher : ciphers) {
      if (!seen.add(cipher.text())) {
        tls.problems()
            .warning(cipher.line(), cipher.path(), "\"" + cipher.text() + "\" is there twice");
      }
    }
  }

  /// Where the server's certificate comes from may be said once. `credentialName` may be empty in
  /// the schema's eyes and still be there.
  private static void oneSource(FieldReader tls, boolean byFile) {
    int sources = byFile ? 1 : 0;
    for (String key : List.of("credentialName", "credentialNames", "tlsCertificates")) {
      sources += tls.has(key) ? 1 : 0;
    }
    if (sources > 1) {
      tls.error(
          "only one of credentialName, credentialNames, tlsCertificates, and serverCertificate"
              + " with privateKey may be set");
    }
  }

  /// Whether there are `tlsCertificates`.
  private static boolean certificates(FieldReader tls) {
    for (FieldReader certificate : tls.mappings("tlsCertificates")) {
      certificate.string("caCertificates");
      for (String key : List.of("serverCertificate", "privateKey")) {
        if (!set(certificate, key)) {
          certificate.error(key, "is missing");
        }
      }
      certificate.finish();
    }
    return some(tls, "tlsCertificates");
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

  /// Whether a list has one or two items, which is all that the schema allows where it is there.
  private static boolean some(FieldReader tls, String key) {
    int size = tls.items(key).size();
    if (tls.has(key) && (size < 1 || size > 2)) {
      tls.error(key, "has " + size + " items; one or two are allowed");
    }
    return size > 0;
  }
}
