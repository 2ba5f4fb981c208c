package io.tailwater.agent.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

class GenerateServiceEntriesTest {
  @TempDir private Path folder;
  private final List<String> calls = new ArrayList<>();
  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  @BeforeEach
  void write() throws IOException {
    Files.createDirectories(folder.resolve("policies"));
    Files.createDirectories(folder.resolve("state"));
    Files.writeString(
        folder.resolve("agent.yaml"),
        """
        stateDir: %s
        mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
        egress: {mode: audit}
        sources: [{files: %s}]
        pods:
          - {namespace: shop, name: web, netns: /run/netns/web}
          - {namespace: other, name: job, netns: /run/netns/job}
        """
            .formatted(folder.resolve("state"), folder.resolve("policies")));
    Files.writeString(
        folder.resolve("policies/known.yaml"),
        """
        apiVersion: networking.istio.io/v1
        kind: ServiceEntry
        metadata: {name: known, namespace: shop}
        spec:
          hosts: [known.example.com]
          ports: [{number: 443, name: tls, protocol: TLS}]
          resolution: DNS
        """);
  }

  private void called(String namespace, String pod, String name, int port, String protocol, int n) {
    calls.add(
        """
        {"namespace":"%s","pod":"%s","name":"%s","port":%d,"protocol":"%s","count":%d,"refused":0,\
        "first":"2026-11-14T08:00:00Z","last":"2026-11-21T08:00:00Z"}\
        """
            .formatted(namespace, pod, name, port, protocol, n));
  }

  private String inventory() {
    return "[" + String.join(",\n", calls) + "]";
  }

  private int run(String... arguments) {
    out.getBuffer().setLength(0);
    CommandLine line = new CommandLine(new Tailwater());
    line.setOut(new PrintWriter(out, true));
    line.setErr(new PrintWriter(err, true));
    return line.execute(arguments);
  }

  private String generate(String... more) throws IOException {
    Files.writeString(folder.resolve("state/inventory.json"), inventory());
    List<String> arguments =
        new ArrayList<>(
            List.of(
                "generate", "serviceentries", "--config", folder.resolve("agent.yaml").toString()));
    arguments.addAll(List.of(more));
    assertThat(run(arguments.toArray(String[]::new))).as(err.toString()).isZero();
    return out.toString();
  }

  private boolean isAllowed(String from, String to, String... more) {
    List<String> arguments =
        new ArrayList<>(
            List.of(
                "explain",
                "--from",
                from,
                "--to",
                to,
                "--config",
                folder.resolve("agent.yaml").toString(),
                "-o",
                "json"));
    arguments.addAll(List.of(more));
    assertThat(run(arguments.toArray(String[]::new))).isZero();
    return out.toString().contains("\"cluster\" : \"outbound|");
  }

  @Test
  void whatWasSeenIsAllowedByWhatIsGeneratedAndNothingElse() throws IOException {
    called("shop", "web", "en.wikipedia.org", 443, "TLS", 20);
    called("shop", "web", "plain.example.com", 80, "HTTP", 3);
    called("shop", "web", "plain.example.com", 443, "TLS", 3);
    assertThat(isAllowed("shop/web", "en.wikipedia.org:443", "--sni", "en.wikipedia.org"))
        .isFalse();

    String yaml = generate();
    Path file = folder.resolve("policies/observed.yaml");
    Files.writeString(file, yaml);

    assertThat(run("check", file.toString())).as(out.toString()).isZero();
    assertThat(isAllowed("shop/web", "en.wikipedia.org:443", "--sni", "en.wikipedia.org")).isTrue();
    assertThat(isAllowed("shop/web", "plain.example.com:80", "--host", "plain.example.com"))
        .isTrue();
    assertThat(isAllowed("shop/web", "plain.example.com:443", "--sni", "plain.example.com"))
        .isTrue();
    assertThat(isAllowed("other/job", "en.wikipedia.org:443", "--sni", "en.wikipedia.org"))
        .isFalse();
    assertThat(isAllowed("shop/web", "de.wikipedia.org:443", "--sni", "de.wikipedia.org"))
        .isFalse();
    assertThat(generate()).contains("There is nothing to allow by name").contains("3 destinations");
  }

  @Test
  void anEntryIsNarrowAndSaysWhoCalled() throws IOException {
    called("shop", "web", "en.wikipedia.org", 443, "TLS", 20);
    called("shop", "web-2", "en.wikipedia.org", 443, "TLS", 1);

    assertThat(generate())
        .contains(
            """
            ---
            # 21 connections by web, web-2, 2026-11-14 to 2026-11-21
            apiVersion: networking.istio.io/v1
            kind: ServiceEntry
            metadata:
              name: en-wikipedia-org-443
              namespace: shop
            spec:
              hosts: ["en.wikipedia.org"]
              exportTo: ["."]
              location: MESH_EXTERNAL
              resolution: DNS
              ports:
                - {number: 443, name: tls-443, protocol: TLS}
            """);
  }

  @Test
  void whatIsAllowedAlreadyIsLeftOut() throws IOException {
    called("shop", "web", "known.example.com", 443, "TLS", 20);

    assertThat(generate())
        .contains("# 1 destination is allowed already and left out.")
        .doesNotContain("kind: ServiceEntry");
  }

  @Test
  void whatCarriesNoUsableNameIsACommentThatSaysSo() throws IOException {
    called("shop", "web", "198.51.100.7", 5432, "TCP", 4);
    called("shop", "web", "2001:db8::1", 443, "TLS", 4);
    called("shop", "web", "under_score.example.com", 443, "TLS", 4);
    called("shop", "web", "intranet", 80, "HTTP", 4);
    called("shop", "web", "x\\nkind: ServiceEntry", 80, "HTTP", 4);

    String yaml = generate();

    assertThat(yaml)
        .contains("#   shop: 198.51.100.7 port 5432, TCP: it carried no name")
        .contains("2001:db8::1 port 443")
        .contains("no underscores")
        .contains("a short name")
        .contains("x?kind: ServiceEntry port 80, HTTP: it is no host name");
    assertThat(yaml.lines()).allMatch(line -> line.startsWith("#") || line.equals("---"));
  }

  @Test
  void aWildcardIsOnlyEverAComment() throws IOException {
    for (String language : List.of("de", "en", "fr", "pl")) {
      called("shop", "web", language + ".wikipedia.org", 443, "TLS", 1);
    }

    assertThat(generate().lines().filter(line -> line.contains("*.")))
        .hasSize(1)
        .allMatch(line -> line.startsWith("# Only if") && line.contains("[\"*.wikipedia.org\"]"));
  }

  @Test
  void twoProtocolsOnOnePortAreNotOpenedToEverything() throws IOException {
    called("shop", "web", "mixed.example.com", 443, "TLS", 20);
    called("shop", "web", "mixed.example.com", 443, "HTTP", 2);

    assertThat(generate())
        .contains("# port 443 carried HTTP too, which stays unknown")
        .contains("{number: 443, name: tls-443, protocol: TLS}");
  }

  @Test
  void namesThatBecomeTheSameObjectNameDoNotReplaceEachOther() throws IOException {
    called("shop", "web", "a.b-c.example", 443, "TLS", 1);
    called("shop", "web", "a-b.c.example", 443, "TLS", 1);

    assertThat(generate()).contains("name: a-b-c-example-443\n", "name: a-b-c-example-443-x2\n");
  }

  @Test
  void aNamespaceIsChosen() throws IOException {
    called("shop", "web", "a.example.com", 443, "TLS", 1);
    called("other", "job", "b.example.com", 443, "TLS", 1);

    assertThat(generate("--namespace", "other"))
        .contains("b.example.com")
        .doesNotContain("a.example.com");
  }

  @Test
  void jsonIsAListThatCheckTakes() throws IOException {
    called("shop", "web", "a.example.com", 443, "TLS", 1);
    called("shop", "web", "198.51.100.7", 5432, "TCP", 4);

    Path file = folder.resolve("observed.json");
    Files.writeString(file, generate("-o", "json"));

    assertThat(run("check", file.toString())).as(out.toString()).isZero();
    assertThat(Files.readString(file))
        .contains("\"kind\" : \"List\"", "\"cannot\"", "198.51.100.7");
  }

  @Test
  void aRunningAgentIsAskedForItsInventoryAndWhatItKnows() throws IOException {
    called("shop", "web", "known.example.com", 443, "tls", 1);
    called("shop", "web", "new.example.com", 80, "http", 1);
    HttpServer agent =
        HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    agent.createContext(
        "/",
        exchange -> {
          String asked = exchange.getRequestURI().toString();
          String body =
              asked.startsWith("/inventory")
                  ? inventory()
                  : asked.contains("sni=known.example.com")
                      ? "{\"action\" : \"forward\", \"cluster\" : \"outbound|443||known\"}"
                      : "{\"action\" : \"passthrough\", \"cluster\" : \"PassthroughCluster\"}";
          byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
          exchange.sendResponseHeaders(200, bytes.length);
          exchange.getResponseBody().write(bytes);
          exchange.close();
        });
    agent.start();
    try {
      String address = "127.0.0.1:" + agent.getAddress().getPort();
      assertThat(run("generate", "serviceentries", "--admin", address)).isZero();
    } finally {
      agent.stop(0);
    }

    assertThat(out.toString()).contains("new.example.com").doesNotContain("known.example.com");
  }

  @Test
  void anInventoryThatCannotBeReadIsExitCode2() throws IOException {
    Path file = folder.resolve("broken.json");
    Files.writeString(file, "{}");

    assertThat(run("generate", "serviceentries", "--inventory", file.toString())).isEqualTo(2);
    assertThat(err.toString()).contains("broken.json is no inventory that can be read");
    assertThat(run("generate", "serviceentries", "--inventory", "absent.json")).isEqualTo(2);
  }

  @Test
  void withoutAnAgentItSaysWhatToDo() {
    assertThat(run("generate", "serviceentries", "--admin", "unix:/nonexistent/admin.sock"))
        .isEqualTo(1);
    assertThat(err.toString()).contains("--config");
  }
}
