package io.tailwater.agent.control.allocate;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.control.istio.ServiceEntry;
import io.tailwater.agent.control.istio.ServiceEntryReader;
import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Problems;
import io.tailwater.agent.control.source.YamlDocument;
import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.CidrBlock;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class AddressAllocatorTest {
  /// What a restart would find.
  private static final class Kept implements AddressAllocator.Store {
    private Map<AddressAllocator.Host, Integer> numbers = Map.of();

    @Override
    public Map<AddressAllocator.Host, Integer> load() {
      return numbers;
    }

    @Override
    public void save(Map<AddressAllocator.Host, Integer> now) {
      numbers = new LinkedHashMap<>(now);
    }
  }

  private final Kept kept = new Kept();
  private final AddressAllocator allocator = new AddressAllocator(AddressAllocator.Which.ALL, kept);

  private static ServiceEntry entry(String name, String spec, String more) {
    String yaml =
        """
        apiVersion: networking.istio.io/v1
        kind: ServiceEntry
        metadata: {name: %s, namespace: shop%s}
        spec: {ports: [{number: 5432, name: tcp, protocol: TCP}], %s%s}
        """
                .formatted(
                    name,
                    more.startsWith("labels") ? ", " + more : "",
                    spec.contains("resolution") ? "" : "resolution: DNS, ",
                    spec)
            + (more.startsWith("status") ? more + "\n" : "");
    return read(yaml);
  }

  private static ServiceEntry read(String yaml) {
    Problems problems = new Problems("test.yaml");
    YamlDocument.Parsed parsed = (YamlDocument.Parsed) YamlDocument.readAll(yaml).getFirst();
    KubeObject object = KubeObject.read(parsed.root(), problems).getFirst();
    return ServiceEntryReader.read(object, "istio-system", problems)
        .orElseThrow(() -> new AssertionError(problems.list()));
  }

  private static ServiceEntry host(String host) {
    return entry(host.replace('.', '-'), "hosts: [" + host + "]", "");
  }

  private static List<String> addresses(ServiceEntry entry) {
    return entry.allocated().stream().map(a -> AddressText.of(a.address())).toList();
  }

  private List<List<String>> assign(ServiceEntry... entries) {
    return assign(allocator, entries);
  }

  private static List<List<String>> assign(AddressAllocator by, ServiceEntry... entries) {
    return by.assign(List.of(entries), List.of()).entries().stream()
        .map(AddressAllocatorTest::addresses)
        .toList();
  }

  @Test
  void hostsGetOneAddressOfEachFamilyFromTheBeginningOldestFirst() {
    assertThat(assign(host("a.example"), host("b.example")))
        .containsExactly(List.of("240.240.0.1", "2001:2::1"), List.of("240.240.0.2", "2001:2::2"));
  }

  @Test
  void whatComesLaterMovesNobody() {
    assign(host("b.example"));

    assertThat(assign(host("a.example"), host("b.example")))
        .containsExactly(List.of("240.240.0.2", "2001:2::2"), List.of("240.240.0.1", "2001:2::1"));
  }

  @Test
  void aHostKeepsItsAddressOverARestartAndWhileItIsGone() {
    assign(host("a.example"), host("b.example"));
    assign(host("b.example"));
    assertThat(assign(host("c.example"), host("b.example")).getFirst())
        .containsExactly("240.240.0.3", "2001:2::3");

    AddressAllocator next = new AddressAllocator(AddressAllocator.Which.ALL, kept);
    assign(next);
    assertThat(assign(next, host("d.example"), host("c.example"), host("a.example")))
        .containsExactly(
            List.of("240.240.0.4", "2001:2::4"),
            List.of("240.240.0.3", "2001:2::3"),
            List.of("240.240.0.1", "2001:2::1"));
  }

  @Test
  void onlyEligibleHostsGetAddresses() {
    assertThat(
            assign(
                entry("addressed", "hosts: [a.example], addresses: [192.0.2.1]", ""),
                entry("none", "hosts: [b.example], resolution: NONE", ""),
                entry(
                    "refuses",
                    "hosts: [c.example]",
                    "labels: {networking.istio.io/enable-autoallocate-ip: \"False\"}"),
                read(
                    """
                    apiVersion: networking.istio.io/v1
                    kind: ServiceEntry
                    metadata: {name: static-wildcard, namespace: shop}
                    spec:
                      hosts: ["*.d.example"]
                      ports: [{number: 443, name: tls, protocol: TLS}]
                      resolution: STATIC
                      endpoints: [{address: 192.0.2.1}]
                    """),
                read(
                    """
                    apiVersion: networking.istio.io/v1
                    kind: ServiceEntry
                    metadata: {name: dynamic-wildcard, namespace: shop}
                    spec:
                      hosts: ["*.e.example"]
                      ports: [{number: 443, name: tls, protocol: TLS}]
                      resolution: DYNAMIC_DNS
                    """)))
        .containsExactly(
            List.of(), List.of(), List.of(), List.of(), List.of("240.240.0.1", "2001:2::1"));
  }

  @Test
  void whereNamesAreEnoughOnlyHostsWithANamelessPortGetAddresses() {
    AddressAllocator nameless = new AddressAllocator(AddressAllocator.Which.NAMELESS, new Kept());

    assertThat(
            assign(nameless, named("tls", "HTTP"), named("mongo", "MONGO"), named("unset", "\"\"")))
        .containsExactly(
            List.of(), List.of("240.240.0.1", "2001:2::1"), List.of("240.240.0.2", "2001:2::2"));
  }

  private static ServiceEntry named(String name, String protocol) {
    return read(
        """
        apiVersion: networking.istio.io/v1
        kind: ServiceEntry
        metadata: {name: %s, namespace: shop}
        spec:
          hosts: [%s.example]
          ports: [{number: 1, name: a, protocol: TLS}, {number: 2, name: b, protocol: %s}]
          resolution: DNS
        """
            .formatted(name, name, protocol));
  }

  @Test
  void statusAddressesWinOverOurs() {
    ServiceEntry given =
        entry(
            "given",
            "hosts: [a.example]",
            "status: {addresses: [{value: 240.240.0.1, host: a.example}]}");

    assertThat(assign(host("b.example"), given))
        .containsExactly(List.of("240.240.0.2", "2001:2::2"), List.of("240.240.0.1"));
  }

  @Test
  void ofTwoWithTheSameStatusAddressTheOlderKeepsItAndTheOtherGetsAnother() {
    String status = "status: {addresses: [{value: 240.240.0.1}]}";

    assertThat(
            assign(
                entry("older", "hosts: [a.example]", status),
                entry("younger", "hosts: [b.example]", status)))
        .containsExactly(List.of("240.240.0.1"), List.of("240.240.0.2", "2001:2::2"));
  }

  @Test
  void anAddressThatAUserWroteIsTakenFromWhoHadIt() {
    assign(host("a.example"), host("b.example"));

    assertThat(
            assign(
                host("a.example"),
                host("b.example"),
                entry("writes", "hosts: [c.example], addresses: [240.240.0.1]", ""),
                entry(
                    "claims", "hosts: [d.example]", "status: {addresses: [{value: 240.240.0.1}]}")))
        .containsExactly(
            List.of("240.240.0.3", "2001:2::3"),
            List.of("240.240.0.2", "2001:2::2"),
            List.of(),
            List.of("240.240.0.4", "2001:2::4"));
  }

  @Test
  void blocksAndServicesOfOthersAreLeftOut() {
    List<CidrBlock> written =
        List.of(
            CidrBlock.parse("240.240.0.0/30").orElseThrow(),
            CidrBlock.parse("240.240.0.4").orElseThrow());

    assertThat(
            addresses(allocator.assign(List.of(host("a.example")), written).entries().getFirst()))
        .containsExactly("240.240.0.5", "2001:2::5");
  }

  @Test
  void entriesOfOneNamespaceThatNameTheSameHostShareItsAddress() {
    assertThat(
            assign(entry("one", "hosts: [a.example]", ""), entry("two", "hosts: [a.example]", "")))
        .containsExactly(List.of("240.240.0.1", "2001:2::1"), List.of("240.240.0.1", "2001:2::1"));
  }

  @Test
  void whenAllAreTakenTheGoneMakeRoomAndTheRestIsNamed() {
    ServiceEntry gone = host("gone.example");
    assign(gone);
    List<ServiceEntry> many = new ArrayList<>();
    IntStream.rangeClosed(1, AddressBlocks.LAST + 1)
        .forEach(i ->
            many.add(
                new ServiceEntry(
                    gone.ref(),
                    gone.age(),
                    List.of(
                        new io.tailwater.agent.traffic.HostPattern.Exact(
                            io.tailwater.agent.traffic.HostName.of("h" + i + ".example"))),
                    gone.addresses(),
                    gone.ports(),
                    gone.location(),
                    gone.resolution(),
                    gone.endpoints(),
                    gone.workloadSelector(),
                    gone.exportTo(),
                    gone.subjectAltNames(),
                    gone.allocated(),
                    gone.allowedAddresses(),
                    gone.labels())));

    AddressAllocator.Assigned assigned = allocator.assign(many, List.of());

    assertThat(assigned.without()).hasSize(1);
    assertThat(assigned.entries().stream().flatMap(e -> addresses(e).stream()).distinct().count())
        .isEqualTo(2L * AddressBlocks.LAST);
  }

  @Test
  void manyThatAreGoneAreForgottenFromTheLongestGone() {
    ServiceEntry[] first =
        IntStream.rangeClosed(0, AddressAllocator.MOST_GONE)
            .mapToObj(i -> host("h" + i + ".example"))
            .toArray(ServiceEntry[]::new);
    assign(first);

    assign(host("other.example"));

    assertThat(kept.numbers).hasSize(AddressAllocator.MOST_GONE + 1);
  }
}
