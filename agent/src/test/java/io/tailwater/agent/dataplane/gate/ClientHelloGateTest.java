package io.tailwater.agent.dataplane.gate;

import static io.tailwater.agent.dataplane.gate.GateRig.FIRST;
import static io.tailwater.agent.dataplane.gate.GateRig.ISN;
import static io.tailwater.agent.dataplane.gate.Packets.ACK;
import static io.tailwater.agent.dataplane.gate.Packets.FIN;
import static io.tailwater.agent.dataplane.gate.Packets.PSH;
import static io.tailwater.agent.dataplane.gate.Packets.RST;
import static io.tailwater.agent.dataplane.gate.Packets.SYN;
import static io.tailwater.agent.dataplane.gate.Packets.URG;
import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.account.Outcome;
import io.tailwater.agent.dataplane.flow.FlowLimits;
import io.tailwater.agent.dataplane.resolve.Addresses;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.dataplane.sniff.ClientHelloBytes;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.Grade;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.Refusal;
import java.io.ByteArrayOutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ClientHelloGateTest {
  private static final String NAME = "en.example.com";
  private static final String HOME = "203.0.113.9";
  private static final byte[] HELLO = ClientHelloBytes.named(NAME).record();
  private static final byte[] OTHER = ClientHelloBytes.named("en.example.net").record();

  private final GateRig rig = GateRig.usual();

  private static byte[] part(int from, int to) {
    return Arrays.copyOfRange(HELLO, from, to);
  }

  // -- what is let go

  @Test
  void aHelloInOnePacketIsReleasedAsItIs() {
    rig.found(NAME, HOME);

    rig.syn();
    rig.data(0, HELLO);

    assertThat(rig.verdicts).containsExactly("accept #1", "release #2");
    assertThat(rig.only().events).containsExactly("accepted", "opened");
    assertThat(rig.only().record.grade()).hasValue(Grade.KERNEL);
    assertThat(rig.only().record.upstream())
        .hasValue(new InetSocketAddress(Packets.SERVER.getAddress(), 443));
    assertThat(rig.released.count()).isOne();
    rig.assertNothingIsLeft();
  }

  @Test
  void whatWasInTheQueueBehindTheHelloFollows() {
    rig.found(NAME, HOME);
    rig.syn();
    rig.data(0, HELLO);

    rig.data(HELLO.length, new byte[100]);

    assertThat(rig.verdicts).endsWith("release #3");
    assertThat(rig.told).hasSize(1);
    rig.assertNothingIsLeft();
  }

  @Test
  void aHelloInTwoPacketsIsHeldAndReleasedInOrder() {
    rig.found(NAME, HOME);
    rig.syn();
    rig.data(0, part(0, 50));
    assertThat(rig.verdicts).containsExactly("accept #1");

    rig.data(50, part(50, HELLO.length));

    assertThat(rig.verdicts).containsExactly("accept #1", "release #2", "accept #3");
    rig.assertNothingIsLeft();
  }

  @Test
  void packetsInReverseOrderAreReleasedInTheRightOne() {
    rig.found(NAME, HOME);
    rig.syn();
    rig.data(50, part(50, HELLO.length));

    rig.data(0, part(0, 50));

    assertThat(rig.verdicts).containsExactly("accept #1", "release #3", "accept #2");
    rig.assertNothingIsLeft();
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 3, 7, 50})
  void aHelloInManyPiecesIsCopiedAndGoesOnAsOnePacket(int size) {
    rig.found(NAME, HOME);
    rig.syn();
    for (int at = 0; at < HELLO.length; at += size) {
      rig.data(at, part(at, Math.min(HELLO.length, at + size)));
    }

    assertThat(rig.verdicts.getLast()).startsWith("release other");
    assertThat(rig.verdicts.subList(1, rig.verdicts.size() - 1))
        .allMatch(verdict -> verdict.startsWith("drop"));
    assertThat(rig.rewritten.getFirst())
        .isEqualTo(
            Packets.segment(
                    Packets.POD,
                    Packets.SERVER,
                    FIRST,
                    GateRig.ACKED,
                    ACK | PSH,
                    Packets.OPTIONS,
                    HELLO)
                .array());
    rig.assertNothingIsLeft();
  }

  @Test
  void piecesInAnyOrderTwiceAndOverlappingMakeTheSameHello() {
    Random random = new Random(42);
    for (int round = 0; round < 300; round++) {
      GateRig one = GateRig.usual();
      one.found(NAME, HOME);
      one.syn();
      while (one.released.count() == 0) {
        int from = random.nextInt(HELLO.length);
        one.data(from, part(from, Math.min(HELLO.length, from + 1 + random.nextInt(60))));
      }
      one.assertNothingIsLeft();
      for (byte[] packet : one.rewritten) {
        assertThat(Arrays.copyOfRange(packet, 52, packet.length)).isEqualTo(HELLO);
      }
    }
  }

  @Test
  void aHelloThatNoPacketCanTakeGoesOnInSeveral() {
    byte[] large = ClientHelloBytes.named(NAME).browser().padTo(3000).record();
    rig.found(NAME, HOME);
    rig.syn();
    rig.data(0, Arrays.copyOf(large, 1400));
    rig.data(1400, Arrays.copyOfRange(large, 1400, 2800));
    rig.data(2800, Arrays.copyOfRange(large, 2800, large.length));

    assertThat(rig.verdicts)
        .containsExactly("accept #1", "drop #2", "drop #3", "send", "send", "release other #4");
    assertThat(payloads(rig)).isEqualTo(large);
    assertThat(rig.rewritten).allMatch(packet -> packet.length <= 1500);
    rig.assertNothingIsLeft();
  }

  /// Of the packets that the gate has written, in their order.
  private static byte[] payloads(GateRig rig) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (byte[] packet : rig.rewritten) {
      assertThat(ByteBuffer.wrap(packet).getInt(24)).as("seq").isEqualTo(FIRST + out.size());
      out.write(packet, 52, packet.length - 52);
    }
    return out.toByteArray();
  }

  @Test
  void aPacketThatStandsForSeveralIsNotRewritten() {
    rig.found(NAME, HOME);
    rig.syn();
    rig.data(0, part(0, 10));
    rig.data(10, part(10, 20));

    rig.packet(FIRST + 20, ACK, part(20, HELLO.length), true, true);

    assertThat(rig.verdicts).endsWith("send", "release #4");
    assertThat(payloads(rig)).isEqualTo(HELLO);
    rig.assertNothingIsLeft();
  }

  @Test
  void aClientThatWaitsForAnAcknowledgementGetsOne() {
    rig.found(NAME, HOME);
    rig.syn();
    rig.data(0, part(0, 40));
    rig.pass(Duration.ofMillis(100));
    assertThat(rig.verdicts).containsExactly("accept #1");

    rig.pass(Duration.ofMillis(100));
    assertThat(rig.verdicts).containsExactly("accept #1", "drop #2", "send");
    assertThat(rig.rewritten.removeFirst())
        .isEqualTo(
            Packets.segment(
                    Packets.SERVER,
                    Packets.POD,
                    GateRig.ACKED,
                    FIRST + 40,
                    ACK,
                    new byte[0],
                    new byte[0],
                    65_535)
                .array());
    rig.pass(Duration.ofMillis(200));
    assertThat(rig.verdicts).as("once").hasSize(3);
    rig.data(40, part(40, HELLO.length));

    assertThat(rig.verdicts).endsWith("release other #3");
    assertThat(payloads(rig)).isEqualTo(HELLO);
    rig.assertNothingIsLeft();
  }

  @Test
  void whatWasAcknowledgedAndNeverBecomesAHelloIsRefused() {
    GateRig any =
        new GateRig(
            GateRig.table(
                1, (_, _) -> new Decision.Passthrough(Optional.empty(), Optional.empty())));
    any.syn();
    any.data(0, part(0, 40));
    any.pass(Duration.ofMillis(200));
    any.pass(Duration.ofSeconds(10));

    assertThat(any.verdicts).containsExactly("accept #1", "drop #2", "send", "refuse at 0");
    any.assertRefused(Refusal.HELLO_TIMEOUT);
    any.assertNothingIsLeft();
  }

  @Test
  void whatLiesBehindAGapIsNotAcknowledged() {
    rig.syn();
    rig.data(40, part(40, 60));
    rig.pass(Duration.ofMillis(200));
    assertThat(rig.verdicts).containsExactly("accept #1");

    rig.packet(packet6(ISN, SYN, Packets.SYN_OPTIONS, new byte[0]), true, false);
    rig.packet(packet6(FIRST, ACK, Packets.OPTIONS, part(0, 30)), true, false);
    rig.pass(Duration.ofMillis(200));
    assertThat(rig.rewritten.getLast())
        .isEqualTo(
            Packets.segment(
                    Packets.SERVER6,
                    Packets.POD6,
                    GateRig.ACKED,
                    FIRST + 30,
                    ACK,
                    new byte[0],
                    new byte[0],
                    65_535)
                .array());
  }

  @Test
  void retransmissionsOfWhatIsHeldAreDropped() {
    rig.found(NAME, HOME);
    rig.present = false;
    rig.syn();
    rig.data(0, HELLO);
    rig.data(0, HELLO);
    rig.data(0, HELLO);
    assertThat(rig.verdicts).containsExactly("accept #1", "drop #3", "drop #4");

    rig.runTasks();

    assertThat(rig.verdicts).endsWith("release #2");
    rig.assertNothingIsLeft();
  }

  @Test
  void earlyDataWaitsForTheLookUpWithTheHello() {
    rig.found(NAME, HOME);
    rig.present = false;
    rig.syn();
    rig.data(0, HELLO);
    rig.data(HELLO.length, new byte[300]);
    rig.data(HELLO.length + 300, new byte[300]);
    assertThat(rig.verdicts).containsExactly("accept #1");

    rig.runTasks();

    assertThat(rig.verdicts).endsWith("release #2", "accept #3", "accept #4");
    rig.assertNothingIsLeft();
  }

  @Test
  void noMoreThanAFewPacketsOfOneConnectionAreHeld() {
    rig.found(NAME, HOME);
    rig.present = false;
    rig.syn();
    rig.data(0, HELLO);
    for (int i = 0; i < 20; i++) {
      rig.data(HELLO.length + i, new byte[1]);
    }

    assertThat(rig.verdicts.stream().filter(v -> v.startsWith("drop"))).hasSize(13);
    rig.runTasks();
    rig.assertNothingIsLeft();
  }

  @Test
  void dataOfASynIsSentAgainAfterTheHandshake() {
    rig.found(NAME, HOME);

    rig.packet(ISN, SYN, HELLO);
    assertThat(rig.verdicts).containsExactly("accept other #1");
    assertThat(rig.rewritten.getFirst())
        .isEqualTo(
            Packets.segment(
                    Packets.POD,
                    Packets.SERVER,
                    ISN,
                    GateRig.ACKED,
                    SYN,
                    Packets.SYN_OPTIONS,
                    new byte[0])
                .array());
    rig.data(0, HELLO);

    assertThat(rig.verdicts).endsWith("release #2");
  }

  @Test
  void aNameThatWasLookedUpForThePodNeedsNoOther() {
    HostName name = HostName.of(NAME);
    InetSocketAddress server = Packets.SERVER;
    rig.addresses.told(rig.routes.get(), name, List.of(server.getAddress()), 30, rig.now);
    rig.syn();

    rig.data(0, HELLO); // the script knows no address

    assertThat(rig.verdicts).endsWith("release #2");
  }

  @Test
  void whatPassesToTheDialledAddressIsReleased() {
    GateRig any =
        new GateRig(
            GateRig.table(
                1, (_, _) -> new Decision.Passthrough(Optional.empty(), Optional.empty())));
    any.syn();
    any.data(0, OTHER);

    assertThat(any.verdicts).endsWith("release #2");
    assertThat(any.clusters.all().getFirst().name()).isEqualTo("PassthroughCluster");
  }

  @Test
  void ipv6IsNoDifferent() {
    rig.found(NAME, "2001:db8:2::9");
    rig.packet(packet6(ISN, SYN, Packets.SYN_OPTIONS, new byte[0]), true, false);
    rig.packet(packet6(FIRST, ACK, Packets.OPTIONS, HELLO), true, false);

    assertThat(rig.verdicts).containsExactly("accept #1", "release #2");
  }

  private static ByteBuffer packet6(int seq, int flags, byte[] options, byte[] payload) {
    return Packets.segment(
        Packets.POD6, Packets.SERVER6, seq, GateRig.ACKED, flags, options, payload);
  }

  // -- what is refused

  @Test
  void anotherNameIsRefused() {
    rig.syn();
    rig.data(0, OTHER);

    assertThat(rig.verdicts).containsExactly("accept #1", "refuse #2 at 0,0");
    rig.assertRefused(Refusal.CONNECTION_CLOSED);
    assertThat(rig.only().record.shownName()).isEqualTo("en.example.net");
    rig.assertNothingIsLeft();
  }

  @Test
  void whatFollowsARefusedHelloIsDropped() {
    rig.syn();
    rig.data(0, OTHER);
    rig.data(OTHER.length, new byte[10]);

    assertThat(rig.verdicts).endsWith("drop #3");
    assertThat(rig.told).hasSize(1);
  }

  @Test
  void aRefusalOfSeveralPacketsAnswersEachOnce() {
    rig.syn();
    rig.data(0, Arrays.copyOf(OTHER, 30));
    rig.data(30, Arrays.copyOfRange(OTHER, 30, OTHER.length));

    assertThat(rig.verdicts).containsExactly("accept #1", "drop #2", "refuse #3 at 0,0");
    rig.assertNothingIsLeft();
  }

  @Test
  void aNameThatIsNotAtHomeThereIsLeftToTheRelayFromNowOn() {
    HostName name = HostName.of(NAME);
    rig.addresses.told(
        rig.routes.get(),
        HostName.of("de.example.com"),
        List.of(Packets.SERVER.getAddress()),
        30,
        rig.now);
    rig.found(NAME, "203.0.113.10");
    rig.syn();
    rig.data(0, HELLO);

    rig.assertRefused(Refusal.RELEASED_ADDRESS_MISMATCH);
    assertThat(rig.inSet).containsExactly("add 203.0.113.9:443 30", "remove 203.0.113.9:443");
    assertThat(rig.counts.mismatched()).isOne();
    assertThat(rig.addresses.isHome(name, Packets.SERVER.getAddress(), rig.now)).isFalse();
    rig.assertNothingIsLeft();
  }

  @Test
  void aNameThatGoesElsewhereIsLeftToTheRelay() {
    GateRig other =
        new GateRig(
            GateRig.table(
                1,
                (_, _) ->
                    GateRig.forward(
                        new Target.Endpoint.Name(HostName.of(NAME), 8443), "api.example.com")));
    other.syn();
    other.data(0, HELLO);

    other.assertRefused(Refusal.RELEASED_ADDRESS_MISMATCH);
  }

  @Test
  void aFilteredAddressIsRefused() {
    rig.found(NAME, "10.0.0.1");
    rig.syn();
    rig.data(0, HELLO);

    rig.assertRefused(Refusal.ADDRESS_FILTERED);
  }

  @Test
  void aNameThatCannotBeLookedUpIsRefused() {
    rig.dns.put(HostName.of(NAME), new Addresses.Failed(Addresses.Failure.SERVER, "SERVFAIL"));
    rig.present = false;
    rig.syn();
    rig.data(0, HELLO);
    rig.runTasks();

    rig.assertRefused(Refusal.DNS_FAILURE);
    rig.assertNothingIsLeft();
  }

  @Test
  void anOverlapWithOtherBytesIsRefused() {
    byte[] forged = HELLO.clone();
    forged[40] ^= 1;
    for (boolean firstForged : new boolean[] {true, false}) {
      GateRig one = GateRig.usual();
      one.syn();
      one.data(0, Arrays.copyOf(firstForged ? forged : HELLO, 60));
      one.data(20, Arrays.copyOfRange(firstForged ? HELLO : forged, 20, 80));

      assertThat(one.verdicts).containsExactly("accept #1", "drop #2", "refuse #3 at 0,0");
      one.assertRefused(Refusal.MALFORMED_HELLO);
      one.assertNothingIsLeft();
    }
  }

  @Test
  void anOverlapThatDiffersWhileTheNameIsLookedUpIsRefused() {
    rig.found(NAME, HOME);
    rig.present = false;
    rig.syn();
    rig.data(0, HELLO);

    rig.data(0, OTHER);
    rig.runTasks();

    assertThat(rig.verdicts).containsExactly("accept #1", "drop #2", "refuse #3 at 0,0");
    rig.assertRefused(Refusal.MALFORMED_HELLO);
    assertThat(rig.told).hasSize(1);
    rig.assertNothingIsLeft();
  }

  @ParameterizedTest
  @ValueSource(ints = {-1, -200, -100_000, 100_000, 1 << 30})
  void aHelloElsewhereInTheStreamIsRefused(int at) {
    rig.syn();
    rig.data(at, HELLO);

    rig.assertRefused(Refusal.MALFORMED_HELLO);
    rig.assertNothingIsLeft();
  }

  @Test
  void aHelloBehindAGapIsNotRead() {
    rig.found(NAME, HOME);
    rig.syn();
    rig.data(1000, HELLO);
    assertThat(rig.told).isEmpty();

    rig.data(0, OTHER);

    rig.assertRefused(Refusal.CONNECTION_CLOSED);
    rig.assertNothingIsLeft();
  }

  @ParameterizedTest
  @ValueSource(ints = {ACK | RST, ACK | URG, 0, PSH, SYN | ACK, FIN, SYN | FIN | ACK})
  void dataWithStrangeFlagsIsRefused(int flags) {
    rig.syn();
    rig.packet(FIRST, flags, HELLO);

    rig.assertRefused(Refusal.MALFORMED_HELLO);
    assertThat(rig.verdicts.getLast()).startsWith("refuse #2 at 0");
    rig.assertNothingIsLeft();
  }

  @Test
  void aPacketOfARawSocketIsRefusedWhereTheKernelTells() {
    rig.syn();
    rig.packet(FIRST, ACK, HELLO, false, false);
    rig.assertRefused(Refusal.MALFORMED_HELLO);

    GateRig node =
        new GateRig(FlowLimits.DEFAULTS, GateRig.table(), ReleasedFile.none(() -> 0), false);
    node.found(NAME, HOME);
    node.syn();
    node.packet(FIRST, ACK, HELLO, false, false);
    assertThat(node.verdicts).endsWith("release #2");
  }

  @Test
  void anUnreadablePacketIsDropped() {
    rig.packet(ByteBuffer.wrap(new byte[] {0x45, 0, 0, 3}), true, false);

    assertThat(rig.verdicts).containsExactly("drop #1");
    assertThat(rig.told).isEmpty();
  }

  @Test
  void aStreamThatEndsBeforeItsHelloIsRefused() {
    rig.syn();
    rig.packet(FIRST, ACK | FIN, part(0, 40));

    rig.assertRefused(Refusal.MALFORMED_HELLO);
    rig.assertNothingIsLeft();
  }

  @Test
  void aStreamThatEndsWithItsHelloIsReleased() {
    rig.found(NAME, HOME);
    rig.syn();
    rig.data(0, part(0, 40));
    rig.data(40, part(40, 60));
    rig.packet(FIRST + 60, ACK | FIN, part(60, HELLO.length));

    assertThat(rig.verdicts.getLast()).startsWith("release other");
    assertThat(rig.rewritten.getFirst()[33] & FIN).isEqualTo(FIN);
  }

  @Test
  void bytesBehindTheEndAreRefused() {
    rig.syn();
    rig.packet(FIRST, ACK | FIN, new byte[] {22});
    assertThat(rig.told).hasSize(1);

    GateRig other = GateRig.usual();
    other.syn();
    other.packet(FIRST + 10, ACK | FIN, part(10, 20));
    other.data(20, part(20, 30));
    other.assertRefused(Refusal.MALFORMED_HELLO);
  }

  @Test
  void aHelloThatIsTooLargeIsRefused() {
    byte[] large = ClientHelloBytes.named(NAME).padTo(16_385).records(16_384);
    rig.syn();
    for (int at = 0; at < large.length && rig.told.isEmpty(); at += 1460) {
      rig.data(at, Arrays.copyOfRange(large, at, Math.min(large.length, at + 1460)));
    }

    rig.assertRefused(Refusal.MALFORMED_HELLO);
    rig.assertNothingIsLeft();
  }

  @Test
  void plaintextHttpThatIsRoutedByRequestIsLeftToTheRelay() {
    GateRig http = new GateRig(GateRig.table(1, (_, _) -> new Decision.PerRequest()));
    http.syn();
    http.data(
        0, "GET / HTTP/1.1\r\nHost: en.example.com\r\n\r\n".getBytes(StandardCharsets.US_ASCII));

    http.assertRefused(Refusal.RELEASED_ADDRESS_MISMATCH);
  }

  // -- time

  @Test
  void aClientThatStaysSilentIsRefusedInTime() {
    rig.syn();
    rig.pass(Duration.ofSeconds(9));
    assertThat(rig.told).isEmpty();

    rig.pass(Duration.ofSeconds(2));

    assertThat(rig.verdicts).endsWith("refuse at 0");
    rig.assertRefused(Refusal.HELLO_TIMEOUT);
    rig.assertNothingIsLeft();
  }

  @Test
  void aConnectionThatNobodyAnsweredIsForgotten() {
    rig.open = false;
    rig.syn();
    rig.pass(Duration.ofSeconds(11));

    assertThat(rig.told).isEmpty();
    rig.assertNothingIsLeft();
  }

  @Test
  void aHelloThatNeverBecomesCompleteIsRefusedAndTheRetryRelayed() {
    rig.addresses.told(
        rig.routes.get(), HostName.of(NAME), List.of(Packets.SERVER.getAddress()), 300, rig.now);
    rig.syn();
    rig.data(0, part(0, 40));
    rig.pass(Duration.ofSeconds(11));

    assertThat(rig.verdicts).containsExactly("accept #1", "refuse #2 at 0,0");
    rig.assertRefused(Refusal.HELLO_TIMEOUT);
    assertThat(rig.inSet).endsWith("remove 203.0.113.9:443");
    rig.assertNothingIsLeft();
  }

  @Test
  void aVerdictIsForgottenSoon() {
    rig.syn();
    rig.data(0, OTHER);
    assertThat(rig.gate.remembered()).isOne();

    rig.pass(Duration.ofSeconds(3));

    assertThat(rig.gate.remembered()).isZero();
    assertThat(rig.pod.connections).isEmpty();
  }

  // -- the same ends again

  @Test
  void aSynThatIsSentAgainIsTheSameConnectionAndTheNextOnesThereAreRelayed() {
    rig.found(NAME, HOME);
    rig.syn();
    assertThat(rig.inSet).noneMatch(change -> change.startsWith("remove"));
    rig.syn();
    assertThat(rig.inSet).endsWith("remove " + HOME + ":443");
    rig.data(0, HELLO);

    assertThat(rig.verdicts).containsExactly("accept #1", "accept #2", "release #3");
    rig.assertNothingIsLeft();
  }

  @Test
  void aSynThatIsSentAgainWhileOthersAreAnsweredLeavesTheAddressInTheSet() {
    rig.found(NAME, HOME);
    rig.addresses.told(
        rig.routes.get(), HostName.of(NAME), List.of(InetAddress.ofLiteral(HOME)), 300, rig.now);
    rig.syn();
    InetSocketAddress other = Packets.at("192.0.2.7", 40_001);
    rig.packet(from(other, ISN, SYN, Packets.SYN_OPTIONS, new byte[0]), true, false);
    rig.packet(from(other, FIRST, ACK, Packets.OPTIONS, HELLO), true, false);
    rig.runTasks();

    rig.syn();

    assertThat(rig.verdicts).contains("release #3");
    assertThat(rig.inSet).noneMatch(change -> change.startsWith("remove"));
  }

  @Test
  void aSynThatHasGoneOnTwiceIsTheSameConnectionAndTheNextOnesThereAreRelayed() {
    rig.found(NAME, HOME);
    rig.begun(ISN);
    assertThat(rig.inSet).noneMatch(change -> change.startsWith("remove"));
    rig.begun(ISN);
    assertThat(rig.inSet).endsWith("remove " + HOME + ":443");
    rig.data(0, HELLO);

    assertThat(rig.verdicts).containsExactly("release #1");
    rig.assertNothingIsLeft();
  }

  @Test
  void aSynWithDataThatIsLoggedAndThenHeldIsNotSentAgain() {
    rig.begun(ISN);
    rig.packet(ISN, SYN, HELLO);

    assertThat(rig.verdicts).containsExactly("accept other #1");
    assertThat(rig.inSet).noneMatch(change -> change.startsWith("remove"));
  }

  @Test
  void aSynOnTheSameEndsBeginsAnew() {
    rig.found(NAME, HOME);
    rig.syn();
    rig.data(0, HELLO);

    rig.packet(7000, SYN, new byte[0]);
    assertThat(rig.told.getFirst().outcome).isEqualTo(new Outcome.Finished());
    rig.packet(7001, ACK, OTHER);

    rig.assertRefused(Refusal.CONNECTION_CLOSED);
    assertThat(rig.told).hasSize(2);
    rig.assertNothingIsLeft();
  }

  @Test
  void aSynThatHasGoneOnIsTheBeginning() {
    rig.found(NAME, HOME);
    rig.begun(ISN);
    rig.data(0, HELLO);

    assertThat(rig.verdicts).containsExactly("release #1");
    rig.assertNothingIsLeft();
  }

  @Test
  void aConnectionThatBeginsWhileTheLastOneOfTheseEndsIsDecidedIsNotReleasedInItsPlace() {
    rig.found(NAME, HOME);
    rig.present = false;
    rig.begun(ISN);
    rig.data(0, HELLO);
    rig.begun(ISN + 5000);
    rig.runTasks();

    assertThat(rig.verdicts).containsExactly("drop #1");
    rig.packet(ISN + 5001, ACK | PSH, OTHER);
    assertThat(rig.verdicts).endsWith("refuse #2 at 5000,0");
    rig.assertNothingIsLeft();
  }

  @Test
  void aConnectionThatBeginsWhereOneWasReleasedIsJudgedAnew() {
    rig.found(NAME, HOME);
    rig.begun(ISN);
    rig.data(0, HELLO);
    rig.begun(ISN + 300);

    rig.packet(ISN + 301, ACK | PSH, OTHER);

    assertThat(rig.verdicts).containsExactly("release #1", "refuse #2 at 300,0");
    rig.assertNothingIsLeft();
  }

  @Test
  void aHelloIsJudgedWhenAllThatTheSocketHasSentWasSeen() {
    rig.found(NAME, HOME);
    rig.sent = HELLO.length + 200L;
    rig.begun(ISN);
    rig.data(0, HELLO);
    assertThat(rig.verdicts).isEmpty();

    rig.data(HELLO.length, new byte[200]);

    assertThat(rig.verdicts).containsExactly("release #1", "accept #2");
    rig.assertNothingIsLeft();
  }

  @Test
  void whatWasLostBehindAHelloIsSentAgainOnceTheHelloIsAcknowledged() {
    rig.found(NAME, HOME);
    byte[] behind = new byte[2800];
    byte[] all = Arrays.copyOf(HELLO, 1400 + behind.length);
    rig.sent = all.length;
    rig.data(0, Arrays.copyOf(all, 1400));
    assertThat(rig.verdicts).as("comes again").containsExactly("drop #1");

    rig.data(0, Arrays.copyOf(all, 1400));
    assertThat(rig.verdicts).containsExactly("drop #1", "drop #2", "send");
    assertThat(rig.rewritten.removeFirst()).isEqualTo(acknowledgement(1400, 0));
    rig.data(1400, Arrays.copyOfRange(all, 1400, 2800));
    assertThat(rig.verdicts).endsWith("drop #3", "send");
    assertThat(rig.rewritten.removeFirst()).isEqualTo(acknowledgement(2800, 0));
    rig.data(2800, Arrays.copyOfRange(all, 2800, 4200));

    assertThat(rig.verdicts).endsWith("release other #4");
    assertThat(payloads(rig)).isEqualTo(all);
    assertThat(rig.counts.found()).isOne();
    rig.assertNothingIsLeft();
  }

  @Test
  void aSocketThatSendsItsOldestAgainIsAskedForTheRestAtOnce() {
    rig.found(NAME, HOME);
    rig.again = true;
    rig.sent = HELLO.length + 200L;
    rig.data(0, HELLO);
    assertThat(rig.verdicts).containsExactly("drop #1", "send");
    rig.data(HELLO.length, new byte[200]);

    assertThat(rig.verdicts).endsWith("release other #2");
    rig.assertNothingIsLeft();
  }

  @Test
  void whatWasDroppedWhileOthersWereMissingIsSentByUsAndNotByWhoeverIsFirst() {
    rig.found(NAME, HOME);
    rig.begun(ISN);
    rig.sent = HELLO.length + 200L;
    rig.data(0, HELLO);
    rig.pass(Duration.ofMillis(200));
    rig.data(HELLO.length, new byte[200]);

    assertThat(rig.verdicts).containsExactly("drop #1", "release other #2");
    assertThat(payloads(rig)).isEqualTo(Arrays.copyOf(HELLO, HELLO.length + 200));
    rig.assertNothingIsLeft();
  }

  @Test
  void manyThatComeAgainAfterALossWaitForTheirTurn() {
    rig.found(NAME, HOME);
    int others = 0;
    while (rig.admission.beginHandshake(rig.served)) {
      others++;
    }
    assertThat(others).isPositive();
    rig.data(0, HELLO);
    assertThat(rig.verdicts).containsExactly("drop #1");
    assertThat(rig.counts.overloaded()).isZero();
    rig.admission.endHandshake(rig.served);
    rig.data(0, HELLO);

    assertThat(rig.verdicts).endsWith("release #2");
  }

  @Test
  void anAcknowledgementThatDidNotArriveIsGivenAgain() {
    rig.found(NAME, HOME);
    rig.sent = HELLO.length + 200L;
    rig.data(0, HELLO);
    rig.pass(Duration.ofMillis(200));
    rig.data(0, HELLO);
    rig.data(0, HELLO);

    assertThat(rig.verdicts).containsExactly("drop #1", "drop #2", "send", "drop #3", "send");
  }

  @Test
  void aHelloThatIsNotTheBeginningIsNotReleasedWhateverIsAcknowledged() {
    rig.found(NAME, HOME);
    rig.sent = 100L + HELLO.length + 200;
    rig.data(100, HELLO);
    rig.pass(Duration.ofMillis(200));
    rig.data(100, HELLO);
    rig.data(100 + HELLO.length, new byte[200]);
    rig.pass(Duration.ofMillis(200));
    rig.data(100 + HELLO.length, new byte[200]);
    rig.pass(Duration.ofSeconds(11));

    assertThat(rig.verdicts).noneMatch(verdict -> verdict.startsWith("release"));
    rig.assertRefused(Refusal.HELLO_TIMEOUT);
    rig.assertNothingIsLeft();
  }

  @Test
  void moreThanIsKeptIsNotAcknowledged() {
    rig.found(NAME, HOME);
    rig.sent = 1 << 20;
    for (int i = 0; i < 3; i++) {
      rig.data(0, HELLO);
      rig.pass(Duration.ofMillis(200));
    }
    rig.pass(Duration.ofSeconds(11));

    assertThat(rig.verdicts).containsExactly("drop #1", "drop #2", "drop #3", "refuse at 0");
    rig.assertRefused(Refusal.HELLO_TIMEOUT);
  }

  @Test
  void aSocketThatSaysToHaveSentLessThanWasSeenIsNotBelieved() {
    rig.found(NAME, HOME);
    rig.begun(ISN);
    rig.sent = HELLO.length - 1L;
    rig.data(0, HELLO);
    rig.pass(Duration.ofMillis(200));
    rig.data(0, HELLO);
    rig.pass(Duration.ofSeconds(11));

    assertThat(rig.verdicts).containsExactly("drop #1", "refuse #2 at 0,0");
    rig.assertRefused(Refusal.HELLO_TIMEOUT);
    rig.assertNothingIsLeft();
  }

  private static byte[] acknowledgement(int at, int window) {
    return Packets.segment(
            Packets.SERVER,
            Packets.POD,
            GateRig.ACKED,
            FIRST + at,
            ACK,
            new byte[0],
            new byte[0],
            window)
        .array();
  }

  @Test
  void aHelloBehindBytesThatWereNotSeenIsNeverJudged() {
    rig.found(NAME, HOME);
    rig.sent = HELLO.length + 100L;
    rig.begun(ISN + 100);
    rig.data(100, HELLO);
    assertThat(rig.verdicts).isEmpty();

    rig.pass(Duration.ofMillis(200));
    assertThat(rig.verdicts).as("comes again").containsExactly("drop #1");
    rig.data(0, Arrays.copyOf(OTHER, 100));
    rig.data(100, HELLO);
    rig.pass(Duration.ofMillis(200));
    rig.pass(Duration.ofSeconds(11));

    assertThat(rig.released.count()).isZero();
    assertThat(rig.verdicts).noneMatch(verdict -> verdict.startsWith("release"));
    rig.assertNothingIsLeft();
  }

  @Test
  void whileBeginningsAreLostNothingIsJudgedAndAfterwardsWhatComesAgain() {
    rig.found(NAME, HOME);
    rig.begun(ISN);
    rig.data(0, part(0, 50));
    rig.gate.lost(rig.pod);
    rig.begun(ISN + 9);
    rig.data(50, part(50, HELLO.length));
    assertThat(rig.verdicts).containsExactly("drop #1", "drop #2");

    rig.gate.recovered(rig.pod);
    rig.data(0, HELLO);

    assertThat(rig.verdicts).endsWith("release #3");
    assertThat(rig.counts.found()).isOne();
    rig.assertNothingIsLeft();
  }

  @Test
  void whatWasReleasedIsForgottenWhenBeginningsAreLost() {
    rig.found(NAME, HOME);
    rig.begun(ISN);
    rig.data(0, HELLO);
    rig.gate.lost(rig.pod);
    rig.gate.recovered(rig.pod);

    rig.data(HELLO.length, OTHER);

    assertThat(rig.verdicts).containsExactly("release #1", "refuse #2 at " + HELLO.length + ",0");
  }

  @Test
  void silenceThatMayGoOnIsJudgedWhenItEnds() {
    GateRig any =
        new GateRig(
            GateRig.table(
                1,
                (_, preface) ->
                    preface instanceof Preface.Silent
                        ? new Decision.Passthrough(Optional.empty(), Optional.empty())
                        : GateRig.byName(preface)));
    any.begun(ISN);
    any.pass(Duration.ofSeconds(11));
    any.pass(Duration.ofSeconds(11));
    assertThat(any.verdicts).isEmpty();
    assertThat(any.told).isEmpty();
    assertThat(any.gate.waiting()).isOne();

    any.data(0, OTHER);

    assertThat(any.verdicts).containsExactly("refuse #1 at 0,0");
    any.assertNothingIsLeft();
  }

  @Test
  void aSynWhileAHelloIsHeldDropsIt() {
    rig.found(NAME, HOME);
    rig.present = false;
    rig.syn();
    rig.data(0, HELLO);

    rig.packet(7000, SYN, new byte[0]);
    rig.runTasks(); // the answer comes for a connection that is gone
    rig.packet(7001, ACK, OTHER);

    assertThat(rig.verdicts)
        .containsExactly("accept #1", "drop #2", "accept #3", "refuse #4 at 7200,0");
    rig.assertNothingIsLeft();
  }

  // -- beginnings that were not seen

  @Test
  void aHelloWhoseSynAnotherAgentSawIsJudged() {
    rig.found(NAME, HOME);
    rig.data(0, HELLO);

    assertThat(rig.verdicts).containsExactly("release #1");
    assertThat(rig.counts.found()).isOne();
  }

  @Test
  void theLastPieceOfAHelloMayComeBackBeforeTheFirst() {
    rig.found(NAME, HOME);
    rig.data(60, part(60, HELLO.length));
    rig.data(0, HELLO);

    assertThat(rig.verdicts).containsExactly("drop #1", "release #2");
    rig.assertNothingIsLeft();
  }

  @Test
  void whatIsNoBeginningIsRefusedInTime() {
    rig.data(60, part(60, HELLO.length));
    rig.pass(Duration.ofSeconds(11));

    rig.assertRefused(Refusal.HELLO_TIMEOUT);
    rig.assertNothingIsLeft();
  }

  @Test
  void onTheNodeAnUnseenBeginningIsRefused() {
    GateRig node =
        new GateRig(FlowLimits.DEFAULTS, GateRig.table(), ReleasedFile.none(() -> 0), false);
    node.found(NAME, HOME);
    node.data(0, HELLO);

    node.assertRefused(Refusal.UNCAPTURED);
  }

  // -- bounds

  @Test
  void moreIncompleteHellosThanMayWaitAreRefused() {
    FlowLimits few =
        new FlowLimits(
            0, 100, 2, 16384, Duration.ofSeconds(10), Duration.ofSeconds(10), Duration.ZERO);
    GateRig one = new GateRig(few, GateRig.table(), ReleasedFile.none(() -> 0), true);
    for (int port = 1; port <= 3; port++) {
      InetSocketAddress from = Packets.at("192.0.2.7", port);
      one.packet(from(from, ISN, SYN, Packets.SYN_OPTIONS, new byte[0]), true, false);
      one.packet(from(from, FIRST, ACK, Packets.OPTIONS, part(0, 20)), true, false);
    }

    assertThat(one.told).hasSize(1);
    one.assertRefused(Refusal.LIMIT);
    assertThat(one.counts.overloaded()).isOne();
    one.pass(Duration.ofSeconds(11));
    one.assertNothingIsLeft();
  }

  private static ByteBuffer from(
      InetSocketAddress pod, int seq, int flags, byte[] options, byte[] payload) {
    return Packets.segment(pod, Packets.SERVER, seq, GateRig.ACKED, flags, options, payload);
  }

  @Test
  void onePodCannotHaveMoreOpenThanABound() {
    for (int i = 0; i < GateTable.MOST_OPENING_OF_POD + 100; i++) {
      InetSocketAddress from = Packets.at("192.0.2." + i % 250, 1024 + i / 250);
      rig.packet(from(from, ISN, SYN, Packets.SYN_OPTIONS, new byte[0]), true, false);
    }

    assertThat(rig.gate.waiting()).isEqualTo(GateTable.MOST_OPENING_OF_POD);
    assertThat(rig.verdicts).allMatch(verdict -> verdict.startsWith("accept"));
  }

  @Test
  void onTheNodeTheOldestOfTooManySilentConnectionsIsRefusedAndNotForgotten() {
    GateRig node =
        new GateRig(FlowLimits.DEFAULTS, GateRig.table(), ReleasedFile.none(() -> 0), false);
    for (int i = 0; i <= GateTable.MOST_OPENING_OF_POD; i++) {
      InetSocketAddress from = Packets.at("192.0.2." + i % 250, 1024 + i / 250);
      node.packet(from(from, ISN, SYN, Packets.SYN_OPTIONS, new byte[0]), true, false);
    }

    assertThat(node.verdicts).filteredOn(verdict -> verdict.startsWith("refuse")).hasSize(1);
    node.assertRefused(Refusal.LIMIT);
  }

  @Test
  void onTheNodeASecondBeginningElsewhereInTheStreamRefusesTheConnection() {
    GateRig node =
        new GateRig(FlowLimits.DEFAULTS, GateRig.table(), ReleasedFile.none(() -> 0), false);
    node.found(NAME, HOME);
    node.syn();
    node.packet(ISN + 1000, SYN, new byte[0]);
    node.packet(FIRST + 1000, Packets.ACK | Packets.PSH, HELLO);

    assertThat(node.verdicts).noneMatch(verdict -> verdict.startsWith("release"));
    node.assertRefused(Refusal.MALFORMED_HELLO);
  }

  @Test
  void onTheNodeTheSameBeginningAgainIsTheSameConnection() {
    GateRig node =
        new GateRig(FlowLimits.DEFAULTS, GateRig.table(), ReleasedFile.none(() -> 0), false);
    node.found(NAME, HOME);
    node.syn();
    node.syn();
    node.data(0, HELLO);
    node.runTasks();

    assertThat(node.verdicts).containsExactly("accept #1", "accept #2", "release #3");
  }

  @Test
  void letGoOfThePodEverythingHeldIsDropped() {
    rig.found(NAME, HOME);
    rig.present = false;
    rig.syn();
    rig.data(0, HELLO);

    rig.gate.close(rig.pod);
    rig.runTasks();

    assertThat(rig.verdicts).containsExactly("accept #1", "drop #2");
    assertThat(rig.only().outcome).isEqualTo(new Outcome.ClientGone());
    rig.assertNothingIsLeft();
  }

  @Test
  void anythingThatComesIsAnsweredOnceAndNothingIsReleasedByChance() {
    Random random = new Random(7);
    for (int round = 0; round < 3000; round++) {
      GateRig one = GateRig.usual();
      one.found(NAME, HOME);
      one.found("de.example.com", HOME);
      one.present = random.nextBoolean();
      byte[][] hellos = {HELLO, OTHER, ClientHelloBytes.named("de.example.com").record()};
      for (int i = random.nextInt(12); i >= 0; i--) {
        byte[] hello = hellos[random.nextInt(3)];
        int from = random.nextInt(4) == 0 ? random.nextInt(hello.length) : 0;
        int to = from + random.nextInt(hello.length - from + 1);
        int flags = random.nextInt(6) == 0 ? random.nextInt(64) : ACK;
        int seq = random.nextInt(6) == 0 ? ISN : FIRST + from;
        one.packet(
            seq,
            seq == ISN ? SYN : flags,
            seq == ISN ? new byte[0] : Arrays.copyOfRange(hello, from, to));
        if (random.nextInt(5) == 0) {
          one.runTasks();
        }
        if (random.nextInt(9) == 0) {
          one.pass(Duration.ofSeconds(random.nextInt(12)));
        }
      }
      one.runTasks();
      one.pass(Duration.ofSeconds(11));
      one.runTasks();
      one.assertNothingIsLeft();
      assertThat(one.told)
          .allMatch(told -> told.outcome != null || told.events.contains("opened"))
          .allMatch(told ->
              told.outcome instanceof Outcome.Refused || isOfExample(told.record.preface()));
    }
  }

  private static boolean isOfExample(Preface preface) {
    return preface instanceof Preface.Tls(HostName sni, _) && sni.text().endsWith(".example.com");
  }
}
