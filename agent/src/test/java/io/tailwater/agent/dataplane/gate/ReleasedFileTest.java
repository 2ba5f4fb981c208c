package io.tailwater.agent.dataplane.gate;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.flow.FlowLimits;
import io.tailwater.agent.dataplane.sniff.ClientHelloBytes;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.PodRef;
import io.tailwater.iptables.queue.FlowTuple;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ReleasedFileTest {
  private static final String NAME = "en.example.com";
  private static final byte[] HELLO = ClientHelloBytes.named(NAME).record();
  private static final String LINE =
      "+\tdefault/ratings\t192.0.2.7:40000\t203.0.113.9:443\t4294967097\t5001\t1795284000000\t"
          + NAME;

  @TempDir private Path stateDir;

  private Path file() {
    return stateDir.resolve("released.log");
  }

  private GateRig rig() {
    GateRig rig =
        new GateRig(FlowLimits.DEFAULTS, GateRig.table(), ReleasedFile.in(stateDir, () -> 0), true);
    rig.found(NAME, "203.0.113.9");
    return rig;
  }

  private static void release(GateRig rig, InetSocketAddress from) {
    rig.packet(
        Packets.segment(
            from, Packets.SERVER, GateRig.ISN, 0, Packets.SYN, Packets.SYN_OPTIONS, new byte[0]),
        true,
        false);
    rig.packet(
        Packets.segment(
            from,
            Packets.SERVER,
            GateRig.FIRST,
            GateRig.ACKED,
            Packets.ACK,
            Packets.OPTIONS,
            HELLO),
        true,
        false);
  }

  private List<ReleasedFile.Kept> read(String... lines) throws IOException {
    Files.write(file(), List.of(lines));
    return ReleasedFile.in(stateDir, () -> 0).take(GateRig.RATINGS);
  }

  @Test
  void aReleasedConnectionIsWrittenBeforeItsFirstByteLeaves() throws IOException {
    GateRig rig = rig();
    rig.syn();
    rig.data(0, HELLO);

    assertThat(Files.readAllLines(file())).containsExactly(LINE);
  }

  @Test
  void whatIsReadIsWhatWasWritten() throws IOException {
    assertThat(read(LINE))
        .containsExactly(
            new ReleasedFile.Kept(
                GateRig.TUPLE,
                GateRig.FIRST,
                5001,
                1795284000000L,
                Optional.of(HostName.of(NAME))));
  }

  @Test
  void whatHasEndedIsNotRead() throws IOException {
    assertThat(read(LINE, "-\tdefault/ratings\t192.0.2.7:40000\t203.0.113.9:443")).isEmpty();
    assertThat(read(LINE, "-\tdefault/reviews\t192.0.2.7:40000\t203.0.113.9:443")).hasSize(1);
  }

  @Test
  void linesThatCannotBeReadArePassedOver() throws IOException {
    String six = LINE.replace("192.0.2.7", "[2001:db8::7]").replace("203.0.113.9", "[2001:db8::9]");
    assertThat(
            read(
                "",
                "rubbish",
                LINE.substring(0, 40),
                LINE.replace("5001", "five"),
                LINE.replace("5001", "-1"),
                LINE.replace("5001", "99999999999"),
                LINE.replace("192.0.2.7", "[2001:db8::7]"),
                LINE.replace("192.0.2.7", "ratings"),
                LINE.replace(":443", ":70000"),
                LINE.replace("default/ratings", "ratings"),
                LINE + "\tmore",
                LINE + "x".repeat(1000),
                LINE.replace('+', '*'),
                six))
        .extracting(ReleasedFile.Kept::tuple)
        .containsExactly(
            FlowTuple.of(Packets.at("2001:db8::7", 40_000), Packets.at("2001:db8::9", 443)));
  }

  @Test
  void aFileThatIsNoTextIsNotBelieved() throws IOException {
    byte[] noise = new byte[100_000];
    new Random(3).nextBytes(noise);
    Files.write(file(), noise);

    assertThat(ReleasedFile.in(stateDir, () -> 0).take(GateRig.RATINGS)).isEmpty();
  }

  @Test
  void beyondSoManyInASecondLinesWait() throws IOException {
    GateRig rig = rig();
    for (int i = 0; i < ReleasedFile.AT_ONCE + 50; i++) {
      release(rig, Packets.at("192.0.2.7", 1000 + i));
    }
    assertThat(Files.readAllLines(file())).hasSize(ReleasedFile.AT_ONCE);

    rig.released.keep();

    assertThat(Files.readAllLines(file())).hasSize(ReleasedFile.AT_ONCE + 50);
  }

  @Test
  void whatEndsBeforeItsTurnIsNeverWritten() throws IOException {
    GateRig rig = rig();
    for (int i = 0; i < ReleasedFile.AT_ONCE + 50; i++) {
      release(rig, Packets.at("192.0.2.7", 1000 + i));
    }
    FlowTuple last =
        FlowTuple.of(Packets.at("192.0.2.7", 1000 + ReleasedFile.AT_ONCE + 49), Packets.SERVER);
    rig.released.replaced(rig.pod, last);
    rig.released.keep();

    assertThat(Files.readString(file())).doesNotContain(":" + last.sourcePort() + "\t");
  }

  @Test
  void aFileMostlyOfThePastIsWrittenAnew() throws IOException {
    GateRig rig = rig();
    release(rig, Packets.at("192.0.2.7", 999));
    for (int i = 0; i < ReleasedFile.SPARE_LINES / 2 + 10; i++) {
      InetSocketAddress from = Packets.at("192.0.2.8", 1000 + i);
      release(rig, from);
      rig.released.keep();
      rig.released.replaced(rig.pod, FlowTuple.of(from, Packets.SERVER));
    }
    rig.released.keep();

    assertThat(Files.readAllLines(file()).size()).isLessThan(100);
    assertThat(ReleasedFile.in(stateDir, () -> 0).take(GateRig.RATINGS)).hasSize(1);
  }

  @Test
  void whatAnotherAgentAddsMeanwhileIsReadToo() throws IOException {
    ReleasedFile next = ReleasedFile.in(stateDir, () -> 0);
    assertThat(next.take(new PodRef("default", "reviews"))).isEmpty();
    GateRig before = rig();
    release(before, Packets.POD);
    Files.writeString(file(), "+\tdefault/ratings\t192", StandardOpenOption.APPEND);

    assertThat(next.take(GateRig.RATINGS)).hasSize(1);
    assertThat(next.take(GateRig.RATINGS)).isEmpty();
  }

  @Test
  void aFileThatIsSharedIsOnlyAddedTo() throws IOException {
    ReleasedFile shared = ReleasedFile.in(stateDir, () -> 0);
    shared.share(true);
    GateRig rig = new GateRig(FlowLimits.DEFAULTS, GateRig.table(), shared, true);
    rig.found(NAME, "203.0.113.9");
    for (int i = 0; i < ReleasedFile.SPARE_LINES / 2 + 10; i++) {
      InetSocketAddress from = Packets.at("192.0.2.8", 1000 + i);
      release(rig, from);
      rig.released.keep();
      rig.released.replaced(rig.pod, FlowTuple.of(from, Packets.SERVER));
    }
    rig.released.keep();
    assertThat(Files.readAllLines(file()).size()).isGreaterThan(ReleasedFile.SPARE_LINES);

    shared.share(false);
    rig.released.keep();
    assertThat(Files.readAllLines(file())).isEmpty();
  }
}
