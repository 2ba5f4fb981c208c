package io.tailwater.agent.dataplane.sniff;

import static org.assertj.core.api.Assertions.assertThat;

import io.netty.buffer.Unpooled;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.function.Supplier;
import javax.net.ssl.SNIHostName;
import javax.net.ssl.SNIMatcher;
import javax.net.ssl.SNIServerName;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult.HandshakeStatus;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.StandardConstants;
import org.junit.jupiter.api.Test;

/// The JDK as a second reader: what its client writes is read here, and where its server takes a
/// name from a hello, that name or a refusal is what comes out here. A different name would be a
/// way around the policy.
class JdkDifferentialTest {
  private static final String NAME = "en.wikipedia.org";
  private static final SSLContext TLS = context();

  private static SSLContext context() {
    try {
      SSLContext context = SSLContext.getInstance("TLS");
      context.init(null, null, null);
      return context;
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }

  private static byte[] clientHello(String name, String... protocols) throws SSLException {
    SSLEngine client = TLS.createSSLEngine(name, 443);
    client.setUseClientMode(true);
    SSLParameters parameters = client.getSSLParameters();
    parameters.setServerNames(List.of(new SNIHostName(name)));
    parameters.setApplicationProtocols(new String[] {"h2", "http/1.1"});
    parameters.setProtocols(protocols);
    client.setSSLParameters(parameters);
    ByteBuffer out = ByteBuffer.allocate(client.getSession().getPacketBufferSize());
    client.wrap(ByteBuffer.allocate(0), out);
    byte[] bytes = new byte[out.position()];
    out.flip().get(bytes);
    return bytes;
  }

  /// The names that a JDK server takes from these bytes before it fails or wants more.
  private static List<String> namesThatAServerTakes(byte[] bytes) {
    List<String> names = new ArrayList<>();
    SSLEngine server = TLS.createSSLEngine();
    server.setUseClientMode(false);
    SSLParameters parameters = server.getSSLParameters();
    parameters.setSNIMatchers(
        List.of(
            new SNIMatcher(StandardConstants.SNI_HOST_NAME) {
              @Override
              public boolean matches(SNIServerName name) {
                names.add(new String(name.getEncoded(), StandardCharsets.ISO_8859_1));
                return true;
              }
            }));
    server.setSSLParameters(parameters);
    ByteBuffer in = ByteBuffer.wrap(bytes);
    ByteBuffer out = ByteBuffer.allocate(server.getSession().getApplicationBufferSize());
    try {
      boolean moved = true;
      while (moved && in.hasRemaining() && names.isEmpty()) {
        int before = in.position();
        server.unwrap(in, out);
        moved = in.position() > before;
        while (server.getHandshakeStatus() == HandshakeStatus.NEED_TASK) {
          server.getDelegatedTask().run();
          moved = true;
        }
        if (server.getHandshakeStatus() == HandshakeStatus.NEED_WRAP) {
          break; // it answers: the hello has been read
        }
      }
    } catch (SSLException | RuntimeException _) {
      // it refuses: what it took before that still counts
    }
    return names;
  }

  private static String nameThatWeTake(byte[] bytes) {
    return switch (new PrefaceSniffer(ClientHello.MAX_BYTES).atEnd(Unpooled.wrappedBuffer(bytes))) {
      case Preface.Tls tls -> tls.sni().text();
      case Preface.TlsWithoutName _ -> "(none)";
      case Preface.MalformedTls _ -> "(refused)";
      case Preface.Http _, Preface.Opaque _, Preface.Silent _ -> "(not TLS)";
    };
  }

  @Test
  void readsWhatTheJdksClientWrites() throws SSLException {
    for (String[] protocols : new String[][] {{"TLSv1.3"}, {"TLSv1.2"}, {"TLSv1.3", "TLSv1.2"}}) {
      byte[] hello = clientHello(NAME, protocols);

      assertThat(nameThatWeTake(hello)).isEqualTo(NAME);
      assertThat(namesThatAServerTakes(hello)).containsOnly(NAME);
    }
  }

  @Test
  void theJdksServerReadsWhatTheTestsBuild() {
    assertThat(namesThatAServerTakes(ClientHelloBytes.named(NAME).record())).containsOnly(NAME);
    assertThat(namesThatAServerTakes(ClientHelloBytes.named(NAME).browser().record()))
        .containsOnly(NAME);
    assertThat(namesThatAServerTakes(ClientHelloBytes.named(NAME).browser().records(200)))
        .containsOnly(NAME);
  }

  @Test
  void neverTakesAnotherNameThanTheJdksServer() throws SSLException {
    Random random = new Random(20261121);
    List<Supplier<byte[]>> hellos = new ArrayList<>();
    byte[] jdk13 = clientHello(NAME, "TLSv1.3", "TLSv1.2");
    byte[] jdk12 = clientHello(NAME, "TLSv1.2");
    hellos.add(jdk13::clone);
    hellos.add(jdk12::clone);
    hellos.add(() -> ClientHelloBytes.named(NAME).record());
    hellos.add(() -> ClientHelloBytes.named(NAME).browser().record());
    hellos.add(() -> ClientHelloBytes.named(NAME).records(1 + random.nextInt(200)));
    hellos.add(() -> oddNames(random).record());
    hellos.add(() -> oddNames(random).records(50 + random.nextInt(100)));

    int taken = 0;
    int same = 0;
    for (int i = 0; i < 3000; i++) {
      byte[] bytes = hellos.get(i % hellos.size()).get();
      if (i >= 7) {
        bytes = Mutations.mutate(bytes, random);
      }
      List<String> theirs = namesThatAServerTakes(bytes);
      String ours = nameThatWeTake(bytes);
      if (!theirs.isEmpty()) {
        taken++;
        String theirName = theirs.getLast().toLowerCase(Locale.ROOT);
        assertThat(ours).as("mutation %s", i).isIn(theirName, "(refused)");
        same += ours.equals(theirName) ? 1 : 0;
      }
    }

    // the comparison is worth something only where both took a name often
    assertThat(taken).isGreaterThan(800);
    assertThat(same).isGreaterThan(500);
  }

  /// Hellos with server_name extensions that readers disagree about.
  private static ClientHelloBytes oddNames(Random random) {
    String[] names = {NAME, "example.org", "EXAMPLE.org", "a", "1.2.3.4", "a.org.", "", "a_b.org"};
    byte[][] entries = new byte[1 + random.nextInt(2)][];
    for (int i = 0; i < entries.length; i++) {
      int type = random.nextInt(4) == 0 ? 1 + random.nextInt(2) : 0;
      entries[i] = ClientHelloBytes.entry(type, names[random.nextInt(names.length)]);
    }
    ClientHelloBytes hello =
        ClientHelloBytes.withoutName().extension(0, ClientHelloBytes.nameList(entries));
    return random.nextInt(4) == 0 ? hello.name("second.example") : hello;
  }
}
