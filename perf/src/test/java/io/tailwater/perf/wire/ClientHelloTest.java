package io.tailwater.perf.wire;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import javax.net.ssl.SNIMatcher;
import javax.net.ssl.SNIServerName;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.StandardConstants;
import org.junit.jupiter.api.Test;

class ClientHelloTest {
  @Test
  void lengthsOfRecordAndHandshakeFitTheBytes() {
    ByteBuffer hello = ByteBuffer.wrap(ClientHello.record("raw.bench.test", 1));

    assertThat(hello.get()).as("record type").isEqualTo((byte) 22);
    assertThat(hello.getShort()).as("record version").isEqualTo((short) 0x0301);
    assertThat(hello.getShort()).as("record length").isEqualTo((short) (hello.capacity() - 5));
    assertThat(hello.get()).as("handshake type").isEqualTo((byte) 1);
    int length = (hello.get() & 0xff) << 16 | (hello.getShort() & 0xffff);
    assertThat(length).isEqualTo(hello.capacity() - 9);
  }

  @Test
  void extensionsCarryTheNameAndAKeyShare() {
    Map<Integer, byte[]> extensions = extensions(ClientHello.record("a.b.bench.test", 7));

    byte[] serverName = extensions.get(0);
    assertThat(new String(serverName, 5, serverName.length - 5, StandardCharsets.US_ASCII))
        .isEqualTo("a.b.bench.test");
    assertThat(extensions.get(0x33)).as("key_share: list, group, length, 32 bytes").hasSize(38);
    assertThat(extensions).containsKeys(0x0a, 0x0d, 0x10, 0x2b, 0x2d);
  }

  @Test
  void anotherParserReadsTheSameName() throws Exception {
    List<String> seen = new ArrayList<>();
    SSLEngine engine = SSLContext.getDefault().createSSLEngine();
    engine.setUseClientMode(false);
    SSLParameters parameters = engine.getSSLParameters();
    parameters.setSNIMatchers(
        List.of(
            new SNIMatcher(StandardConstants.SNI_HOST_NAME) {
              @Override
              public boolean matches(SNIServerName name) {
                seen.add(new String(name.getEncoded(), StandardCharsets.US_ASCII));
                return true;
              }
            }));
    engine.setSSLParameters(parameters);

    handshakeUntilItNeedsACertificate(engine, ClientHello.record("raw.bench.test", 3));

    assertThat(seen).contains("raw.bench.test");
  }

  @Test
  void sameSeedGivesSameBytes() {
    assertThat(ClientHello.record("x.test", 5)).isEqualTo(ClientHello.record("x.test", 5));
    assertThat(ClientHello.record("x.test", 5)).isNotEqualTo(ClientHello.record("x.test", 6));
  }

  @Test
  void refusesWhatIsNoHostName() {
    for (String bad : List.of("", "a b", "ä.test", "x".repeat(254))) {
      assertThatThrownBy(() -> ClientHello.record(bad, 1))
          .isInstanceOf(IllegalArgumentException.class);
    }
  }

  private static void handshakeUntilItNeedsACertificate(SSLEngine engine, byte[] hello) {
    ByteBuffer out = ByteBuffer.allocate(64 * 1024);
    try {
      engine.unwrap(ByteBuffer.wrap(hello), out);
      for (Runnable task = engine.getDelegatedTask();
          task != null;
          task = engine.getDelegatedTask()) {
        task.run();
      }
      engine.wrap(ByteBuffer.allocate(0), out);
    } catch (SSLException e) {
      assertThat(e).as("the engine has no certificate").isNotNull();
    }
  }

  private static Map<Integer, byte[]> extensions(byte[] record) {
    ByteBuffer in = ByteBuffer.wrap(record).position(5 + 4 + 2 + 32);
    in.position(in.position() + 1 + in.get(in.position())); // session id
    in.position(in.position() + 2 + in.getShort(in.position())); // cipher suites
    in.position(in.position() + 1 + in.get(in.position())); // compression
    int end = (in.getShort() & 0xffff) + in.position();
    assertThat(end).isEqualTo(record.length);
    Map<Integer, byte[]> found = new TreeMap<>();
    while (in.position() < end) {
      int type = in.getShort() & 0xffff;
      byte[] body = new byte[in.getShort() & 0xffff];
      in.get(body);
      assertThat(found.put(type, body)).as("extension %x comes once", type).isNull();
    }
    return found;
  }
}
