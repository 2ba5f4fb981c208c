package io.tailwater.lab;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl"})
class NetLabTest {
  private static final Duration MINUTE = Duration.ofMinutes(1);

  @Test
  void curlInAPodReachesAnUpstreamByNameWithVerification() {
    try (NetLab lab = NetLab.create()) {
      Place pod = lab.addPod("ratings");
      Place world = lab.addHost("wiki", "198.51.100.10", "2001:db8::10");
      Place dns = lab.addHost("dns", "198.51.100.53");
      Certificates ca = Certificates.create(lab);
      TlsUpstream.start(lab, world, ca, "en.wikipedia.org", "de.wikipedia.org");
      DnsServer.start(
          lab,
          dns,
          Duration.ofSeconds(30),
          Map.of("en.wikipedia.org", List.of("198.51.100.10", "2001:db8::10")));
      lab.nameserver(dns.v4());

      for (String family : List.of("-4", "-6")) {
        Result result =
            lab.exec(
                pod,
                "curl",
                "-sS",
                family,
                "-m",
                "10",
                "--cacert",
                ca.authority().toString(),
                "https://en.wikipedia.org/");

        assertThat(result.stderr()).isEmpty();
        assertThat(result.stdout())
            .contains("host=en.wikipedia.org")
            .contains("client=" + (family.equals("-4") ? pod.v4() : pod.v6()));
      }
    }
  }

  @Test
  void aNameThatTheUpstreamDoesNotServeFailsTheHandshake() {
    try (NetLab lab = NetLab.create()) {
      Place pod = lab.addPod("ratings");
      Place world = lab.addHost("wiki", "198.51.100.10");
      Certificates ca = Certificates.create(lab);
      TlsUpstream.start(lab, world, ca, "en.wikipedia.org");

      Result result =
          lab.exec(
              pod,
              "curl",
              "-sSk",
              "-m",
              "10",
              "--resolve",
              "other.org:443:198.51.100.10",
              "https://other.org/");

      assertThat(result.ok()).isFalse();
      assertThat(result.stderr()).contains("SSL");
    }
  }

  @Test
  void namesCanBePointedElsewhereAndTakenAwayWhileTheServerRuns() {
    try (NetLab lab = NetLab.create()) {
      Place pod = lab.addPod("ratings");
      Place host = lab.addHost("dns", "198.51.100.53");
      DnsServer dns =
          DnsServer.start(
              lab, host, Duration.ofSeconds(7), Map.of("a.test", List.of("203.0.113.1")));
      lab.nameserver(host.v4());

      assertThat(lab.exec(pod, "getent", "ahostsv4", "a.test").stdout()).contains("203.0.113.1");

      dns.point("a.test", "203.0.113.2");
      assertThat(lab.exec(pod, "getent", "ahostsv4", "a.test").stdout()).contains("203.0.113.2");

      dns.point("a.test");
      assertThat(lab.exec(pod, "getent", "ahostsv4", "a.test").ok()).isFalse();
      assertThat(dns.queries()).contains(new DnsServer.Query("A", "a.test", pod.v4()));
    }
  }

  @Test
  void aServerThatSpeaksFirstIsHeardInAPod() {
    try (NetLab lab = NetLab.create()) {
      Place pod = lab.addPod("mail");
      Place host = lab.addHost("smtp", "198.51.100.25");
      TcpServer.start(
          lab, host, Map.of(25, TcpServer.Behaviour.BANNER, 26, TcpServer.Behaviour.DIGEST));

      Result banner =
          lab.exec(pod, "bash", "-c", "exec 3<>/dev/tcp/198.51.100.25/25; head -n 1 <&3");

      assertThat(banner.stdout()).startsWith("220 lab ready");
    }
  }

  @Test
  void podsTalkToEachOtherAndKeepTheirAddresses() {
    try (NetLab lab = NetLab.create()) {
      Place client = lab.addPod("client");
      Place server = lab.addPod("server");
      TcpServer echo = TcpServer.start(lab, server, Map.of(9000, TcpServer.Behaviour.SINK));

      lab.exec(client, "bash", "-c", "echo hello > /dev/tcp/" + server.v4() + "/9000").orThrow();

      echo.process().awaitOutput("/" + client.v4(), Duration.ofSeconds(5));
    }
  }

  @Test
  void closingLeavesNoNamespaceNoProcessAndNoFile() throws IOException {
    String id;
    long pid;
    try (NetLab lab = NetLab.create()) {
      id = lab.id();
      Place pod = lab.addPod("ratings");
      pid = lab.start(pod, "sleep", "1000").pid();
      lab.exec(pod, "sh", "-c", "sleep 1000 & echo left behind").orThrow();
      assertThat(traces(id)).isNotEmpty();
    }

    assertThat(traces(id)).isEmpty();
    assertThat(ProcessHandle.of(pid)).isEmpty();
  }

  @Test
  void aKilledRunIsRemovedByTheNextAndALivingOneIsNot() throws Exception {
    Process other =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                System.getProperty("java.class.path"),
                Abandoned.class.getName())
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    String[] line;
    try (var reader = other.inputReader()) {
      line = reader.readLine().split(" ", -1);
    }
    String id = line[0];
    NetLab.sweep();
    assertThat(traces(id)).isNotEmpty();

    other.destroyForcibly().waitFor();
    NetLab.sweep();

    assertThat(traces(id)).isEmpty();
    assertThat(ProcessHandle.of(Long.parseLong(line[1])).filter(ProcessHandle::isAlive)).isEmpty();
  }

  /// A run that is killed before it can clean up.
  static final class Abandoned {
    private Abandoned() {}

    public static void main(String[] arguments) throws InterruptedException {
      NetLab lab = NetLab.create();
      Running left = lab.start(lab.addPod("left"), "sleep", "1000");
      System.out.println(lab.id() + " " + left.pid());
      Thread.sleep(MINUTE.toMillis());
    }
  }

  @Test
  void twoLabsAtOnceHaveTheSameAddressesAndDoNotMeet() {
    try (NetLab one = NetLab.create();
        NetLab two = NetLab.create()) {
      Place first = one.addPod("ratings");
      Place second = two.addPod("ratings");

      assertThat(first.v4()).isEqualTo(second.v4());
      assertThat(first.namespace()).isNotEqualTo(second.namespace());
    }
  }

  @Test
  void aCommandThatDoesNotEndInTimeIsAnError() {
    try (NetLab lab = NetLab.create()) {
      assertThatThrownBy(() -> lab.exec(lab.node(), Duration.ofMillis(200), List.of("sleep", "60")))
          .isInstanceOf(LabException.class)
          .hasMessageContaining("no end within");
    }
  }

  @Test
  void localPortsKeepClearOfTheAgents() {
    try (NetLab lab = NetLab.create()) {
      Result range =
          lab.exec(lab.addPod("ratings"), "cat", "/proc/sys/net/ipv4/ip_local_port_range");

      assertThat(range.stdout().strip().split("\\s+", -1)).containsExactly("32768", "60999");
    }
  }

  private static List<String> traces(String id) throws IOException {
    Stream.Builder<String> found = Stream.builder();
    for (String folder : List.of("/run/netns", "/etc/netns", "/run/tailwater-lab")) {
      if (Files.isDirectory(Path.of(folder))) {
        try (Stream<Path> entries = Files.list(Path.of(folder))) {
          entries.map(Path::toString).filter(path -> path.contains(id)).forEach(found);
        }
      }
    }
    return found.build().toList();
  }
}
