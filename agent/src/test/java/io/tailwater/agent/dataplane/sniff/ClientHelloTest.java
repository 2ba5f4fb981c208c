package io.tailwater.agent.dataplane.sniff;

import static io.tailwater.agent.dataplane.sniff.ClientHelloBytes.concat;
import static io.tailwater.agent.dataplane.sniff.ClientHelloBytes.named;
import static io.tailwater.agent.dataplane.sniff.ClientHelloBytes.withoutExtensions;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class ClientHelloTest extends HelloContract {
  @Override
  protected Sniffed sniff(byte[] bytes) {
    return new ClientHello(ClientHello.MAX_BYTES).sniff(Unpooled.wrappedBuffer(bytes));
  }

  @Override
  protected Sniffed sniffOneByOne(byte[] bytes) {
    ClientHello hello = new ClientHello(ClientHello.MAX_BYTES);
    ByteBuf all = Unpooled.wrappedBuffer(bytes);
    Sniffed answer = Sniffed.NEED_MORE;
    for (int length = 1; length <= bytes.length; length++) {
      answer = hello.sniff(all.slice(0, length));
    }
    return answer;
  }

  @Test
  void theAnswerStaysWhenAskedAgain() {
    ClientHello hello = new ClientHello(ClientHello.MAX_BYTES);
    byte[] bytes = named(NAME).record();

    assertThat(hello.sniff(Unpooled.wrappedBuffer(bytes))).isEqualTo(EN);
    assertThat(hello.sniff(Unpooled.wrappedBuffer(bytes, named("example.org").record())))
        .isEqualTo(EN);
  }

  @Test
  void oneTrailingDotIsTakenOffAndTold() {
    ClientHello hello = new ClientHello(ClientHello.MAX_BYTES);

    assertThat(hello.sniff(named(NAME + ".").buffer())).isEqualTo(EN);
    assertThat(hello.trailingDot()).isTrue();
  }

  @Test
  void noTrailingDotIsToldOfAPlainName() {
    ClientHello hello = new ClientHello(ClientHello.MAX_BYTES);

    assertThat(hello.sniff(named(NAME).buffer())).isEqualTo(EN);
    assertThat(hello.trailingDot()).isFalse();
  }

  @Test
  void aLengthThatIsTooLongIsNotAnswered() {
    ClientHello hello = new ClientHello(ClientHello.MAX_BYTES);

    // the list of extensions tells it: no need to wait for what never comes
    assertThat(why(named(NAME).lengthError(1).record())).contains("exactly");
    assertThat(hello.sniff(Unpooled.wrappedBuffer(withoutExtensions().lengthError(9).record())))
        .isEqualTo(Sniffed.NEED_MORE);
    assertThat(hello.atEnd())
        .isEqualTo(
            new Preface.MalformedTls("the ClientHello ended in the middle", Optional.empty()));
  }

  @Test
  void readsTheNameFromTwoSegmentsCutAtEveryPosition() {
    byte[] bytes = named(NAME).browser().record();
    for (int cut = 0; cut < bytes.length; cut++) {
      ClientHello hello = new ClientHello(ClientHello.MAX_BYTES);

      assertThat(hello.sniff(Unpooled.wrappedBuffer(bytes, 0, cut))).isEqualTo(Sniffed.NEED_MORE);
      assertThat(hello.sniff(Unpooled.wrappedBuffer(bytes))).isEqualTo(EN_ECH);
    }
  }

  @Test
  void neverDecidesBeforeTheLastByteOfAWellFormedHello() {
    byte[] bytes = named(NAME).browser().records(300);
    ClientHello hello = new ClientHello(ClientHello.MAX_BYTES);
    ByteBuf all = Unpooled.wrappedBuffer(bytes);

    for (int length = 0; length < bytes.length; length++) {
      assertThat(hello.sniff(all.slice(0, length))).isEqualTo(Sniffed.NEED_MORE);
    }
    assertThat(hello.sniff(all)).isEqualTo(EN_ECH);
  }

  @Test
  void looksAtEachByteOnce() {
    byte[] bytes = named(NAME).browser().preSharedKey(9000).record();
    ClientHello hello = new ClientHello(ClientHello.MAX_BYTES);
    ByteBuf all = Unpooled.wrappedBuffer(bytes);

    Sniffed answer = Sniffed.NEED_MORE;
    for (int length = 1; length <= bytes.length; length++) {
      byte[] onlyTheLast = new byte[length];
      onlyTheLast[length - 1] = bytes[length - 1];
      answer = hello.sniff(Unpooled.wrappedBuffer(onlyTheLast));
    }

    assertThat(answer).isEqualTo(EN_ECH);
    assertThat(sniff(bytes)).isEqualTo(new ClientHello(ClientHello.MAX_BYTES).sniff(all));
  }

  @Test
  void leavesTheBufferAsItWas() {
    byte[] bytes = concat(new byte[] {9, 9, 9}, named(NAME).record(), new byte[] {7, 7});
    ByteBuf buffer = Unpooled.wrappedBuffer(bytes.clone());
    buffer.readerIndex(3);
    buffer.markReaderIndex();

    assertThat(new ClientHello(ClientHello.MAX_BYTES).sniff(buffer)).isEqualTo(EN);

    assertThat(buffer.readerIndex()).isEqualTo(3);
    assertThat(buffer.writerIndex()).isEqualTo(bytes.length);
    assertThat(buffer.array()).isEqualTo(bytes);
    assertThat(buffer.refCnt()).isEqualTo(1);
  }

  @Test
  void readsFromDirectAndCompositeBuffers() {
    byte[] bytes = named(NAME).browser().records(400);
    ByteBuf direct = Unpooled.directBuffer().writeBytes(bytes);
    ByteBuf composite =
        Unpooled.wrappedBuffer(
            Unpooled.copiedBuffer(bytes, 0, 77),
            Unpooled.copiedBuffer(bytes, 77, bytes.length - 77));
    try {
      assertThat(new ClientHello(ClientHello.MAX_BYTES).sniff(direct)).isEqualTo(EN_ECH);
      assertThat(new ClientHello(ClientHello.MAX_BYTES).sniff(composite)).isEqualTo(EN_ECH);
    } finally {
      direct.release();
      composite.release();
    }
  }

  @Test
  void anotherLimitIsHonoured() {
    byte[] bytes = named(NAME).padTo(1025).record();

    assertThat(new ClientHello(1024).sniff(Unpooled.wrappedBuffer(bytes)))
        .isEqualTo(
            new Sniffed.As(
                new Preface.MalformedTls(
                    "the ClientHello is larger than 1 KiB", Optional.empty())));
    assertThat(new ClientHello(1025).sniff(Unpooled.wrappedBuffer(bytes))).isEqualTo(EN);
    assertThatThrownBy(() -> new ClientHello(255))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("at least 256");
  }

  @Test
  void aHelloThatEndsInTheMiddleIsMalformed() {
    byte[] bytes = named(NAME).browser().record();
    for (int length = 1; length < bytes.length; length++) {
      ClientHello hello = new ClientHello(ClientHello.MAX_BYTES);
      hello.sniff(Unpooled.wrappedBuffer(bytes, 0, length));

      assertThat(hello.atEnd())
          .isInstanceOfSatisfying(
              Preface.MalformedTls.class,
              m -> assertThat(m.why()).isEqualTo("the ClientHello ended in the middle"));
    }
  }
}
