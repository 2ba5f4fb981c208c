package io.tailwater.iptables.netlink;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.HexFormat;
import org.junit.jupiter.api.Test;

/// Bytes in little-endian order, as both architectures have them.
class NetlinkMessagesTest {
  private static final HexFormat HEX = HexFormat.of();

  @Test
  void messageOfNetfilterIsWrittenAsTheKernelReadsIt() {
    MessageWriter writer = new MessageWriter(256);

    writer.beginNetfilter(4, 1, MessageWriter.REQUEST | MessageWriter.ACK, 7, 2, 5);
    writer.u8(1, 1).be32(3, 0x01020304).end();

    assertThat(HEX.formatHex(writer.toBytes()))
        .isEqualTo(
            "24000000"
                + "0104"
                + "0500"
                + "07000000"
                + "00000000" // header
                + "02"
                + "00"
                + "0005" // family 2, group 5
                + "0500"
                + "0100"
                + "01000000" // one byte, padded
                + "0800"
                + "0300"
                + "01020304"); // big-endian
  }

  @Test
  void nestedAttributesTellTheirLengthAndThatTheyAreNested() {
    MessageWriter writer = new MessageWriter(256).begin(16, 1, 1);
    int outer = writer.nest(2);
    int inner = writer.nest(1);
    writer.text(3, "ab");
    writer.endNest(inner).endNest(outer).end();

    assertThat(HEX.formatHex(writer.toBytes(), 16, writer.length()))
        .isEqualTo("1000" + "0280" + "0c00" + "0180" + "0700" + "0300" + "61620000");
  }

  @Test
  void severalMessagesStandOneBehindTheOther() {
    MessageWriter writer = new MessageWriter(256);
    writer.begin(16, 1, 1).u8(1, 9).end();
    writer.begin(17, 1, 2).end();

    NetlinkMessages messages = received(writer.toBytes());

    assertThat(messages.next()).isTrue();
    assertThat(messages.type()).isEqualTo(16);
    assertThat(messages.next()).isTrue();
    assertThat(messages.type()).isEqualTo(17);
    assertThat(messages.sequence()).isEqualTo(2);
    assertThat(messages.next()).isFalse();
  }

  @Test
  void messageCannotBeginInsideAnother() {
    MessageWriter writer = new MessageWriter(256).begin(16, 1, 1);

    assertThatThrownBy(() -> writer.begin(17, 1, 2)).isInstanceOf(IllegalStateException.class);
  }

  @Test
  void whatWasWrittenIsReadBack() {
    MessageWriter writer = new MessageWriter(256);
    writer.beginNetfilter(10, 3, 1, 42, 2, 700);
    writer.be16(1, 0xfffe).be32(2, -2).be64(3, 1L << 40).text(4, "tailwater").u8(5, 200).u32(6, 99);
    int nest = writer.nest(7);
    writer.be32(1, 11).be32(2, 12).endNest(nest).end();

    NetlinkMessages messages = received(writer.toBytes());
    assertThat(messages.next()).isTrue();
    assertThat(messages.type()).isEqualTo((10 << 8) | 3);
    assertThat(messages.family()).isEqualTo(2);
    assertThat(messages.resource()).isEqualTo(700);
    Attributes found = messages.netfilterAttributes(new Attributes());
    assertThat(found.next()).isTrue();
    assertThat(found.be16()).isEqualTo(0xfffe);
    assertThat(found.next()).isTrue();
    assertThat(found.be32()).isEqualTo(-2);
    assertThat(found.next()).isTrue();
    assertThat(found.be64()).isEqualTo(1L << 40);
    assertThat(found.next()).isTrue();
    assertThat(found.text()).isEqualTo("tailwater");
    assertThat(found.next()).isTrue();
    assertThat(found.u8()).isEqualTo(200);
    assertThat(found.next()).isTrue();
    assertThat(found.u32()).isEqualTo(99);
    assertThat(found.next()).isTrue();
    assertThat(found.type()).isEqualTo(7);
    Attributes inner = found.nested(new Attributes());
    assertThat(inner.next()).isTrue();
    assertThat(inner.be32()).isEqualTo(11);
    assertThat(inner.next()).isTrue();
    assertThat(inner.be32()).isEqualTo(12);
    assertThat(inner.next()).isFalse();
    assertThat(found.next()).isFalse();
  }

  @Test
  void refusalCarriesTheErrorNumber() {
    NetlinkMessages messages =
        received(
            HEX.parseHex(
                "24000000"
                    + "0200"
                    + "0001"
                    + "05000000"
                    + "01000000" // header
                    + "ffffffff" // -1
                    + "1000000000000000"
                    + "0500000000000000"));

    assertThat(messages.next()).isTrue();
    assertThat(messages.type()).isEqualTo(NetlinkMessages.ERROR);
    assertThat(messages.errno()).isEqualTo(1);
    assertThat(messages.sequence()).isEqualTo(5);
  }

  @Test
  void lengthsThatDoNotFitEndTheWalk() {
    assertThat(
            received(HEX.parseHex("ff000000" + "1000" + "0000" + "00000000" + "00000000")).next())
        .isFalse();
    assertThat(
            received(HEX.parseHex("08000000" + "1000" + "0000" + "00000000" + "00000000")).next())
        .isFalse();
    assertThat(received(new byte[3]).next()).isFalse();

    NetlinkMessages messages =
        received(
            HEX.parseHex(
                "18000000"
                    + "1000"
                    + "0000"
                    + "00000000"
                    + "00000000"
                    + "ff00"
                    + "0100"
                    + "0a0b0c0d"));
    assertThat(messages.next()).isTrue();
    assertThat(messages.attributes(0, new Attributes()).next()).isFalse();
  }

  @Test
  void shortValueIsNotReadFromItsNeighbour() {
    NetlinkMessages messages =
        received(
            HEX.parseHex(
                "20000000"
                    + "1000"
                    + "0000"
                    + "00000000"
                    + "00000000"
                    + "0500"
                    + "0100"
                    + "07000000"
                    + "0800"
                    + "0200"
                    + "ffffffff"));
    assertThat(messages.next()).isTrue();
    Attributes found = messages.attributes(0, new Attributes());

    assertThat(found.next()).isTrue();
    assertThat(found.be32()).isZero();
    assertThat(found.be16()).isZero();
    assertThat(found.u8()).isEqualTo(7);
  }

  private static NetlinkMessages received(byte[] bytes) {
    NetlinkMemory memory = new NetlinkMemory(512);
    memory.bytes().put(0, bytes);
    return new NetlinkMessages(memory).received(bytes.length);
  }
}
