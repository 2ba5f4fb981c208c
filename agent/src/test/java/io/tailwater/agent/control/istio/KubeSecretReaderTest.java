package io.tailwater.agent.control.istio;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.tls.Credential;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class KubeSecretReaderTest {
  private static OneResource<KubeSecret> secret(String rest) {
    return OneResource.read(
        KubeSecretReader::secret,
        "apiVersion: v1\nkind: Secret\nmetadata: {name: api, namespace: shop}\n" + rest + "\n");
  }

  private static Credential credential(String certificate, String key, String ca, String crl) {
    return new Credential(
        Optional.ofNullable(certificate),
        Optional.ofNullable(key),
        Optional.ofNullable(ca),
        Optional.ofNullable(crl));
  }

  @Test
  void aTlsSecretHasKubernetesKeys() {
    KubeSecret read =
        secret("type: kubernetes.io/tls\ndata: {tls.crt: QQ==, tls.key: Qg==, ca.crt: Qw==}")
            .valid();
    assertThat(read).isEqualTo(new KubeSecret("shop", "api", credential("A", "B", "C", null)));
  }

  @Test
  void anOpaqueSecretHasIstiosKeys() {
    KubeSecret read = secret("data: {cert: QQ==, key: Qg==, cacert: Qw==, crl: RA==}").valid();
    assertThat(read.credential()).isEqualTo(credential("A", "B", "C", "D"));
  }

  @Test
  void plainTextWinsOverBase64() {
    KubeSecret read = secret("stringData: {ca.crt: plain}\ndata: {ca.crt: Qw==}").valid();
    assertThat(read.credential()).isEqualTo(credential(null, null, "plain", null));
  }

  @Test
  void aSecretOfSomethingElseIsEmptyAndNoProblem() {
    OneResource<KubeSecret> read = secret("data: {password: c2VjcmV0}");
    assertThat(read.problems()).isEmpty();
    assertThat(read.valid().credential()).isEqualTo(credential(null, null, null, null));
  }

  @Test
  void whatIsNoBase64IsAnError() {
    assertThat(secret("data: {tls.crt: Q}").errors())
        .containsExactly(
            "test.yaml:4: Secret/shop/api: data.tls.crt: is not base64; write plain text under"
                + " stringData instead");
  }

  @Test
  void aConfigMapHasAuthoritiesUnderItsPrefix() {
    OneResource<KubeSecret> read =
        OneResource.read(
            KubeSecretReader::configMap,
            """
            apiVersion: v1
            kind: ConfigMap
            metadata: {name: roots, namespace: shop}
            data: {ca.crt: text}
            """);
    assertThat(read.valid())
        .isEqualTo(
            new KubeSecret("shop", "configmap://shop/roots", credential(null, null, "text", null)));
  }

  @Test
  void theTextOfACredentialDoesNotShowTheKey() {
    assertThat(credential("A", "BBBB", "C", null).toString()).doesNotContain("BBBB");
  }
}
