package io.tailwater.agent.control.compile;

import static io.tailwater.agent.control.compile.Policies.REGISTRY_ONLY;
import static io.tailwater.agent.control.compile.Policies.cluster;
import static io.tailwater.agent.control.compile.Policies.decide;
import static io.tailwater.agent.control.compile.Policies.dst;
import static io.tailwater.agent.control.compile.Policies.pod;
import static io.tailwater.agent.control.compile.Policies.set;
import static io.tailwater.agent.control.compile.Policies.tls;
import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.control.allocate.AddressAllocator;
import io.tailwater.agent.control.allocate.AllocationFile;
import io.tailwater.agent.control.istio.EgressSettings;
import io.tailwater.agent.dataplane.resolve.StandardAddressFilter;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.KnownName;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.HostName;
import java.net.InetAddress;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Addresses of our own, from the entry to the answer and the decision.
class AllocatedPolicyTest {
  private static final String TWO_DATABASES =
      """
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: a-orders, namespace: shop}
      spec:
        hosts: [orders.db.example]
        ports: [{number: 5432, name: tcp, protocol: TCP}]
        resolution: DNS
      ---
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: b-users, namespace: shop}
      spec:
        hosts: [users.db.example]
        ports: [{number: 5432, name: tcp, protocol: TCP}]
        resolution: DNS
      ---
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: c-web, namespace: shop}
      spec:
        hosts: [www.example.com]
        ports: [{number: 443, name: tls, protocol: TLS}]
        resolution: DNS
      """;

  @TempDir private Path state;

  private PolicyCompiler.Compiled compile(
      AddressAllocator.Which which, boolean realNames, String yaml) {
    return new PolicyCompiler(
            REGISTRY_ONLY,
            EgressSettings.DEFAULTS,
            new DnsAnswers.Own(new AddressAllocator(which, new AllocationFile(state)), realNames))
        .compile(set(yaml));
  }

  private PolicyCompiler.Compiled auto(String yaml) {
    return compile(AddressAllocator.Which.NAMELESS, true, yaml);
  }

  private static Optional<List<String>> answer(PolicyCompiler.Compiled compiled, String name) {
    return compiled.table().view(pod("shop")).known(HostName.of(name)).orElse(null)
            instanceof KnownName.Given(List<InetAddress> all)
        ? Optional.of(all.stream().map(AddressText::of).toList())
        : Optional.empty();
  }

  private static Decision opaque(PolicyCompiler.Compiled compiled, String address) {
    return decide(compiled, "shop", dst(address, 5432), new Preface.Opaque());
  }

  @Test
  void twoServicesOnOnePortAreToldApartByTheAddressThatDnsGave() {
    PolicyCompiler.Compiled compiled = auto(TWO_DATABASES);

    assertThat(answer(compiled, "orders.db.example")).contains(List.of("240.240.0.1", "2001:2::1"));
    assertThat(answer(compiled, "users.db.example")).contains(List.of("240.240.0.2", "2001:2::2"));
    assertThat(cluster(opaque(compiled, "240.240.0.1")))
        .isEqualTo("outbound|5432||orders.db.example");
    assertThat(cluster(opaque(compiled, "2001:2::2"))).isEqualTo("outbound|5432||users.db.example");
    assertThat(opaque(compiled, "198.51.100.7")).isInstanceOf(Decision.Refuse.class);
  }

  @Test
  void whereNamesDecideTheRealAddressesAreAnswered() {
    PolicyCompiler.Compiled compiled = auto(TWO_DATABASES);

    assertThat(answer(compiled, "www.example.com")).isEmpty();
    assertThat(cluster(decide(compiled, "shop", dst("198.51.100.7", 443), tls("www.example.com"))))
        .isEqualTo("outbound|443||www.example.com");
  }

  @Test
  void asIstioDoesEveryHostCanHaveAnAddress() {
    PolicyCompiler.Compiled compiled = compile(AddressAllocator.Which.ALL, false, TWO_DATABASES);

    assertThat(answer(compiled, "www.example.com")).contains(List.of("240.240.0.3", "2001:2::3"));
    assertThat(cluster(decide(compiled, "shop", dst("240.240.0.3", 443), tls("www.example.com"))))
        .isEqualTo("outbound|443||www.example.com");
  }

  @Test
  void anAddressTakesNoPortAwayFromNames() {
    PolicyCompiler.Compiled compiled =
        auto(
            TWO_DATABASES
                + """
                ---
                apiVersion: networking.istio.io/v1
                kind: ServiceEntry
                metadata: {name: d-pooled, namespace: shop}
                spec:
                  hosts: [pooled.db.example]
                  ports: [{number: 5432, name: tls, protocol: TLS}]
                  resolution: DNS
                """);

    assertThat(
            cluster(decide(compiled, "shop", dst("240.240.0.1", 5432), tls("pooled.db.example"))))
        .isEqualTo("outbound|5432||pooled.db.example");
    assertThat(cluster(opaque(compiled, "240.240.0.1")))
        .isEqualTo("outbound|5432||orders.db.example");
  }

  @Test
  void aServiceWithoutANameInItsBytesIsExplainedAtTheAddressThatDnsTells() {
    HostName host = HostName.of("users.db.example");
    Explain.Question question =
        new Explain.Question(
            pod("shop"),
            new Explain.Destination(Optional.of(host), Optional.empty(), 5432),
            Optional.empty(),
            Optional.empty());

    Explain.Answer answer =
        Explain.run(
            auto(TWO_DATABASES).table(),
            question,
            _ -> Optional.empty(),
            new StandardAddressFilter(Set::of));

    assertThat(answer.dst()).isEqualTo(dst("240.240.0.2", 5432));
    assertThat(answer.prediction().cluster()).contains("outbound|5432||users.db.example");
  }

  @Test
  void aRestartGivesTheSameAddressesThoughAnOlderEntryCame() {
    auto(TWO_DATABASES);

    PolicyCompiler.Compiled after =
        auto(
            """
            apiVersion: networking.istio.io/v1
            kind: ServiceEntry
            metadata: {name: a-first, namespace: shop}
            spec:
              hosts: [first.db.example]
              ports: [{number: 5432, name: tcp, protocol: TCP}]
              resolution: DNS
            ---
            """
                + TWO_DATABASES);

    assertThat(answer(after, "orders.db.example")).contains(List.of("240.240.0.1", "2001:2::1"));
    assertThat(answer(after, "first.db.example")).contains(List.of("240.240.0.3", "2001:2::3"));
  }
}
