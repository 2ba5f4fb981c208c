package io.tailwater.agent.dataplane.gate;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.account.ConnectionRecord;
import io.tailwater.agent.dataplane.resolve.Addresses;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.ClientAddress;
import io.tailwater.agent.traffic.Direction;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import java.net.InetAddress;
import java.time.Instant;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/// What is learnt from connections that are relayed.
class DialledHomesTest {
  private static final HostName EN = HostName.of("en.example.com");
  private static final String AT = "198.51.100.10";

  private final GateRig rig = GateRig.usual();
  private final DialledHomes dialled = new DialledHomes(rig.resolver(), rig.routes, () -> rig.now);

  private void relayed(Preface said, String address, int port, Decision decision) {
    relayed(rig, said, address, port, decision);
  }

  private void relayed(GateRig pod, Preface said, String address, int port, Decision decision) {
    OriginalDst dst = new OriginalDst(InetAddress.ofLiteral(address), port);
    ConnectionRecord record =
        new ConnectionRecord(
            1,
            pod.served.pod(),
            Direction.OUTBOUND,
            new ClientAddress(Packets.POD.getAddress(), Packets.POD.getPort()),
            dst,
            Instant.EPOCH,
            rig.now);
    record.preface(said);
    record.decision(decision);
    dialled.relayed(pod.addresses, record);
  }

  private void relayed(String address) {
    relayed(new Preface.Tls(EN, false), address, 443, GateRig.forward(EN));
  }

  private void pass(long seconds) {
    rig.now += TimeUnit.SECONDS.toNanos(seconds);
  }

  @Test
  void anAddressThatOurLookUpHasIsReleasableForWhatIsLeftOfItsTime() {
    rig.found("en.example.com", AT, "198.51.100.11");

    relayed(AT);

    assertThat(rig.inSet).containsExactly("add " + AT + ":443 30");
    assertThat(rig.addresses.isHome(EN, InetAddress.ofLiteral(AT), rig.now)).isTrue();
  }

  @Test
  void itIsToldOnceUntilItsTimeIsOver() {
    rig.found("en.example.com", AT);
    relayed(AT);
    pass(29);
    relayed(AT);
    assertThat(rig.inSet).hasSize(1);

    pass(1);
    relayed(AT);

    assertThat(rig.inSet).hasSize(2);
  }

  @Test
  void anyOtherAddressThatThePodDialsOpensNothing() {
    rig.found("en.example.com", AT);

    relayed("198.51.100.99");
    relayed("2001:db8::10");

    assertThat(rig.inSet).isEmpty();
    assertThat(rig.addresses.isHome(EN, InetAddress.ofLiteral("198.51.100.99"), rig.now)).isFalse();
  }

  @Test
  void whatIsStaleOrNotFoundOpensNothing() {
    rig.dns.put(EN, new Addresses.Found(List.of(InetAddress.ofLiteral(AT)), true));
    relayed(AT);
    rig.dns.put(EN, new Addresses.Failed(Addresses.Failure.SERVER, ""));
    relayed(AT);

    assertThat(rig.inSet).isEmpty();
  }

  @Test
  void aFilteredAddressOpensNothing() {
    rig.found("en.example.com", "10.0.0.1");

    relayed("10.0.0.1");

    assertThat(rig.inSet).isEmpty();
  }

  @Test
  void whatOnlyARelayCanDoOrNobodyNamedOpensNothing() {
    rig.found("en.example.com", AT);
    Preface hello = new Preface.Tls(EN, false);

    relayed(new Preface.Opaque(), AT, 443, GateRig.forward(EN));
    relayed(hello, AT, 8443, GateRig.forward(EN));
    relayed(hello, AT, 443, GateRig.forward(new Target.Endpoint.Name(EN, 8443), "en.example.com"));
    relayed(hello, AT, 443, GateRig.refuse(io.tailwater.agent.traffic.Refusal.NO_SNI));

    assertThat(rig.inSet).isEmpty();
  }

  @Test
  void afterAMismatchTheMinuteIsKept() {
    rig.found("en.example.com", AT);
    rig.addresses.exclude(InetAddress.ofLiteral(AT), 443, rig.now);
    rig.inSet.clear();

    relayed(AT);
    assertThat(rig.inSet).isEmpty();
    pass(61);
    relayed(AT);

    assertThat(rig.inSet).containsExactly("add " + AT + ":443 30");
  }

  @Test
  void anAddressWhereAnotherNameGoesElsewhereStaysOut() {
    HostName other = HostName.of("other.example.com");
    rig.found("en.example.com", AT);
    rig.routes.publish(
        GateRig.table(
            2,
            (_, preface) ->
                preface instanceof Preface.Tls(HostName sni, _) && sni.equals(other)
                    ? GateRig.forward(new Target.Endpoint.Name(other, 8443), other.text())
                    : GateRig.byName(preface)));
    InetAddress at = InetAddress.ofLiteral(AT);
    rig.addresses.told(rig.routes.get(), other, List.of(at), 100, rig.now);

    relayed(AT);

    assertThat(rig.inSet).isEmpty();
    assertThat(rig.addresses.isHome(EN, at, rig.now)).isTrue();
  }

  @Test
  void whereThePodNamesSomebodyWhoIsNotAtHomeItGoesOnBeingRelayed() {
    HostName other = HostName.of("other.example.com");
    InetAddress at = InetAddress.ofLiteral(AT);
    rig.addresses.told(rig.routes.get(), other, List.of(at), 3600, rig.now);
    rig.found("en.example.com", "198.51.100.11");

    relayed(AT);
    assertThat(rig.inSet).containsExactly("add " + AT + ":443 3600", "remove " + AT + ":443");
    rig.inSet.clear();
    for (int minute = 0; minute < 30; minute += 6) {
      pass(360);
      relayed(AT);
      rig.addresses.told(rig.routes.get(), other, List.of(at), 3600, rig.now);
    }
    assertThat(rig.inSet).as("while it does").isEmpty();

    pass(601);
    rig.addresses.told(rig.routes.get(), other, List.of(at), 3600, rig.now);
    assertThat(rig.inSet).as("and when it does no more").hasSize(1);
  }

  @Test
  void aNameThatWasAtHomeAMomentAgoTakesNothingAway() {
    rig.found("en.example.com", AT);
    relayed(AT);
    pass(40);
    rig.found("en.example.com", "198.51.100.11");

    relayed(AT);
    rig.addresses.told(rig.routes.get(), EN, List.of(InetAddress.ofLiteral(AT)), 30, rig.now);

    assertThat(rig.inSet).containsExactly("add " + AT + ":443 30", "add " + AT + ":443 30");
  }

  @Test
  void noMoreAddressesAreKeptThanTheBound() {
    rig.found("en.example.com", AT);
    relayed(AT);
    rig.inSet.clear();
    for (int i = 0; i < ReleasableAddresses.MOST; i++) {
      relayed("203.0." + i / 250 + "." + i % 250);
    }

    assertThat(rig.inSet).containsExactly("remove " + AT + ":443");
  }

  /// A pod that dials a thousand addresses with an allowed name fills what is kept for itself.
  @Test
  void aFloodOfOnePodTakesNothingFromAnother() {
    GateRig neighbour = GateRig.usual();
    Preface hello = new Preface.Tls(EN, false);
    rig.found("en.example.com", AT, "198.51.100.11");
    relayed(neighbour, hello, AT, 443, GateRig.forward(EN));
    for (int i = 0; i < 2 * ReleasableAddresses.MOST; i++) {
      relayed("203." + i / 60000 + "." + i / 250 % 250 + "." + i % 250);
    }

    assertThat(neighbour.inSet).containsExactly("add " + AT + ":443 30");
    assertThat(neighbour.addresses.isHome(EN, InetAddress.ofLiteral(AT), rig.now)).isTrue();
    relayed(neighbour, hello, "198.51.100.11", 443, GateRig.forward(EN));
    assertThat(neighbour.inSet).hasSize(2);
    relayed(AT); // and what the flooder dials rightly is learnt all the same
    assertThat(rig.inSet).containsExactly("add " + AT + ":443 30");
  }
}
