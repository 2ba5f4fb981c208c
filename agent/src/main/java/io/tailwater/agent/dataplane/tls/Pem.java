package io.tailwater.agent.dataplane.tls;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.SecureRandom;
import java.security.Signature;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509CRL;
import java.security.cert.X509Certificate;
import java.security.spec.InvalidKeySpecException;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// PEM as OpenSSL, cert-manager and Kubernetes write it (RFC 7468): certificates, revocation lists
/// and private keys. The JDK reads keys in PKCS#8 only; the two older forms are wrapped here.
final class Pem {
  private static final Pattern BLOCK =
      Pattern.compile("-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \\1-----", Pattern.DOTALL);

  /// AlgorithmIdentifier of rsaEncryption (RFC 8017): OID 1.2.840.113549.1.1.1 and NULL.
  private static final byte[] RSA = HexFormat.of().parseHex("300d06092a864886f70d0101010500");

  /// INTEGER 0: version of a PrivateKeyInfo (RFC 5208).
  private static final byte[] VERSION = {2, 1, 0};

  private static final int SEQUENCE = 0x30;
  private static final int OCTET_STRING = 0x04;

  private record Block(String label, String body) {
    byte[] der() throws MaterialException {
      try {
        return Base64.getMimeDecoder().decode(body);
      } catch (IllegalArgumentException e) {
        throw new MaterialException("holds a " + label + " that is no base64", e);
      }
    }
  }

  private Pem() {}

  private static List<Block> blocks(String text) {
    List<Block> blocks = new ArrayList<>();
    Matcher found = BLOCK.matcher(text);
    while (found.find()) {
      blocks.add(new Block(found.group(1), found.group(2)));
    }
    return blocks;
  }

  private static CertificateFactory factory() {
    try {
      return CertificateFactory.getInstance("X.509");
    } catch (CertificateException e) {
      throw new IllegalStateException("every JDK has X.509", e);
    }
  }

  /// All certificates, in order; at least one. With `lenient` what cannot be read is left out.
  static List<X509Certificate> certificates(String text, boolean lenient) throws MaterialException {
    List<X509Certificate> certificates = new ArrayList<>();
    for (Block block : blocks(text)) {
      if (block.label().equals("CERTIFICATE")) {
        try {
          certificates.add(
              (X509Certificate)
                  factory().generateCertificate(new ByteArrayInputStream(block.der())));
        } catch (CertificateException e) {
          if (!lenient) {
            throw new MaterialException(
                "holds a certificate (number "
                    + (certificates.size() + 1)
                    + ") that cannot be read",
                e);
          }
        }
      }
    }
    if (certificates.isEmpty()) {
      throw new MaterialException("holds no certificate in PEM");
    }
    return certificates;
  }

  /// All revocation lists; at least one.
  static List<X509CRL> revocations(String text) throws MaterialException {
    List<X509CRL> lists = new ArrayList<>();
    for (Block block : blocks(text)) {
      if (block.label().equals("X509 CRL")) {
        try {
          lists.add((X509CRL) factory().generateCRL(new ByteArrayInputStream(block.der())));
        } catch (GeneralSecurityException e) {
          throw new MaterialException("holds a revocation list that cannot be read", e);
        }
      }
    }
    if (lists.isEmpty()) {
      throw new MaterialException("holds no revocation list in PEM");
    }
    return lists;
  }

  /// The private key that belongs to a certificate's public key.
  static PrivateKey privateKey(String text, PublicKey publicKey) throws MaterialException {
    for (Block block : blocks(text)) {
      String label = block.label();
      if (label.equals("ENCRYPTED PRIVATE KEY")
          || (label.endsWith("PRIVATE KEY") && block.body().contains("ENCRYPTED"))) {
        throw new MaterialException("holds an encrypted key; the agent has no passphrase for it");
      }
      if (label.endsWith("PRIVATE KEY")) {
        PrivateKey key = read(pkcs8(block, publicKey), publicKey.getAlgorithm());
        checkPair(key, publicKey);
        return key;
      }
    }
    throw new MaterialException("holds no private key in PEM");
  }

  private static byte[] pkcs8(Block block, PublicKey publicKey) throws MaterialException {
    return switch (block.label()) {
      case "PRIVATE KEY" -> block.der();
      case "RSA PRIVATE KEY" -> wrap(RSA, block.der());
      // The curve need not be written in an ECPrivateKey (RFC 5915); the certificate has it.
      case "EC PRIVATE KEY" -> wrap(algorithmOf(publicKey), block.der());
      default -> throw new MaterialException("holds a key of an unknown kind: " + block.label());
    };
  }

  /// `PrivateKeyInfo ::= SEQUENCE { version INTEGER, algorithm AlgorithmIdentifier, key OCTET
  /// STRING }`.
  private static byte[] wrap(byte[] algorithm, byte[] key) {
    ByteArrayOutputStream inside = new ByteArrayOutputStream();
    inside.writeBytes(VERSION);
    inside.writeBytes(algorithm);
    element(inside, OCTET_STRING, key);
    ByteArrayOutputStream whole = new ByteArrayOutputStream();
    element(whole, SEQUENCE, inside.toByteArray());
    return whole.toByteArray();
  }

  private static void element(ByteArrayOutputStream out, int tag, byte[] content) {
    out.write(tag);
    int length = content.length;
    if (length < 0x80) {
      out.write(length);
    } else if (length < 0x100) {
      out.write(0x81);
      out.write(length);
    } else {
      out.write(0x82);
      out.write(length >> 8);
      out.write(length);
    }
    out.writeBytes(content);
  }

  /// The AlgorithmIdentifier out of `SubjectPublicKeyInfo ::= SEQUENCE { algorithm SEQUENCE {...},
  /// key BIT STRING }`.
  private static byte[] algorithmOf(PublicKey key) throws MaterialException {
    byte[] info = key.getEncoded();
    int at = 1 + lengthBytes(info, 1);
    int end = at + 1 + lengthBytes(info, at + 1) + length(info, at + 1);
    if (end > info.length || info[at] != SEQUENCE) {
      throw new MaterialException("holds an EC key, and the certificate has a key of another kind");
    }
    byte[] algorithm = new byte[end - at];
    System.arraycopy(info, at, algorithm, 0, algorithm.length);
    return algorithm;
  }

  private static int lengthBytes(byte[] der, int at) {
    int first = der[at] & 0xff;
    return first < 0x80 ? 1 : 1 + (first & 0x7f);
  }

  private static int length(byte[] der, int at) {
    int first = der[at] & 0xff;
    if (first < 0x80) {
      return first;
    }
    int length = 0;
    for (int i = 1; i <= (first & 0x7f); i++) {
      length = (length << 8) | (der[at + i] & 0xff);
    }
    return length;
  }

  private static PrivateKey read(byte[] pkcs8, String algorithm) throws MaterialException {
    try {
      return KeyFactory.getInstance(algorithm).generatePrivate(new PKCS8EncodedKeySpec(pkcs8));
    } catch (InvalidKeySpecException e) {
      throw new MaterialException("holds no " + algorithm + " key, as the certificate wants", e);
    } catch (GeneralSecurityException e) {
      throw new MaterialException("holds a key of a kind that cannot be used: " + algorithm, e);
    }
  }

  /// Whether what one signs the other verifies: a pair that was rotated by halves is told here and
  /// not by the server.
  private static void checkPair(PrivateKey key, PublicKey publicKey) throws MaterialException {
    String algorithm =
        switch (publicKey.getAlgorithm()) {
          case "RSA" -> "SHA256withRSA";
          case "EC" -> "SHA256withECDSA";
          case "EdDSA" -> "EdDSA";
          default -> "";
        };
    if (algorithm.isEmpty()) {
      return;
    }
    byte[] text = new byte[32];
    new SecureRandom().nextBytes(text);
    boolean pair;
    try {
      Signature signature = Signature.getInstance(algorithm);
      signature.initSign(key);
      signature.update(text);
      byte[] signed = signature.sign();
      signature.initVerify(publicKey);
      signature.update(text);
      pair = signature.verify(signed);
    } catch (GeneralSecurityException e) {
      throw new MaterialException("holds a key that cannot be used", e);
    }
    if (!pair) {
      throw new MaterialException("holds a key that does not belong to the certificate");
    }
  }
}
