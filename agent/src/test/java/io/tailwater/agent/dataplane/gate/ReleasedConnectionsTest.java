package io.tailwater.agent.dataplane.gate;

import static io.tailwater.agent.dataplane.gate.GateRig.ACKED;
import static io.tailwater.agent.dataplane.gate.GateRig.FIRST;
import static io.tailwater.agent.dataplane.gate.GateRig.TUPLE;
import static io.tailwater.agent.dataplane.gate.Packets.ACK;
import static io.tailwater.agent.dataplane.gate.Packets.FIN;
import static io.tailwater.agent.dataplane.gate.Packets.RST;
import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.account.ByteCount;
import io.tailwater.agent.dataplane.account.Outcome;
import io.tailwater.agent.dataplane.flow.FlowLimits;
import io.tailwater.agent.dataplane.route.RouteTable;
import io.tailwater.agent.dataplane.sniff.ClientHelloBytes;
import io.tailwater.agent.dataplane.upstream.Endpoint;
import io.tailwater.agent.traffic.Grade;
import io.tailwater.agent.traffic.Refusal;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ReleasedConnectionsTest {
  private static final String NAME = "en.example.com";
  private static final byte[] HELLO = ClientHelloBytes.named(NAME).record();

  @TempDir private Path stateDir;

  private static GateRig released(GateRig rig) {
    rig.found(NAME, "203.0.113.9");
    rig.syn();
    rig.data(0, HELLO);
    assertThat(rig.released.count()).isOne();
    return rig;
  }

  private static GateRig released() {
    return released(GateRig.usual());
  }

  private GateRig keeping() {
    return new GateRig(
        FlowLimits.DEFAULTS, GateRig.table(), ReleasedFile.in(stateDir, () -> 0), true);
  }

  private static void assertBytes(GateRig.Told told, long sent, long received, ByteCount how) {
    assertThat(told.record.bytesSent()).as("sent").isEqualTo(sent);
    assertThat(told.record.bytesReceived()).as("received").isEqualTo(received);
    assertThat(told.record.byteCount()).isEqualTo(how);
  }

  // -- bytes

  @Test
  void bothEndsTellExactlyHowManyBytesThereWere() {
    GateRig rig = released();
    rig.logged(true, FIRST + 900, ACKED + 4_000, 100, FIN | ACK);
    assertThat(rig.only().outcome).isNull();
    rig.logged(false, ACKED + 7_000, FIRST + 1_001, 0, FIN | ACK);

    assertThat(rig.only().outcome).isEqualTo(new Outcome.Finished());
    assertBytes(rig.only(), 1_000, 7_000, ByteCount.EXACT);
    assertThat(rig.only().sent).isEqualTo(1_000);
    assertThat(rig.only().received).isEqualTo(7_000);
    assertThat(rig.clusters.cluster(GateRig.CLUSTER).bytesToUpstream()).isEqualTo(1_000);
    assertThat(rig.clusters.cluster(GateRig.CLUSTER).bytesToClient()).isEqualTo(7_000);
    assertThat(rig.released.count()).isZero();
  }

  @Test
  void aServerThatEndsFirstIsCountedTheSame() {
    GateRig rig = released();
    rig.logged(false, ACKED + 7_000, FIRST + 500, 0, FIN | ACK);
    rig.logged(true, FIRST + 1_000, ACKED + 7_001, 0, FIN | ACK);

    assertBytes(rig.only(), 1_000, 7_000, ByteCount.EXACT);
  }

  @Test
  void anEndThatIsSentAgainCountsOnce() {
    GateRig rig = released();
    rig.logged(true, FIRST + 1_000, ACKED + 10, 0, FIN | ACK);
    rig.logged(true, FIRST + 1_000, ACKED + 10, 0, FIN | ACK);
    rig.logged(false, ACKED + 10, FIRST + 1_001, 0, FIN | ACK);
    rig.logged(false, ACKED + 10, FIRST + 1_001, 0, FIN | ACK);

    assertBytes(rig.only(), 1_000, 10, ByteCount.EXACT);
    assertThat(rig.only().events).containsExactly("accepted", "opened", "ended");
  }

  @Test
  void aResetTellsBothDirections() {
    GateRig byPod = released();
    byPod.logged(true, FIRST + 300, ACKED + 400, 0, RST | ACK);
    assertThat(byPod.only().outcome).isEqualTo(new Outcome.Reset(true));
    assertBytes(byPod.only(), 300, 400, ByteCount.EXACT);

    GateRig byServer = released();
    byServer.logged(false, ACKED + 400, FIRST + 300, 0, RST | ACK);
    assertThat(byServer.only().outcome).isEqualTo(new Outcome.Reset(false));
    assertBytes(byServer.only(), 300, 400, ByteCount.EXACT);
  }

  @Test
  void aResetAfterAnEndCountsNoEnd() {
    GateRig rig = released();
    rig.logged(true, FIRST + 1_000, ACKED + 10, 0, FIN | ACK);
    rig.logged(true, FIRST + 1_001, ACKED + 4_000, 0, RST | ACK);

    assertBytes(rig.only(), 1_000, 4_000, ByteCount.EXACT);
  }

  @Test
  void aResetWithoutAcknowledgementLeavesTheOtherDirectionToTheKernel() {
    GateRig rig = released();
    rig.inKernel.put(TUPLE, new KernelConnections.Bytes(310, 4_000, false));
    rig.logged(true, FIRST + 300, 0, 0, RST);

    assertBytes(rig.only(), 310, 4_000, ByteCount.APPROXIMATE);
  }

  @ParameterizedTest
  @CsvSource({
    "1000, 1040",
    "4294967295, 4295000000",
    "4294967296, 4295000000",
    "10737418240, 10750000000",
    "53687091200, 54000000000",
    "0, 0"
  })
  void sequenceNumbersThatBeganAgainAreResolvedByTheEstimate(long bytes, long estimate) {
    GateRig rig = released();
    rig.now += Duration.ofSeconds(20).toNanos();
    rig.inKernel.put(TUPLE, new KernelConnections.Bytes(700, estimate, false));
    rig.logged(true, FIRST + 600, 0, 0, FIN | ACK);
    rig.logged(false, ACKED + (int) bytes, FIRST + 601, 0, FIN | ACK);

    assertBytes(rig.only(), 600, bytes, ByteCount.EXACT);
  }

  @Test
  void longConnectionsAreToldOfWhileTheyLive() {
    GateRig rig = released();
    rig.inKernel.put(TUPLE, new KernelConnections.Bytes(1_000, 50_000, false));
    rig.released.look();
    assertThat(rig.only().received).as("young").isZero();

    rig.now += Duration.ofSeconds(6).toNanos();
    rig.released.look();
    assertThat(rig.only().received).isEqualTo(49_000);
    rig.now += Duration.ofSeconds(6).toNanos();
    rig.inKernel.put(TUPLE, new KernelConnections.Bytes(1_000, 100_000, true));
    rig.released.look();
    assertThat(rig.only().received).isEqualTo(100_000);

    rig.logged(false, ACKED + 120_000, FIRST + 1_000, 0, RST | ACK);
    assertBytes(rig.only(), 1_000, 120_000, ByteCount.EXACT);
    assertThat(rig.only().received).isEqualTo(120_000);
  }

  @Test
  void anEndThatWasMissedIsFoundAndSaidToBeApproximate() {
    GateRig rig = released();
    rig.now += Duration.ofSeconds(6).toNanos();
    rig.inKernel.put(TUPLE, new KernelConnections.Bytes(1_000, 50_000, false));
    rig.released.look();
    rig.inKernel.clear();
    rig.released.look();
    rig.now += Duration.ofSeconds(6).toNanos();
    rig.released.look();
    assertThat(rig.only().outcome).as("about to be told").isNull();
    rig.now += Duration.ofSeconds(6).toNanos();
    rig.released.look();

    assertThat(rig.only().outcome).isEqualTo(new Outcome.Finished());
    assertBytes(rig.only(), 980, 49_000, ByteCount.APPROXIMATE);
    assertThat(rig.released.count()).isZero();
  }

  @Test
  void segmentsOfOtherConnectionsMeanNothing() {
    GateRig rig = GateRig.usual();
    rig.logged(true, FIRST, ACKED, 0, FIN | ACK);

    assertThat(rig.told).isEmpty();
  }

  // -- counted like others

  @Test
  void itCountsAtTheEndpointAndInTheSnapshot() {
    GateRig rig = released();
    Endpoint endpoint = rig.clusters.cluster(GateRig.CLUSTER).endpoints().getFirst();
    assertThat(endpoint.hostname()).isEqualTo(NAME);
    assertThat(endpoint.cxActive()).isOne();
    assertThat(rig.released.snapshot())
        .singleElement()
        .satisfies(record -> {
          assertThat(record.stage()).isEqualTo("released");
          assertThat(record.grade()).hasValue(Grade.KERNEL);
          assertThat(record.shownName()).isEqualTo(NAME);
        });

    rig.logged(true, FIRST, ACKED, 0, RST | ACK);

    assertThat(endpoint.cxActive()).isZero();
    assertThat(endpoint.cxTotal()).isOne();
    assertThat(rig.released.snapshot()).isEmpty();
  }

  @Test
  void tenThousandsOfThemCostFewBytesEach() {
    GateRig rig = GateRig.usual();
    rig.quiet = true;
    rig.found(NAME, "203.0.113.9");
    long before = heap();
    int count = ReleasedConnections.MOST_OF_POD;
    for (int i = 0; i < count; i++) {
      release(rig, Packets.at("192.0.2.7", 1024 + i));
    }
    rig.pass(Duration.ofSeconds(3)); // verdicts are forgotten
    long unwritten = (heap() - before) / count;
    rig.released.keep();

    assertThat(rig.released.count()).isEqualTo(count);
    long each = (heap() - before) / count;
    assertThat(each).isLessThan(300);
    assertThat(unwritten).as("while none stands in the file").isLessThan(300);
  }

  private static void release(GateRig rig, InetSocketAddress from) {
    rig.packet(
        Packets.segment(
            from, Packets.SERVER, GateRig.ISN, 0, Packets.SYN, Packets.OPTIONS, new byte[0]),
        true,
        false);
    rig.packet(
        Packets.segment(from, Packets.SERVER, FIRST, ACKED, ACK, Packets.OPTIONS, HELLO),
        true,
        false);
  }

  @Test
  void aPodThatHasAsManyAsMayBeIsRefusedAndRelayed() {
    GateRig rig = GateRig.usual();
    rig.quiet = true;
    rig.found(NAME, "203.0.113.9");
    for (int i = 0; i < ReleasedConnections.MOST_OF_POD; i++) {
      release(rig, Packets.at("192.0.2.7", 1024 + i));
    }
    rig.quiet = false;
    release(rig, Packets.at("192.0.2.8", 1024));

    rig.assertRefused(Refusal.LIMIT);
    assertThat(rig.counts.overloaded()).isOne();
    assertThat(rig.inSet).containsExactly("remove 203.0.113.9:443");
  }

  private static long heap() {
    long least = Long.MAX_VALUE;
    // What was softly held before goes too, and every fourth time the serial collector moves all
    // together: else it leaves up to a twentieth of the old generation to what is dead.
    for (int i = 0; i < 4; i++) {
      System.gc();
      Runtime runtime = Runtime.getRuntime();
      least = Math.min(least, runtime.totalMemory() - runtime.freeMemory());
    }
    return least;
  }

  // -- policy changes

  @Test
  void aNameThatPolicyStopsAllowingLosesItsConnections() {
    GateRig rig = released();
    rig.inKernel.put(TUPLE, new KernelConnections.Bytes(1_000, 2_000, true));
    rig.released.policyChanged(GateRig.table());
    assertThat(rig.only().outcome).as("allowed still").isNull();

    rig.released.policyChanged(
        GateRig.table(2, (_, _) -> GateRig.refuse(Refusal.CONNECTION_CLOSED)));

    assertThat(rig.verdicts).endsWith("end");
    assertThat(((Outcome.Refused) Objects.requireNonNull(rig.only().outcome)).why())
        .isEqualTo(Refusal.CONNECTION_CLOSED);
    assertBytes(rig.only(), 1_000, 2_000, ByteCount.EXACT);
    assertThat(rig.counts.revoked()).isOne();
  }

  @Test
  void whereTheyAreKeptNoPolicyEndsThem() {
    RouteTable none = GateRig.table(2, (_, _) -> GateRig.refuse(Refusal.CONNECTION_CLOSED));
    GateRig rig = released(keptRig(GateRig.table()));
    rig.released.policyChanged(none);
    assertThat(rig.only().outcome).isNull();

    GateRig next = keptRig(none);
    next.inKernel.put(TUPLE, new KernelConnections.Bytes(10, 20, true));
    next.released.adopt(next.pod, next.routes.get());

    assertThat(next.only().outcome).isNull();
    assertThat(next.only().record.shownName()).isEqualTo(NAME);
    assertThat(next.verdicts).isEmpty();
  }

  private GateRig keptRig(RouteTable table) {
    return new GateRig(FlowLimits.DEFAULTS, table, ReleasedFile.in(stateDir, () -> 0), true, false);
  }

  @Test
  void thePodThatGoesTakesItsConnectionsAlong() {
    GateRig rig = released();
    rig.released.forget(rig.pod);

    assertThat(rig.only().outcome).isEqualTo(new Outcome.Drained());
    assertThat(rig.released.count()).isZero();
  }

  // -- agents come and go

  @Test
  void aNextAgentGoesOnCounting() {
    released(keeping());

    GateRig next = keeping();
    next.inKernel.put(TUPLE, new KernelConnections.Bytes(0, 0, false));
    next.released.adopt(next.pod, next.routes.get());
    assertThat(next.only().events).containsExactly("accepted", "opened");
    next.logged(true, FIRST + 900, ACKED + 4_000, 100, FIN | ACK);
    next.logged(false, ACKED + 7_000, FIRST + 1_001, 0, FIN | ACK);

    assertThat(next.only().record.shownName()).isEqualTo(NAME);
    assertThat(next.only().record.decision().flatMap(d -> d.cluster())).hasValue(GateRig.CLUSTER);
    assertBytes(next.only(), 1_000, 7_000, ByteCount.EXACT);
  }

  @Test
  void whatEndedWhileNoAgentRanIsToldAsIncomplete() {
    released(keeping());

    GateRig next = keeping();
    next.released.adopt(next.pod, next.routes.get());

    assertThat(next.only().outcome).isEqualTo(new Outcome.Finished());
    assertBytes(next.only(), 0, 0, ByteCount.INCOMPLETE);
    assertThat(next.released.count()).isZero();

    GateRig third = keeping();
    third.released.adopt(third.pod, third.routes.get());
    assertThat(third.told).as("told once").isEmpty();
  }

  @Test
  void aNextAgentEndsWhatPolicyDoesNotAllowAnyMore() {
    released(keeping());

    GateRig next =
        new GateRig(
            FlowLimits.DEFAULTS,
            GateRig.table(1, (_, _) -> GateRig.refuse(Refusal.CONNECTION_CLOSED)),
            ReleasedFile.in(stateDir, () -> 0),
            true);
    next.inKernel.put(TUPLE, new KernelConnections.Bytes(10, 20, true));
    next.released.adopt(next.pod, next.routes.get());

    assertThat(next.verdicts).containsExactly("end");
    assertThat(next.only().outcome).isInstanceOf(Outcome.Refused.class);
  }

  @Test
  void aConnectionThatNoFileKnowsGoesOnWithoutAName() {
    GateRig next = keeping();
    next.inKernel.put(TUPLE, new KernelConnections.Bytes(10, 20, false));
    next.released.adopt(next.pod, next.routes.get());
    assertThat(next.verdicts).isEmpty();

    next.logged(true, FIRST + 900, ACKED + 4_000, 100, RST | ACK);

    assertBytes(next.only(), 10, 20, ByteCount.APPROXIMATE);
  }

  @Test
  void whatIsHandedOverStaysInTheFile() {
    GateRig rig = released(keeping());
    rig.released.handOver(rig.pod);
    assertThat(rig.only().outcome).isNull();
    assertThat(rig.released.count()).isZero();

    GateRig next = keeping();
    next.inKernel.put(TUPLE, new KernelConnections.Bytes(0, 0, false));
    next.released.adopt(next.pod, next.routes.get());
    assertThat(next.released.count()).isOne();
  }
}
