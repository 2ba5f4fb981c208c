package io.tailwater.agent.dataplane.connect;

import static org.assertj.core.api.Assertions.assertThat;

import io.netty.bootstrap.Bootstrap;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.ChannelOption;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioSocketChannel;
import io.tailwater.agent.dataplane.route.UpstreamTls;
import io.tailwater.agent.dataplane.tls.Credential;
import io.tailwater.agent.dataplane.tls.Credentials;
import io.tailwater.agent.dataplane.tls.TlsContexts;
import io.tailwater.agent.traffic.PodRef;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Against `openssl s_server`. What a test gets is either the server's answer or the agent's
/// reason.
class TlsOriginationTest {
  private static final PodRef POD = new PodRef("default", "ratings-v1");
  private static final String SPIFFE = "spiffe://cluster.local/ns/default/sa/details";

  @TempDir static Path folder;
  private static OpensslAuthority authority;
  private static OpensslAuthority stranger;
  private static OpensslAuthority.Leaf details;
  private static MultiThreadIoEventLoopGroup loops;
  private static ExecutorService files;

  private final AtomicLong now = new AtomicLong();
  private final Map<String, Credential> secrets = new HashMap<>();
  private final TlsOrigination origination =
      new TlsOrigination(new TlsContexts(new Secrets(), files, now::get), files);

  private final class Secrets implements Credentials {
    @Override
    public Found secret(String namespace, String name) {
      Credential found = secrets.get(namespace + "/" + name);
      return found == null ? NONE.secret(namespace, name) : new Found.Present(found);
    }

    @Override
    public Found workload(PodRef pod) {
      Credential found = secrets.get("workload " + pod);
      return found == null ? NONE.workload(pod) : new Found.Present(found);
    }
  }

  @BeforeAll
  static void makeCertificates() throws IOException {
    authority = new OpensslAuthority(Files.createDirectory(folder.resolve("authority")));
    stranger = new OpensslAuthority(Files.createDirectory(folder.resolve("stranger")));
    details = authority.issue("DNS:details.example,DNS:*.wild.example,IP:127.0.0.1,URI:" + SPIFFE);
    loops = new MultiThreadIoEventLoopGroup(1, NioIoHandler.newFactory());
    files = Executors.newVirtualThreadPerTaskExecutor();
  }

  @AfterAll
  static void end() {
    loops.shutdownGracefully(0, 5, TimeUnit.SECONDS);
    files.close();
  }

  /// SIMPLE with the authority and the requested name in the certificate; changed by each test.
  private static final class Wanted {
    UpstreamTls.Mode mode = UpstreamTls.Mode.SIMPLE;
    Optional<String> sni = Optional.empty();
    List<String> sans = List.of();
    boolean autoSan = true;
    Optional<String> ca = Optional.of(authority.certificate().toString());
    Optional<String> certificate = Optional.empty();
    Optional<String> key = Optional.empty();
    Optional<String> secret = Optional.empty();
    boolean skip;
    String min = "TLSv1.2";
    String max = "TLSv1.3";
    List<String> suites = List.of();
    Optional<String> crl = Optional.empty();

    UpstreamTls tls() {
      return new UpstreamTls(
          mode, sni, sans, autoSan, ca, certificate, key, secret, skip, min, max, suites, crl);
    }

    Wanted mutual(OpensslAuthority.Leaf leaf) {
      mode = UpstreamTls.Mode.MUTUAL;
      certificate = Optional.of(leaf.certificate().toString());
      key = Optional.of(leaf.key().toString());
      return this;
    }
  }

  /// The answer to `ping`, or why there is no connection.
  private String ask(int port, String requested, Wanted wanted) {
    return ask(port, Optional.of(requested), wanted, Duration.ofSeconds(10));
  }

  private String ask(int port, Optional<String> requested, Wanted wanted, Duration timeout) {
    CompletableFuture<String> answer = new CompletableFuture<>();
    Channel channel =
        new Bootstrap()
            .group(loops)
            .channel(NioSocketChannel.class)
            .option(ChannelOption.AUTO_READ, false)
            .handler(new ChannelInboundHandlerAdapter())
            .connect(InetAddress.getLoopbackAddress(), port)
            .syncUninterruptibly()
            .channel();
    channel
        .eventLoop()
        .execute(() ->
            origination.prepare(
                wanted.tls(),
                POD,
                channel.eventLoop(),
                prepared -> {
                  switch (prepared) {
                    case TlsContexts.Prepared.Unusable(String why) -> answer.complete(why);
                    case TlsContexts.Prepared.Ready ready ->
                        origination.begin(
                            channel,
                            new TlsOrigination.Handshake(
                                ready.context(), requested, List.of(), timeout),
                            new Asking(answer));
                  }
                }));
    try {
      return answer.orTimeout(20, TimeUnit.SECONDS).join();
    } finally {
      channel.close().syncUninterruptibly();
    }
  }

  private record Asking(CompletableFuture<String> answer) implements TlsOrigination.Listener {
    @Override
    public void secured(Channel upstream, String protocol) {
      upstream
          .pipeline()
          .addLast(
              new ChannelInboundHandlerAdapter() {
                private final StringBuilder said = new StringBuilder();

                @Override
                public void channelRead(ChannelHandlerContext ctx, Object message) {
                  ByteBuf bytes = (ByteBuf) message;
                  said.append(bytes.toString(StandardCharsets.US_ASCII));
                  bytes.release();
                  if (said.indexOf("\n") >= 0) {
                    answer.complete(said.toString().strip());
                  }
                }

                @Override
                public void exceptionCaught(ChannelHandlerContext ctx, Throwable cause) {
                  answer.complete("then: " + cause.getMessage());
                }

                @Override
                public void channelInactive(ChannelHandlerContext ctx) {
                  answer.complete("then: closed");
                }
              });
      upstream.config().setAutoRead(true);
      upstream.writeAndFlush(Unpooled.copiedBuffer("ping\n", StandardCharsets.US_ASCII));
    }

    @Override
    public void failed(String why) {
      answer.complete(why);
    }
  }

  private String askDetails(String requested, Wanted wanted, String... server) {
    try (OpensslServer running = OpensslServer.start(folder, details, server)) {
      return ask(running.port(), requested, wanted);
    }
  }

  private String askServer(OpensslAuthority.Leaf leaf, String requested, Wanted wanted) {
    try (OpensslServer running = OpensslServer.start(folder, leaf)) {
      return ask(running.port(), requested, wanted);
    }
  }

  private static String text(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static Credential secret(OpensslAuthority.Leaf leaf, Path ca) {
    return new Credential(
        Optional.of(text(leaf.certificate())),
        Optional.of(text(leaf.key())),
        Optional.of(text(ca)),
        Optional.empty());
  }

  // ---- names

  @Test
  void aServerThatCarriesTheRequestedNameIsSpokenTo() {
    assertThat(askDetails("details.example", new Wanted())).isEqualTo("gnip");
  }

  @Test
  void aServerThatCarriesAnotherNameIsRefusedAndTheSentenceHasBoth() {
    assertThat(askDetails("reviews.example", new Wanted()))
        .isEqualTo(
            "the server's certificate carries details.example, *.wild.example, 127.0.0.1, "
                + SPIFFE
                + ", but not reviews.example");
  }

  @Test
  void aWildcardInTheCertificateStandsForOneLabel() {
    assertThat(askDetails("a.wild.example", new Wanted())).isEqualTo("gnip");
    assertThat(askDetails("a.b.wild.example", new Wanted())).contains("but not a.b.wild.example");
    assertThat(askDetails("wild.example", new Wanted())).contains("but not wild.example");
  }

  @Test
  void theCommonNameIsNoName() {
    assertThat(askServer(authority.issue(""), "cn.example", new Wanted()))
        .isEqualTo("the server's certificate carries no name at all, but not cn.example");
  }

  @Test
  void anAddressThatWasRequestedIsLookedForAmongTheAddresses() {
    assertThat(askDetails("127.0.0.1", new Wanted())).isEqualTo("gnip");
    assertThat(askDetails("127.0.0.2", new Wanted())).contains("but not 127.0.0.2");
  }

  @Test
  void oneOfTheConfiguredNamesMustBeCarriedToo() {
    Wanted wanted = new Wanted();
    wanted.sans = List.of("other.example", SPIFFE);
    assertThat(askDetails("details.example", wanted)).isEqualTo("gnip");

    wanted.sans = List.of("other.example", SPIFFE + "x");
    assertThat(askDetails("details.example", wanted))
        .endsWith("but none of the subjectAltNames other.example, " + SPIFFE + "x");

    wanted.sans = List.of(SPIFFE);
    assertThat(askDetails("reviews.example", wanted)).endsWith("but not reviews.example");
  }

  @Test
  void withoutTheCheckOfTheRequestedNameTheChainAndTheConfiguredNamesCount() {
    Wanted wanted = new Wanted();
    wanted.autoSan = false;
    assertThat(askDetails("reviews.example", wanted)).isEqualTo("gnip");

    wanted.sans = List.of("reviews.example");
    assertThat(askDetails("reviews.example", wanted)).contains("none of the subjectAltNames");
  }

  @Test
  void whereANameMustBeCarriedAndNoneWasRequestedNothingIsSent() {
    try (OpensslServer server = OpensslServer.start(folder, details)) {
      assertThat(ask(server.port(), Optional.empty(), new Wanted(), Duration.ofSeconds(10)))
          .isEqualTo("no name was requested, and the server's certificate must carry it");
    }
  }

  @Test
  void namesOfStrangersCannotBreakALogLine() {
    OpensslAuthority.Leaf many =
        authority.issue(
            "DNS:1.example,DNS:2.example,DNS:3.example,DNS:4.example,DNS:5.example,DNS:6.example,"
                + "DNS:7.example,DNS:8.example,DNS:9.example,DNS:10.example");
    assertThat(askServer(many, "details.example", new Wanted()))
        .contains("8.example and 2 more")
        .doesNotContain("9.example");
  }

  // ---- server name

  @Test
  void theRequestedNameIsTheServerName() {
    OpensslAuthority.Leaf other = authority.issue("DNS:other.example");
    String[] byName = {
      "-servername",
      "other.example",
      "-servername_fatal",
      "-cert2",
      other.certificate().toString(),
      "-key2",
      other.key().toString()
    };
    assertThat(askDetails("other.example", new Wanted(), byName)).isEqualTo("gnip");
    assertThat(askDetails("details.example", new Wanted(), byName))
        .isEqualTo("the server does not serve the name that was sent as SNI");
  }

  @Test
  void aConfiguredServerNameIsSentAndTheCertificateMustStillCarryTheRequestedOne() {
    OpensslAuthority.Leaf front = authority.issue("DNS:front.example,DNS:details.example");
    String[] byName = {
      "-servername",
      "outbound_.80_._.front.example",
      "-servername_fatal",
      "-cert2",
      front.certificate().toString(),
      "-key2",
      front.key().toString()
    };
    Wanted wanted = new Wanted();
    wanted.sni = Optional.of("outbound_.80_._.front.example");
    assertThat(askDetails("details.example", wanted, byName)).isEqualTo("gnip");
    assertThat(askDetails("reviews.example", wanted, byName))
        .contains("front.example, details.example, but not reviews.example");
  }

  // ---- chains

  @Test
  void anExpiredCertificateIsRefused() {
    assertThat(
            askServer(authority.issue("DNS:details.example", -1), "details.example", new Wanted()))
        .startsWith("the server's certificate expired on 20");
  }

  @Test
  void anExpiredCertificateIsRefusedEvenWhereItIsTheAuthority() {
    OpensslAuthority.Leaf expired = authority.issue("DNS:details.example", -1);
    Wanted wanted = new Wanted();
    wanted.ca = Optional.of(expired.certificate().toString());
    assertThat(askServer(expired, "details.example", wanted)).contains("expired on");
  }

  @Test
  void anUnknownAuthorityIsRefusedAndTheSentenceSaysWhereItWasLookedFor() {
    assertThat(askServer(stranger.issue("DNS:details.example"), "details.example", new Wanted()))
        .isEqualTo(
            "no authority in caCertificates "
                + authority.certificate()
                + " has signed the server's certificate (the last issuer in its chain is"
                + " CN=authority)");
  }

  @Test
  void withoutAnAuthorityTheSystemsAreTrustedAndOurOwnIsNotOneOfThem() {
    Wanted wanted = new Wanted();
    wanted.ca = Optional.empty();
    assertThat(askDetails("details.example", wanted))
        .startsWith("no authority in ")
        .contains("has signed the server's certificate");
  }

  @Test
  void whoIsToldNotToVerifyDoesNotVerify() {
    Wanted wanted = new Wanted();
    wanted.skip = true;
    assertThat(askServer(stranger.issue("DNS:other.example", -1), "details.example", wanted))
        .isEqualTo("gnip");
  }

  @Test
  void aRevokedCertificateIsRefused() {
    OpensslAuthority.Leaf good = authority.issue("DNS:details.example");
    OpensslAuthority.Leaf revoked = authority.issue("DNS:details.example");
    secrets.put(
        "default/api",
        new Credential(
            Optional.empty(),
            Optional.empty(),
            Optional.of(text(authority.certificate())),
            Optional.of(text(authority.revoking(revoked)))));
    Wanted wanted = new Wanted();
    wanted.secret = Optional.of("api");
    assertThat(askServer(good, "details.example", wanted)).isEqualTo("gnip");
    assertThat(askServer(revoked, "details.example", wanted))
        .isEqualTo("the server's certificate, or one of its issuers', is revoked");

    Wanted ofFiles = new Wanted();
    ofFiles.crl = Optional.of(folder.resolve("authority/ca.crl").toString());
    assertThat(askServer(good, "details.example", ofFiles)).isEqualTo("gnip");
    assertThat(askServer(revoked, "details.example", ofFiles)).contains("is revoked");
    ofFiles.crl = Optional.of("/nowhere/ca.crl");
    assertThat(refusal(ofFiles)).startsWith("caCrl: there is no file /nowhere/ca.crl");
  }

  // ---- versions and suites

  @Test
  void aServerOfAnOldVersionOnlyIsRefused() {
    assertThat(
            askDetails("details.example", new Wanted(), "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"))
        .contains("TLSv1.2 to TLSv1.3");
  }

  @Test
  void theVersionsCanBeNarrowed() {
    Wanted wanted = new Wanted();
    wanted.min = "TLSv1.3";
    assertThat(askDetails("details.example", wanted)).isEqualTo("gnip");
    assertThat(askDetails("details.example", wanted, "-tls1_2"))
        .isEqualTo("the server speaks no TLS version of TLSv1.3 to TLSv1.3");

    wanted.min = "TLSv1.2";
    wanted.max = "TLSv1.2";
    assertThat(askDetails("details.example", wanted)).isEqualTo("gnip");
    assertThat(askDetails("details.example", wanted, "-tls1_3")).contains("TLSv1.2 to TLSv1.2");
  }

  @Test
  void aVersionThatTheAgentDoesNotSpeakIsRefusedAndNotReplaced() {
    Wanted wanted = new Wanted();
    wanted.min = "TLSv1.0";
    wanted.max = "TLSv1.1";
    assertThat(askDetails("details.example", wanted))
        .isEqualTo(
            "there is no TLS version from TLSv1.0 to TLSv1.1 that the agent speaks; it speaks"
                + " TLSv1.2 and TLSv1.3");
    wanted.max = "newest";
    assertThat(askDetails("details.example", wanted)).contains("\"newest\" is no TLS version");
  }

  @Test
  void cipherSuitesGoByOpensslsNames() {
    Wanted wanted = new Wanted();
    wanted.max = "TLSv1.2";
    wanted.suites = List.of("ECDHE-ECDSA-AES256-GCM-SHA384");
    assertThat(askDetails("details.example", wanted, "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"))
        .isEqualTo("gnip");
    assertThat(askDetails("details.example", wanted, "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"))
        .contains("no cipher suite in common");

    wanted.suites = List.of("RC4-MD5");
    assertThat(askDetails("details.example", wanted))
        .isEqualTo("the cipher suite RC4-MD5 is none that the agent has");
  }

  // ---- client certificates

  private String[] wantsClients() {
    return new String[] {
      "-Verify", "3", "-verify_return_error", "-CAfile", authority.certificate().toString()
    };
  }

  @Test
  void mutualShowsTheCertificateOfTheFiles() {
    Wanted wanted = new Wanted().mutual(authority.issue("DNS:ratings.example"));
    assertThat(askDetails("details.example", wanted, wantsClients())).isEqualTo("gnip");
  }

  @Test
  void aServerThatWantsACertificateGetsNoneFromSimple() {
    Wanted wanted = new Wanted();
    wanted.max = "TLSv1.2";
    assertThat(askDetails("details.example", wanted, wantsClients()))
        .contains("it wants a client certificate");
    // With TLS 1.3 the client's half is done before the server judges it.
    wanted.max = "TLSv1.3";
    assertThat(askDetails("details.example", wanted, wantsClients())).startsWith("then: ");
  }

  @Test
  void aServerThatDoesNotTrustTheClientSaysSo() {
    Wanted wanted = new Wanted().mutual(stranger.issue("DNS:ratings.example"));
    wanted.max = "TLSv1.2";
    assertThat(askDetails("details.example", wanted, wantsClients()))
        .isEqualTo("the server does not accept the client certificate (unknown_ca)");
  }

  @Test
  void keysOfAllUsualFormsAreRead() {
    OpensslAuthority.Leaf rsa = authority.issue("DNS:r.example", 2, "-newkey rsa:2048");
    OpensslAuthority.Leaf ec = authority.issue("DNS:e.example");
    OpensslAuthority.Leaf ed = authority.issue("DNS:d.example", 2, "-newkey ed25519");
    authority.run("rsa -traditional -in " + rsa.key() + " -out pkcs1.key");
    authority.run("ec -in " + ec.key() + " -out sec1.key");
    authority.run("ec -no_public -in " + ec.key() + " -out sec1-short.key");
    Path own = folder.resolve("authority");
    for (OpensslAuthority.Leaf leaf :
        List.of(
            rsa,
            ed,
            new OpensslAuthority.Leaf(rsa.certificate(), own.resolve("pkcs1.key")),
            new OpensslAuthority.Leaf(ec.certificate(), own.resolve("sec1.key")),
            new OpensslAuthority.Leaf(ec.certificate(), own.resolve("sec1-short.key")))) {
      assertThat(askDetails("details.example", new Wanted().mutual(leaf), wantsClients()))
          .as(leaf.key().toString())
          .isEqualTo("gnip");
    }
  }

  @Test
  void whatCannotBeReadIsSaidAndNothingIsSent() throws IOException {
    OpensslAuthority.Leaf leaf = authority.issue("DNS:ratings.example");
    OpensslAuthority.Leaf other = authority.issue("DNS:ratings.example");
    Path empty = Files.createFile(folder.resolve("empty.pem"));
    authority.run("ec -aes256 -passout pass:secret -in " + leaf.key() + " -out sealed.key");
    Path sealed = folder.resolve("authority/sealed.key");

    Wanted wanted = new Wanted();
    wanted.mode = UpstreamTls.Mode.MUTUAL;
    assertThat(refusal(wanted))
        .isEqualTo("mode MUTUAL needs clientCertificate and privateKey, or credentialName");
    wanted.mutual(leaf);
    wanted.key = Optional.of("/nowhere/key.pem");
    assertThat(refusal(wanted))
        .isEqualTo(
            "privateKey: there is no file /nowhere/key.pem where the agent runs, or it may not read"
                + " it");
    wanted.key = Optional.of("key.pem");
    assertThat(refusal(wanted)).isEqualTo("privateKey: key.pem is not an absolute path");
    wanted.key = Optional.of(folder.toString());
    assertThat(refusal(wanted)).endsWith(" is no regular file");
    wanted.key = Optional.of(empty.toString());
    assertThat(refusal(wanted)).isEqualTo("privateKey " + empty + " holds no private key in PEM");
    wanted.key = Optional.of(sealed.toString());
    assertThat(refusal(wanted)).contains("holds an encrypted key");
    wanted.key = Optional.of(other.key().toString());
    assertThat(refusal(wanted))
        .isEqualTo(
            "privateKey " + other.key() + " holds a key that does not belong to the certificate");
    wanted.mutual(leaf);
    wanted.ca = Optional.of(empty.toString());
    assertThat(refusal(wanted))
        .isEqualTo("caCertificates " + empty + " holds no certificate in PEM");
  }

  private String refusal(Wanted wanted) {
    try (ServerSocket nobody = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return ask(nobody.getLocalPort(), "details.example", wanted);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  // ---- Secrets and workloads

  @Test
  void aSecretOfTheClientsNamespaceIsShown() {
    secrets.put("default/api", secret(authority.issue("DNS:r.example"), authority.certificate()));
    Wanted wanted = new Wanted();
    wanted.mode = UpstreamTls.Mode.MUTUAL;
    wanted.ca = Optional.empty();
    wanted.secret = Optional.of("api");
    assertThat(askDetails("details.example", wanted, wantsClients())).isEqualTo("gnip");
  }

  @Test
  void theAuthoritiesMayStandInASecretOfTheirOwn() {
    Credential whole = secret(authority.issue("DNS:r.example"), authority.certificate());
    secrets.put(
        "default/api",
        new Credential(whole.certificate(), whole.key(), Optional.empty(), Optional.empty()));
    Wanted wanted = new Wanted();
    wanted.mode = UpstreamTls.Mode.MUTUAL;
    wanted.secret = Optional.of("kubernetes://api");
    assertThat(refusal(wanted))
        .isEqualTo(
            "credentialName kubernetes://api: neither the Secret default/api nor api-cacert is"
                + " there with the authorities (ca.crt or cacert)");

    secrets.put(
        "default/api-cacert",
        new Credential(Optional.empty(), Optional.empty(), whole.authorities(), Optional.empty()));
    now.addAndGet(TimeUnit.SECONDS.toNanos(2));
    assertThat(askDetails("details.example", wanted, wantsClients())).isEqualTo("gnip");
  }

  @Test
  void aSecretThatIsMissingRefuses() {
    secrets.put("other/api", secret(authority.issue("DNS:r.example"), authority.certificate()));
    Wanted wanted = new Wanted();
    wanted.mode = UpstreamTls.Mode.MUTUAL;
    wanted.secret = Optional.of("api");
    assertThat(refusal(wanted))
        .isEqualTo("credentialName api: there is no Secret default/api in the agent's sources");
  }

  @Test
  void theWorkloadsCertificateIsRefusedWhereThereIsNoSourceAndShownWhereThereIs() {
    Wanted wanted = new Wanted();
    wanted.mode = UpstreamTls.Mode.ISTIO_MUTUAL;
    wanted.ca = Optional.empty();
    assertThat(refusal(wanted))
        .isEqualTo(
            "mode ISTIO_MUTUAL shows the workload's certificate, and this agent has no source of"
                + " them");

    secrets.put(
        "workload " + POD, secret(authority.issue("URI:" + SPIFFE), authority.certificate()));
    now.addAndGet(TimeUnit.SECONDS.toNanos(2));
    assertThat(askDetails("details.example", wanted, wantsClients())).isEqualTo("gnip");
  }

  // ---- rotation and time

  @Test
  void aRotatedFileIsReadAgain() throws IOException {
    Path trusted = folder.resolve("rotating.pem");
    Files.copy(stranger.certificate(), trusted, StandardCopyOption.REPLACE_EXISTING);
    Wanted wanted = new Wanted();
    wanted.ca = Optional.of(trusted.toString());
    assertThat(askDetails("details.example", wanted)).startsWith("no authority in");

    Path next = folder.resolve("rotating.next");
    Files.copy(authority.certificate(), next);
    Files.move(next, trusted, StandardCopyOption.ATOMIC_MOVE);
    now.addAndGet(TimeUnit.SECONDS.toNanos(2));
    assertThat(askDetails("details.example", wanted)).isEqualTo("gnip");

    Files.delete(trusted);
    now.addAndGet(TimeUnit.SECONDS.toNanos(2));
    assertThat(askDetails("details.example", wanted)).contains("there is no file " + trusted);
  }

  @Test
  void aServerThatSaysNothingIsGivenUp() throws IOException {
    try (ServerSocket silent = new ServerSocket(0, 5, InetAddress.getLoopbackAddress())) {
      assertThat(
              ask(
                  silent.getLocalPort(),
                  Optional.of("details.example"),
                  new Wanted(),
                  Duration.ofMillis(300)))
          .isEqualTo("the server did not finish the handshake in time");
    }
  }

  @Test
  void aServerThatDoesNotSpeakTlsIsRefused() throws IOException {
    try (ServerSocket plain = new ServerSocket(0, 5, InetAddress.getLoopbackAddress())) {
      Thread.ofVirtual()
          .start(() -> {
            try (var client = plain.accept()) {
              client
                  .getOutputStream()
                  .write("220 mail.example ESMTP\r\n".getBytes(StandardCharsets.US_ASCII));
              client.getInputStream().readAllBytes();
            } catch (IOException e) {
              throw new UncheckedIOException(e);
            }
          });
      assertThat(ask(plain.getLocalPort(), "details.example", new Wanted()))
          .isEqualTo("the server does not speak TLS on this port");
    }
  }

  @Test
  void aServerThatHangsUpIsNamed() throws IOException {
    try (ServerSocket rude = new ServerSocket(0, 5, InetAddress.getLoopbackAddress())) {
      Thread.ofVirtual()
          .start(() -> {
            try (var client = rude.accept()) {
              client.getInputStream().read();
            } catch (IOException e) {
              throw new UncheckedIOException(e);
            }
          });
      assertThat(ask(rude.getLocalPort(), "details.example", new Wanted()))
          .matches("the server closed the connection during the handshake|.*reset.*");
    }
  }
}
