package io.tailwater.agent.dataplane.tls;

import io.tailwater.agent.dataplane.route.UpstreamTls;
import io.tailwater.agent.traffic.PodRef;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.CertPathBuilder;
import java.security.cert.CertStore;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXBuilderParameters;
import java.security.cert.PKIXRevocationChecker;
import java.security.cert.TrustAnchor;
import java.security.cert.X509CRL;
import java.security.cert.X509CertSelector;
import java.security.cert.X509Certificate;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import javax.net.ssl.CertPathTrustManagerParameters;
import javax.net.ssl.KeyManager;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509ExtendedTrustManager;
import javax.net.ssl.X509TrustManager;
import org.jspecify.annotations.Nullable;

/// From settings to a context: finds and reads what they name. Stateless; blocks on files.
final class TlsMaterial {
  /// Where distributions keep the authorities of the system, in Istio's order.
  private static final List<Path> SYSTEM =
      List.of(
          Path.of("/etc/ssl/certs/ca-certificates.crt"), // Debian, Ubuntu, Alpine
          Path.of("/etc/pki/tls/certs/ca-bundle.crt"), // Fedora, RHEL 6
          Path.of("/etc/ssl/ca-bundle.pem"), // openSUSE
          Path.of("/etc/pki/tls/cacert.pem"), // OpenELEC
          Path.of("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"), // RHEL 7
          Path.of("/etc/ssl/cert.pem")); // BSDs, Alpine

  /// Istio's word for the authorities of the system.
  private static final String SYSTEM_NAME = "system";

  /// What fits a DNS name and Istio's prefix of port and subset.
  private static final int LONGEST_SERVER_NAME = 1024;

  private static final String KUBERNETES = "kubernetes://";
  private static final String CA_SUFFIX = "-cacert";

  /// Where authorities or a certificate come from: PEM text and what to call it.
  private record Source(String text, String called) {}

  private record Shown(Source certificate, Source key) {}

  private record Trusted(Source authorities, Optional<Source> revocations) {}

  TlsContext context(UpstreamTls tls, String namespace, @Nullable PodRef pod, Reading reading)
      throws MaterialException {
    Optional<Shown> shown;
    Optional<Trusted> trusted;
    Optional<String> secret = tls.credentialName();
    if (tls.mode() == UpstreamTls.Mode.ISTIO_MUTUAL) {
      Credential own = workload(pod, reading);
      shown = Optional.of(shown(own, "the workload's certificate"));
      trusted = judged(tls) ? Optional.of(meshTrust(own)) : Optional.empty();
    } else if (secret.isPresent()) {
      boolean mutual = tls.mode() == UpstreamTls.Mode.MUTUAL;
      shown = mutual ? Optional.of(secretPair(reading, namespace, secret.get())) : Optional.empty();
      trusted =
          judged(tls)
              ? Optional.of(secretTrust(reading, namespace, secret.get()))
              : Optional.empty();
    } else {
      shown = filePair(tls, reading);
      trusted = judged(tls) ? fileTrust(tls, reading) : Optional.empty();
    }
    try {
      return context(tls, shown, trusted);
    } catch (GeneralSecurityException e) {
      throw new MaterialException("the certificates cannot be used: " + e.getMessage(), e);
    }
  }

  private static boolean judged(UpstreamTls tls) {
    return !tls.insecureSkipVerify();
  }

  private static Credential workload(@Nullable PodRef pod, Reading reading)
      throws MaterialException {
    if (pod == null) {
      throw new MaterialException("mode ISTIO_MUTUAL needs a pod whose certificate is shown");
    }
    return switch (reading.workload(pod)) {
      case Credentials.Found.Present(Credential credential) -> credential;
      case Credentials.Found.Absent(String why) -> throw new MaterialException(why);
    };
  }

  private static Trusted meshTrust(Credential own) throws MaterialException {
    return new Trusted(
        new Source(
            own.authorities()
                .orElseThrow(() -> new MaterialException("the mesh's authorities are not known")),
            "the mesh's authorities"),
        Optional.empty());
  }

  private static Shown shown(Credential credential, String called) throws MaterialException {
    if (credential.certificate().isEmpty() || credential.key().isEmpty()) {
      throw new MaterialException(
          called + " lacks " + (credential.key().isEmpty() ? "tls.key" : "tls.crt"));
    }
    return new Shown(
        new Source(credential.certificate().get(), called + " (tls.crt)"),
        new Source(credential.key().get(), called + " (tls.key)"));
  }

  private static String bare(String credentialName) {
    return credentialName.startsWith(KUBERNETES)
        ? credentialName.substring(KUBERNETES.length())
        : credentialName;
  }

  private static Shown secretPair(Reading reading, String namespace, String credentialName)
      throws MaterialException {
    String name = bare(credentialName);
    return switch (reading.secret(namespace, name)) {
      case Credentials.Found.Present(Credential credential) ->
          shown(credential, "the Secret " + namespace + "/" + name);
      case Credentials.Found.Absent(String why) ->
          throw new MaterialException("credentialName " + credentialName + ": " + why);
    };
  }

  /// In the Secret itself, else in the one with Istio's suffix.
  private static Trusted secretTrust(Reading reading, String namespace, String credentialName)
      throws MaterialException {
    String name = bare(credentialName);
    for (String candidate : List.of(name, name + CA_SUFFIX)) {
      if (reading.secret(namespace, candidate)
              instanceof Credentials.Found.Present(Credential credential)
          && credential.authorities().isPresent()) {
        String called = "the Secret " + namespace + "/" + candidate;
        return new Trusted(
            new Source(credential.authorities().get(), called),
            credential.revocations().map(text -> new Source(text, called)));
      }
    }
    throw new MaterialException(
        "credentialName "
            + credentialName
            + ": neither the Secret "
            + namespace
            + "/"
            + name
            + " nor "
            + name
            + CA_SUFFIX
            + " is there with the authorities (ca.crt or cacert)");
  }

  private static Optional<Shown> filePair(UpstreamTls tls, Reading reading)
      throws MaterialException {
    if (tls.mode() != UpstreamTls.Mode.MUTUAL) {
      return Optional.empty();
    }
    if (tls.clientCertificate().isEmpty() || tls.privateKey().isEmpty()) {
      throw new MaterialException(
          "mode MUTUAL needs clientCertificate and privateKey, or credentialName");
    }
    String certificate = tls.clientCertificate().get();
    String key = tls.privateKey().get();
    return Optional.of(
        new Shown(
            new Source(
                reading.file("clientCertificate", certificate), "clientCertificate " + certificate),
            new Source(reading.file("privateKey", key), "privateKey " + key)));
  }

  /// Empty: what the JDK trusts, where the system has no bundle.
  private static Optional<Trusted> fileTrust(UpstreamTls tls, Reading reading)
      throws MaterialException {
    Optional<String> configured = tls.caCertificates().filter(f -> !f.equals(SYSTEM_NAME));
    if (configured.isPresent()) {
      String file = configured.get();
      Optional<Source> revocations = Optional.empty();
      if (tls.caCrl().isPresent()) {
        String list = tls.caCrl().get();
        revocations = Optional.of(new Source(reading.file("caCrl", list), "caCrl " + list));
      }
      return Optional.of(
          new Trusted(
              new Source(reading.file("caCertificates", file), "caCertificates " + file),
              revocations));
    }
    for (Path bundle : SYSTEM) {
      if (reading.exists(bundle)) {
        return Optional.of(
            new Trusted(
                new Source(reading.file(SYSTEM_NAME, bundle.toString()), bundle.toString()),
                Optional.empty()));
      }
    }
    return Optional.empty();
  }

  private static TlsContext context(
      UpstreamTls tls, Optional<Shown> shown, Optional<Trusted> trusted)
      throws MaterialException, GeneralSecurityException {
    KeyManager[] keys = shown.isPresent() ? new KeyManager[] {pair(shown.get())} : null;
    String authorities = trusted.map(t -> t.authorities().called()).orElse("what the JDK trusts");
    ServerJudge judge = new ServerJudge(tls, chains(tls, trusted), authorities);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(keys, new TrustManager[] {judge}, null);
    SSLParameters supported = context.getSupportedSSLParameters();
    List<String> suites =
        tls.cipherSuites().isEmpty()
            ? List.of(context.getDefaultSSLParameters().getCipherSuites())
            : TlsVersions.suites(tls.cipherSuites(), supported);
    if (tls.sni().isPresent()) {
      checkServerName(tls.sni().get());
    }
    return new TlsContext(
        tls, context, TlsVersions.between(tls.minVersion(), tls.maxVersion(), supported), suites);
  }

  private static void checkServerName(String sni) throws MaterialException {
    boolean printable = sni.chars().allMatch(c -> c > ' ' && c < 0x7f);
    if (sni.isEmpty() || sni.length() > LONGEST_SERVER_NAME || !printable) {
      throw new MaterialException(
          "sni \"" + SubjectNames.clean(sni) + "\" cannot be a server name");
    }
  }

  private static OneCertificate pair(Shown shown) throws MaterialException {
    List<X509Certificate> chain =
        parsed(shown.certificate(), text -> Pem.certificates(text, false));
    return new OneCertificate(
        chain, parsed(shown.key(), text -> Pem.privateKey(text, chain.getFirst().getPublicKey())));
  }

  private interface Parser<T> {
    T parse(String text) throws MaterialException;
  }

  private static <T> T parsed(Source source, Parser<T> parser) throws MaterialException {
    try {
      return parser.parse(source.text());
    } catch (MaterialException e) {
      throw new MaterialException(source.called() + " " + e.getMessage(), e);
    }
  }

  private static X509ExtendedTrustManager chains(UpstreamTls tls, Optional<Trusted> trusted)
      throws MaterialException, GeneralSecurityException {
    TrustManagerFactory factory = TrustManagerFactory.getInstance("PKIX");
    if (trusted.isPresent()) {
      // One odd certificate must not take the system's bundle away.
      boolean lenient = tls.caCertificates().isEmpty() && tls.credentialName().isEmpty();
      Set<TrustAnchor> anchors =
          parsed(trusted.get().authorities(), text -> Pem.certificates(text, lenient)).stream()
              .map(authority -> new TrustAnchor(authority, null))
              .collect(Collectors.toSet());
      PKIXBuilderParameters parameters = new PKIXBuilderParameters(anchors, new X509CertSelector());
      Optional<Source> revocations = trusted.get().revocations();
      parameters.setRevocationEnabled(false);
      if (revocations.isPresent()) {
        revocations(parameters, parsed(revocations.get(), Pem::revocations));
      }
      factory.init(new CertPathTrustManagerParameters(parameters));
    } else {
      factory.init((KeyStore) null);
    }
    return Arrays.stream(factory.getTrustManagers())
        .map(X509TrustManager.class::cast)
        .map(X509ExtendedTrustManager.class::cast)
        .findFirst()
        .orElseThrow();
  }

  /// By the given lists alone: nothing is fetched.
  private static void revocations(PKIXBuilderParameters parameters, List<X509CRL> lists)
      throws GeneralSecurityException {
    PKIXRevocationChecker checker =
        (PKIXRevocationChecker) CertPathBuilder.getInstance("PKIX").getRevocationChecker();
    checker.setOptions(
        EnumSet.of(
            PKIXRevocationChecker.Option.PREFER_CRLS, PKIXRevocationChecker.Option.NO_FALLBACK));
    parameters.setRevocationEnabled(true);
    parameters.addCertStore(
        CertStore.getInstance("Collection", new CollectionCertStoreParameters(lists)));
    parameters.addCertPathChecker(checker);
  }
}
