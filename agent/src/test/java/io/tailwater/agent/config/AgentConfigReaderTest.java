package io.tailwater.agent.config;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.control.capture.CaptureConfig;
import io.tailwater.agent.control.capture.PodFolder;
import io.tailwater.agent.control.capture.PodSpec;
import io.tailwater.agent.control.istio.MeshSettings.OutboundTrafficPolicy;
import io.tailwater.agent.control.istio.ServiceEntryVisibility;
import io.tailwater.agent.dataplane.account.AccessLogConfig;
import io.tailwater.agent.dataplane.dns.DnsProxyConfig;
import io.tailwater.agent.dataplane.flow.FlowLimits;
import io.tailwater.agent.dataplane.resolve.ResolveConfig;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.agent.traffic.PodRef;
import java.lang.reflect.RecordComponent;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class AgentConfigReaderTest {
  private static final Path BASE = Path.of("/etc/tailwater");

  private static AgentConfigReader.Loaded load(String yaml) {
    return load(yaml, Map.of());
  }

  private static AgentConfigReader.Loaded load(String yaml, Map<String, String> environment) {
    return AgentConfigReader.parse("tailwater.yaml", yaml, BASE, environment);
  }

  private static AgentConfig good(String yaml) {
    AgentConfigReader.Loaded loaded = load(yaml);
    assertThat(loaded.problems()).isEmpty();
    return loaded.config().orElseThrow();
  }

  private static List<String> problems(String yaml) {
    AgentConfigReader.Loaded loaded = load(yaml);
    assertThat(loaded.config()).isEmpty();
    return loaded.problems().stream().map(ConfigProblem::toString).toList();
  }

  /// Fails when a key is added, removed or gets another default: the interface is fixed.
  @Test
  void everyDefaultIsPinned() {
    Map<String, String> pinned = new LinkedHashMap<>();
    pinned.put("node", "n1");
    pinned.put("admin", "127.0.0.1:15000");
    pinned.put("metrics", "0.0.0.0:15020");
    pinned.put("readiness", "0.0.0.0:15021");
    pinned.put("stateDir", "/var/lib/tailwater");
    pinned.put("meshConfigFile", "");
    pinned.put("mesh.rootNamespace", "istio-system");
    pinned.put("mesh.trustDomain", "cluster.local");
    pinned.put("mesh.outboundTrafficPolicy.mode", "ALLOW_ANY");
    pinned.put("mesh.outboundTrafficPolicy.tls", "");
    pinned.put("mesh.defaultServiceExportTo", "[*]");
    pinned.put("mesh.serviceEntryVisibility", "PUBLIC");
    pinned.put("egress.mode", "enforce");
    pinned.put("egress.namespaces", "{}");
    pinned.put("egress.addressFilter.allow", "[]");
    pinned.put("sources", "[]");
    pinned.put("pods", "[]");
    pinned.put("capture.mode", "in-pod");
    pinned.put("capture.backend", "auto");
    pinned.put("capture.interfaces", "auto");
    pinned.put("capture.dns", "true");
    pinned.put("capture.udp", "auto");
    pinned.put("capture.inbound", "false");
    pinned.put("capture.onFailure", "auto");
    pinned.put("capture.onPolicyChange", "end");
    pinned.put("dns.servers", "[]");
    pinned.put("dns.answers", "auto");
    pinned.put("dns.unknownNames", "forward");
    pinned.put("dns.lookupFamily", "all");
    pinned.put("dns.hostTtl", "5m");
    pinned.put("dns.maxHosts", "10000");
    pinned.put("dns.maxHostsPerPod", "1000");
    pinned.put("dns.minRefreshRate", "5s");
    pinned.put("dns.maxTtl", "1h");
    pinned.put("dns.maxStale", "5m");
    pinned.put("dns.failureRefreshRate.baseInterval", "1s");
    pinned.put("dns.failureRefreshRate.maxInterval", "30s");
    pinned.put("dns.queryTimeout", "5s");
    pinned.put("transport", "auto");
    pinned.put("relay", "auto");
    pinned.put("limits.connections", "auto");
    pinned.put("limits.connectionsPerPod", "5000");
    pinned.put("limits.pendingHandshakes", "1000");
    pinned.put("limits.clientHelloBytes", "16384");
    pinned.put("limits.clientHelloTime", "10s");
    pinned.put("limits.connectTimeout", "10s");
    pinned.put("limits.idleTimeout", "1h");
    pinned.put("limits.dnsQueriesPerPodPerSecond", "100");
    pinned.put("accessLog.format", "text");
    pinned.put("accessLog.path", "/dev/stdout");

    assertThat(good("node: n1").effective()).containsExactlyEntriesOf(pinned);
  }

  @Test
  void theRoomsOwnDefaultsAreTheSame() {
    AgentConfig config = good("");

    assertThat(config.limits()).isEqualTo(FlowLimits.DEFAULTS);
    assertThat(config.dns()).isEqualTo(ResolveConfig.defaults());
    assertThat(config.dnsProxy()).isEqualTo(DnsProxyConfig.DEFAULTS);
    assertThat(config.capture()).isEqualTo(CaptureConfig.DEFAULTS);
  }

  @Test
  void everyRecordOfTheConfigurationIsReachedByAKey() {
    long leaves = leaves(AgentConfig.class);

    assertThat(ConfigKeys.all()).hasSize((int) leaves);
  }

  private static long leaves(Class<?> record) {
    Set<Class<?>> whole = Set.of(ListenAddress.Tcp.class, ServiceEntryVisibility.class);
    return Stream.of(record.getRecordComponents())
        .map(RecordComponent::getType)
        .mapToLong(t -> t.isRecord() && !whole.contains(t) ? leaves(t) : 1)
        .sum();
  }

  @Test
  void theNodeIsCalledAsTheHost() {
    assertThat(good("").node()).isNotBlank();
  }

  @Test
  void readsAWholeFile() {
    AgentConfig config =
        good(
            """
            node: node-1
            admin: unix:/run/tailwater/admin.sock
            metrics: '[::]:25020'
            readiness: 127.0.0.1:25021
            stateDir: state
            mesh:
              rootNamespace: mesh-root
              trustDomain: example.org
              outboundTrafficPolicy: {mode: REGISTRY_ONLY}
            egress:
              mode: audit
              namespaces: {legacy: off, strict: enforce}
              addressFilter: {allow: [10.1.0.0/16, "fd00::/8"]}
            sources:
              - files: ./policies
              - files: /etc/more
            pods:
              - {namespace: default, name: ratings-v1, serviceAccount: ratings, labels: {app: ratings}, netns: /run/netns/ratings, ips: [10.1.0.10]}
              - {namespace: default, name: reviews-v1, netns: /run/netns/reviews}
            capture: {backend: iptables-legacy, udp: all}
            dns:
              servers: [10.0.0.10, "10.0.0.11:5353", "2001:db8::53", "[2001:db8::54]:54"]
              lookupFamily: v4
              failureRefreshRate: {baseInterval: 500ms, maxInterval: 1m}
            transport: io_uring
            relay: copy
            limits: {connections: 20000, clientHelloTime: 3s, idleTimeout: 1h30m}
            accessLog: {format: json, path: /var/log/access.log}
            """);

    assertThat(config.admin())
        .isEqualTo(new ListenAddress.Unix(Path.of("/run/tailwater/admin.sock")));
    assertThat(config.metrics()).hasToString("[::]:25020");
    assertThat(config.stateDir()).isEqualTo(Path.of("/etc/tailwater/state"));
    assertThat(config.mesh().outboundTrafficPolicy())
        .isEqualTo(OutboundTrafficPolicy.REGISTRY_ONLY);
    assertThat(config.mesh().rootNamespace()).isEqualTo("mesh-root");
    assertThat(config.egress().modeOf("legacy")).isEqualTo(EgressMode.OFF);
    assertThat(config.egress().modeOf("other")).isEqualTo(EgressMode.AUDIT);
    assertThat(config.egress().allowedAddresses()).hasSize(2);
    assertThat(config.sources())
        .containsExactly(
            new AgentConfig.Source.Files(Path.of("/etc/tailwater/policies")),
            new AgentConfig.Source.Files(Path.of("/etc/more")));
    assertThat(config.pods())
        .extracting(PodSpec::ref)
        .containsExactly(new PodRef("default", "ratings-v1"), new PodRef("default", "reviews-v1"));
    assertThat(config.pods().getFirst().labels()).isEqualTo(Map.of("app", "ratings"));
    assertThat(config.pods().getLast().serviceAccount()).isEqualTo("default");
    assertThat(config.capture().backend()).isEqualTo(CaptureConfig.Backend.IPTABLES_LEGACY);
    assertThat(config.dns().servers())
        .extracting(s -> s.getPort())
        .containsExactly(53, 5353, 53, 54);
    assertThat(config.dns().failureRefreshRate().baseInterval()).isEqualTo(Duration.ofMillis(500));
    assertThat(config.limits().connections()).isEqualTo(20000);
    assertThat(config.limits().idleTimeout()).isEqualTo(Duration.ofMinutes(90));
    assertThat(config.limits().connectionsPerPod()).isEqualTo(5000);
    assertThat(config.accessLog())
        .isEqualTo(
            new AccessLogConfig(AccessLogConfig.Format.JSON, Path.of("/var/log/access.log")));
  }

  @Test
  void everyProblemIsReportedAtOnceWithItsLine() {
    assertThat(
            problems(
                """
                node: n1
                limits:
                  connectionPerPod: 7
                  clientHelloTime: 5 minutes
                  idleTimeout: -1s
                admin: 15000
                egress:
                  mode: enforced
                  addressFilter:
                    allow:
                      - 10.0.0.0/33
                      - example.org
                dns: [1]
                maxHosts: 4
                pods:
                  - {namespace: default, name: a, netns: run/netns/a, label: {}}
                """))
        .containsExactly(
            "tailwater.yaml:3: limits.connectionPerPod: unknown key; did you mean"
                + " \"limits.connectionsPerPod\"?",
            "tailwater.yaml:4: limits.clientHelloTime: must be a duration from 1ms to 24h, not \"5"
                + " minutes\"",
            "tailwater.yaml:5: limits.idleTimeout: must be a duration from 0s to 8760h, not"
                + " \"-1s\"",
            "tailwater.yaml:6: admin: must be an address like `127.0.0.1:15000` or `unix:/path`,"
                + " not \"15000\"",
            "tailwater.yaml:8: egress.mode: must be one of enforce, audit, off, not \"enforced\";"
                + " did you mean \"enforce\"?",
            "tailwater.yaml:11: egress.addressFilter.allow[0]: must be a block like `10.1.0.0/16`"
                + " or an address, not \"10.0.0.0/33\"",
            "tailwater.yaml:12: egress.addressFilter.allow[1]: must be a block like `10.1.0.0/16`"
                + " or an address, not \"example.org\"",
            "tailwater.yaml:13: dns: must be a mapping, not a list",
            "tailwater.yaml:14: maxHosts: unknown key; did you mean \"dns.maxHosts\"?",
            "tailwater.yaml:16: pods[0].label: unknown key; did you mean \"labels\"?",
            "tailwater.yaml:16: pods[0].netns: must be an absolute path like /run/netns/NAME, not"
                + " \"run/netns/a\"");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {
        "sources: [{kubernetes: {}}]; sources[0].kubernetes",
        "sources: [{istiod: {address: istiod:15012}}]; sources[0].istiod"
      })
  void whatIsNotBuiltYetStopsTheAgentAndSaysSo(String yaml, String key) {
    AgentConfigReader.Loaded loaded = load(yaml);

    assertThat(loaded.config()).isEmpty();
    assertThat(loaded.problems()).hasSize(1);
    assertThat(loaded.problems().getFirst().kind()).isEqualTo(ConfigProblem.Kind.NOT_BUILT_YET);
    assertThat(loaded.problems().getFirst().key()).isEqualTo(key);
    assertThat(loaded.problems().getFirst().message()).contains("not built yet");
  }

  @Test
  void captureOnTheNodeTakesInterfacesOrFindsThem() {
    AgentConfig config = good("capture: {mode: node, interfaces: [cali+, veth1]}");
    assertThat(config.capture().mode()).isEqualTo(CaptureConfig.Mode.NODE);
    assertThat(config.capture().interfaces()).containsExactly("cali+", "veth1");
    assertThat(good("capture: {mode: node}").capture().interfaces()).isEmpty();

    for (String bad : List.of("'a b'", "a+b", "-x", "abcdefghijklmnop", "'x; drop'")) {
      assertThat(problems("capture: {mode: node, interfaces: [" + bad + "]}"))
          .as(bad)
          .singleElement()
          .asString()
          .contains("capture.interfaces[0]");
    }
  }

  @Test
  void whatIsNotBuiltYetIsAcceptedWithTheValueThatMeansOff() {
    good(
        """
        capture: {mode: in-pod, interfaces: auto}
        """);
  }

  @Test
  void everyNamespaceOfAFolderCanBeAPod() {
    AgentConfig config = good("pods: [{watch: /run/netns/, namespace: default}]");
    assertThat(config.podFolders())
        .containsExactly(new PodFolder(Path.of("/run/netns"), "default"));
    assertThat(config.pods()).isEmpty();
    assertThat(config.effective())
        .containsEntry("pods", "[{watch: /run/netns, namespace: default}]");

    assertThat(problems("pods: [{watch: /run/netns}]"))
        .containsExactly("tailwater.yaml:1: pods[0].namespace: is missing");
    assertThat(problems("pods: [{watch: /a, namespace: b, name: c}, {watch: /a, namespace: b}]"))
        .containsExactly("tailwater.yaml:1: pods[0].name: unknown key");
    assertThat(problems("pods: [{watch: /a, namespace: b}, {watch: /a, namespace: c}]"))
        .containsExactly(
            "tailwater.yaml:1: pods[1].watch: the folder /a is listed twice: also in pods[0].watch"
                + " (tailwater.yaml:1); take one of them away");
  }

  @Test
  void aKeyWithoutAValueIsAsIfItWereNotThere() {
    assertThat(good("limits:\ndns:\n  servers:\nnode: n1\n").effective())
        .isEqualTo(good("node: n1").effective());
  }

  @Test
  void brokenYamlIsReportedWithItsLine() {
    assertThat(problems("node: n1\nlimits: {\n"))
        .singleElement()
        .asString()
        .startsWith("tailwater.yaml:");
    assertThat(problems("- a\n"))
        .containsExactly("tailwater.yaml:1: must be a mapping, not a list");
    assertThat(problems("node: a\n---\nnode: b\n"))
        .containsExactly("tailwater.yaml:3: a second document; a configuration is one");
    assertThat(problems("node: a\nnode: b\n"))
        .singleElement()
        .asString()
        .startsWith("tailwater.yaml:2:");
  }

  @Test
  void whatAStrangerWroteCannotBreakTheLine() {
    assertThat(problems("transport: \"a\\nERROR\\e[31m\"\n"))
        .singleElement()
        .asString()
        .contains("a\\u000aERROR\\u001b[31m");
  }

  @Test
  void keysThatContradictEachOtherAreRefused() {
    assertThat(
            problems(
                """
                relay: splice
                transport: io_uring
                metrics: 127.0.0.1:15000
                dns: {maxTtl: 2s, failureRefreshRate: {baseInterval: 1m}}
                """))
        .containsExactly(
            "tailwater.yaml:1: relay: splice does not work with transport io_uring; write `relay:"
                + " auto` or `transport: epoll`",
            "tailwater.yaml:4: dns.maxTtl: must not be below dns.minRefreshRate",
            "tailwater.yaml: dns.failureRefreshRate.maxInterval: must not be below"
                + " dns.failureRefreshRate.baseInterval",
            "tailwater.yaml:3: metrics: has the port 15000, which admin has too");
  }

  @Test
  void twoEntriesForOnePodAreBothNamed() {
    assertThat(
            problems(
                """
                pods:
                  - {namespace: a, name: b, netns: /run/netns/a}
                  - {namespace: a, name: b, netns: /run/netns/a}
                """))
        .containsExactly(
            "tailwater.yaml:3: pods[1].name: the pod a/b is listed twice: also in pods[0].name"
                + " (tailwater.yaml:2); take one of them away",
            "tailwater.yaml:3: pods[1].netns: the namespace /run/netns/a is listed twice: also in"
                + " pods[0].netns (tailwater.yaml:2); take one of them away");
  }

  /// Two owners of one namespace would have the interfaces of one pod.
  @Test
  void oneNamespaceIsNotTwoPodsByWhateverPathAndAddresses(@TempDir Path folder) throws Exception {
    Path namespace = Files.createFile(folder.resolve("one"));
    Path link = Files.createSymbolicLink(folder.resolve("other"), namespace);
    assertThat(
            problems(
                """
                pods:
                  - {namespace: a, name: b, netns: %s, ips: [10.0.0.1]}
                  - namespace: a
                    name: c
                    netns: %s
                    ips: [10.0.0.2]
                """
                    .formatted(namespace, link)))
        .containsExactly(
            ("tailwater.yaml:5: pods[1].netns: the namespace %s is listed twice: also in"
                    + " pods[0].netns (tailwater.yaml:2); take one of them away")
                .formatted(link));
  }

  @Test
  void whatIsOnlyForTheOtherCaptureModeIsSaid() {
    assertThat(
            problems(
                """
                readiness: 127.0.0.1:15053
                capture:
                  mode: node
                  inbound: true
                """))
        .containsExactly(
            "tailwater.yaml:1: readiness: has the port 15053, which capture.mode has too",
            "tailwater.yaml:4: capture.inbound: is for capture.mode in-pod: in mode node inbound"
                + " connections are not captured; write `inbound: false`, or `mode: in-pod`");
    assertThat(load("capture:\n  interfaces: [cali+]\n").problems())
        .singleElement()
        .asString()
        .contains(
            "tailwater.yaml:2: capture.interfaces: is for capture.mode node and does nothing in"
                + " mode in-pod");
    assertThat(load("capture: {interfaces: [cali+]}\n").config()).isPresent();
    good("capture: {mode: node, interfaces: [cali+], onFailure: open, udp: all, dns: false}\n");
  }

  @Test
  void anAdminAddressThatOthersReachIsWarnedAbout() {
    AgentConfigReader.Loaded loaded = load("admin: 0.0.0.0:15000");

    assertThat(loaded.config()).isPresent();
    assertThat(loaded.problems())
        .singleElement()
        .asString()
        .startsWith("tailwater.yaml:1: admin: is not a loopback address");
  }

  @Test
  void variablesOverrideTheFile() {
    AgentConfigReader.Loaded loaded =
        load(
            "egress: {mode: enforce}\nlimits: {connections: 5}\n",
            Map.of(
                "TAILWATER_EGRESS_MODE", "audit",
                "TAILWATER_EGRESS_NAMESPACES", "legacy=off, strict=enforce",
                "TAILWATER_LIMITS_CONNECTIONS", "auto",
                "TAILWATER_DNS_SERVERS", "10.0.0.1,10.0.0.2:5353",
                "TAILWATER_DNS_FAILURE_REFRESH_RATE_BASE_INTERVAL", "2s",
                "TAILWATER_SOURCES", "./a,/b",
                "HOME", "/root"));

    assertThat(loaded.problems()).isEmpty();
    AgentConfig config = loaded.config().orElseThrow();
    assertThat(config.egress().mode()).isEqualTo(EgressMode.AUDIT);
    assertThat(config.egress().modeOf("legacy")).isEqualTo(EgressMode.OFF);
    assertThat(config.limits().connections()).isZero();
    assertThat(config.dns().servers()).hasSize(2);
    assertThat(config.dns().failureRefreshRate().baseInterval()).isEqualTo(Duration.ofSeconds(2));
    assertThat(config.sources())
        .containsExactly(
            new AgentConfig.Source.Files(Path.of("/etc/tailwater/a")),
            new AgentConfig.Source.Files(Path.of("/b")));
  }

  @Test
  void aWrongVariableIsNamedInItsProblem() {
    AgentConfigReader.Loaded loaded = load("", Map.of("TAILWATER_DNS_MAX_TTL", "long"));

    assertThat(loaded.config()).isEmpty();
    assertThat(loaded.problems())
        .singleElement()
        .asString()
        .startsWith("TAILWATER_DNS_MAX_TTL: dns.maxTtl: must be a duration");
  }

  @Test
  void anUnknownVariableIsAWarning() {
    AgentConfigReader.Loaded loaded = load("", Map.of("TAILWATER_DNS_MAXTTL", "1h"));

    assertThat(loaded.config()).isPresent();
    assertThat(loaded.problems())
        .singleElement()
        .asString()
        .isEqualTo(
            "TAILWATER_DNS_MAXTTL: no key has this name; it is ignored; did you mean"
                + " \"TAILWATER_DNS_MAX_TTL\"?");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "TAILWATER_SERVICE_HOST",
        "TAILWATER_SERVICE_PORT",
        "TAILWATER_SERVICE_PORT_METRICS",
        "TAILWATER_PORT",
        "TAILWATER_PORT_15020_TCP",
        "TAILWATER_PORT_15020_TCP_ADDR",
        "TAILWATER_ADMIN_SERVICE_HOST",
        "TAILWATER_ADMIN_PORT"
      })
  void whatKubernetesInjectsForAServiceIsIgnored(String name) {
    assertThat(load("", Map.of(name, "tcp://10.0.0.1:80")).problems()).isEmpty();
  }

  @Test
  void noKeyIsHiddenByWhatKubernetesInjects() {
    assertThat(ConfigKeys.all())
        .extracting(ConfigKey::variable)
        .doesNotHaveDuplicates()
        .noneMatch(v -> v.matches(".*(_SERVICE_HOST|_SERVICE_PORT.*|_PORT|_PORT_.*)"));
  }

  @Test
  void aWholeMeshConfigIsReadAndTheOwnKeysWinOverIt(@TempDir Path dir) throws Exception {
    Files.writeString(
        dir.resolve("mesh.yaml"),
        """
        accessLogFile: /dev/stdout
        rootNamespace: from-mesh-config
        trustDomain: from.mesh.config
        outboundTrafficPolicy: {mode: REGISTRY_ONLY}
        """);
    Path file = dir.resolve("tailwater.yaml");
    Files.writeString(file, "meshConfigFile: mesh.yaml\nmesh: {trustDomain: own.example}\n");

    AgentConfig config = AgentConfigReader.read(file, Map.of()).config().orElseThrow();

    assertThat(config.mesh().rootNamespace()).isEqualTo("from-mesh-config");
    assertThat(config.mesh().trustDomain()).isEqualTo("own.example");
    assertThat(config.mesh().outboundTrafficPolicy())
        .isEqualTo(OutboundTrafficPolicy.REGISTRY_ONLY);
  }

  @Test
  void anOutboundTrafficPolicyWithoutModeRefusesUnknownDestinations(@TempDir Path dir)
      throws Exception {
    for (String text :
        List.of("mesh: {outboundTrafficPolicy: {}}", "meshConfigFile: mesh.yaml\n")) {
      Files.writeString(dir.resolve("mesh.yaml"), "outboundTrafficPolicy: {}\n");
      Path file = Files.writeString(dir.resolve("tailwater.yaml"), text);

      AgentConfig config = AgentConfigReader.read(file, Map.of()).config().orElseThrow();

      assertThat(config.mesh().outboundTrafficPolicy())
          .isEqualTo(OutboundTrafficPolicy.REGISTRY_ONLY);
    }
  }

  @Test
  void sectionsOfTheMeshAreReadWholeAndTheirProblemsNameTheKey() {
    AgentConfig config =
        AgentConfigReader.parse(
                "t.yaml",
                """
                mesh:
                  outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS, tls: {mode: SIMPLE}}
                  serviceEntryVisibility:
                    defaultVisibility: NAMESPACE
                    applyToSidecars: true
                    policies:
                      - visibility: PUBLIC
                        matchingRules: [{namespaceSelector: {matchLabels: {shared: "yes"}}}]
                """,
                Path.of("/"),
                Map.of())
            .config()
            .orElseThrow();
    assertThat(config.mesh().outboundTls()).isPresent();
    assertThat(config.mesh().serviceEntryVisibility().policies()).hasSize(1);

    assertThat(
            AgentConfigReader.parse(
                    "t.yaml",
                    "mesh:\n  outboundTrafficPolicy:\n    tls: {mode: MUTUAL, caCert: x}\n",
                    Path.of("/"),
                    Map.of())
                .problems())
        .extracting(Object::toString)
        .anyMatch(p -> p.startsWith("t.yaml:3: mesh.outboundTrafficPolicy.tls.caCert: unknown"))
        .anyMatch(p -> p.contains("mesh.outboundTrafficPolicy.tls.clientCertificate"));
  }

  @Test
  void aMissingFileIsNamed(@TempDir Path dir) {
    AgentConfigReader.Loaded loaded = AgentConfigReader.read(dir.resolve("none.yaml"), Map.of());

    assertThat(loaded.config()).isEmpty();
    assertThat(loaded.problems())
        .singleElement()
        .asString()
        .isEqualTo(dir.resolve("none.yaml") + ": there is no such file");
  }
}
