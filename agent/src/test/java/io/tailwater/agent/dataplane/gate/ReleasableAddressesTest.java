package io.tailwater.agent.dataplane.gate;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.RouteTable;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.agent.traffic.ResourceRef;
import java.net.InetAddress;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.BiFunction;
import org.junit.jupiter.api.Test;

class ReleasableAddressesTest {
  private static final HostName EN = HostName.of("en.example.com");
  private static final HostName DE = HostName.of("de.example.com");
  private static final String HOME = "203.0.113.9";
  private static final InetAddress ADDRESS = InetAddress.ofLiteral(HOME);

  private final GateRig rig = GateRig.usual();

  private void tell(HostName name, long seconds, String... addresses) {
    tell(rig.routes.get(), name, seconds, addresses);
  }

  private void tell(RouteTable table, HostName name, long seconds, String... addresses) {
    rig.addresses.told(
        table,
        name,
        Arrays.stream(addresses).map(InetAddress::ofLiteral).toList(),
        seconds,
        rig.now);
  }

  private void pass(long seconds) {
    rig.now += Duration.ofSeconds(seconds).toNanos();
  }

  private List<String> inSet() {
    return rig.addresses.inSet(rig.now).stream().map(OriginalDst::toString).toList();
  }

  private static RouteTable judging(BiFunction<OriginalDst, Preface, Decision> judge) {
    return GateRig.table(2, judge);
  }

  private static Decision ofCluster(String cluster, HostName name) {
    Decision.Forward one = GateRig.forward(name);
    return new Decision.Forward(
        new Decision.Destination(cluster, cluster, "default", 443),
        one.upstreamHost(),
        one.target(),
        one.addressRule(),
        one.resource(),
        false);
  }

  private static HostName named(Preface preface) {
    return preface instanceof Preface.Http http
        ? http.host().orElseThrow()
        : ((Preface.Tls) preface).sni();
  }

  @Test
  void whatThePodIsToldIsInTheSetForItsTime() {
    tell(EN, 30, HOME, "203.0.113.10");

    assertThat(rig.inSet).containsExactly("add 203.0.113.9:443 30", "add 203.0.113.10:443 30");
    assertThat(inSet()).containsExactly("203.0.113.9:443", "203.0.113.10:443");
    pass(30);
    assertThat(inSet()).isEmpty();
  }

  @Test
  void aNameIsAtHomeALittleLonger() {
    tell(EN, 30, HOME);

    assertThat(rig.addresses.isHome(EN, ADDRESS, rig.now)).isTrue();
    assertThat(rig.addresses.isHome(DE, ADDRESS, rig.now)).isFalse();
    pass(31);
    assertThat(rig.addresses.isHome(EN, ADDRESS, rig.now)).isTrue();
    pass(60);
    assertThat(rig.addresses.isHome(EN, ADDRESS, rig.now)).isFalse();
  }

  @Test
  void theLatestTellingCounts() {
    tell(EN, 30, HOME);
    pass(20);
    tell(EN, 30, HOME);

    assertThat(rig.inSet).containsExactly("add 203.0.113.9:443 30", "add 203.0.113.9:443 30");
    pass(25);
    assertThat(inSet()).hasSize(1);
  }

  @Test
  void anAddressThatAnswersOthersStaysThoughASynWasSentAgain() {
    tell(EN, 300, HOME);
    long begun = rig.now;
    pass(1);
    rig.addresses.answered(ADDRESS, 443, rig.now);

    rig.addresses.unanswered(ADDRESS, 443, begun, rig.now);

    assertThat(inSet()).containsExactly("203.0.113.9:443");
  }

  @Test
  void anAddressThatAnsweredNobodySinceIsLeftToTheRelay() {
    tell(EN, 300, HOME);
    rig.addresses.answered(ADDRESS, 443, rig.now);
    pass(10);
    long begun = rig.now;
    pass(1);

    rig.addresses.unanswered(ADDRESS, 443, begun, rig.now);

    assertThat(inSet()).isEmpty();
  }

  @Test
  void aNameThatNothingAllowsBringsNothing() {
    tell(HostName.of("www.example.net"), 30, HOME);

    assertThat(rig.inSet).isEmpty();
  }

  @Test
  void namesOfOneClusterShareAnAddress() {
    tell(EN, 30, HOME);
    tell(DE, 60, HOME);

    assertThat(rig.inSet).containsExactly("add 203.0.113.9:443 30", "add 203.0.113.9:443 60");
  }

  @Test
  void anAddressOfTwoClustersIsLeftToTheRelay() {
    RouteTable two = judging((_, hello) -> ofCluster(named(hello).text(), named(hello)));
    tell(two, EN, 30, HOME);
    tell(two, DE, 60, HOME);

    assertThat(rig.inSet).containsExactly("add 203.0.113.9:443 30", "remove 203.0.113.9:443");
    pass(31); // the first name is not told any more
    tell(two, DE, 60, HOME);
    assertThat(inSet()).hasSize(1);
  }

  @Test
  void aPortWhereRequestsAreRoutedIsLeftToTheRelayAlsoForTls() {
    RouteTable detected =
        judging((_, said) ->
            said instanceof Preface.Http
                ? new Decision.PerRequest()
                : GateRig.forward(named(said)));
    tell(detected, EN, 30, HOME);

    assertThat(rig.inSet).isEmpty();
  }

  @Test
  void anAddressWhereOneNameGoesToAWaypointIsLeftToTheRelay() {
    RouteTable one =
        judging((_, hello) ->
            named(hello).equals(DE)
                ? new Decision.ToWaypoint(
                    "default/waypoint",
                    Optional.empty(),
                    new ResourceRef("Service", "default", "de"))
                : GateRig.forward(named(hello)));
    tell(one, EN, 30, HOME);
    assertThat(inSet()).hasSize(1);

    tell(one, DE, 30, HOME);

    assertThat(inSet()).isEmpty();
  }

  @Test
  void whatOnlyARelayCanDoKeepsAddressesOut() {
    ConnectionPolicy plain = ConnectionPolicy.DEFAULT;
    ConnectionPolicy timed =
        new ConnectionPolicy(
            plain.tls(),
            plain.limits(),
            plain.connectTimeout(),
            plain.idleTimeout(),
            Optional.of(Duration.ofMinutes(1)),
            plain.keepAlive(),
            plain.balancing(),
            plain.outlier(),
            plain.http());
    tell(judging((_, hello) -> with(timed, named(hello), 443)), EN, 30, HOME);
    tell(GateRig.table(3, (_, hello) -> with(plain, named(hello), 8443)), EN, 30, HOME);
    tell(
        GateRig.table(
            4,
            (dst, _) ->
                GateRig.forward(
                    new Target.Endpoint.Address(dst.socketAddress()), "api.example.com")),
        EN,
        30,
        HOME);

    assertThat(rig.inSet).isEmpty();
  }

  private static Decision with(ConnectionPolicy policy, HostName name, int port) {
    Decision.Forward one = GateRig.forward(new Target.Endpoint.Name(name, port), name.text());
    return new Decision.Forward(
        new Decision.Destination(GateRig.CLUSTER, "*.example.com", "default", 443, policy),
        one.upstreamHost(),
        one.target(),
        one.addressRule(),
        one.resource(),
        false);
  }

  @Test
  void filteredAddressesStayOut() {
    tell(EN, 30, "10.0.0.1", HOME);

    assertThat(inSet()).containsExactly("203.0.113.9:443");
  }

  @Test
  void policyThatForbidsANameTakesItsAddressesOut() {
    tell(EN, 30, HOME);

    rig.addresses.policyChanged(
        judging((_, _) -> GateRig.refuse(Refusal.CONNECTION_CLOSED)), rig.now);

    assertThat(rig.inSet).endsWith("remove 203.0.113.9:443");
    assertThat(inSet()).isEmpty();
    rig.addresses.policyChanged(GateRig.table(3, (_, preface) -> GateRig.byName(preface)), rig.now);
    assertThat(rig.inSet).endsWith("add 203.0.113.9:443 30");
  }

  @Test
  void afterAMismatchAnAddressIsOutForAMinute() {
    tell(EN, 300, HOME);
    rig.addresses.exclude(ADDRESS, 443, rig.now);
    assertThat(rig.inSet).endsWith("remove 203.0.113.9:443");

    pass(59);
    tell(EN, 300, HOME);
    assertThat(inSet()).isEmpty();
    pass(2);
    tell(EN, 300, HOME);
    assertThat(inSet()).hasSize(1);
  }

  @Test
  void thereAreNoMoreAddressesThanTheBound() {
    for (int i = 0; i <= ReleasableAddresses.MOST; i++) {
      tell(EN, 300, "198.51." + (100 + i / 250) + "." + i % 250);
    }

    assertThat(inSet()).hasSize(ReleasableAddresses.MOST);
    assertThat(rig.inSet).endsWith("remove 198.51.100.0:443");
  }

  @Test
  void anAddressOfTooManyNamesIsLeftToTheRelay() {
    for (int i = 0; i <= ReleasableAddresses.MOST_NAMES; i++) {
      tell(HostName.of("n" + i + ".example.com"), 300, HOME);
    }

    assertThat(inSet()).isEmpty();
  }

  @Test
  void onceClosedNothingIsAdded() {
    rig.addresses.close();
    tell(EN, 300, HOME);
    rig.addresses.policyChanged(GateRig.table(), rig.now);
    rig.addresses.exclude(ADDRESS, 443, rig.now);

    assertThat(rig.inSet).isEmpty();
  }
}
