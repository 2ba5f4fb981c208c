package io.tailwater.agent.dataplane.http;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.route.RequestPolicy;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// Real curl and h2load through the room to a real nginx, on loopback. No root. Skips where a
/// program is missing, and fails there if `CI` is set.
@Timeout(value = 120, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class HttpClientsTest {
  private static final int BIG = 20 << 20;

  @TempDir static Path folder;
  private static Process nginx;
  private static InetSocketAddress http1;
  private static InetSocketAddress http2;

  private static void need(String program) {
    boolean there =
        Arrays.stream(
                (Optional.ofNullable(System.getenv("PATH")).orElse("") + ":/usr/sbin").split(":"))
            .anyMatch(place -> Files.isExecutable(Path.of(place, program)));
    if (!there && "true".equals(System.getenv("CI"))) {
      Assertions.fail(program + " is not on the PATH");
    }
    Assumptions.assumeTrue(there, program + " is not on the PATH: skipped");
  }

  private static InetSocketAddress freePort() throws IOException {
    try (ServerSocket free = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return (InetSocketAddress) free.getLocalSocketAddress();
    }
  }

  @BeforeAll
  static void startNginx() throws Exception {
    for (String program : List.of("nginx", "curl", "h2load")) {
      need(program);
    }
    http1 = freePort();
    http2 = freePort();
    Files.write(folder.resolve("big"), new byte[BIG]);
    Files.writeString(folder.resolve("small"), "hello");
    Files.setPosixFilePermissions(
        folder, java.nio.file.attribute.PosixFilePermissions.fromString("rwxr-xr-x"));
    Files.writeString(
        folder.resolve("nginx.conf"),
        """
        daemon off; pid %1$s/pid; error_log %1$s/error.log; worker_processes 1;
        events { worker_connections 1024; }
        http {
          access_log off; client_body_temp_path %1$s/body; proxy_temp_path %1$s/proxy;
          fastcgi_temp_path %1$s/f; uwsgi_temp_path %1$s/u; scgi_temp_path %1$s/s;
          keepalive_requests 100000; http2_max_concurrent_streams 64; client_max_body_size 0;
          server {
            listen 127.0.0.1:%2$d; listen 127.0.0.1:%3$d http2;
            root %1$s;
            location /host { return 200 "$host $server_protocol $request_uri\\n"; }
            location /upload { client_body_in_file_only clean; proxy_pass http://127.0.0.1:%2$d/host; }
          }
        }
        """
            .formatted(folder, http1.getPort(), http2.getPort()));
    nginx =
        new ProcessBuilder(
                "/usr/sbin/nginx",
                "-c",
                folder.resolve("nginx.conf").toString(),
                "-p",
                folder + "/")
            .redirectErrorStream(true)
            .redirectOutput(folder.resolve("nginx.out").toFile())
            .start();
    while (true) {
      try (Socket _ = new Socket(http1.getAddress(), http1.getPort())) {
        return;
      } catch (IOException e) {
        assertThat(nginx.isAlive()).as("nginx runs").isTrue();
        Thread.onSpinWait();
      }
    }
  }

  @AfterAll
  static void stopNginx() throws Exception {
    if (nginx != null) {
      nginx.destroy();
      assertThat(nginx.waitFor(20, TimeUnit.SECONDS)).isTrue();
    }
  }

  private static String run(String... command) throws Exception {
    Process process =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start();
    process.getOutputStream().close();
    String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
    return out;
  }

  private static HttpRig rig(boolean clientHttp2, boolean upstreamHttp2) {
    HttpRig rig = new HttpRig(clientHttp2);
    for (String host : List.of("one.test", "two.test")) {
      rig.host(host, upstreamHttp2 ? http2 : http1, upstreamHttp2, RequestPolicy.NONE);
    }
    return rig;
  }

  private static String[] curl(boolean overHttp2, HttpRig rig, String... more) {
    int port = rig.address().getPort();
    List<String> line =
        new ArrayList<>(
            List.of(
                "curl",
                "-sS",
                "-m",
                "60",
                overHttp2 ? "--http2-prior-knowledge" : "--http1.1",
                "--connect-to",
                "one.test:80:127.0.0.1:" + port,
                "--connect-to",
                "two.test:80:127.0.0.1:" + port,
                "--connect-to",
                "three.test:80:127.0.0.1:" + port));
    line.addAll(List.of(more));
    return line.toArray(String[]::new);
  }

  @ParameterizedTest
  @CsvSource({"false,false", "false,true", "true,false", "true,true"})
  void curlGetsWhatItAskedForFromWhomItAsked(boolean client, boolean upstream) throws Exception {
    try (HttpRig rig = rig(client, upstream)) {
      String spoken = upstream ? "HTTP/2.0" : "HTTP/1.1";
      assertThat(run(curl(client, rig, "http://one.test/host/a?b", "http://two.test/host")))
          .isEqualTo("one.test " + spoken + " /host/a?b\ntwo.test " + spoken + " /host\n");
      assertThat(
              run(
                  curl(
                      client,
                      rig,
                      "-o",
                      "/dev/null",
                      "-w",
                      "%{http_code} %{size_download}",
                      "http://one.test/big")))
          .isEqualTo("200 " + BIG);
      assertThat(
              run(
                  curl(
                      client,
                      rig,
                      "-o",
                      "/dev/null",
                      "-w",
                      "%{http_code}",
                      "-T",
                      folder.resolve("big").toString(),
                      "http://one.test/upload/x")))
          .isEqualTo("200");
      assertThat(run(curl(client, rig, "-I", "http://one.test/small"))).contains(" 200");
      assertThat(run(curl(client, rig, "-w", "%{http_code}", "http://three.test/")))
          .endsWith("502");
    }
  }

  @ParameterizedTest
  @CsvSource({"false,false", "false,true", "true,false", "true,true"})
  void h2loadFindsNoRequestLost(boolean client, boolean upstream) throws Exception {
    try (HttpRig rig = rig(client, upstream)) {
      int port = rig.address().getPort();
      List<String> line =
          new ArrayList<>(List.of("h2load", "-n", "4000", "-c", "8", "-m", client ? "16" : "1"));
      if (!client) {
        line.add("--h1");
      }
      line.add("--connect-to=127.0.0.1:" + port);
      line.add("http://one.test:" + port + "/small");
      String told = run(line.toArray(String[]::new));
      assertThat(told).contains("4000 succeeded, 0 failed, 0 errored, 0 timeout");
      assertThat(rig.started).hasValue(4000);
    }
  }

  @Test
  void aRequestThatIsCutOffByItsClientLeavesNothingBehind() throws Exception {
    try (HttpRig rig = rig(false, false)) {
      String[] line =
          curl(false, rig, "--limit-rate", "100k", "-o", "/dev/null", "http://one.test/big");
      Process process = new ProcessBuilder(line).start();
      rig.next(rig.asked);
      process.destroyForcibly();
      assertThat(process.waitFor(20, TimeUnit.SECONDS)).isTrue();
      assertThat(rig.next(rig.ends)).isEqualTo(HttpObserver.HttpEnd.CLIENT_RESET);
    }
  }
}
