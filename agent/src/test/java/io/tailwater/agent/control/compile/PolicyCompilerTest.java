package io.tailwater.agent.control.compile;

import static io.tailwater.agent.control.compile.Policies.REGISTRY_ONLY;
import static io.tailwater.agent.control.compile.Policies.cluster;
import static io.tailwater.agent.control.compile.Policies.compile;
import static io.tailwater.agent.control.compile.Policies.decide;
import static io.tailwater.agent.control.compile.Policies.dst;
import static io.tailwater.agent.control.compile.Policies.http;
import static io.tailwater.agent.control.compile.Policies.mode;
import static io.tailwater.agent.control.compile.Policies.pod;
import static io.tailwater.agent.control.compile.Policies.set;
import static io.tailwater.agent.control.compile.Policies.tls;
import static io.tailwater.agent.control.compile.Policies.tlsEntry;
import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.control.istio.EgressSettings;
import io.tailwater.agent.control.istio.MeshSettings;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.agent.traffic.ResourceRef;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class PolicyCompilerTest {
  private static final EgressSettings ENFORCE = EgressSettings.DEFAULTS;
  private static final String WIKI =
      tlsEntry("istio-system", "wiki", "*.wikipedia.org", "resolution: DYNAMIC_DNS");
  private static final String EN =
      tlsEntry("istio-system", "en", "en.wikipedia.org", "resolution: DNS");

  @Test
  void exactHostBeatsWildcard() {
    var compiled = compile(REGISTRY_ONLY, ENFORCE, WIKI, EN);
    assertThat(cluster(decide(compiled, "default", "en.wikipedia.org")))
        .isEqualTo("outbound|443||en.wikipedia.org");
    assertThat(cluster(decide(compiled, "default", "de.wikipedia.org")))
        .isEqualTo("outbound|443||*.wikipedia.org");
  }

  @Test
  void longerWildcardBeatsShorterWildcard() {
    var compiled =
        compile(
            REGISTRY_ONLY,
            ENFORCE,
            WIKI,
            tlsEntry("default", "m", "*.m.wikipedia.org", "resolution: DYNAMIC_DNS"));
    assertThat(cluster(decide(compiled, "default", "en.m.wikipedia.org")))
        .isEqualTo("outbound|443||*.m.wikipedia.org");
    assertThat(cluster(decide(compiled, "default", "m.wikipedia.org")))
        .isEqualTo("outbound|443||*.wikipedia.org");
  }

  @Test
  void wildcardCoversEveryDepthButNeitherItsSuffixNorPartOfALabel() {
    var compiled = compile(REGISTRY_ONLY, ENFORCE, WIKI);
    assertThat(decide(compiled, "default", "a.b.wikipedia.org"))
        .isInstanceOf(Decision.Forward.class);
    assertThat(decide(compiled, "default", "wikipedia.org")).isInstanceOf(Decision.Refuse.class);
    assertThat(decide(compiled, "default", "xwikipedia.org")).isInstanceOf(Decision.Refuse.class);
    assertThat(decide(compiled, "default", "en.wikipedia.org.evil.example"))
        .isInstanceOf(Decision.Refuse.class);
  }

  @Test
  void dynamicDnsDialsWhatTheNameResolvesToAndNotTheDialledAddress() {
    var compiled = compile(REGISTRY_ONLY, ENFORCE, WIKI);
    assertThat(decide(compiled, "default", "EN.wikipedia.org"))
        .isEqualTo(
            new Decision.Forward(
                new Decision.Destination(
                    "outbound|443||*.wikipedia.org", "*.wikipedia.org", "istio-system", 443),
                "en.wikipedia.org",
                new Target.Endpoints(
                    List.of(new Target.Endpoint.Name(HostName.of("en.wikipedia.org"), 443))),
                new AddressRule(AddressRule.Scope.NEVER_LIST_AND_PRIVATE, List.of()),
                new ResourceRef("ServiceEntry", "istio-system", "wiki"),
                false));
  }

  @Test
  void unknownNameIsRefusedUnderRegistryOnlyAndPassesUnderAllowAny() {
    assertThat(decide(compile(REGISTRY_ONLY, ENFORCE, WIKI), "default", "example.org"))
        .isEqualTo(
            new Decision.Refuse(
                Refusal.CONNECTION_CLOSED, Optional.of("BlackHoleCluster"), Optional.empty()));
    assertThat(decide(compile(MeshSettings.DEFAULTS, ENFORCE, WIKI), "default", "example.org"))
        .isEqualTo(new Decision.Passthrough(Optional.empty(), Optional.empty()));
  }

  @Test
  void auditPassesAndSaysWhatItWouldBlock() {
    assertThat(
            decide(compile(REGISTRY_ONLY, mode(EgressMode.AUDIT), WIKI), "default", "example.org"))
        .isEqualTo(
            new Decision.Passthrough(Optional.of(Refusal.CONNECTION_CLOSED), Optional.empty()));
    assertThat(
            decide(
                compile(MeshSettings.DEFAULTS, mode(EgressMode.AUDIT), WIKI),
                "default",
                "example.org"))
        .isEqualTo(new Decision.Passthrough(Optional.empty(), Optional.empty()));
  }

  @Test
  void offAsksNothingAndPassesEverything() {
    var compiled = compile(REGISTRY_ONLY, mode(EgressMode.OFF), WIKI);
    ClientView view = compiled.table().view(pod("default"));
    assertThat(view.ask(dst("203.0.113.1", 443))).isEqualTo(ClientView.Ask.NOTHING);
    assertThat(view.decide(dst("203.0.113.1", 443), tls("en.wikipedia.org")))
        .isEqualTo(new Decision.Passthrough(Optional.empty(), Optional.empty()));
  }

  @Test
  void onlyPortsWhereANameDecidesAreRead() {
    var compiled =
        compile(
            REGISTRY_ONLY,
            ENFORCE,
            WIKI,
            """
            apiVersion: networking.istio.io/v1
            kind: ServiceEntry
            metadata: {name: mail, namespace: default}
            spec:
              hosts: [mail.example.com]
              addresses: [192.0.2.25]
              ports: [{number: 25, name: smtp, protocol: TCP}]
              resolution: STATIC
              endpoints: [{address: 192.0.2.26}]
            """);
    ClientView view = compiled.table().view(pod("default"));
    assertThat(view.ask(dst("192.0.2.25", 443))).isEqualTo(ClientView.Ask.PREFACE);
    assertThat(view.ask(dst("192.0.2.25", 25))).isEqualTo(ClientView.Ask.NOTHING);
    assertThat(view.ask(dst("192.0.2.25", 5432))).isEqualTo(ClientView.Ask.NOTHING);
    assertThat(cluster(view.decide(dst("192.0.2.25", 25), new Preface.Silent())))
        .isEqualTo("outbound|25||mail.example.com");
    assertThat(view.decide(dst("192.0.2.26", 25), new Preface.Silent()))
        .isInstanceOf(Decision.Refuse.class);
  }

  @Test
  void whatCannotBeParsedIsNeverAllowed() {
    Preface malformed = new Preface.MalformedTls("two server names", Optional.empty());
    var dst = dst("203.0.113.1", 443);
    for (MeshSettings mesh : List.of(REGISTRY_ONLY, MeshSettings.DEFAULTS)) {
      assertThat(decide(compile(mesh, ENFORCE, WIKI), "default", dst, malformed))
          .isEqualTo(
              new Decision.Refuse(
                  Refusal.MALFORMED_HELLO, Optional.of("BlackHoleCluster"), Optional.empty()));
    }
  }

  @Test
  void helloWithoutNameAndSilenceAreRefusedUnderRegistryOnly() {
    var dst = dst("203.0.113.1", 443);
    var strict = compile(REGISTRY_ONLY, ENFORCE, WIKI);
    var lax = compile(MeshSettings.DEFAULTS, ENFORCE, WIKI);
    assertThat(
            ((Decision.Refuse) decide(strict, "default", dst, new Preface.TlsWithoutName())).why())
        .isEqualTo(Refusal.NO_SNI);
    assertThat(((Decision.Refuse) decide(strict, "default", dst, new Preface.Silent())).why())
        .isEqualTo(Refusal.HELLO_TIMEOUT);
    assertThat(decide(lax, "default", dst, new Preface.TlsWithoutName()))
        .isInstanceOf(Decision.Passthrough.class);
    assertThat(decide(lax, "default", dst, new Preface.Silent()))
        .isInstanceOf(Decision.Passthrough.class);
  }

  @Test
  void exportToHidesAnEntry() {
    String hidden =
        tlsEntry("shop", "a", "a.example.com", "resolution: DNS\nexportTo: [\".\"]")
            + tlsEntry("shop", "b", "b.example.com", "resolution: DNS\nexportTo: [\"~\"]")
            + tlsEntry("shop", "c", "c.example.com", "resolution: DNS\nexportTo: [default]")
            + tlsEntry("shop", "d", "d.example.com", "resolution: DNS");
    var compiled = compile(REGISTRY_ONLY, ENFORCE, hidden);
    assertThat(decide(compiled, "shop", "a.example.com")).isInstanceOf(Decision.Forward.class);
    assertThat(decide(compiled, "default", "a.example.com")).isInstanceOf(Decision.Refuse.class);
    assertThat(decide(compiled, "shop", "b.example.com")).isInstanceOf(Decision.Refuse.class);
    assertThat(decide(compiled, "default", "c.example.com")).isInstanceOf(Decision.Forward.class);
    assertThat(decide(compiled, "other", "c.example.com")).isInstanceOf(Decision.Refuse.class);
    assertThat(decide(compiled, "other", "d.example.com")).isInstanceOf(Decision.Forward.class);
  }

  @Test
  void meshDefaultStandsForAnAbsentExportTo() {
    MeshSettings mesh =
        new MeshSettings(
            "istio-system",
            "cluster.local",
            MeshSettings.OutboundTrafficPolicy.REGISTRY_ONLY,
            List.of("."));
    var compiled = compile(mesh, ENFORCE, EN);
    assertThat(decide(compiled, "default", "en.wikipedia.org")).isInstanceOf(Decision.Refuse.class);
    assertThat(decide(compiled, "istio-system", "en.wikipedia.org"))
        .isInstanceOf(Decision.Forward.class);
  }

  @Test
  void hiddenMoreSpecificHostLeavesTheConnectionToTheVisibleWildcard() {
    var compiled =
        compile(
            REGISTRY_ONLY,
            ENFORCE,
            WIKI,
            tlsEntry("other", "en", "en.wikipedia.org", "resolution: NONE\nexportTo: [\".\"]"));
    assertThat(cluster(decide(compiled, "default", "en.wikipedia.org")))
        .isEqualTo("outbound|443||*.wikipedia.org");
  }

  private static String aged(String namespace, String name, String minute, String more) {
    return """
    ---
    apiVersion: networking.istio.io/v1
    kind: ServiceEntry
    metadata: {name: %s, namespace: %s, creationTimestamp: "2026-01-01T00:%s:00Z"}
    spec:
      hosts: [api.example.com]
    %s
    """
        .formatted(name, namespace, minute, more.indent(2));
  }

  private static final String PORT443 = "ports: [{number: 443, name: tls, protocol: TLS}]\n";

  private static Optional<ResourceRef> resource(Decision decision) {
    return decision instanceof Decision.Forward forward
        ? Optional.of(forward.resource())
        : Optional.empty();
  }

  @Test
  void ownNamespaceComesFirstThenTheOldest() {
    var compiled =
        compile(
            REGISTRY_ONLY,
            ENFORCE,
            aged("a", "young", "09", PORT443 + "resolution: DNS"),
            aged("b", "old", "01", PORT443 + "resolution: DNS"),
            aged("c", "mid", "05", PORT443 + "resolution: DNS"));
    assertThat(resource(decide(compiled, "a", "api.example.com")))
        .contains(new ResourceRef("ServiceEntry", "a", "young"));
    assertThat(resource(decide(compiled, "default", "api.example.com")))
        .contains(new ResourceRef("ServiceEntry", "b", "old"));
    assertThat(resource(decide(compiled, "c", "api.example.com")))
        .contains(new ResourceRef("ServiceEntry", "c", "mid"));
  }

  @Test
  void entriesOfOneNamespaceMergePortsAndEndpoints() {
    var compiled =
        compile(
            REGISTRY_ONLY,
            ENFORCE,
            aged(
                "a",
                "young",
                "09",
                "ports: [{number: 443, name: tls, protocol: TLS}, {number: 8443, name: alt,"
                    + " protocol: TLS}]\n"
                    + "resolution: STATIC\n"
                    + "endpoints: [{address: 192.0.2.2}]"),
            aged(
                "a",
                "old",
                "01",
                PORT443 + "resolution: STATIC\nendpoints: [{address: 192.0.2.1}]"));
    Decision decision = decide(compiled, "default", "api.example.com");
    assertThat(((Decision.Forward) decision).target().toString())
        .contains("192.0.2.1:443")
        .contains("192.0.2.2:443");
    assertThat(
            cluster(decide(compiled, "default", dst("203.0.113.1", 8443), tls("api.example.com"))))
        .isEqualTo("outbound|8443||api.example.com");
  }

  @Test
  void whereEntriesOfOneNamespaceDifferTheOldestDecides() {
    var compiled =
        compile(
            REGISTRY_ONLY,
            ENFORCE,
            aged("a", "young", "09", PORT443 + "resolution: NONE"),
            aged("a", "old", "01", PORT443 + "resolution: DNS"));
    assertThat(((Decision.Forward) decide(compiled, "default", "api.example.com")).target())
        .isInstanceOf(Target.Endpoints.class);
  }

  @Test
  void endpointPortIsItsOwnThenTargetPortThenTheNumber() {
    var compiled =
        compile(
            REGISTRY_ONLY,
            ENFORCE,
            aged(
                "a",
                "x",
                "01",
                "ports: [{number: 443, name: tls, protocol: TLS, targetPort: 8443}]\n"
                    + "resolution: STATIC\n"
                    + "endpoints: [{address: 192.0.2.1, ports: {tls: 9443}}, {address:"
                    + " 192.0.2.2}]"));
    assertThat(((Decision.Forward) decide(compiled, "a", "api.example.com")).target().toString())
        .contains("192.0.2.1:9443")
        .contains("192.0.2.2:8443");
  }

  @Test
  void staticWithoutEndpointsIsKnownAndCannotBeReached() {
    var compiled =
        compile(
            REGISTRY_ONLY,
            mode(EgressMode.AUDIT),
            aged("a", "x", "01", PORT443 + "resolution: STATIC"));
    assertThat(decide(compiled, "a", "api.example.com"))
        .isEqualTo(
            new Decision.Refuse(
                Refusal.NO_HEALTHY_UPSTREAM,
                Optional.of("outbound|443||api.example.com"),
                Optional.of(new ResourceRef("ServiceEntry", "a", "x")),
                Optional.of("a/api.example.com")));
  }

  @Test
  void addressOfATlsEntryBindsItAndTheNameIsNotLookedAt() {
    var compiled =
        compile(
            REGISTRY_ONLY,
            ENFORCE,
            WIKI,
            aged(
                "a",
                "x",
                "01",
                PORT443
                    + "addresses: [10.10.0.5]\n"
                    + "resolution: STATIC\n"
                    + "endpoints: [{address: 192.0.2.1}]"));
    var bound = dst("10.10.0.5", 443);
    for (Preface preface :
        List.of(tls("anything.example"), tls("en.wikipedia.org"), new Preface.TlsWithoutName())) {
      assertThat(cluster(decide(compiled, "default", bound, preface)))
          .isEqualTo("outbound|443||api.example.com");
    }
    assertThat(decide(compiled, "default", bound, new Preface.Opaque()))
        .isInstanceOf(Decision.Refuse.class);
    assertThat(decide(compiled, "default", "api.example.com")).isInstanceOf(Decision.Refuse.class);
  }

  @Test
  void blockOfATlsEntryNarrowsItsName() {
    var compiled =
        compile(
            REGISTRY_ONLY,
            ENFORCE,
            aged("a", "x", "01", PORT443 + "addresses: [10.10.0.0/16]\nresolution: NONE"));
    assertThat(decide(compiled, "default", dst("10.10.0.5", 443), tls("api.example.com")))
        .isInstanceOf(Decision.Forward.class);
    assertThat(decide(compiled, "default", dst("10.10.0.5", 443), tls("other.example")))
        .isInstanceOf(Decision.Refuse.class);
    assertThat(decide(compiled, "default", "api.example.com")).isInstanceOf(Decision.Refuse.class);
  }

  @Test
  void entryWithoutAddressesKeepsItsNameWhenItMergesWithOneThatHasSome() {
    String more = "resolution: STATIC\nendpoints: [{address: 192.0.2.1}]";
    var compiled =
        compile(
            REGISTRY_ONLY,
            ENFORCE,
            aged("a", "old", "01", PORT443 + more),
            aged("a", "young", "02", PORT443 + "addresses: [10.10.0.5]\n" + more));
    assertThat(decide(compiled, "default", "api.example.com")).isInstanceOf(Decision.Forward.class);
    assertThat(decide(compiled, "default", dst("10.10.0.5", 443), tls("other.example")))
        .isInstanceOf(Decision.Forward.class);
  }

  @Test
  void mergingLeavesEachPortTheAddressesOfItsOwnEntry() {
    String bound =
        """
        ports: [{number: 5432, name: db, protocol: TCP}]
        addresses: [10.20.0.0/16, 10.30.0.1]
        resolution: NONE
        """;
    for (List<String> ages : List.of(List.of("01", "02"), List.of("02", "01"))) {
      var compiled =
          compile(
              REGISTRY_ONLY,
              ENFORCE,
              aged("a", "bound", ages.get(0), bound),
              aged("a", "free", ages.get(1), PORT443 + "resolution: NONE"));
      assertThat(cluster(decide(compiled, "x", dst("10.20.1.1", 5432), new Preface.Silent())))
          .isEqualTo("outbound|5432||api.example.com");
      assertThat(decide(compiled, "x", dst("203.0.113.9", 5432), new Preface.Silent()))
          .isInstanceOf(Decision.Refuse.class);
      assertThat(cluster(decide(compiled, "x", "api.example.com")))
          .isEqualTo("outbound|443||api.example.com");
      assertThat(cluster(decide(compiled, "x", dst("10.20.1.1", 443), tls("api.example.com"))))
          .isEqualTo("outbound|443||api.example.com");
      assertThat(decide(compiled, "x", dst("10.30.0.1", 443), tls("other.example")))
          .isInstanceOf(Decision.Refuse.class);
    }
  }

  @Test
  void samePortOfAnotherProtocolDoesNotLendItsAddresses() {
    var compiled =
        compile(
            REGISTRY_ONLY,
            ENFORCE,
            aged(
                "a",
                "old",
                "01",
                """
                ports: [{number: 443, name: tcp, protocol: TCP}]
                addresses: [10.20.0.0/16]
                resolution: NONE
                """),
            aged("a", "young", "02", PORT443 + "resolution: NONE"));
    assertThat(decide(compiled, "x", dst("10.20.1.1", 443), new Preface.Opaque()))
        .isInstanceOf(Decision.Forward.class);
    assertThat(decide(compiled, "x", dst("203.0.113.9", 443), tls("other.example")))
        .isInstanceOf(Decision.Refuse.class);
  }

  @Test
  void longestBlockTakesATcpConnection() {
    String tcp = "ports: [{number: 9000, name: tcp, protocol: TCP}]\nresolution: NONE\n";
    var compiled =
        compile(
            REGISTRY_ONLY,
            ENFORCE,
            aged("a", "wide", "01", tcp + "addresses: [10.20.0.0/16]"),
            aged("b", "narrow", "02", tcp + "addresses: [10.20.3.0/24]")
                .replace("api.", "narrow."));
    assertThat(cluster(decide(compiled, "x", dst("10.20.3.4", 9000), new Preface.Silent())))
        .isEqualTo("outbound|9000||narrow.example.com");
    assertThat(cluster(decide(compiled, "x", dst("10.20.4.4", 9000), new Preface.Silent())))
        .isEqualTo("outbound|9000||api.example.com");
    assertThat(decide(compiled, "x", dst("10.21.4.4", 9000), new Preface.Silent()))
        .isInstanceOf(Decision.Refuse.class);
  }

  @Test
  void tcpEntryWithoutAddressTakesWhatNoNameTakes() {
    var compiled =
        compile(
            REGISTRY_ONLY,
            ENFORCE,
            WIKI,
            aged(
                "a",
                "rest",
                "01",
                "ports: [{number: 443, name: tcp, protocol: TCP}]\nresolution: NONE"));
    var dst = dst("203.0.113.9", 443);
    assertThat(cluster(decide(compiled, "x", dst, tls("en.wikipedia.org"))))
        .isEqualTo("outbound|443||*.wikipedia.org");
    for (Preface preface :
        List.of(
            tls("other.example"),
            new Preface.TlsWithoutName(),
            new Preface.Opaque(),
            new Preface.Silent())) {
      assertThat(cluster(decide(compiled, "x", dst, preface)))
          .isEqualTo("outbound|443||api.example.com");
    }
  }

  @Test
  void addressRuleFollowsLocationResolutionAndHost() {
    String entries =
        tlsEntry("n", "a", "a.example", "resolution: DNS")
            + tlsEntry("n", "b", "*.b.example", "resolution: NONE")
            + tlsEntry(
                "n", "c", "*.c.example", "resolution: STATIC\nendpoints: [{address: 10.0.0.1}]")
            + tlsEntry("n", "d", "d.example", "resolution: DNS\nlocation: MESH_INTERNAL")
            + tlsEntry("n", "e", "*.e.example", "resolution: DYNAMIC_DNS\nlocation: MESH_INTERNAL")
            + tlsEntry("n", "f", "f.example", "resolution: NONE")
            + tlsEntry("n", "g", "*.g.example", "resolution: NONE\nlocation: MESH_INTERNAL")
            + tlsEntry(
                "n",
                "h",
                "h.example",
                "resolution: STATIC\nlocation: MESH_INTERNAL\nendpoints: [{address: 10.0.0.1}]");
    var compiled = compile(REGISTRY_ONLY, ENFORCE, entries);
    Map<String, AddressRule.Scope> expected =
        Map.of(
            "a.example", AddressRule.Scope.NEVER_LIST,
            "x.b.example", AddressRule.Scope.NEVER_LIST_AND_PRIVATE,
            "x.c.example", AddressRule.Scope.NEVER_LIST,
            "d.example", AddressRule.Scope.NEVER_LIST,
            "x.e.example", AddressRule.Scope.NEVER_LIST,
            "f.example", AddressRule.Scope.NEVER_LIST,
            "x.g.example", AddressRule.Scope.NEVER_LIST,
            "h.example", AddressRule.Scope.NEVER_LIST);
    expected.forEach((name, scope) ->
        assertThat(((Decision.Forward) decide(compiled, "n", name)).addressRule().scope())
            .as(name)
            .isEqualTo(scope));
  }

  @Test
  void exceptionsComeFromConfigurationAndFromAnnotationsOfTheRootNamespaceOnly() {
    String annotated =
        WIKI.replace(
            "namespace: istio-system}",
            "namespace: istio-system, annotations: {tailwater.io/allow-addresses: \"10.0.0.0/8,"
                + " 192.168.1.1\"}}");
    String tenant = annotated.replace("istio-system", "tenant").replace("wikipedia", "example");
    var compiled =
        compile(
            REGISTRY_ONLY,
            new EgressSettings(
                EgressMode.ENFORCE,
                Map.of(),
                List.of(CidrBlock.parse("172.16.0.0/12").orElseThrow())),
            annotated,
            tenant);
    assertThat(
            ((Decision.Forward) decide(compiled, "x", "en.wikipedia.org"))
                .addressRule()
                .exceptions())
        .extracting(CidrBlock::toString)
        .containsExactly("172.16.0.0/12", "10.0.0.0/8", "192.168.1.1/32");
    assertThat(
            ((Decision.Forward) decide(compiled, "x", "en.example.org")).addressRule().exceptions())
        .extracting(CidrBlock::toString)
        .containsExactly("172.16.0.0/12");
    assertThat(compiled.problems())
        .extracting(Problem::text)
        .anyMatch(t -> t.contains("root namespace"));
  }

  @Test
  void namespaceLabelTightensTheModeAndNeverLoosensIt() {
    String label =
        """
        apiVersion: v1
        kind: Namespace
        metadata: {name: %s, labels: {tailwater.io/egress-mode: "%s"}}
        """;
    var compiled =
        compile(
            REGISTRY_ONLY,
            new EgressSettings(EgressMode.AUDIT, Map.of("legacy", EgressMode.OFF), List.of()),
            label.formatted("strict", "enforce"),
            label.formatted("sly", "off"),
            label.formatted("legacy", "audit"),
            label.formatted("typo", "enforced"));
    assertThat(compiled.table().view(pod("strict")).mode()).isEqualTo(EgressMode.ENFORCE);
    assertThat(compiled.table().view(pod("sly")).mode()).isEqualTo(EgressMode.AUDIT);
    assertThat(compiled.table().view(pod("legacy")).mode()).isEqualTo(EgressMode.AUDIT);
    assertThat(compiled.table().view(pod("typo")).mode()).isEqualTo(EgressMode.AUDIT);
    assertThat(compiled.problems())
        .extracting(Problem::toString)
        .anyMatch(t ->
            t.startsWith("warning") && t.contains("Namespace/sly") && t.contains("only tighten"))
        .anyMatch(
            t -> t.startsWith("error") && t.contains("Namespace/typo") && t.contains("enforced"));
  }

  private static void assertNotSupported(
      PolicyCompiler.Compiled compiled, Decision decision, String kind) {
    assertThat(decision).isInstanceOf(Decision.Refuse.class);
    Decision.Refuse refuse = (Decision.Refuse) decision;
    assertThat(refuse.why()).isEqualTo(Refusal.NOT_SUPPORTED_YET);
    assertThat(refuse.resource().map(ResourceRef::kind)).contains(kind);
    assertThat(compiled.problems())
        .filteredOn(Problem::isError)
        .extracting(Problem::text)
        .anyMatch(t -> t.contains(kind));
  }

  @Test
  void httpPortsAreDecidedByHostAndUnknownHostsAreAnsweredUnderRegistryOnly() {
    String entry =
        aged("a", "x", "01", "ports: [{number: 80, name: http, protocol: HTTP}]\nresolution: DNS");
    var strict = compile(REGISTRY_ONLY, ENFORCE, entry);
    var dst = dst("203.0.113.1", 80);
    assertThat(strict.table().view(pod("x")).decide(dst, http("api.example.com")))
        .isEqualTo(new Decision.PerRequest());
    assertThat(cluster(decide(strict, "x", dst, http("api.example.com"))))
        .isEqualTo("outbound|80||api.example.com");
    assertThat(decide(strict, "x", dst, http("other.example")))
        .isEqualTo(new Decision.Refuse(Refusal.HTTP_502, Optional.empty(), Optional.empty()));
    assertThat(((Decision.Refuse) decide(strict, "x", dst, tls("api.example.com"))).why())
        .isEqualTo(Refusal.CONNECTION_CLOSED);
    var lax = compile(MeshSettings.DEFAULTS, ENFORCE, entry);
    assertThat(lax.table().view(pod("x")).ask(dst)).isEqualTo(ClientView.Ask.PREFACE);
    assertThat(decide(lax, "x", dst, http("other.example")))
        .isInstanceOf(Decision.Passthrough.class);
    var audit = compile(REGISTRY_ONLY, mode(EgressMode.AUDIT), entry);
    assertThat(((Decision.Passthrough) decide(audit, "x", dst, http("other.example"))).wouldBlock())
        .contains(Refusal.HTTP_502);
  }

  private static String istio(String kind, String namespace, String spec) {
    return """
    apiVersion: networking.istio.io/v1
    kind: %s
    metadata: {name: r, namespace: %s}
    spec: %s
    """
        .formatted(kind, namespace, spec);
  }

  @Test
  void whatCannotBeReadOfAVirtualServiceGovernsMore() {
    String tls = "tls: [{route: [{destination: {host: x.example}}]}]";
    for (String spec :
        List.of(
            "{hosts: [\"*wikipedia.org\"], " + tls + "}",
            "{hosts: [\"*n.wikipedia.org\"], " + tls + "}",
            "{" + tls + "}",
            "{hosts: [], " + tls + "}",
            "{hosts: en.wikipedia.org, " + tls + "}",
            "{hosts: [\"other.example\", {a: b}], " + tls + "}",
            "{hosts: [\"e*.wikipedia.org\"], " + tls + "}",
            "{hosts: [en.wikipedia.org], tcp: {route: x}}",
            "{hosts: [en.wikipedia.org], gateways: [g, {a: b}], " + tls + "}",
            "{hosts: [en.wikipedia.org], exportTo: [y, {a: b}], " + tls + "}")) {
      var compiled = compile(REGISTRY_ONLY, ENFORCE, WIKI, istio("VirtualService", "x", spec));
      assertNotSupported(compiled, decide(compiled, "x", "en.wikipedia.org"), "VirtualService");
    }
    for (String host : List.of("*xwikipedia.org", "*example.com", "wikipedia.org")) {
      var compiled =
          compile(
              REGISTRY_ONLY,
              ENFORCE,
              WIKI,
              istio("VirtualService", "x", "{hosts: [\"" + host + "\"], " + tls + "}"));
      assertThat(decide(compiled, "x", "en.wikipedia.org"))
          .as(host)
          .isInstanceOf(Decision.Forward.class);
    }
  }

  @Test
  void whatCannotBeReadOfADestinationRuleGovernsMore() {
    for (String spec :
        List.of(
            "{host: \"*wikipedia.org\", trafficPolicy: {tls: {mode: TLS}}}",
            "{host: \"en..wikipedia.org\", trafficPolicy: {tls: {mode: SIMPLE}}}",
            "{host: [en.wikipedia.org], trafficPolicy: {tls: {mode: SIMPLE}}}",
            "{trafficPolicy: {tls: {mode: SIMPLE}}}",
            "{host: \"*.wikipedia.org\", trafficPolicy: [SIMPLE]}")) {
      var compiled = compile(REGISTRY_ONLY, ENFORCE, WIKI, istio("DestinationRule", "x", spec));
      assertNotSupported(compiled, decide(compiled, "x", "en.wikipedia.org"), "DestinationRule");
    }
    var other =
        compile(
            REGISTRY_ONLY,
            ENFORCE,
            WIKI,
            istio(
                "DestinationRule",
                "x",
                "{host: \"*xwikipedia.org\", trafficPolicy: {tls: {mode: TLS}}}"));
    assertThat(decide(other, "x", "en.wikipedia.org")).isInstanceOf(Decision.Forward.class);
  }

  @Test
  void unknownKindsAreIgnoredWithOneLineEach() {
    String widget = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: %s}\n";
    var compiled =
        compile(REGISTRY_ONLY, ENFORCE, widget.formatted("a"), widget.formatted("b"), WIKI);
    assertThat(compiled.hasErrors()).isFalse();
    assertThat(compiled.problems())
        .extracting(Problem::text)
        .filteredOn(t -> t.contains("ignored"))
        .hasSize(1);
  }

  @Test
  void badEntryDoesNotBlockTheOthersAndItsLastGoodVersionStays() {
    PolicyCompiler compiler = new PolicyCompiler(REGISTRY_ONLY, ENFORCE);
    String bad = EN.replace("443", "0");
    var first = compiler.compile(set(bad, WIKI));
    assertThat(first.hasErrors()).isTrue();
    assertThat(cluster(decide(first, "x", "en.wikipedia.org")))
        .isEqualTo("outbound|443||*.wikipedia.org");
    var good = compiler.compile(set(EN, WIKI));
    assertThat(good.hasErrors()).isFalse();
    var again = compiler.compile(set(bad, WIKI));
    assertThat(cluster(decide(again, "x", "en.wikipedia.org")))
        .isEqualTo("outbound|443||en.wikipedia.org");
    assertThat(again.problems())
        .extracting(Problem::text)
        .anyMatch(t -> t.contains("last good version"));
    assertThat(again.table().generation()).isGreaterThan(good.table().generation());
    var gone = compiler.compile(set(WIKI));
    assertThat(cluster(decide(gone, "x", "en.wikipedia.org")))
        .isEqualTo("outbound|443||*.wikipedia.org");
  }

  @Test
  void viewsAreShared() {
    var compiled = compile(REGISTRY_ONLY, ENFORCE, WIKI);
    assertThat(compiled.table().view(pod("x"))).isSameAs(compiled.table().view(pod("x")));
  }
}
