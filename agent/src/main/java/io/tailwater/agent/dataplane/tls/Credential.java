package io.tailwater.agent.dataplane.tls;

import java.util.Optional;

/// What a Secret holds, as PEM text. Two that are equal need not be read twice. Its text never
/// shows the key.
///
/// @param certificate the chain to show, leaf first (`tls.crt`, `cert`)
/// @param key its private key (`tls.key`, `key`)
/// @param authorities whom to trust (`ca.crt`, `cacert`)
/// @param revocations revoked certificates (`ca.crl`, `crl`)
public record Credential(
    Optional<String> certificate,
    Optional<String> key,
    Optional<String> authorities,
    Optional<String> revocations) {
  @Override
  public String toString() {
    return "Credential[certificate="
        + certificate.isPresent()
        + ", key="
        + key.isPresent()
        + ", authorities="
        + authorities.isPresent()
        + ", revocations="
        + revocations.isPresent()
        + "]";
  }
}
