package io.tailwater.agent.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

/// `check`, `explain --config` and `test` from the outside: exit codes and what is printed.
class PolicyCommandsTest {
  @TempDir private Path folder = Path.of("");

  private record Ran(int code, String out, String err) {}

  private static Ran run(Object command, Object... arguments) {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    String[] texts = new String[arguments.length];
    for (int i = 0; i < texts.length; i++) {
      texts[i] = String.valueOf(arguments[i]);
    }
    int code =
        new CommandLine(command)
            .setOut(new PrintWriter(out, true))
            .setErr(new PrintWriter(err, true))
            .execute(texts);
    return new Ran(code, out.toString(), err.toString());
  }

  private Path write(String name, String text) throws IOException {
    Path file = folder.resolve(name);
    Files.createDirectories(file.getParent());
    return Files.writeString(file, text);
  }

  private static final String WIKI =
      """
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata:
        name: wiki
        namespace: istio-system
      spec:
        hosts: ["*.wikipedia.org"]
        ports:
          - {number: 443, name: tls, protocol: TLS}
        resolution: DYNAMIC_DNS
      """;

  @Test
  void checkReportsEveryProblemWithFileLineAndField() throws IOException {
    Path bad =
        write(
            "p/bad.yaml",
            WIKI.replace("DYNAMIC_DNS", "DYNAMIC_DSN").replace("hosts:", "host:")
                + "---\nkind: [\n---\n"
                + WIKI.replace("name: wiki", "name: other").replace("443", "\"443\""));
    Ran ran = run(new CheckCommand(), folder.resolve("p"));
    assertThat(ran.code()).isEqualTo(1);
    assertThat(ran.out().lines())
        .anyMatch(l ->
            l.startsWith(bad + ":10: ServiceEntry/istio-system/wiki: spec.resolution: ")
                && l.contains("did you mean \"DYNAMIC_DNS\"?"))
        .anyMatch(
            l -> l.startsWith(bad + ":7: ServiceEntry/istio-system/wiki: spec.host: unknown key"))
        .anyMatch(l -> l.contains("spec.hosts: at least one host is needed"))
        .anyMatch(l -> l.startsWith(bad + ":13: not YAML") || l.startsWith(bad + ":12: not YAML"))
        .anyMatch(
            l -> l.startsWith(bad + ":22: ServiceEntry/istio-system/other: spec.ports[0].number: "))
        .anyMatch(l -> l.endsWith("in 1 file"));
  }

  @Test
  void checkPassesOnWarningsUnlessStrict() throws IOException {
    write(
        "w.yaml",
        WIKI
            + "---\n"
            + "apiVersion: networking.istio.io/v1\n"
            + "kind: Sidecar\n"
            + "metadata: {name: s}\n"
            + "spec: {egress: [{hosts: [\"./nowhere.example\", \"istio-system/*\"]}]}\n");
    Ran ran = run(new CheckCommand(), folder);
    assertThat(ran.code()).isZero();
    assertThat(ran.out())
        .contains("Sidecar/default/s: spec.egress[0].hosts[0]: imports nothing")
        .contains("(warning)")
        .contains("0 errors, 1 warning in 1 file");
    assertThat(run(new CheckCommand(), "--strict", folder).code()).isEqualTo(1);
    assertThat(run(new CheckCommand(), "-o", "json", folder).out())
        .contains("\"severity\" : \"warning\"")
        .contains("\"resource\" : \"Sidecar/default/s\"");
  }

  @Test
  void checkReadsAgentConfigurationsToo() throws IOException {
    Path agent = write("agent.yaml", "egress: {mode: enforced}\n");
    Ran ran = run(new CheckCommand(), agent);
    assertThat(ran.code()).isEqualTo(1);
    assertThat(ran.out()).startsWith(agent + ":1: egress.mode: ");
    assertThat(run(new CheckCommand(), write("good.yaml", "egress: {mode: audit}\n")).code())
        .isZero();
  }

  @Test
  void missingPathsAreBadInput() {
    assertThat(run(new CheckCommand(), folder.resolve("nowhere")).code()).isEqualTo(2);
    assertThat(run(new TestCommand(), folder.resolve("nowhere")).code()).isEqualTo(2);
    assertThat(run(new TestCommand(), folder).code()).isEqualTo(2);
    assertThat(run(new TestCommand()).code()).isEqualTo(2);
  }

  @Test
  void testCountsFilesAndSaysWhatFailed() throws IOException {
    String test =
        """
        name: t
        config: []
        probes: [{protocol: tcp, dst: "192.0.2.1:25", expect: {action: %s}}]
        """;
    write("a.yaml", test.formatted("passthrough"));
    assertThat(run(new TestCommand(), folder)).isEqualTo(new Ran(0, "1 passed, 0 failed\n", ""));
    Path bad = write("b.yaml", test.formatted("block"));
    Ran ran = run(new TestCommand(), folder);
    assertThat(ran.code()).isEqualTo(1);
    assertThat(ran.out())
        .contains("FAILED " + bad)
        .contains("action: expected block, actual passthrough")
        .endsWith("1 passed, 1 failed\n");
    assertThat(run(new TestCommand(), "-o", "json", folder).out()).contains("\"failed\" : 1");
  }

  private Path agent() throws IOException {
    write("policies/wiki.yaml", WIKI);
    write(
        "policies/pod.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop, labels: {app: web}}\n");
    return write(
        "agent.yaml",
        """
        mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
        sources: [{files: ./policies}]
        pods: [{namespace: default, name: ratings, netns: /run/netns/ratings}]
        """);
  }

  @Test
  void explainSaysWhatDecidesAndAsksNoNetwork() throws IOException {
    Ran ran =
        run(
            new ExplainCommand(),
            "--from",
            "default/ratings",
            "--to",
            "en.wikipedia.org:443",
            "--config",
            agent());
    assertThat(ran.code()).isZero();
    assertThat(ran.out())
        .contains("TLS, server name en.wikipedia.org")
        .contains("ServiceEntry/istio-system/wiki")
        .contains("outbound|443||*.wikipedia.org")
        .doesNotContain("dials");
  }

  @Test
  void explainTellsTheGradeAlsoOfWhatIsNotTls() throws IOException {
    Path agent = agent();
    String ports =
        "[{number: 80, name: http, protocol: HTTP}, {number: 5432, name: tcp, protocol: TCP},"
            + " {number: 443, name: tls, protocol: TLS}]";
    write(
        "policies/other.yaml",
        """
        apiVersion: networking.istio.io/v1
        kind: ServiceEntry
        metadata: {name: other, namespace: default}
        spec: {hosts: [db.example.org], ports: %s, location: MESH_EXTERNAL, resolution: DNS}
        """
            .formatted(ports));
    write(
        "policies/both.yaml",
        """
        apiVersion: networking.istio.io/v1
        kind: ServiceEntry
        metadata: {name: web, namespace: default}
        spec:
          hosts: ["*.example.org"]
          ports: [{number: 8443, name: http, protocol: HTTP}]
          location: MESH_EXTERNAL
          resolution: DYNAMIC_DNS
        ---
        apiVersion: networking.istio.io/v1
        kind: ServiceEntry
        metadata: {name: tls, namespace: default}
        spec:
          hosts: [both.example.org]
          ports: [{number: 8443, name: tls, protocol: TLS}]
          location: MESH_EXTERNAL
          resolution: DNS
        """);
    Object[] asked = {"--from", "default/ratings", "--config", agent, "--to"};

    Object[] toHttp = join(asked, "db.example.org:80");
    assertThat(run(new ExplainCommand(), toHttp).out())
        .containsPattern("grade +copy: each of its requests is decided for itself");
    assertThat(run(new ExplainCommand(), join(toHttp, "-o", "json")).out())
        .contains("\"grade\" : \"copy\"");
    assertThat(run(new ExplainCommand(), join(asked, "db.example.org:5432")).out())
        .containsPattern("grade +splice; not kernel: no name is read at that port");
    assertThat(run(new ExplainCommand(), join(asked, "db.example.org:443")).out())
        .containsPattern("grade +kernel where one of its addresses is dialled, else splice");
    Object[] toBoth = join(asked, "both.example.org:8443", "--sni", "both.example.org");
    assertThat(run(new ExplainCommand(), toBoth).out())
        .containsPattern("grade +splice; not kernel: plaintext HTTP with that name goes on");
  }

  @Test
  void explainPromisesNoGradeAndNoFilterThatItDoesNotHave() throws IOException {
    Path agent = agent();
    Ran named =
        run(
            new ExplainCommand(),
            "--from",
            "default/ratings",
            "--to",
            "en.wikipedia.org:443",
            "--config",
            agent);
    assertThat(named.out())
        .containsPattern("grade +kernel where one of its")
        .contains("the node's own addresses are not known here");
    write("policies/wiki.yaml", WIKI.replace("DYNAMIC_DNS", "NONE"));
    Ran dialled =
        run(
            new ExplainCommand(),
            "--from",
            "default/ratings",
            "--to",
            "203.0.113.1:443",
            "--sni",
            "en.wikipedia.org",
            "--config",
            agent);
    assertThat(dialled.out()).containsPattern("grade +kernel: the client's own");
    Ran json =
        run(
            new ExplainCommand(),
            "--from",
            "default/ratings",
            "--to",
            "203.0.113.1:443",
            "--sni",
            "en.wikipedia.org",
            "--config",
            agent,
            "-o",
            "json");
    assertThat(json.out()).contains("\"grade\" : \"kernel\"").doesNotContain("own addresses");
  }

  @Test
  void explainAsksTheAgentOverAUnixSocket() throws Exception {
    Path socket = folder.resolve("s");
    String page = "{\n  \"action\" : \"block\"\n}\n";
    try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      server.bind(UnixDomainSocketAddress.of(socket));
      CompletableFuture<String> asked = new CompletableFuture<>();
      Thread.ofVirtual()
          .start(() -> {
            try (SocketChannel client = server.accept()) {
              ByteBuffer in = ByteBuffer.allocate(4096);
              while (!new String(in.array(), 0, in.position(), StandardCharsets.US_ASCII)
                  .endsWith("\r\n\r\n")) {
                if (client.read(in) < 0) {
                  throw new IOException("the request ends early");
                }
              }
              asked.complete(new String(in.array(), 0, in.position(), StandardCharsets.US_ASCII));
              client.write(
                  ByteBuffer.wrap(
                      ("HTTP/1.1 200 OK\r\n\r\n" + page).getBytes(StandardCharsets.US_ASCII)));
            } catch (IOException e) {
              asked.completeExceptionally(e);
            }
          });
      Ran ran =
          run(
              new ExplainCommand(),
              "--from",
              "shop/web",
              "--to",
              "203.0.113.1:443",
              "--labels",
              "app=web",
              "--expect",
              "allow",
              "--admin",
              "unix:" + socket);
      assertThat(asked.get(10, TimeUnit.SECONDS))
          .startsWith(
              "GET /explain?from=shop%2Fweb&to=203.0.113.1%3A443&label=app%3Dweb&format=json HTTP");
      assertThat(ran).isEqualTo(new Ran(1, page, ""));
    }
    Ran nobody =
        run(
            new ExplainCommand(),
            "--from",
            "shop/web",
            "--to",
            "203.0.113.1:443",
            "--admin",
            "unix:" + folder.resolve("none"));
    assertThat(nobody.code()).isEqualTo(1);
    assertThat(nobody.err()).contains("no agent answers at unix:").contains("--config");
    assertThat(
            run(
                    new ExplainCommand(),
                    "--from",
                    "shop/web",
                    "--to",
                    "203.0.113.1:443",
                    "--admin",
                    "nowhere")
                .code())
        .isEqualTo(2);
  }

  @Test
  void explainSuggestsTheNarrowestYamlForARefusal() throws IOException {
    Path agent = agent();
    Ran ran =
        run(
            new ExplainCommand(),
            "--from",
            "shop/web",
            "--to",
            "203.0.113.1:443",
            "--sni",
            "wikipedia.org",
            "--config",
            agent);
    assertThat(ran.code()).isZero();
    assertThat(ran.out())
        .contains("connection_closed")
        .contains("a wildcard covers what is below it")
        .contains("hosts: [\"wikipedia.org\"]")
        .contains("namespace: shop")
        .contains("exportTo: [\".\"]");
    String yaml = ran.out().substring(ran.out().indexOf("apiVersion")).stripIndent();
    write(
        "policies/added.yaml",
        yaml.lines()
            .map(l -> l.startsWith("    ") ? l.substring(4) : l)
            .reduce("", (a, b) -> a + b + "\n"));
    assertThat(
            run(
                    new ExplainCommand(),
                    "--from",
                    "shop/web",
                    "--to",
                    "203.0.113.1:443",
                    "--sni",
                    "wikipedia.org",
                    "--config",
                    agent,
                    "--expect",
                    "allow")
                .code())
        .isZero();
    assertThat(
            run(
                    new ExplainCommand(),
                    "--from",
                    "default/ratings",
                    "--to",
                    "203.0.113.1:443",
                    "--sni",
                    "wikipedia.org",
                    "--config",
                    agent,
                    "--expect",
                    "allow")
                .code())
        .isEqualTo(1);
  }

  @Test
  void explainJsonHasTheKeysOfExpect() throws IOException {
    Ran ran =
        run(
            new ExplainCommand(),
            "--from",
            "default/ratings",
            "--to",
            "203.0.113.1:443",
            "--sni",
            "a.wikipedia.org",
            "--config",
            agent(),
            "-o",
            "json");
    assertThat(ran.out())
        .contains("\"action\" : \"forward\"")
        .contains("\"cluster\" : \"outbound|443||*.wikipedia.org\"")
        .contains("\"upstreamHost\" : \"a.wikipedia.org\"")
        .contains("\"resource\" : \"ServiceEntry/istio-system/wiki\"")
        .contains("\"considered\" : [ ]")
        .contains("\"suggestion\" : null");
  }

  @Test
  void unknownPodIsBadInputWithTheKnownOnes() throws IOException {
    Ran ran =
        run(
            new ExplainCommand(),
            "--from",
            "default/other",
            "--to",
            "a.example:443",
            "--config",
            agent());
    assertThat(ran.code()).isEqualTo(2);
    assertThat(ran.err()).contains("default/ratings, shop/web");
    assertThat(
            run(
                    new ExplainCommand(),
                    "--from",
                    "other",
                    "--to",
                    "a.example:443",
                    "--config",
                    agent())
                .code())
        .isEqualTo(2);
    assertThat(
            run(
                    new ExplainCommand(),
                    "--from",
                    "shop/web",
                    "--to",
                    "a.example",
                    "--config",
                    agent())
                .code())
        .isEqualTo(2);
  }

  @Test
  void explainOfARequestTellsTlsLimitsAndWhatIsWrongWithItsPort() throws IOException {
    write(
        "p/wiki.yaml",
        WIKI.replace("443, name: tls, protocol: TLS", "80, name: http, protocol: HTTP")
            + """
            ---
            apiVersion: networking.istio.io/v1
            kind: DestinationRule
            metadata: {name: wiki, namespace: istio-system}
            spec:
              host: "*.wikipedia.org"
              trafficPolicy: {tls: {mode: SIMPLE}, connectionPool: {tcp: {maxConnections: 5}}}
            """);
    Path config =
        write(
            "agent.yaml",
            """
            mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
            sources: [{files: ./p}]
            pods: [{namespace: default, name: client, netns: /run/netns/c}]
            """);
    Object[] known = {
      "--from", "default/client", "--to", "en.wikipedia.org:80", "--config", config
    };
    assertThat(run(new ExplainCommand(), known).out())
        .contains("the certificate must be for en.wikipedia.org\n")
        .contains("limits      5 connections");
    assertThat(run(new ExplainCommand(), join(known, "-o", "json")).out())
        .contains("\"sni\" : \"en.wikipedia.org\"")
        .contains("\"maxConnections\" : 5")
        .contains("\"connectTimeout\" : \"10s\"")
        .contains("\"grade\" : \"copy\"");
    assertThat(run(new ExplainCommand(), join(known, "--host", "en.wikipedia.org:22")).out())
        .contains("its entry does not list the port that Host names")
        .contains("does not list the port that Host names (its ports: 80)");
  }

  @Test
  void explainSaysOfAKnownHostThatNoneOfItsRoutesTakesTheRequest() throws IOException {
    write(
        "p/routes.yaml",
        WIKI.replace("443, name: tls, protocol: TLS", "80, name: http, protocol: HTTP")
            + """
            ---
            apiVersion: networking.istio.io/v1
            kind: VirtualService
            metadata: {name: wiki, namespace: istio-system}
            spec:
              hosts: ["*.wikipedia.org"]
              http: [{match: [{uri: {prefix: /wiki}}], route: [{destination: {host: "*.wikipedia.org"}}]}]
            """);
    Path config =
        write(
            "agent.yaml",
            """
            mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
            sources: [{files: ./p}]
            pods: [{namespace: default, name: client, netns: /run/netns/c}]
            """);
    assertThat(
            run(
                    new ExplainCommand(),
                    "--from",
                    "default/client",
                    "--to",
                    "en.wikipedia.org:80",
                    "--config",
                    config)
                .out())
        .contains("none of the http routes of its VirtualService takes the request")
        .contains("give VirtualService/istio-system/wiki a route for the request")
        .doesNotContain("kind: ServiceEntry");
  }

  private static Object[] join(Object[] first, Object... more) {
    return java.util.stream.Stream.concat(
            java.util.Arrays.stream(first), java.util.Arrays.stream(more))
        .toArray();
  }

  private static Ran explain(Path agent, String from, String to, Object... more) {
    List<Object> arguments = new ArrayList<>(List.of("--from", from, "--to", to));
    arguments.addAll(List.of("--config", agent));
    arguments.addAll(List.of(more));
    return run(new ExplainCommand(), arguments.toArray());
  }

  private static final String API =
      """
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: api, namespace: shop}
      spec:
        hosts: [api.example]
        resolution: STATIC
        endpoints: [{address: 192.0.2.1, labels: {v: a}}, {address: 192.0.2.2, labels: {v: b}}]
        ports:
          - {number: 443, name: tls, protocol: TLS}
      """;

  @Test
  void explainNamesTheRulesThatHaveASay() throws IOException {
    Path agent = agent();
    write("policies/api.yaml", API);
    write(
        "policies/rules.yaml",
        """
        apiVersion: networking.istio.io/v1
        kind: DestinationRule
        metadata: {name: halves, namespace: shop}
        spec:
          host: api.example
          trafficPolicy: {connectionPool: {tcp: {maxConnections: 10, connectTimeout: 3s}}}
          subsets: [{name: a, labels: {v: a}}, {name: b, labels: {v: b}}]
        ---
        apiVersion: networking.istio.io/v1
        kind: VirtualService
        metadata: {name: canary, namespace: shop}
        spec:
          hosts: [api.example]
          tls:
            - match: [{sniHosts: [api.example]}]
              route:
                - {destination: {host: api.example, subset: a}, weight: 90}
                - {destination: {host: api.example, subset: b}, weight: 10}
        """);
    assertThat(explain(agent, "shop/web", "api.example:443").out())
        .containsPattern("weight 90 +outbound\\|443\\|a\\|api.example")
        .containsPattern("rule +VirtualService/shop/canary \\(api.example\\) has tls routes")
        .containsPattern(
            "rule +DestinationRule/shop/halves .* sets connectionPool; has the subsets")
        .containsOnlyOnce("DestinationRule/shop/halves")
        .contains("192.0.2.1:443, 192.0.2.2:443")
        .contains("10 connections, connect timeout 3s");
    assertThat(explain(agent, "shop/web", "api.example:443", "-o", "json").out())
        .contains("\"weighted\" : [ {")
        .contains("\"resource\" : \"DestinationRule/shop/halves\"");
  }

  @Test
  void explainNamesTheSidecarThatSaysWhatBecomesOfUnknownDestinations() throws IOException {
    Path agent = agent();
    for (String mode : List.of("ALLOW_ANY", "REGISTRY_ONLY")) {
      write(
          "policies/sidecar.yaml",
          """
          apiVersion: networking.istio.io/v1
          kind: Sidecar
          metadata: {name: open, namespace: shop}
          spec: {outboundTrafficPolicy: {mode: %s}}
          """
              .formatted(mode));
      assertThat(explain(agent, "shop/web", "a.example:443").out())
          .contains(mode.equals("ALLOW_ANY") ? "PassthroughCluster" : "BlackHoleCluster")
          .containsPattern("rule +Sidecar/shop/open \\(\\*\\) says " + mode + " of unknown");
    }
  }

  @Test
  void explainSaysWhyAWaypointCannotBeUsed() throws IOException {
    Path agent = agent();
    write(
        "policies/api.yaml",
        API.replace("namespace: shop}", "namespace: shop, labels: {istio.io/use-waypoint: wp}}"));
    assertThat(explain(agent, "shop/web", "api.example:443").out())
        .contains("names the Gateway shop/wp, which does not exist")
        .contains("waypoint_unavailable")
        .doesNotContain("names the destination");
  }

  @Test
  void checkWarnsOfModesThatWereLeftOn() throws IOException {
    Path agent = write("agent.yaml", "egress:\n  mode: audit\n  namespaces: {legacy: off}\n");
    Ran ran = run(new CheckCommand(), agent);
    assertThat(ran.code()).isZero();
    assertThat(ran.out())
        .contains(agent + ":2: egress.mode: audit refuses nothing")
        .contains(agent + ":3: egress.namespaces.legacy: off applies no resource")
        .contains("0 errors, 2 warnings");
  }
}
