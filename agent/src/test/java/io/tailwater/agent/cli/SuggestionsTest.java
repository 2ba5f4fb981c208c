package io.tailwater.agent.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.snakeyaml.engine.v2.api.Dump;
import org.snakeyaml.engine.v2.api.DumpSettings;
import org.snakeyaml.engine.v2.api.Load;
import org.snakeyaml.engine.v2.api.LoadSettings;
import picocli.CommandLine;

/// What `explain` suggests for a refusal is put where it says, and then the same is allowed.
class SuggestionsTest {
  private static final String HEAD = "this would allow it:\n";

  @TempDir private Path folder = Path.of("");

  private static String entry(String namespace, String host, String more) {
    return """
    apiVersion: networking.istio.io/v1
    kind: ServiceEntry
    metadata: {name: api, namespace: %s}
    spec: {hosts: ["%s"], %s}
    ---
    """
        .formatted(namespace, host, more);
  }

  private static String sidecar(String namespace, String egress) {
    return """
    apiVersion: networking.istio.io/v1
    kind: Sidecar
    metadata: {name: narrow, namespace: %s}
    spec: {egress: %s}
    ---
    """
        .formatted(namespace, egress);
  }

  private static final String TLS_443 =
      "ports: [{number: 443, name: tls, protocol: TLS}], resolution: DNS";
  private static final String WILDCARD =
      entry("istio-system", "*.wild.example", TLS_443.replace("DNS", "DYNAMIC_DNS"));

  private String explain(String policies, String... more) throws IOException {
    Files.createDirectories(folder.resolve("policies"));
    Files.writeString(folder.resolve("policies/all.yaml"), policies);
    Files.writeString(
        folder.resolve("agent.yaml"),
        """
        mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
        sources: [{files: ./policies}]
        pods: [{namespace: shop, name: web, netns: /run/netns/web}]
        """);
    List<String> arguments =
        new ArrayList<>(
            List.of("--from", "shop/web", "--config", folder.resolve("agent.yaml").toString()));
    arguments.addAll(List.of(more));
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    int code =
        new CommandLine(new ExplainCommand())
            .setOut(new PrintWriter(out, true))
            .setErr(new PrintWriter(err, true))
            .execute(arguments.toArray(String[]::new));
    assertThat(code).as(err.toString()).isZero();
    return out.toString();
  }

  /// The suggestion for a refusal, after it was seen to lift it.
  private String lifts(String policies, String... asked) throws IOException {
    String refused = explain(policies, asked);
    assertThat(refused).contains("error ").contains(HEAD);
    String yaml = suggested(refused);
    String[] expecting = Arrays.copyOf(asked, asked.length + 2);
    expecting[asked.length] = "--expect";
    expecting[asked.length + 1] = "allow";
    explain(applied(policies, yaml), expecting);
    return yaml;
  }

  /// It stands last, indented by four.
  private static String suggested(String explained) {
    return explained.substring(explained.indexOf(HEAD) + HEAD.length()).indent(-4);
  }

  private String doesNotLift(String policies, String... asked) throws IOException {
    String refused = explain(policies, asked);
    assertThat(refused).doesNotContain(HEAD);
    return refused.lines().filter(l -> l.contains("suggestion")).collect(Collectors.joining());
  }

  // ---- as a user would: whole documents are added, others merged into what they name ----------

  private static String applied(String policies, String suggestion) {
    Map<String, Map<String, Object>> all = new LinkedHashMap<>();
    documents(policies).forEach(d -> all.put(name(d), d));
    for (String text : suggestion.split("---\n")) {
      Map<String, Object> document = documents(text).getFirst();
      if (text.startsWith("# add to ")) {
        String to = text.lines().findFirst().orElseThrow().substring("# add to ".length());
        assertThat(all).containsKey(to);
        merge(all.get(to), document);
      } else {
        assertThat(all.put(name(document), document)).isNull();
      }
    }
    Dump dump = new Dump(DumpSettings.builder().setExplicitStart(true).build());
    return all.values().stream().map(dump::dumpToString).collect(Collectors.joining());
  }

  @SuppressWarnings("unchecked")
  private static List<Map<String, Object>> documents(String text) {
    List<Map<String, Object>> out = new ArrayList<>();
    for (Object document : new Load(LoadSettings.builder().build()).loadAllFromString(text)) {
      if (document != null) {
        out.add((Map<String, Object>) document);
      }
    }
    return out;
  }

  private static String name(Map<String, Object> document) {
    Map<?, ?> metadata = (Map<?, ?>) document.get("metadata");
    return document.get("kind") + "/" + metadata.get("namespace") + "/" + metadata.get("name");
  }

  @SuppressWarnings("unchecked")
  private static void merge(Map<String, Object> to, Map<String, Object> more) {
    more.forEach((key, value) -> {
      if (value instanceof Map<?, ?> map) {
        merge(
            (Map<String, Object>) to.computeIfAbsent(key, _ -> new LinkedHashMap<String, Object>()),
            (Map<String, Object>) map);
      } else if (value instanceof List<?> items) {
        List<Object> there = (List<Object>) to.computeIfAbsent(key, _ -> new ArrayList<Object>());
        items.forEach(item -> mergeItem(there, item));
      } else {
        to.put(key, value);
      }
    });
  }

  /// An egress listener is the one with the same port; everything else is a further item.
  @SuppressWarnings("unchecked")
  private static void mergeItem(List<Object> there, Object item) {
    if (item instanceof Map<?, ?> listener && listener.containsKey("hosts")) {
      for (Object other : there) {
        if (Objects.equals(port((Map<?, ?>) other), port(listener))) {
          ((List<Object>) ((Map<?, ?>) other).get("hosts"))
              .addAll((List<Object>) listener.get("hosts"));
          return;
        }
      }
    }
    there.add(item);
  }

  private static Object port(Map<?, ?> listener) {
    return listener.get("port") instanceof Map<?, ?> port ? port.get("number") : "none";
  }

  // ---- what lifts ------------------------------------------------------------------------------

  @Test
  void anUnknownNameGetsAnEntryOfItsOwn() throws IOException {
    assertThat(lifts(WILDCARD, "--to", "a.example:443"))
        .contains("hosts: [\"a.example\"]")
        .contains("namespace: shop")
        .contains("protocol: TLS");
    assertThat(lifts(WILDCARD, "--to", "a.example:80")).contains("protocol: HTTP");
  }

  @Test
  void anEntryThatASidecarHidesIsImportedAndNotWrittenAgain() throws IOException {
    String narrow = sidecar("shop", "[{hosts: [\"istio-system/nothing.example\"]}]");
    assertThat(lifts(WILDCARD + narrow, "--to", "a.wild.example:443"))
        .contains("# add to Sidecar/shop/narrow")
        .contains("- \"istio-system/*.wild.example\"")
        .doesNotContain("kind:");
    String own = entry("shop", "api.example", TLS_443);
    assertThat(lifts(own + narrow, "--to", "api.example:443")).contains("- \"./api.example\"");
  }

  @Test
  void aNewEntryIsImportedTooWhereTheSidecarWouldHideIt() throws IOException {
    for (String namespace : List.of("shop", "istio-system")) {
      String narrow = sidecar(namespace, "[{hosts: [\"istio-system/nothing.example\"]}]");
      assertThat(lifts(WILDCARD + narrow, "--to", "a.example:443"))
          .contains("hosts: [\"a.example\"]")
          .contains("# add to Sidecar/" + namespace + "/narrow")
          .contains("- \"./a.example\"");
    }
    String wide = sidecar("shop", "[{hosts: [\"./*\"]}]");
    assertThat(lifts(WILDCARD + wide, "--to", "a.example:443")).doesNotContain("Sidecar");
  }

  @Test
  void anEgressListenerThatHasThePortGetsTheHost() throws IOException {
    String listeners =
        sidecar(
            "shop",
            "[{port: {number: 443, name: tls, protocol: TLS}, hosts: [\"./nothing.example\"]},"
                + " {hosts: [\"*/*\"]}]");
    assertThat(lifts(WILDCARD + listeners, "--to", "a.wild.example:443"))
        .contains("- port: {number: 443}\n")
        .contains("- \"istio-system/*.wild.example\"");
    assertThat(lifts(WILDCARD + listeners, "--to", "a.example:443"))
        .contains("- port: {number: 443}\n")
        .contains("- \"./a.example\"");
  }

  @Test
  void anEntryThatHasTheNameGetsThePort() throws IOException {
    for (String namespace : List.of("shop", "istio-system")) {
      String api = entry(namespace, "api.example", TLS_443);
      assertThat(explain(api, "--to", "api.example:8443")).contains("has no port 8443");
      assertThat(lifts(api, "--to", "api.example:8443"))
          .isEqualTo(
              """
              # add to ServiceEntry/%s/api
              spec:
                ports:
                  - {number: 8443, name: tls-8443, protocol: TLS}
              """
                  .formatted(namespace));
    }
  }

  @Test
  void aWildcardThatLacksThePortIsLeftAsItIs() throws IOException {
    assertThat(lifts(WILDCARD, "--to", "a.wild.example:8443"))
        .contains("hosts: [\"a.wild.example\"]")
        .doesNotContain("*");
  }

  @Test
  void aKubernetesServiceGetsThePort() throws IOException {
    String service =
        """
        apiVersion: v1
        kind: Service
        metadata: {name: details, namespace: shop}
        spec: {clusterIP: 203.0.113.40, ports: [{name: https, port: 443}]}
        ---
        """;
    String name = "details.shop.svc.cluster.local";
    String out = explain(service, "--to", name + ":8443", "--sni", name);
    assertThat(out).contains("has no port 8443 (its ports: 443)");
    String yaml = suggested(out);
    assertThat(yaml)
        .contains("# add to Service/shop/details")
        .contains("- {port: 8443, name: tls-8443}");
    // What is behind the port is the cluster's to say.
    assertThat(explain(applied(service, yaml), "--to", name + ":8443"))
        .contains("outbound|8443||" + name)
        .doesNotContain("has no port");
    assertThat(doesNotLift(service, "--to", "192.0.2.1:8443", "--sni", name))
        .contains("Service/shop/details has this name at its addresses alone (203.0.113.40/32)");
  }

  @Test
  void aPortThatOnlyHostNamesGetsAnEntry() throws IOException {
    String http =
        entry(
            "istio-system",
            "*.wild.example",
            "ports: [{number: 80, name: http, protocol: HTTP}], resolution: DYNAMIC_DNS");
    assertThat(lifts(http, "--to", "a.wild.example:80", "--host", "a.wild.example:8080"))
        .contains("hosts: [\"a.wild.example\"]");
  }

  // ---- what does not ---------------------------------------------------------------------------

  @Test
  void aNameThatIsTakenForSomethingElseIsSaidAndNothingIsSuggested() throws IOException {
    String api = entry("shop", "api.example", TLS_443);
    assertThat(doesNotLift(api, "--to", "api.example:443", "--host", "api.example"))
        .contains("none: ServiceEntry/shop/api has this name on port 443 for TLS");
    String tcp =
        entry(
            "shop",
            "db.example",
            "addresses: [192.0.2.7], resolution: STATIC, endpoints: [{address: 192.0.2.9}],"
                + " ports: [{number: 5432, name: tcp, protocol: TCP}]");
    assertThat(doesNotLift(tcp, "--to", "192.0.2.8:5432", "--sni", "db.example"))
        .contains("at its addresses alone (192.0.2.7/32); let the client dial one of them");
  }

  @Test
  void aSidecarThatExcludesItIsNamed() throws IOException {
    String excluding = sidecar("shop", "[{hosts: [\"*/*\", \"~istio-system/*.wild.example\"]}]");
    assertThat(doesNotLift(WILDCARD + excluding, "--to", "a.wild.example:443"))
        .contains("Sidecar/shop/narrow excludes it by \"~istio-system/*.wild.example\"");
  }
}
