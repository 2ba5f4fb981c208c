package io.tailwater.iptables.netlink;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;

import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class LoggedPacketTest {
  private static final String FOUR = "4500002000000000401100000a090102cb007105";
  private static final String SIX_ADDRESSES =
      "20010db8000000000000000000000001" + "20010db8000000000000000000000002";

  private static LoggedPacket ip(String hex) {
    return LoggedPacket.ofIp("x", 7, 1000, 3, bytes(hex));
  }

  private static ByteBuffer bytes(String hex) {
    return ByteBuffer.wrap(HexFormat.of().parseHex(hex));
  }

  @Test
  void udpOverIpv4IsReadWithItsPorts() {
    LoggedPacket packet = ip(FOUR + "303901bb000c0000");
    assertThat(packet)
        .isEqualTo(
            new LoggedPacket(
                "x",
                7,
                1000,
                3,
                LoggedPacket.UDP,
                Optional.of(InetAddress.ofLiteral("10.9.1.2")),
                12345,
                Optional.of(InetAddress.ofLiteral("203.0.113.5")),
                443,
                -1));
  }

  @Test
  void laterFragmentHasNoPorts() {
    LoggedPacket packet = ip(FOUR.replace("00000000401100", "00000003401100") + "4141414141414141");
    assertThat(packet.protocol()).isEqualTo(LoggedPacket.UDP);
    assertThat(packet.destinationPort()).isZero();
  }

  @Test
  void extensionHeadersOfIpv6AreSteppedOver() {
    String destinationOptions = "0600010400000000";
    LoggedPacket packet =
        ip("600000000000" + "3c40" + SIX_ADDRESSES + destinationOptions + "c00001bb00000000");
    assertThat(packet.protocol()).isEqualTo(LoggedPacket.TCP);
    assertThat(packet.sourcePort()).isEqualTo(0xc000);
    assertThat(packet.destinationPort()).isEqualTo(443);
    assertThat(packet.destination()).contains(InetAddress.ofLiteral("2001:db8::2"));
  }

  @Test
  void typeOfIcmpIsKept() {
    assertThat(ip(FOUR.replace("4011", "4001") + "0800f7ff00000000").type()).isEqualTo(8);
  }

  @Test
  void frameIsReadBehindItsTags() {
    String macs = "525400000001525400000002";
    for (String tags : new String[] {"", "8100000a", "88a8000a8100000b"}) {
      LoggedPacket packet =
          LoggedPacket.ofFrame(
              "x", 0, -1, 0, bytes(macs + tags + "0800" + FOUR + "303901bb000c0000"));
      assertThat(packet.destinationPort()).as(tags).isEqualTo(443);
    }
  }

  @Test
  void frameThatIsNotIpTellsItsType() {
    LoggedPacket packet =
        LoggedPacket.ofFrame("x", 0, -1, 0, bytes("525400000001525400000002" + "88cc" + "0207"));
    assertThat(packet.protocol()).isEqualTo(-1);
    assertThat(packet.type()).isEqualTo(0x88cc);
  }

  @Test
  void whatIsCutAnywhereIsReadAsFarAsItGoes() {
    String macs = "525400000001525400000002";
    byte[] four = HexFormat.of().parseHex(macs + "0800" + FOUR + "303901bb000c0000");
    byte[] six =
        HexFormat.of()
            .parseHex(
                macs
                    + "86dd"
                    + "600000000000"
                    + "0040"
                    + SIX_ADDRESSES
                    + "3c00000000000000".repeat(12));
    for (byte[] whole : new byte[][] {four, six}) {
      for (int length = 0; length <= whole.length; length++) {
        ByteBuffer cut = ByteBuffer.wrap(Arrays.copyOf(whole, length));
        assertThatCode(() -> LoggedPacket.ofFrame("x", 0, -1, 0, cut)).doesNotThrowAnyException();
      }
    }
  }

  @Test
  void nonsenseIsNotRead() {
    assertThat(ip("").destination()).isEmpty();
    assertThat(ip("ff").protocol()).isEqualTo(-1);
    assertThat(ip("4f" + FOUR.substring(2) + "01").destinationPort()).isZero();
  }
}
