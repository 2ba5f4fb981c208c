package io.tailwater.agent.dataplane.account;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.agent.traffic.PodRef;
import io.tailwater.agent.traffic.Refusal;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AccountsTest {
  private final ByteArrayOutputStream lines = new ByteArrayOutputStream();
  private final AccessLog log = new AccessLog(AccessLogConfig.Format.TEXT, lines, 100);
  private final Metrics metrics = new Metrics("0.1.0");
  private final Accounts accounts =
      new Accounts(
          metrics,
          log,
          Samples.routes(EgressMode.ENFORCE),
          Clock.fixed(Samples.T0, ZoneOffset.UTC),
          () -> 14_000_000L);

  @AfterEach
  void close() {
    log.close();
  }

  private void finish(ConnectionRecord c, long sent, long received) {
    accounts.accepted(c);
    accounts.opened(c);
    c.bytes(sent, received);
    accounts.progress(c, sent, received);
    accounts.ended(c, new Outcome.Finished());
  }

  private void refuse(ConnectionRecord c) {
    accounts.accepted(c);
    accounts.ended(c, Samples.closed());
  }

  private String page() {
    return metrics.page("text/plain").body();
  }

  private String written() {
    log.close();
    return lines.toString(StandardCharsets.UTF_8);
  }

  @Test
  void theTrafficOnThePageIsAsInTheGoldenFile() throws IOException {
    finish(Samples.connected(1, "de.wikipedia.org"), 118, 2048);
    finish(Samples.connected(2, "en.wikipedia.org"), 2, 2000);
    refuse(Samples.refused(3, "example.org"));
    ConnectionRecord failed = Samples.forwarded(4, "down.wikipedia.org");
    accounts.accepted(failed);
    accounts.opened(failed);
    accounts.ended(failed, new Outcome.Refused(Refusal.CONNECT_FAILED, "refused"));

    String ours =
        page()
            .lines()
            .filter(l -> !l.contains("process_") && !l.contains("jvm_"))
            .collect(Collectors.joining("\n", "", "\n"));
    Path golden = Path.of("src/test/resources/io/tailwater/agent/dataplane/account/metrics.txt");
    if (System.getProperty("goldens", "").equals("write")) {
      Files.writeString(golden, ours);
    }

    assertThat(ours).isEqualTo(Files.readString(golden));
  }

  @Test
  void bytesAreCountedWhileTheConnectionLives() {
    ConnectionRecord c = Samples.connected(1, "de.wikipedia.org");
    accounts.accepted(c);
    accounts.opened(c);
    accounts.progress(c, 100, 5);
    accounts.progress(c, 18, 0);

    assertThat(page())
        .containsPattern("istio_tcp_received_bytes_total\\{.*} 118.0")
        .containsPattern("istio_tcp_sent_bytes_total\\{.*} 5.0")
        .containsPattern("istio_tcp_sockets_open\\{reporter=\"source\",?} 1.0");
  }

  @Test
  void aConnectionOfRequestsCountsWhereItsFirstOneGoesWithAllItsBytes() {
    Decision first = Samples.forwarded(1, "de.wikipedia.org").decision().orElseThrow();
    ConnectionRecord c = Samples.connected(1, "de.wikipedia.org");
    c.decision(new Decision.PerRequest());
    accounts.accepted(c);
    c.bytes(100, 0);
    accounts.progress(c, 100, 0);
    accounts.opened(c, first);
    c.bytes(118, 5);
    accounts.progress(c, 18, 5);
    accounts.ended(c, new Outcome.Finished());

    String to = "destination_service=\"\\*.wikipedia.org\"";
    assertThat(page())
        .containsPattern("istio_tcp_connections_opened_total\\{.*" + to + ".*} 1.0")
        .containsPattern("istio_tcp_connections_closed_total\\{.*" + to + ".*} 1.0")
        .containsPattern("istio_tcp_received_bytes_total\\{.*" + to + ".*} 118.0")
        .containsPattern("istio_tcp_sent_bytes_total\\{.*" + to + ".*} 5.0")
        .doesNotContain("destination_service=\"unknown\"");
  }

  @Test
  void noNameOfAClientBecomesALabel() {
    for (int i = 0; i < 50; i++) {
      finish(Samples.connected(i, "n" + i + ".wikipedia.org"), 1, 1);
      refuse(Samples.refused(i, "n" + i + ".example.org"));
    }

    assertThat(page()).doesNotContain("n1.").contains("*.wikipedia.org");
    assertThat(page().lines().filter(l -> l.startsWith("istio_tcp_connections_opened_total")))
        .hasSize(1);
  }

  @Test
  void labelSetsAreBounded() {
    Decision decision = Samples.forwarded(1, "de.wikipedia.org").decision().orElseThrow();
    for (int i = 0; i < Metrics.MAX_SERIES + 50; i++) {
      metrics.opened(
          Samples.connection(i, "pod-" + i, Samples.tls("de.wikipedia.org")),
          Optional.of(decision));
    }

    List<String> opened =
        page().lines().filter(l -> l.startsWith("istio_tcp_connections_opened_total")).toList();
    assertThat(opened).hasSize(Metrics.MAX_SERIES + 1);
    assertThat(opened)
        .anyMatch(l -> l.contains("source_workload=\"other\"") && l.endsWith(" 50.0"));
  }

  @Test
  void openMetricsIsServedWhereItIsAskedFor() {
    Metrics.Page page = metrics.page("application/openmetrics-text; version=1.0.0");

    assertThat(page.contentType()).startsWith("application/openmetrics-text");
    assertThat(page.body()).endsWith("# EOF\n");
  }

  @Test
  void refusalsAreGatheredByPodNameDestinationAndReason() {
    refuse(Samples.refused(1, "example.org"));
    refuse(Samples.refused(2, "example.org"));
    refuse(Samples.refused(3, "other.example.org"));

    assertThat(accounts.denials().all())
        .extracting(Denials.Denial::shownName, Denials.Denial::count)
        .containsExactlyInAnyOrder(
            org.assertj.core.groups.Tuple.tuple("example.org", 2L),
            org.assertj.core.groups.Tuple.tuple("other.example.org", 1L));
    assertThat(accounts.denials().all().getFirst().preface()).isInstanceOf(Preface.Tls.class);
  }

  @Test
  void whatAuditWouldBlockIsADenialToo() {
    ConnectionRecord c = Samples.connection(1, "ratings-v1", Samples.tls("example.org"));
    c.decision(new Decision.Passthrough(Optional.of(Refusal.CONNECTION_CLOSED), Optional.empty()));
    finish(c, 1, 1);

    assertThat(accounts.denials().all())
        .singleElement()
        .extracting(Denials.Denial::mode)
        .isEqualTo(EgressMode.AUDIT);
    assertThat(page())
        .containsPattern(
            "tailwater_denials_total\\{namespace=\"default\",reason=\"connection_closed\",mode=\"audit\",?}"
                + " 1.0");
  }

  @Test
  void onePodCannotPushOutTheDenialsOfOthers() {
    ConnectionRecord quiet = Samples.connection(1, "quiet", Samples.tls("example.org"));
    accounts.ended(quiet, Samples.closed());
    for (int i = 0; i < 10 * Denials.PER_POD; i++) {
      refuse(Samples.refused(i, "n" + i + ".example.org"));
    }

    assertThat(accounts.denials().all()).hasSize(Denials.PER_POD + 1);
    assertThat(accounts.denials().all())
        .anyMatch(d -> d.pod().ref().equals(new PodRef("default", "quiet")));
  }

  @Test
  void refusalsAreLoggedAFewTimesPerPodAndNameAndThenCounted() {
    for (int i = 0; i < 25; i++) {
      refuse(Samples.refused(i, "example.org"));
    }
    refuse(Samples.refused(26, "other.example.org"));

    assertThat(written().lines()).hasSize(AccessLog.REFUSALS_PER_MINUTE + 1);
    assertThat(log.suppressed()).isEqualTo(25 - AccessLog.REFUSALS_PER_MINUTE);
  }

  @Test
  void aWriterThatHangsNeverHoldsALoopUp() throws Exception {
    CountDownLatch entered = new CountDownLatch(1);
    CountDownLatch hang = new CountDownLatch(1);
    OutputStream stuck =
        new OutputStream() {
          @Override
          public void write(int b) throws IOException {
            entered.countDown();
            try {
              hang.await();
            } catch (InterruptedException e) {
              throw new IOException(e);
            }
          }
        };
    try (AccessLog slow = new AccessLog(AccessLogConfig.Format.TEXT, stuck, 4)) {
      Accounts busy = new Accounts(new Metrics("x"), slow, Samples.routes(EgressMode.ENFORCE));
      busy.ended(Samples.connected(0, "de.wikipedia.org"), new Outcome.Finished());
      assertThat(entered.await(10, TimeUnit.SECONDS)).isTrue();
      for (int i = 0; i < 20; i++) {
        busy.ended(Samples.connected(i, "de.wikipedia.org"), new Outcome.Finished());
      }

      assertThat(slow.dropped()).isEqualTo(16);
      hang.countDown();
    }
  }

  @Test
  void theInventoryTellsWhatAPodReallyCalled() {
    finish(Samples.connected(1, "de.wikipedia.org"), 1, 1);
    finish(Samples.connected(2, "de.wikipedia.org"), 1, 1);
    refuse(Samples.refused(3, "example.org"));
    finish(Samples.connection(4, "ratings-v1", new Preface.Opaque()), 1, 1);

    assertThat(accounts.inventory().all())
        .extracting(
            Inventory.Called::name,
            Inventory.Called::protocol,
            Inventory.Called::count,
            Inventory.Called::refused)
        .containsExactly(
            org.assertj.core.groups.Tuple.tuple("203.0.113.250", Inventory.Protocol.TCP, 1L, 0L),
            org.assertj.core.groups.Tuple.tuple("de.wikipedia.org", Inventory.Protocol.TLS, 2L, 0L),
            org.assertj.core.groups.Tuple.tuple("example.org", Inventory.Protocol.TLS, 1L, 1L));
  }

  @Test
  void theInventoryIsBoundedPerPod() {
    for (int i = 0; i < Inventory.PER_POD + 5; i++) {
      refuse(Samples.refused(i, "n" + i + ".example.org"));
    }

    assertThat(accounts.inventory().all()).hasSize(Inventory.PER_POD);
    assertThat(accounts.inventory().overflow()).isEqualTo(10); // called and refused
  }

  @Test
  void theInventoryOutlivesARestart(@TempDir Path dir) {
    finish(Samples.connected(1, "de.wikipedia.org"), 1, 1);
    new InventoryFile(accounts.inventory(), dir.resolve("new")).close();

    Inventory next = new Inventory();
    new InventoryFile(next, dir.resolve("new")).close();

    assertThat(next.all()).isEqualTo(accounts.inventory().all()).hasSize(1);
    assertThat(dir.resolve("new")).isDirectoryNotContaining("glob:**.next");
  }

  @Test
  void anInventoryThatCannotBeReadIsPutAside(@TempDir Path dir) throws IOException {
    Files.writeString(dir.resolve("inventory.json"), "[{\"namespace\": \"x\"");

    Inventory inventory = new Inventory();
    new InventoryFile(inventory, dir).close();

    assertThat(inventory.all()).isEmpty();
    assertThat(dir.resolve("inventory.json.unreadable")).exists();
  }
}
