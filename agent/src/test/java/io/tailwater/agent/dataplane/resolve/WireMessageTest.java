package io.tailwater.agent.dataplane.resolve;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.xbill.DNS.DClass;
import org.xbill.DNS.Flags;
import org.xbill.DNS.Message;
import org.xbill.DNS.Name;
import org.xbill.DNS.OPTRecord;
import org.xbill.DNS.Record;
import org.xbill.DNS.Section;
import org.xbill.DNS.TXTRecord;
import org.xbill.DNS.Type;

class WireMessageTest {
  private static Message query(String name, int type) throws IOException {
    return Message.newQuery(Record.newRecord(Name.fromString(name), type, DClass.IN));
  }

  private static WireMessage read(Message message) {
    return WireMessage.read(message.toWire()).orElseThrow();
  }

  @Test
  void readsWhatDnsjavaWrote() throws IOException {
    Message message = query("www.Example.net.", Type.AAAA);
    message.addRecord(new OPTRecord(4096, 0, 0, 0x8000), Section.ADDITIONAL);
    WireMessage read = read(message);

    assertThat(read.name()).isEqualTo("www.Example.net");
    assertThat(read.type()).isEqualTo(WireMessage.AAAA);
    assertThat(read.questionClass()).isEqualTo(DClass.IN);
    assertThat(read.payload()).isEqualTo(4096);
    assertThat(read.wantsDnssec()).isTrue();
    assertThat(read.hasOptions()).isFalse();
    assertThat(read.ednsVersion()).isZero();
  }

  @Test
  void withoutEdnsAClientTakes512Bytes() throws IOException {
    assertThat(read(query("a.", Type.A)).payload()).isEqualTo(512);
  }

  @Test
  void theSameQuestionIsBlindToCaseAndNotToType() throws IOException {
    WireMessage one = read(query("www.example.net.", Type.A));

    assertThat(one.sameQuestion(read(query("WWW.example.NET.", Type.A)))).isTrue();
    assertThat(one.sameQuestion(read(query("www.example.net.", Type.AAAA)))).isFalse();
    assertThat(one.sameQuestion(read(query("www.example.org.", Type.A)))).isFalse();
    assertThat(one.questionKey()).isEqualTo(read(query("WWW.example.NET.", Type.A)).questionKey());
  }

  @Test
  void dnsjavaReadsTheReplies() throws IOException {
    Message message = query("www.example.net.", Type.A);
    message.addRecord(new OPTRecord(4096, 0, 0, 0x8000), Section.ADDITIONAL);

    Message reply = new Message(read(message).reply(WireMessage.SERVFAIL, true));

    assertThat(reply.getHeader().getID()).isEqualTo(message.getHeader().getID());
    assertThat(reply.getHeader().getFlag(Flags.QR)).isTrue();
    assertThat(reply.getHeader().getFlag(Flags.TC)).isTrue();
    assertThat(reply.getRcode()).isEqualTo(WireMessage.SERVFAIL);
    assertThat(reply.getQuestion()).isEqualTo(message.getQuestion());
    assertThat(reply.getOPT().getFlags()).isEqualTo(0x8000);
  }

  @Test
  void aNameWithADotInALabelIsSeen() throws IOException {
    assertThat(read(query("a\\.b.example.", Type.A)).hasDotInLabel()).isTrue();
    assertThat(read(query("a.b.example.", Type.A)).hasDotInLabel()).isFalse();
  }

  /// Whatever is cut off or changed: no exception, and nothing is read that is not there.
  @Test
  void foreignBytesHarmNobody() throws IOException {
    Message message = query("www.example.net.", Type.TXT);
    message.addRecord(
        new TXTRecord(message.getQuestion().getName(), DClass.IN, 60, "text"), Section.ANSWER);
    message.addRecord(new OPTRecord(4096, 0, 0), Section.ADDITIONAL);
    byte[] whole = message.toWire();
    Random random = new Random(1);
    for (int i = 0; i < whole.length; i++) {
      assertThat(WireMessage.read(java.util.Arrays.copyOf(whole, i))).isEmpty();
    }
    for (int i = 0; i < 100_000; i++) {
      byte[] bytes = whole.clone();
      for (int k = random.nextInt(4); k >= 0; k--) {
        bytes[random.nextInt(bytes.length)] = (byte) random.nextInt();
      }
      Optional<WireMessage> read = WireMessage.read(bytes);
      if (read.isPresent()) {
        WireMessage sound = read.get();
        assertThat(sound.name()).isNotNull();
        assertThat(sound.payload()).isGreaterThanOrEqualTo(512);
        assertThat(sound.reply(WireMessage.REFUSED, false)).isNotEmpty();
        sound.records(rr -> assertThat(rr.end()).isLessThanOrEqualTo(bytes.length));
      }
    }
  }
}
