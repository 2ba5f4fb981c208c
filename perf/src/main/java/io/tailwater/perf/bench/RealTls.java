package io.tailwater.perf.bench;

import io.tailwater.lab.Certificates;
import io.tailwater.lab.NetLab;
import io.tailwater.lab.Place;
import io.tailwater.lab.Result;
import io.tailwater.lab.Running;
import io.tailwater.perf.peer.BenchException;
import io.tailwater.perf.peer.Contestant;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// Other people's load generators, over real TLS, as a cross-check of ours: wrk and h2load in the
/// pod, nginx with TLS on a host of its own. iperf3 speaks no TLS and sends no name, so it takes
/// the direct path only. One thread; every tool is bounded in time.
final class RealTls {
  private static final int SECONDS = 2;
  private static final Duration LIMIT = Duration.ofSeconds(20);
  private static final long BIG = 16 << 20;
  private static final Duration START = Duration.ofSeconds(10);

  private static final Pattern RATE = Pattern.compile("Requests/sec:\\s+([\\d.]+)");
  private static final Pattern P99 = Pattern.compile("99%\\s+([\\d.]+)(us|ms|s)");
  private static final Pattern TRANSFER = Pattern.compile("Transfer/sec:\\s+([\\d.]+)(B|KB|MB|GB)");
  private static final Pattern H2LOAD = Pattern.compile("finished in [^,]+, ([\\d.]+) req/s");
  private static final Pattern IPERF = Pattern.compile("([\\d.]+) Gbits/sec\\s+receiver");

  private final BenchLab lab;
  private final int connections;

  RealTls(BenchLab lab, int connections) {
    this.lab = lab;
    this.connections = connections;
    startWebServer(lab.lab());
    Running iperf = lab.lab().start(lab.web(), "iperf3", "--server");
    iperf.awaitTcp(5201, START);
  }

  private void startWebServer(NetLab netLab) {
    Path folder = netLab.folder("perf-web");
    Certificates.Leaf leaf = Certificates.create(netLab).issue(BenchLab.WEB_SNI);
    try (RandomAccessFile big = new RandomAccessFile(folder.resolve("big").toFile(), "rw")) {
      big.setLength(BIG);
      Files.writeString(
          folder.resolve("nginx.conf"),
          """
          daemon off;
          user root;
          worker_processes 1;
          pid FOLDER/nginx.pid;
          error_log stderr warn;
          events { worker_connections 16384; }
          http {
            access_log off;
            client_body_temp_path FOLDER/body;
            proxy_temp_path FOLDER/proxy;
            fastcgi_temp_path FOLDER/fastcgi;
            uwsgi_temp_path FOLDER/uwsgi;
            scgi_temp_path FOLDER/scgi;
            default_type application/octet-stream;
            keepalive_requests 100000000;
            server {
              listen 443 ssl http2 backlog=4096;
              server_name NAME;
              ssl_certificate CERTIFICATE;
              ssl_certificate_key KEY;
              ssl_session_tickets off;
              location = / { return 200 "ok\\n"; }
              location = /big { root FOLDER; }
            }
          }
          """
              .replace("FOLDER", folder.toString())
              .replace("NAME", BenchLab.WEB_SNI)
              .replace("CERTIFICATE", leaf.certificate().toString())
              .replace("KEY", leaf.key().toString()));
    } catch (IOException e) {
      throw new BenchException("cannot write the web server's files", e);
    }
    Running nginx =
        netLab.start(
            lab.web(),
            "nginx",
            Map.of(),
            List.of(
                "nginx",
                "-p",
                folder.toString(),
                "-e",
                "stderr",
                "-c",
                folder.resolve("nginx.conf").toString()));
    nginx.awaitTcp(443, START);
  }

  /// All tools once, for the contestant whose turn it is.
  List<Sample> turn(Contestant contestant, int round) {
    Place pod = lab.seat(contestant).pod();
    String url = "https://" + BenchLab.WEB_SNI + "/";
    String name = contestant.name();
    List<Sample> samples = new ArrayList<>();
    String kept = wrk(pod, name, connections, "--latency", url);
    samples.add(new Sample(round, name, Measure.WRK_REQUESTS, requests(kept)));
    samples.add(new Sample(round, name, Measure.WRK_P99, micros(kept)));
    String h2 =
        tool(
            pod,
            name,
            "h2load",
            "--threads=1",
            "--clients=" + connections,
            "--max-concurrent-streams=10",
            "--duration=" + SECONDS,
            url);
    samples.add(
        new Sample(
            round, name, Measure.H2LOAD_REQUESTS, Double.parseDouble(find(H2LOAD, h2).group(1))));
    String once = wrk(pod, name, connections, "--header", "Connection: close", url);
    samples.add(new Sample(round, name, Measure.WRK_CONNECTIONS, requests(once)));
    samples.add(
        new Sample(
            round, name, Measure.WRK_DOWN, gigabits(wrk(pod, name, Plan.STREAMS, url + "big"))));
    if (contestant.way() == Contestant.Way.DIRECT) {
      samples.add(new Sample(round, name, Measure.IPERF_UP, iperf(pod, name)));
      samples.add(new Sample(round, name, Measure.IPERF_DOWN, iperf(pod, name, "--reverse")));
    }
    return samples;
  }

  private String wrk(Place pod, String contestant, int count, String... arguments) {
    List<String> command =
        new ArrayList<>(List.of("wrk", "--threads", "1", "--connections", Integer.toString(count)));
    command.addAll(List.of("--duration", SECONDS + "s"));
    command.addAll(List.of(arguments));
    return tool(pod, contestant, command.toArray(String[]::new));
  }

  private double iperf(Place pod, String contestant, String... more) {
    List<String> command =
        new ArrayList<>(
            List.of("iperf3", "--client", BenchLab.WEB, "--format", "g", "--time", "" + SECONDS));
    command.addAll(List.of(more));
    String said = tool(pod, contestant, command.toArray(String[]::new));
    return Double.parseDouble(find(IPERF, said).group(1));
  }

  private String tool(Place pod, String contestant, String... command) {
    Result result = lab.lab().exec(pod, LIMIT, List.of(command));
    if (!result.ok()) {
      throw new BenchException(
          command[0]
              + " through "
              + contestant
              + ": exit "
              + result.exit()
              + ": "
              + result.stderr().strip()
              + result.stdout().strip());
    }
    return result.stdout();
  }

  static double requests(String wrk) {
    double rate = Double.parseDouble(find(RATE, wrk).group(1));
    if (rate == 0) {
      throw new BenchException("wrk got no answer:\n" + wrk);
    }
    return rate;
  }

  static double micros(String wrk) {
    Matcher found = find(P99, wrk);
    double factor =
        switch (found.group(2)) {
          case "us" -> 1;
          case "ms" -> 1000;
          default -> 1_000_000;
        };
    return Double.parseDouble(found.group(1)) * factor;
  }

  /// wrk's units are powers of 1024.
  static double gigabits(String wrk) {
    Matcher found = find(TRANSFER, wrk);
    double factor =
        switch (found.group(2)) {
          case "B" -> 1;
          case "KB" -> 1 << 10;
          case "MB" -> 1 << 20;
          default -> 1 << 30;
        };
    return Double.parseDouble(found.group(1)) * factor * 8 / 1e9;
  }

  private static Matcher find(Pattern pattern, String text) {
    Matcher matcher = pattern.matcher(text);
    if (!matcher.find()) {
      throw new BenchException("no '" + pattern + "' in what the tool said:\n" + text);
    }
    return matcher;
  }
}
