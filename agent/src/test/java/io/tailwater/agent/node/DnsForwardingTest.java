package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Place;
import io.tailwater.lab.Result;
import io.tailwater.lab.Running;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;

/// What captured DNS passes on, byte for byte: the server sends back what it got, so the client
/// sees what arrived there.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter", "dig", "python3"})
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class DnsForwardingTest {
  static final String NOBODY = "203.0.113.99";

  /// A response bit, nothing else, is what the server adds.
  private static final int QR = 0x80;

  private static final HexFormat HEX = HexFormat.of();

  World world;
  private Path script;

  /// How the pods are captured: YAML of top-level keys.
  String capture() {
    return "";
  }

  @BeforeAll
  void build() {
    world = World.build();
    script = Path.of("src/test/resources/dns-ask.py").toAbsolutePath();
    Place host = world.lab.addHost("mirror", "198.51.100.55");
    Running mirror =
        world.lab.start(
            host,
            "python3",
            "-u",
            Path.of("src/test/resources/dns-mirror.py").toAbsolutePath().toString(),
            "198.51.100.55",
            "53");
    mirror.awaitOutput("ready", Duration.ofSeconds(15));
  }

  @AfterAll
  void stop() {
    if (world != null) {
      world.close();
    }
  }

  RunningAgent agent(String dns, String more) {
    return RunningAgent.start(
        world,
        world.configuration(
            world.policies(MainJobTest.POLICIES),
            "mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}\n"
                + dns
                + "\n"
                + more
                + "\n"
                + capture()));
  }

  /// A message: header fields, then the rest.
  static String message(String flags, String counts, String rest) {
    return "1a2b" + flags + counts + rest;
  }

  /// A name of labels, then type and class.
  static String question(String type, String... labels) {
    StringBuilder out = new StringBuilder();
    for (String label : labels) {
      byte[] bytes = label.getBytes(StandardCharsets.ISO_8859_1);
      out.append(HEX.toHexDigits((byte) bytes.length)).append(HEX.formatHex(bytes));
    }
    return out.append("00").append(type).append("0001").toString();
  }

  private List<String> ask(Place pod, String how, String... messages) {
    List<String> command = new ArrayList<>(List.of("python3", script.toString(), NOBODY, how));
    command.addAll(List.of(messages));
    Result result = world.lab.exec(pod, command.toArray(String[]::new));
    assertThat(result.ok()).as(result.toString()).isTrue();
    return result.stdout().lines().toList();
  }

  /// What the mirror makes of it.
  private static String mirrored(String message) {
    byte[] bytes = HEX.parseHex(message);
    bytes[2] |= (byte) QR;
    return HEX.formatHex(bytes);
  }

  private static int rcode(String answer) {
    return HEX.parseHex(answer)[3] & 0xf;
  }

  @Nested
  @TestInstance(TestInstance.Lifecycle.PER_CLASS)
  class Forwarding {
    private RunningAgent agent;

    @BeforeAll
    void start() {
      agent =
          agent(
              "dns: {servers: [198.51.100.55], queryTimeout: 2s}",
              "limits: {dnsQueriesPerPodPerSecond: 40}");
    }

    @AfterAll
    void stop() {
      agent.close();
    }

    private void passes(String message) {
      for (String how : List.of("udp", "tcp")) {
        assertThat(ask(world.ratings, how, message)).as(how).containsExactly(mirrored(message));
      }
    }

    @Test
    void optionsThatNobodyKnowsPass() {
      String opt =
          "00" + "0029" + "04d0" + "00008000" + "000c" + "fde9" + "0008" + "0011223344556677";
      passes(message("0100", "0001000000000001", question("0010", "eXample", "Net") + opt));
    }

    @Test
    void typesAndClassesThatNobodyKnowsPass() {
      passes(message("0100", "0001000000000000", question("ff21", "example", "net")));
      passes(message("0110", "0001000000000000", question("0041", "_8443", "_https", "example")));
    }

    @Test
    void namesThatAreNoHostNamesPass() {
      passes(message("0100", "0001000000000000", question("0010", "a b", "ex\u0001mple", "net")));
      passes(message("0100", "0001000000000000", question("0010", "dotted.label", "net")));
      passes(message("0100", "0001000000000000", question("0002")));
    }

    @Test
    void otherOpcodesPass() {
      // NOTIFY (4) with an SOA question; UPDATE (5) of a zone with one record to add.
      passes(message("2400", "0001000000000000", question("0006", "example", "net")));
      String added = "03777777" + "c00c" + "0001" + "0001" + "0000003c" + "0004" + "c0000201";
      passes(message("2800", "0001000000010000", question("0006", "example", "net") + added));
    }

    @Test
    void aCutOffAnswerIsLeftToTheClient() {
      String big = message("0100", "0001000000000000", question("0010", "big", "example"));
      String answer = ask(world.ratings, "udp", big).getFirst();
      assertThat(HEX.parseHex(answer)[2] & 0x02).as("TC").isNotZero();
      assertThat(ask(world.ratings, "tcp", big)).containsExactly(mirrored(big));
    }

    @Test
    void manyQuestionsOfOneConnectionAreAnsweredAsAnswersCome() {
      String slow =
          "aaaa" + message("0100", "0001000000000000", question("0010", "slow", "x")).substring(4);
      String fast =
          "bbbb" + message("0100", "0001000000000000", question("0010", "fast", "x")).substring(4);
      assertThat(ask(world.ratings, "tcp", slow, fast))
          .containsExactly(mirrored(fast), mirrored(slow));
    }

    @Test
    void aSilentServerIsAServerFailure() {
      String mute = message("0100", "0001000000000000", question("0010", "mute", "example"));
      assertThat(rcode(ask(world.ratings, "udp", mute).getFirst())).isEqualTo(2);
      assertThat(rcode(ask(world.ratings, "tcp", mute).getFirst())).isEqualTo(2);
    }

    @Test
    void whatIsNoMessageIsAFormatErrorOrNothing() {
      // A name that does not end, two questions, a count without a record, an answer, half a
      // header.
      String endless = message("0100", "0001000000000000", "3f61");
      String two =
          message("0100", "0002000000000000", question("0001", "a") + question("0001", "b"));
      String missing = message("0100", "0001000000000001", question("0001", "a"));
      List<String> answers =
          ask(
              world.reviews,
              "udp",
              endless,
              two,
              missing,
              message("8100", "0001000000000000", question("0001", "a")),
              "1a2b01");
      assertThat(answers.subList(0, 3)).allMatch(a -> rcode(a) == 1);
      assertThat(answers.subList(3, 5)).containsOnly("none");
      assertThat(ask(world.reviews, "tcp", "1a2b01")).containsExactly("closed");
    }

    @Test
    void aZoneTransferIsRefused() {
      String transfer = message("0000", "0001000000000000", question("00fc", "example", "net"));
      assertThat(rcode(ask(world.ratings, "tcp", transfer).getFirst())).isEqualTo(5);
    }

    @Test
    void aPodThatAsksTooMuchIsToldSoAndHarmsNoOther() {
      String query = message("0100", "0001000000000000", question("0010", "flood", "example"));
      Result flood =
          world.lab.exec(
              world.reviews,
              "python3",
              "-c",
              """
              import socket, sys, time
              udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
              udp.connect((sys.argv[1], 53))
              for _ in range(400):
                  udp.send(bytes.fromhex(sys.argv[2]))
              udp.settimeout(1)
              codes = []
              try:
                  while True:
                      codes.append(udp.recv(4096)[3] & 15)
              except socket.timeout:
                  print(codes.count(0), codes.count(2))
              """,
              NOBODY,
              query);
      String[] counts = flood.stdout().strip().split(" ");
      assertThat(Integer.parseInt(counts[0])).as(flood.toString()).isBetween(30, 120);
      assertThat(Integer.parseInt(counts[1])).isBetween(20, 120);
      assertThat(ask(world.ratings, "udp", query)).containsExactly(mirrored(query));
      assertThat(agent.page("15020/metrics").stdout())
          .contains("tailwater_dns_limited_total{namespace=\"other\",}")
          .doesNotContain("tailwater_dns_limited_total{namespace=\"default\",}");
    }
  }

  @Nested
  @TestInstance(TestInstance.Lifecycle.PER_CLASS)
  class Refusing {
    private RunningAgent agent;

    @BeforeAll
    void start() {
      agent =
          agent(
              "dns: {servers: [DNS], unknownNames: refuse}",
              "egress: {namespaces: {other: audit}}");
    }

    @AfterAll
    void stop() {
      agent.close();
    }

    private Result dig(Place pod, String... more) {
      List<String> command = new ArrayList<>(List.of("dig", "@" + NOBODY, "+time=5", "+tries=1"));
      command.addAll(List.of(more));
      return world.lab.exec(pod, command.toArray(String[]::new));
    }

    @Test
    void anUnknownNameDoesNotExistAndIsRecorded() {
      Result result = dig(world.ratings, "secret.exfil.example.org", "TXT");

      assertThat(result.stdout()).contains("status: NXDOMAIN", "EDE: 15 (Blocked)");
      assertThat(agent.page("15000/denials").stdout())
          .contains("default/ratings-v1 to secret.exfil.example.org", "name_refused", "TXT");
      assertThat(world.dns.queries()).noneMatch(q -> q.name().contains("exfil"));
      assertThat(agent.page("15020/metrics").stdout())
          .contains("tailwater_denials_total{namespace=\"default\",reason=\"name_refused\"");
    }

    @Test
    void aKnownNameIsAnsweredAndItsSearchedFormsAreNoDenial() {
      assertThat(dig(world.ratings, "+short", "de.wikipedia.org").stdout().strip())
          .isEqualTo(World.v4("de.wikipedia.org"));
      assertThat(dig(world.ratings, "de.wikipedia.org.default.svc.cluster.local").stdout())
          .contains("status: NXDOMAIN");
      assertThat(agent.page("15000/denials").stdout())
          .doesNotContain("de.wikipedia.org.default.svc");
    }

    @Test
    void anUpdateIsRefused() {
      String update = message("2800", "0001000000000000", question("0006", "example", "net"));
      assertThat(rcode(ask(world.ratings, "udp", update).getFirst())).isEqualTo(5);
    }

    @Test
    void auditAnswersAndRecords() {
      assertThat(dig(world.reviews, "+short", "example.org").stdout().strip())
          .isEqualTo(World.v4("example.org"));
      assertThat(agent.page("15000/denials").stdout())
          .containsPattern("other/reviews-v1 +example.org .*name_refused +audit");
    }
  }

  @Nested
  @TestInstance(TestInstance.Lifecycle.PER_CLASS)
  class WhenServersFail {
    @Test
    void whatWasAnsweredBeforeIsAnsweredOnAndTheRestFails() {
      try (RunningAgent agent =
          agent("dns: {servers: [DNS], queryTimeout: 1s, maxTtl: 5s, minRefreshRate: 1s}", "")) {
        String[] kept = {"dig", "@" + NOBODY, "+nocookie", "+tries=1", "+time=8", "example.org"};
        assertThat(world.lab.exec(world.ratings, kept).stdout()).contains(World.v4("example.org"));
        world.dns.stop();
        try {
          World.await(
              () -> "a stale answer",
              () -> {
                world.lab.exec(world.ratings, kept);
                return agent
                    .page("15020/metrics")
                    .stdout()
                    .contains("tailwater_dns_answers_total{answer=\"stale\",}");
              });
          assertThat(world.lab.exec(world.ratings, kept).stdout())
              .contains("status: NOERROR", World.v4("example.org"));
          Result other =
              world.lab.exec(
                  world.ratings, "dig", "@" + NOBODY, "+tries=1", "+time=8", "other.example.org");
          assertThat(other.stdout()).contains("status: SERVFAIL");
        } finally {
          world.dns.restart();
        }
      }
    }
  }
}
