package io.tailwater.agent.dataplane.gate;

import static io.tailwater.agent.dataplane.gate.Packets.ACK;
import static io.tailwater.agent.dataplane.gate.Packets.FIN;
import static io.tailwater.agent.dataplane.gate.Packets.POD;
import static io.tailwater.agent.dataplane.gate.Packets.POD6;
import static io.tailwater.agent.dataplane.gate.Packets.PSH;
import static io.tailwater.agent.dataplane.gate.Packets.SERVER;
import static io.tailwater.agent.dataplane.gate.Packets.SERVER6;
import static io.tailwater.agent.dataplane.gate.Packets.SYN;
import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.iptables.queue.FlowTuple;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class SegmentTest {
  private static final byte[] HELLO = "hello, world".getBytes(StandardCharsets.US_ASCII);

  private final Segment segment = new Segment();

  private static ByteBuffer packet(boolean six, int flags, byte[] options, byte[] payload) {
    return Packets.segment(
        six ? POD6 : POD, six ? SERVER6 : SERVER, 1000, 2000, flags, options, payload);
  }

  private static InetSocketAddress from(boolean six) {
    return six ? POD6 : POD;
  }

  private static InetSocketAddress to(boolean six) {
    return six ? SERVER6 : SERVER;
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void everyFieldOfASegmentIsRead(boolean six) {
    ByteBuffer packet = packet(six, ACK | PSH, Packets.OPTIONS, HELLO);

    assertThat(segment.read(packet)).isTrue();

    assertThat(segment.oddity()).isNull();
    assertThat(segment.tuple()).isEqualTo(FlowTuple.of(from(six), to(six)));
    assertThat(segment.seq()).isEqualTo(1000);
    assertThat(segment.ack()).isEqualTo(2000);
    assertThat(segment.has(ACK)).isTrue();
    assertThat(segment.has(SYN)).isFalse();
    assertThat(segment.optionBytes()).isEqualTo(12);
    assertThat(segment.length()).isEqualTo(HELLO.length);
    assertThat(payload()).isEqualTo(HELLO);
    assertThat(packet.position()).isZero();
  }

  private byte[] payload() {
    byte[] out = new byte[segment.length()];
    segment.payload(0, out, 0, out.length);
    return out;
  }

  @Test
  void aPacketInTheMiddleOfABufferIsRead() {
    ByteBuffer packet = packet(false, ACK, Packets.OPTIONS, HELLO);
    ByteBuffer larger = ByteBuffer.allocateDirect(packet.capacity() + 20);
    larger.put(7, packet, 0, packet.capacity());
    larger.position(7).limit(7 + packet.capacity());

    assertThat(segment.read(larger)).isTrue();
    assertThat(payload()).isEqualTo(HELLO);
  }

  @Test
  void theMssOfASynIsWhatItsOptionSays() {
    assertThat(segment.read(packet(false, SYN, Packets.SYN_OPTIONS, new byte[0]))).isTrue();
    assertThat(segment.mss()).isEqualTo(1460);

    assertThat(segment.read(packet(false, SYN, new byte[0], new byte[0]))).isTrue();
    assertThat(segment.mss()).isEqualTo(536);

    assertThat(segment.read(packet(true, SYN, new byte[] {1, 1, 2, 9}, new byte[0]))).isTrue();
    assertThat(segment.mss()).isEqualTo(1220);
  }

  @Test
  void ipOptionsAreOdd() {
    ByteBuffer plain = packet(false, ACK, Packets.OPTIONS, HELLO);
    ByteBuffer packet = ByteBuffer.allocate(plain.capacity() + 4);
    packet.put(0, plain, 0, 20).put(20, new byte[] {1, 1, 1, 0});
    packet.put(24, plain, 20, plain.capacity() - 20);
    packet.put(0, (byte) 0x46).putShort(2, (short) packet.capacity());

    assertThat(segment.read(packet)).isTrue();
    assertThat(segment.oddity()).isEqualTo("the packet has IP options");
    assertThat(segment.tuple()).isEqualTo(FlowTuple.of(POD, SERVER));
    assertThat(payload()).isEqualTo(HELLO);
  }

  @Test
  void extensionHeadersOfIpv6AreOdd() {
    ByteBuffer plain = packet(true, ACK, Packets.OPTIONS, HELLO);
    ByteBuffer packet = ByteBuffer.allocate(plain.capacity() + 8);
    packet.put(0, plain, 0, 40).put(40, new byte[] {6, 0, 1, 4, 0, 0, 0, 0});
    packet.put(48, plain, 40, plain.capacity() - 40);
    packet.put(6, (byte) 60).putShort(4, (short) (packet.capacity() - 40));

    assertThat(segment.read(packet)).isTrue();
    assertThat(segment.oddity()).isEqualTo("the packet has IPv6 extension headers");
    assertThat(segment.tuple()).isEqualTo(FlowTuple.of(POD6, SERVER6));
    assertThat(payload()).isEqualTo(HELLO);
  }

  @Test
  void fragmentsAreNotRead() {
    ByteBuffer first = packet(false, ACK, Packets.OPTIONS, HELLO).putShort(6, (short) 0x2000);
    ByteBuffer later = packet(false, ACK, Packets.OPTIONS, HELLO).putShort(6, (short) 1);
    ByteBuffer six = packet(true, ACK, Packets.OPTIONS, HELLO).put(6, (byte) 44);

    assertThat(segment.read(first)).isFalse();
    assertThat(segment.read(later)).isFalse();
    assertThat(segment.read(six)).isFalse();
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void lengthsThatDoNotFitAreNotRead(boolean six) {
    ByteBuffer packet = packet(six, ACK, Packets.OPTIONS, HELLO);
    for (int limit = 0; limit < packet.capacity(); limit++) {
      assertThat(segment.read(packet.duplicate().limit(limit))).as("%d bytes", limit).isFalse();
    }
    int tcp = six ? 40 : 20;
    assertThat(segment.read(packet(six, ACK, Packets.OPTIONS, HELLO).put(tcp + 12, (byte) 0x40)))
        .isFalse();
    assertThat(segment.read(packet(six, ACK, Packets.OPTIONS, HELLO).put(tcp + 12, (byte) 0xf0)))
        .isFalse();
    assertThat(segment.read(packet(six, ACK, Packets.OPTIONS, HELLO).put(six ? 6 : 9, (byte) 17)))
        .isFalse();
  }

  @Test
  void nothingThatIsReadMakesItFail() {
    Random random = new Random(6);
    int read = 0;
    for (int i = 0; i < 200_000; i++) {
      ByteBuffer packet = packet(random.nextBoolean(), ACK, Packets.SYN_OPTIONS, HELLO);
      for (int changes = random.nextInt(4); changes > 0; changes--) {
        packet.put(random.nextInt(packet.capacity()), (byte) random.nextInt());
      }
      if (random.nextInt(8) == 0) {
        packet.limit(random.nextInt(packet.capacity()));
      }
      if (segment.read(packet)) {
        read++;
        assertThat(segment.length()).isBetween(0, packet.limit());
        assertThat(segment.payloadAt() + segment.length()).isEqualTo(packet.limit());
        assertThat(payload()).hasSize(segment.length());
        assertThat(segment.mss()).isBetween(0, 65535);
        segment.tuple();
      }
    }
    assertThat(read).isGreaterThan(50_000);
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void anotherPayloadHasRightLengthsAndChecksums(boolean six) {
    byte[] payload = new byte[333];
    new Random(1).nextBytes(payload);
    ByteBuffer held = packet(six, ACK | PSH | FIN, Packets.OPTIONS, HELLO);
    assertThat(segment.read(held)).isTrue();

    ByteBuffer other = RewrittenSegment.of(segment, 77, payload, 0, 300, false);

    ByteBuffer expected =
        Packets.segment(
            from(six), to(six), 77, 2000, ACK | PSH, Packets.OPTIONS, Arrays.copyOf(payload, 300));
    assertThat(other).isEqualTo(expected);
  }

  @Test
  void theEndStaysWhereTheStreamEnds() {
    assertThat(segment.read(packet(false, ACK | FIN, Packets.OPTIONS, HELLO))).isTrue();
    ByteBuffer other = RewrittenSegment.of(segment, 77, HELLO, 0, HELLO.length, true);

    assertThat(segment.read(other)).isTrue();
    assertThat(segment.has(FIN)).isTrue();
  }
}
