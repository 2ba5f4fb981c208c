package io.tailwater.agent.dataplane.tls;

import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import javax.net.ssl.SSLParameters;

/// Protocol versions and cipher suites: from Istio's and OpenSSL's names to the JDK's.
final class TlsVersions {
  /// Istio's names and the JDK's, oldest first.
  private static final List<Map.Entry<String, String>> ALL =
      List.of(
          Map.entry("TLSv1.0", "TLSv1"),
          Map.entry("TLSv1.1", "TLSv1.1"),
          Map.entry("TLSv1.2", "TLSv1.2"),
          Map.entry("TLSv1.3", "TLSv1.3"));

  /// The suites that Istio's validation knows and the JDK has (istio,
  /// `pkg/config/security/security.go`).
  private static final Map<String, String> SUITES =
      Map.ofEntries(
          Map.entry("ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
          Map.entry("ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
          Map.entry("ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
          Map.entry("ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
          Map.entry(
              "ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
          Map.entry("ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
          Map.entry("ECDHE-ECDSA-AES128-SHA", "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"),
          Map.entry("ECDHE-RSA-AES128-SHA", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
          Map.entry("ECDHE-ECDSA-AES256-SHA", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
          Map.entry("ECDHE-RSA-AES256-SHA", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
          Map.entry("AES128-GCM-SHA256", "TLS_RSA_WITH_AES_128_GCM_SHA256"),
          Map.entry("AES256-GCM-SHA384", "TLS_RSA_WITH_AES_256_GCM_SHA384"),
          Map.entry("AES128-SHA", "TLS_RSA_WITH_AES_128_CBC_SHA"),
          Map.entry("AES256-SHA", "TLS_RSA_WITH_AES_256_CBC_SHA"));

  private TlsVersions() {}

  /// The versions from `min` to `max` as the JDK names them, those alone that it can speak.
  static List<String> between(String min, String max, SSLParameters supported)
      throws MaterialException {
    List<String> versions = new ArrayList<>();
    for (int i = index(min); i <= index(max); i++) {
      String version = ALL.get(i).getValue();
      if (i >= index("TLSv1.2") && List.of(supported.getProtocols()).contains(version)) {
        versions.add(version);
      }
    }
    if (versions.isEmpty()) {
      throw new MaterialException(
          "there is no TLS version from "
              + min
              + " to "
              + max
              + " that the agent speaks; it speaks TLSv1.2 and TLSv1.3");
    }
    return versions;
  }

  private static int index(String version) throws MaterialException {
    for (int i = 0; i < ALL.size(); i++) {
      if (ALL.get(i).getKey().equals(version)) {
        return i;
      }
    }
    throw new MaterialException("\"" + version + "\" is no TLS version like TLSv1.2");
  }

  /// The JDK's suites for the configured ones. Those of TLS 1.3 stay as they are, as in Envoy.
  static List<String> suites(List<String> configured, SSLParameters supported)
      throws MaterialException {
    Set<String> suites = new LinkedHashSet<>();
    for (String suite : supported.getCipherSuites()) {
      if (!suite.contains("_WITH_")) {
        suites.add(suite); // TLS 1.3
      }
    }
    for (String name : configured) {
      String suite = SUITES.getOrDefault(name, name);
      if (!List.of(supported.getCipherSuites()).contains(suite)) {
        throw new MaterialException(
            "the cipher suite " + SubjectNames.clean(name) + " is none that the agent has");
      }
      suites.add(suite);
    }
    return List.copyOf(suites);
  }
}
