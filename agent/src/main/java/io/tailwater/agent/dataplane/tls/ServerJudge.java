package io.tailwater.agent.dataplane.tls;

import io.tailwater.agent.dataplane.route.UpstreamTls;
import java.net.Socket;
import java.security.cert.CertPathBuilderException;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertificateException;
import java.security.cert.CertificateExpiredException;
import java.security.cert.CertificateNotYetValidException;
import java.security.cert.CertificateParsingException;
import java.security.cert.CertificateRevokedException;
import java.security.cert.PKIXReason;
import java.security.cert.X509Certificate;
import java.util.List;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.X509ExtendedTrustManager;

/// Judges the certificate of a server during the handshake, before anything is sent to it: its
/// chain, and the names that it carries. The engine's peer host is the requested name. Immutable;
/// any thread.
final class ServerJudge extends X509ExtendedTrustManager {
  private final UpstreamTls tls;
  private final X509ExtendedTrustManager chains;
  private final String authorities;

  /// `chains` judges chains alone; `authorities` says where its authorities come from.
  ServerJudge(UpstreamTls tls, X509ExtendedTrustManager chains, String authorities) {
    this.tls = tls;
    this.chains = chains;
    this.authorities = authorities;
  }

  /// Why a certificate is refused, as a clause for people.
  static final class RefusedException extends CertificateException {
    RefusedException(String message) {
      super(message);
    }

    RefusedException(String message, Throwable cause) {
      super(message, cause);
    }
  }

  @Override
  public void checkServerTrusted(X509Certificate[] chain, String authType, SSLEngine engine)
      throws CertificateException {
    if (tls.insecureSkipVerify()) {
      return;
    }
    if (chain == null || chain.length == 0) {
      throw new RefusedException("the server shows no certificate");
    }
    X509Certificate leaf = chain[0];
    checkTime(leaf);
    checkChain(chain, authType, engine);
    SubjectNames names;
    try {
      names = SubjectNames.of(leaf);
    } catch (CertificateParsingException e) {
      throw new RefusedException("the names in the server's certificate cannot be read", e);
    }
    if (tls.autoSan()) {
      String requested = engine.getPeerHost();
      if (requested == null) {
        throw new RefusedException(
            "no name was requested, and the server's certificate must carry it");
      }
      if (!names.carriesHost(requested)) {
        throw new RefusedException(
            "the server's certificate carries "
                + names.show()
                + ", but not "
                + SubjectNames.clean(requested));
      }
    }
    List<String> wanted = tls.subjectAltNames();
    if (!wanted.isEmpty() && wanted.stream().noneMatch(names::carries)) {
      throw new RefusedException(
          "the server's certificate carries "
              + names.show()
              + ", but none of the subjectAltNames "
              + String.join(", ", wanted));
    }
  }

  /// Beforehand, because a certificate that is itself an authority has its time not checked by the
  /// JDK.
  private static void checkTime(X509Certificate leaf) throws RefusedException {
    try {
      leaf.checkValidity();
    } catch (CertificateExpiredException e) {
      throw new RefusedException(
          "the server's certificate expired on " + leaf.getNotAfter().toInstant(), e);
    } catch (CertificateNotYetValidException e) {
      throw new RefusedException(
          "the server's certificate is not valid before " + leaf.getNotBefore().toInstant(), e);
    }
  }

  private void checkChain(X509Certificate[] chain, String authType, SSLEngine engine)
      throws RefusedException {
    try {
      chains.checkServerTrusted(chain, authType, engine);
    } catch (CertificateException e) {
      throw new RefusedException(why(e, chain[chain.length - 1]), e);
    }
  }

  private String why(CertificateException failure, X509Certificate last) {
    Throwable root = failure;
    for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
      if (cause instanceof CertificateRevokedException) {
        return "the server's certificate, or one of its issuers', is revoked";
      }
      if (cause instanceof CertificateExpiredException) {
        return "a certificate in the server's chain has expired";
      }
      root = cause;
    }
    boolean unsigned =
        root instanceof CertPathBuilderException
            || (root instanceof CertPathValidatorException invalid
                && invalid.getReason() == PKIXReason.NO_TRUST_ANCHOR);
    if (unsigned) {
      return "no authority in "
          + authorities
          + " has signed the server's certificate (the last issuer in its chain is "
          + SubjectNames.clean(last.getIssuerX500Principal().getName())
          + ")";
    }
    return "the server's certificate chain is not valid: "
        + SubjectNames.clean(String.valueOf(root.getMessage()));
  }

  @Override
  public X509Certificate[] getAcceptedIssuers() {
    return new X509Certificate[0]; // a client tells nobody whom it trusts
  }

  @Override
  public void checkServerTrusted(X509Certificate[] chain, String authType)
      throws CertificateException {
    throw new RefusedException("a certificate is judged with its engine only");
  }

  @Override
  public void checkServerTrusted(X509Certificate[] chain, String authType, Socket socket)
      throws CertificateException {
    throw new RefusedException("a certificate is judged with its engine only");
  }

  @Override
  public void checkClientTrusted(X509Certificate[] chain, String authType)
      throws CertificateException {
    throw new RefusedException("this is for servers");
  }

  @Override
  public void checkClientTrusted(X509Certificate[] chain, String authType, Socket socket)
      throws CertificateException {
    throw new RefusedException("this is for servers");
  }

  @Override
  public void checkClientTrusted(X509Certificate[] chain, String authType, SSLEngine engine)
      throws CertificateException {
    throw new RefusedException("this is for servers");
  }
}
