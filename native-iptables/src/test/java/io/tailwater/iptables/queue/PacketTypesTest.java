package io.tailwater.iptables.queue;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/// Packets as bytes.
class PacketTypesTest {
  /// 10.77.0.2.40210 > 10.77.0.1.443: FIN with five bytes, timestamps as options.
  private static final String FOUR =
      "45000039a7d94000400600000a4d00020a4d00019d1201bb3b9aca0077359400"
          + "80110200000000000101080a0000000100000002"
          + "68656c6c6f";

  private static ByteBuffer packet(String hex) {
    return ByteBuffer.wrap(HexFormat.of().parseHex(hex));
  }

  private static ByteBuffer four() {
    ByteBuffer packet = packet(FOUR);
    Checksums.set(packet);
    return packet;
  }

  private static ByteBuffer six(int next) {
    ByteBuffer packet = ByteBuffer.allocate(60);
    packet.putInt(0x60000000).putShort((short) 20).put((byte) next).put((byte) 64);
    packet.put(address("fd00::2")).put(address("fd00::1"));
    packet.putInt(50000 << 16 | 443).putInt(-5).putInt(7).put((byte) 0x50).put((byte) 0x14);
    return packet.clear();
  }

  private static byte[] address(String literal) {
    return InetAddress.ofLiteral(literal).getAddress();
  }

  private static InetSocketAddress at(String literal, int port) {
    return new InetSocketAddress(InetAddress.ofLiteral(literal), port);
  }

  @Test
  void aConnectionIsReadFromItsPacketsInBothFamilies() {
    assertThat(FlowTuple.ofPacket(four()))
        .contains(FlowTuple.of(at("10.77.0.2", 40210), at("10.77.0.1", 443)));
    FlowTuple six = FlowTuple.ofPacket(six(6)).orElseThrow();
    assertThat(six).isEqualTo(FlowTuple.of(at("fd00::2", 50000), at("fd00::1", 443)));
    assertThat(six.source()).isEqualTo(at("fd00::2", 50000));
    assertThat(six.reversed().source()).isEqualTo(at("fd00::1", 443));
    assertThat(six.reversed().reversed()).isEqualTo(six).hasSameHashCodeAs(six);
  }

  @Test
  void whatIsNoPlainTcpIsNoConnection() {
    assertThat(FlowTuple.ofPacket(ByteBuffer.allocate(0))).isEmpty();
    assertThat(FlowTuple.ofPacket(six(60))).as("extension header").isEmpty();
    assertThat(FlowTuple.ofPacket(four().limit(22))).as("cut").isEmpty();
    assertThat(FlowTuple.ofPacket(four().put(0, (byte) 0x41))).as("false length").isEmpty();
    assertThat(FlowTuple.ofPacket(four().put(7, (byte) 1))).as("second fragment").isEmpty();
    assertThat(FlowTuple.ofPacket(four().put(9, (byte) 17))).as("UDP").isEmpty();
  }

  @Test
  void thePodOfAPacketIsKnownWhateverItCarries() {
    assertThat(FlowTuple.sourceOfPacket(six(60))).contains(InetAddress.ofLiteral("fd00::2"));
    assertThat(FlowTuple.sourceOfPacket(four().put(9, (byte) 17)))
        .contains(InetAddress.ofLiteral("10.77.0.2"));
    assertThat(FlowTuple.sourceOfPacket(ByteBuffer.allocate(0))).isEmpty();
    assertThat(FlowTuple.sourceOfPacket(four().limit(15))).as("cut").isEmpty();
    assertThat(FlowTuple.sourceOfPacket(six(6).limit(23))).as("cut").isEmpty();
    assertThat(FlowTuple.sourceOfPacket(four().put(0, (byte) 0x55))).as("version 5").isEmpty();
  }

  @Test
  void theEndOfAConnectionIsReadAlsoWhereThePayloadIsMissing() {
    assertThat(EndSegment.read(four().limit(52)))
        .hasValueSatisfying(end -> {
          assertThat(end.isFin()).isTrue();
          assertThat(end.isReset()).isFalse();
          assertThat(end.acknowledges()).isTrue();
          assertThat(end.payload()).isEqualTo(5);
          assertThat(end.sequence()).isEqualTo(1_000_000_000);
          assertThat(end.end()).isEqualTo(1_000_000_005);
          assertThat(end.acknowledgement()).isEqualTo(2_000_000_000);
        });
    assertThat(EndSegment.read(six(6)))
        .hasValueSatisfying(end -> {
          assertThat(end.isReset()).isTrue();
          assertThat(end.sequence()).isEqualTo(-5);
          assertThat(end.payload()).isZero();
        });
    assertThat(EndSegment.read(four().limit(39))).isEmpty();
  }

  /// RFC 1071: over a segment with its right checksum the sum is all ones.
  @Test
  void checksumsAreThoseThatAReceiverFindsRight() {
    ByteBuffer packet = four();
    assertThat(sum(packet, 0, 20)).isEqualTo(0xffff);
    int length = packet.limit() - 20;
    assertThat(fold(sum(packet, 20, length) + sum(packet, 12, 8) + 6 + length)).isEqualTo(0xffff);
    ByteBuffer six = six(6);
    Checksums.set(six);
    assertThat(fold(sum(six, 40, 20) + sum(six, 8, 32) + 6 + 20)).isEqualTo(0xffff);
    assertThatIllegalArgumentException().isThrownBy(() -> Checksums.set(six(60)));
    assertThatIllegalArgumentException().isThrownBy(() -> Checksums.set(ByteBuffer.allocate(0)));
  }

  private static int sum(ByteBuffer packet, int at, int length) {
    int sum = 0;
    for (int i = 0; i < length; i++) {
      sum += (packet.get(at + i) & 0xff) << (i % 2 == 0 ? 8 : 0);
    }
    return fold(sum);
  }

  private static int fold(int sum) {
    return sum > 0xffff ? fold((sum & 0xffff) + (sum >>> 16)) : sum;
  }

  @Test
  void theKernelsLineAboutAQueueIsRead() {
    assertThat(QueueStatistics.parse(" 1501  12345     3 2 65535     7     1       42  1"))
        .contains(new QueueStatistics(1501, 12345, 3, 7, 1, 42));
    assertThat(QueueStatistics.parse("")).isEqualTo(Optional.empty());
    assertThat(QueueStatistics.parse("a b c d e f g h i")).isEmpty();
  }

  @Test
  void addressesOfTwoFamiliesAreNoConnection() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> FlowTuple.of(at("10.0.0.1", 1), at("fd00::1", 2)));
  }
}
