package io.tailwater.agent.dataplane.account;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.agent.traffic.Refusal;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class AccessLineTest {

  private static AccessRecord record(ConnectionRecord c, Outcome outcome, EgressMode mode) {
    return new AccessRecord(c, outcome, mode, Samples.T0, Duration.ofMillis(14));
  }

  private static List<AccessRecord> samples() {
    ConnectionRecord done = Samples.connected(1, "de.wikipedia.org");
    done.bytes(118, 2048);
    ConnectionRecord audited = Samples.connection(3, "ratings-v1", Samples.tls("example.org"));
    audited.decision(
        new Decision.Passthrough(Optional.of(Refusal.CONNECTION_CLOSED), Optional.empty()));
    ConnectionRecord malformed =
        Samples.connection(
            4,
            "ratings-v1",
            new Preface.MalformedTls("the name has a blank", Optional.of("a b\n\"x\"")));
    return List.of(
        record(done, new Outcome.Finished(), EgressMode.ENFORCE),
        record(Samples.refused(2, "example.org"), Samples.closed(), EgressMode.ENFORCE),
        record(audited, new Outcome.Reset(true), EgressMode.AUDIT),
        record(
            malformed,
            new Outcome.Refused(Refusal.MALFORMED_HELLO, "the name has a blank"),
            EgressMode.ENFORCE),
        record(
            Samples.forwarded(5, "de.wikipedia.org"),
            new Outcome.Refused(Refusal.DNS_FAILURE, "NXDOMAIN"),
            EgressMode.ENFORCE));
  }

  private static String line(AccessRecord record, AccessLogConfig.Format format) {
    StringBuilder line = new StringBuilder();
    AccessLine.append(line, record, format);
    return line.toString();
  }

  /// Run with `-Dgoldens=write` to write the files anew.
  private static void compare(String file, AccessLogConfig.Format format) throws IOException {
    StringBuilder lines = new StringBuilder();
    samples().forEach(r -> lines.append(line(r, format)).append('\n'));
    Path golden = Path.of("src/test/resources/io/tailwater/agent/dataplane/account", file);
    if (System.getProperty("goldens", "").equals("write")) {
      Files.writeString(golden, lines);
    }
    assertThat(lines.toString()).isEqualTo(Files.readString(golden, StandardCharsets.UTF_8));
  }

  @Test
  void textLinesAreAsInTheGoldenFile() throws IOException {
    compare("access.txt", AccessLogConfig.Format.TEXT);
  }

  @Test
  void jsonLinesAreAsInTheGoldenFile() throws IOException {
    compare("access.json", AccessLogConfig.Format.JSON);
  }

  @Test
  void ztunnelsFieldsComeFirstAndInItsOrder() {
    String line =
        line(
            record(
                Samples.connected(1, "de.wikipedia.org"),
                new Outcome.Refused(Refusal.CONNECT_FAILED, "x"),
                EgressMode.ENFORCE),
            AccessLogConfig.Format.TEXT);

    assertThat(line.split("\t")[4])
        .containsSubsequence(
            "src.addr=",
            "src.workload=",
            "src.namespace=",
            "dst.addr=",
            "dst.service=",
            "direction=",
            "bytes_sent=",
            "bytes_recv=",
            "duration=",
            "error=",
            "sni=");
  }

  @Test
  void nothingThatAClientSentEndsTheLineOrFakesAField() {
    ConnectionRecord c =
        Samples.connection(
            1,
            "ratings-v1",
            new Preface.MalformedTls(
                "x", Optional.of("a\" reason=\"none\r\n2031 fake\t\u0000\u2028\u202e\u001b[31m")));
    AccessRecord record =
        record(c, new Outcome.Refused(Refusal.MALFORMED_HELLO, ""), EgressMode.ENFORCE);

    for (AccessLogConfig.Format format : AccessLogConfig.Format.values()) {
      String line = line(record, format);
      String fields = format == AccessLogConfig.Format.TEXT ? line.split("\t", 5)[4] : line;
      assertThat(fields).matches("[ -~]*").contains("a\\\" reason=\\\"none");
    }
  }
}
