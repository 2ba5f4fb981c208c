package io.tailwater.agent.dataplane.connect;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.resolve.AddressFilter;
import io.tailwater.agent.dataplane.resolve.Addresses;
import io.tailwater.agent.dataplane.resolve.Resolver;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.dataplane.upstream.Candidate;
import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.PodRef;
import io.tailwater.agent.traffic.Refusal;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executor;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

class CandidatesTest {
  private static final OriginalDst DIALLED =
      new OriginalDst(InetAddress.ofLiteral("203.0.113.9"), 443);
  private static final HostName NAME = HostName.of("api.example");

  private final Map<HostName, Addresses> dns = new HashMap<>();
  private final Candidates candidates = new Candidates(new Script(), new NoTen());

  private final class Script implements Resolver {
    @Override
    public @Nullable Addresses ifPresent(PodRef tenant, HostName name) {
      return dns.get(name);
    }

    @Override
    public void resolve(PodRef tenant, HostName name, Executor loop, Consumer<Addresses> answer) {
      answer.accept(new Addresses.Failed(Addresses.Failure.NO_SUCH_NAME, "no such name"));
    }
  }

  private static final class NoTen implements AddressFilter {
    @Override
    public boolean admits(InetAddress address, AddressRule rule) {
      return address.getAddress()[0] != 10;
    }

    @Override
    public String reason(InetAddress address, AddressRule rule) {
      return "is private";
    }
  }

  private void answer(String... addresses) {
    dns.put(
        NAME,
        new Addresses.Found(Stream.of(addresses).map(InetAddress::ofLiteral).toList(), false));
  }

  private static InetSocketAddress at(String address) {
    return new InetSocketAddress(InetAddress.ofLiteral(address), 8443);
  }

  private static Target.Endpoint address(String address, int weight, String locality) {
    return new Target.Endpoint.Address(at(address), new Target.Traits(weight, locality, false));
  }

  private static Target name() {
    return new Target.Endpoints(List.of(new Target.Endpoint.Name(NAME, 8443)));
  }

  private Candidates.Found find(Target target, String locality, boolean ipv6) {
    List<Candidates.Found> found = new ArrayList<>();
    candidates.find(
        new Candidates.Asker(new PodRef("default", "ratings"), DIALLED, locality, ipv6),
        target,
        new AddressRule(AddressRule.Scope.NEVER_LIST_AND_PRIVATE, List.of()),
        Runnable::run,
        found::add);
    assertThat(found).hasSize(1);
    return found.getFirst();
  }

  private List<Candidate> some(Target target, String locality, boolean ipv6) {
    return ((Candidates.Found.Some) find(target, locality, ipv6)).candidates();
  }

  private static Candidate main(String address) {
    return new Candidate(at(address), 1, 0, false);
  }

  private static Candidate spare(String address) {
    return new Candidate(at(address), 1, 0, true);
  }

  @Test
  void theFamilyThatComesFirstSharesConnectionsAndTheOtherIsSpare() {
    answer("2001:db8::1", "198.51.100.1", "2001:db8::2", "198.51.100.2");
    assertThat(some(name(), "", true))
        .containsExactly(
            main("2001:db8::1"), spare("198.51.100.1"), main("2001:db8::2"), spare("198.51.100.2"));
  }

  @Test
  void aPodWithoutIpv6GetsTheOthers() {
    answer("2001:db8::1", "198.51.100.1");
    assertThat(some(name(), "", false)).containsExactly(main("198.51.100.1"));

    answer("2001:db8::1");
    assertThat(find(name(), "", false))
        .isEqualTo(
            new Candidates.Found.None(
                Refusal.CONNECT_FAILED,
                "the pod has no IPv6 and the destination has only IPv6 addresses"));
  }

  @Test
  void whereTheFilterTakesTheFirstFamilyTheOtherIsNoSpare() {
    answer("10.0.0.1", "2001:db8::1");
    assertThat(some(name(), "", true)).containsExactly(main("2001:db8::1"));

    answer("10.0.0.1");
    assertThat(find(name(), "", true))
        .isEqualTo(new Candidates.Found.None(Refusal.ADDRESS_FILTERED, "10.0.0.1 is private"));
  }

  @Test
  void endpointsThatAreListedByAddressShareWhateverTheirFamily() {
    Target both =
        new Target.Endpoints(
            List.of(address("2001:db8::1", 1, ""), address("198.51.100.1", 3, "")));
    assertThat(some(both, "", true))
        .containsExactly(main("2001:db8::1"), new Candidate(at("198.51.100.1"), 3, 0, false));
  }

  @Test
  void anAddressThatIsListedTwiceCountsOnce() {
    Target twice =
        new Target.Endpoints(
            List.of(address("198.51.100.1", 1, ""), address("198.51.100.1", 5, "")));
    assertThat(some(twice, "", true)).containsExactly(main("198.51.100.1"));
  }

  @Test
  void nearEndpointsComeFirstWhereTheClientsLocalityIsKnown() {
    Target far =
        new Target.Endpoints(
            List.of(address("198.51.100.1", 1, "us/a"), address("198.51.100.2", 1, "eu/b")));
    assertThat(some(far, "eu/a", true)).extracting(Candidate::priority).containsExactly(3, 2);
    assertThat(some(far, "", true)).extracting(Candidate::priority).containsExactly(0, 0);
  }

  @Test
  void roundRobinByDnsUsesOneAddressOfEachFamily() {
    answer("2001:db8::1", "198.51.100.1", "2001:db8::2", "198.51.100.2");
    Target one = new Target.Endpoints(List.of(new Target.Endpoint.Name(NAME, 8443)), true);
    assertThat(some(one, "", true)).containsExactly(main("2001:db8::1"), spare("198.51.100.1"));
    assertThat(some(one, "", false)).containsExactly(main("198.51.100.1"));
  }

  @Test
  void aNameThatDoesNotResolveIsNoCandidateWhereAnotherDoes() {
    Target both =
        new Target.Endpoints(
            List.of(
                new Target.Endpoint.Name(HostName.of("gone.example"), 8443),
                new Target.Endpoint.Name(NAME, 8443)));
    assertThat(find(both, "", true))
        .isEqualTo(new Candidates.Found.None(Refusal.DNS_FAILURE, "no such name"));
    answer("198.51.100.1");
    assertThat(some(both, "", true)).containsExactly(main("198.51.100.1"));
  }

  @Test
  void theDialledAddressIsFilteredToo() {
    assertThat(some(new Target.Dialled(8443), "", true)).containsExactly(main("203.0.113.9"));
  }
}
