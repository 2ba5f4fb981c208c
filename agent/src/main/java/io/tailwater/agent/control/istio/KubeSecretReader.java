package io.tailwater.agent.control.istio;

import io.tailwater.agent.control.source.FieldReader;
import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.control.source.Problems;
import io.tailwater.agent.dataplane.tls.Credential;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.List;
import java.util.Optional;

/// Reads Secrets and ConfigMaps for `credentialName`. The keys are Kubernetes' own for a TLS Secret
/// and Istio's for an opaque one; others are nobody's business here. What the PEM says is judged
/// where a connection needs it.
public final class KubeSecretReader {
  private static final String CONFIG_MAP = "configmap://";

  /// Kubernetes' key first.
  private static final List<String> CERTIFICATE = List.of("tls.crt", "cert");

  private static final List<String> KEY = List.of("tls.key", "key");
  private static final List<String> AUTHORITIES = List.of("ca.crt", "cacert");
  private static final List<String> REVOCATIONS = List.of("ca.crl", "crl");

  private final Problems problems;
  private final FieldReader top;
  private final boolean encoded;

  private KubeSecretReader(KubeObject object, Problems problems, boolean encoded) {
    this.problems = problems.of(object.key().ref());
    this.top = new FieldReader(object.root(), "", this.problems);
    this.encoded = encoded;
  }

  /// A Secret: `data` is base64, `stringData` is text and wins.
  public static Optional<KubeSecret> secret(KubeObject object, Problems problems) {
    return read(object, problems, true, object.name());
  }

  /// A ConfigMap: `data` is text.
  public static Optional<KubeSecret> configMap(KubeObject object, Problems problems) {
    return read(object, problems, false, CONFIG_MAP + object.namespace() + "/" + object.name());
  }

  private static Optional<KubeSecret> read(
      KubeObject object, Problems problems, boolean encoded, String name) {
    KubeSecretReader reader = new KubeSecretReader(object, problems, encoded);
    Credential credential =
        new Credential(
            reader.first(CERTIFICATE),
            reader.first(KEY),
            reader.first(AUTHORITIES),
            reader.first(REVOCATIONS));
    return reader.problems.list().stream().anyMatch(Problem::isError)
        ? Optional.empty()
        : Optional.of(new KubeSecret(object.namespace(), name, credential));
  }

  private Optional<String> first(List<String> keys) {
    for (String key : keys) {
      Optional<String> text =
          encoded
              ? top.mapping("stringData").flatMap(map -> map.string(key)).or(() -> decoded(key))
              : top.mapping("data").flatMap(map -> map.string(key));
      if (text.isPresent()) {
        return text;
      }
    }
    return Optional.empty();
  }

  private Optional<String> decoded(String key) {
    Optional<FieldReader> data = top.mapping("data");
    Optional<String> text = data.flatMap(map -> map.string(key));
    if (data.isEmpty() || text.isEmpty()) {
      return Optional.empty();
    }
    try {
      byte[] bytes = Base64.getMimeDecoder().decode(text.get());
      return Optional.of(new String(bytes, StandardCharsets.ISO_8859_1));
    } catch (IllegalArgumentException _) {
      data.get().error(key, "is not base64; write plain text under stringData instead");
      return Optional.empty();
    }
  }
}
