package io.tailwater.agent.node;

import io.tailwater.iptables.apply.EgressGuard;
import io.tailwater.iptables.apply.Ipv6Block;
import io.tailwater.iptables.apply.Processes;
import io.tailwater.iptables.apply.RulePrograms;
import io.tailwater.iptables.apply.TrafficRules;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.lab.Certificates;
import io.tailwater.lab.DnsServer;
import io.tailwater.lab.NetLab;
import io.tailwater.lab.Place;
import io.tailwater.lab.Result;
import io.tailwater.lab.TlsUpstream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;

/// What the whole-agent tests share: a node with two pods, one host on which every site has an
/// address of its own, a DNS server that only the agent asks, and a decoy, an address where nobody
/// listens. A client that dials the decoy and gets its answer was therefore taken there by name.
final class World implements AutoCloseable {
  /// Nobody listens here.
  static final String DECOY = "203.0.113.250";

  static final String DECOY_6 = "2001:db8:bad::250";

  /// The sites and their addresses.
  static final Map<String, List<String>> SITES = sites();

  private static final Duration CURL = Duration.ofSeconds(25);

  final NetLab lab;
  final Certificates authority;
  final Place ratings;
  final Place reviews;
  final Place web;
  final TlsUpstream upstream;
  final Place nameserver;
  final DnsServer dns;
  private int files;

  private World(NetLab lab, Duration ttl) {
    this.lab = lab;
    authority = Certificates.create(lab);
    ratings = lab.addPod("ratings");
    reviews = lab.addPod("reviews");
    web = lab.addHost("web", SITES.values().stream().flatMap(List::stream).toArray(String[]::new));
    upstream = TlsUpstream.start(lab, web, authority, SITES.keySet().toArray(String[]::new));
    lab.addHost("decoy", DECOY, DECOY_6);
    nameserver = lab.addHost("dns", "198.51.100.53");
    dns = DnsServer.start(lab, nameserver, ttl, SITES);
  }

  /// Builds all but the agent. `ttl` is that of every DNS answer.
  static World build(Duration ttl) {
    NetLab lab = NetLab.create();
    try {
      return new World(lab, ttl);
    } catch (RuntimeException e) {
      lab.close();
      throw e;
    }
  }

  static World build() {
    return build(Duration.ofSeconds(30));
  }

  private static Map<String, List<String>> sites() {
    Map<String, List<String>> sites = new LinkedHashMap<>();
    sites.put("en.wikipedia.org", List.of("198.51.100.10", "2001:db8::10"));
    sites.put("de.wikipedia.org", List.of("198.51.100.11", "2001:db8::11"));
    sites.put("edition.cnn.com", List.of("198.51.100.20", "2001:db8::20"));
    sites.put("static.example.net", List.of("198.51.100.21", "2001:db8::21"));
    sites.put("as-dialled.example.net", List.of("198.51.100.22", "2001:db8::22"));
    sites.put("details.default.svc.cluster.local", List.of("198.51.100.40", "2001:db8::40"));
    sites.put("reviews.other.svc.cluster.local", List.of("198.51.100.41", "2001:db8::41"));
    sites.put("example.org", List.of("198.51.100.30", "2001:db8::30"));
    return sites;
  }

  /// The IPv4 address of a site.
  static String v4(String site) {
    return SITES.get(site).getFirst();
  }

  static String v6(String site) {
    return SITES.get(site).getLast();
  }

  /// A fresh folder with one file of resources.
  Path policies(String yaml) {
    return write(lab.folder("policies-" + ++files).resolve("policies.yaml"), yaml).getParent();
  }

  static Path write(Path file, String text) {
    try {
      return Files.writeString(file, text);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static String read(Path file) {
    try {
      return Files.exists(file) ? Files.readString(file) : "";
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// The agent's configuration with both pods: ratings in `default`, reviews in `other`. `more` is
  /// YAML of top-level keys.
  Path configuration(Path policies, String more) {
    return configuration(
        """
        sources: [{files: POLICIES}]
        pods:
          - {namespace: default, name: ratings-v1, serviceAccount: ratings, labels: {app: ratings}, netns: RATINGS}
          - {namespace: other, name: reviews-v1, netns: REVIEWS}
        """
                .replace("POLICIES", policies.toString())
            + more);
  }

  /// A configuration with nothing but the node's name, its folder, DNS server and access log, and
  /// `more`.
  Path configuration(String more) {
    Path folder = lab.folder("agent-" + ++files);
    String text =
        """
        node: node-1
        stateDir: FOLDER/state
        accessLog: {format: text, path: FOLDER/access.log}
        """;
    String dnsKeys =
        more.contains("\ndns:") || more.startsWith("dns:") ? "" : "dns: {servers: [DNS]}\n";
    if (more.contains("accessLog:")) {
      text = text.replaceAll("accessLog.*\\n", "");
    }
    return write(
        folder.resolve("agent.yaml"),
        (text + dnsKeys + more)
            .replace("FOLDER", folder.toString())
            .replace("DNS", nameserver.v4())
            .replace("RATINGS", ratings.path().toString())
            .replace("REVIEWS", reviews.path().toString()));
  }

  /// Starts a second nginx on the host of all sites: plaintext HTTP/1 on 9080, HTTP/2 with prior
  /// knowledge on 9081, every name and path with an answer that tells what was asked.
  void startPlainHttp() {
    Path folder = lab.folder("nginx-http");
    write(
        folder.resolve("nginx.conf"),
        """
        daemon off; user root; worker_processes 1; pid FOLDER/nginx.pid;
        events { worker_connections 1024; }
        http {
          access_log off; client_body_temp_path FOLDER/body; proxy_temp_path FOLDER/proxy;
          fastcgi_temp_path FOLDER/f; uwsgi_temp_path FOLDER/u; scgi_temp_path FOLDER/s;
          server {
            listen 9080; listen [::]:9080; listen 9081 http2; listen [::]:9081 http2;
            location / { return 200 "host=$host protocol=$server_protocol uri=$request_uri client=$remote_addr\\n"; }
          }
        }
        """
            .replace("FOLDER", folder.toString()));
    lab.start(
            web,
            "nginx-http",
            Map.of(),
            List.of(
                "nginx",
                "-p",
                folder.toString(),
                "-e",
                "stderr",
                "-c",
                folder.resolve("nginx.conf").toString()))
        .awaitTcp(9081, Duration.ofSeconds(10));
  }

  /// curl in a pod with certificate verification on. Standard output is the body, then the status.
  Result curl(Place pod, String url, String... more) {
    List<String> command =
        new ArrayList<>(
            List.of(
                "curl",
                "-sS",
                "-m",
                "10",
                "--cacert",
                authority.authority().toString(),
                "-w",
                "%{http_code}\\n"));
    command.addAll(List.of(more));
    command.add(url);
    return lab.exec(pod, CURL, command);
  }

  /// curl to a site on 443, dialling an address.
  Result curlVia(Place pod, String site, String address, String... more) {
    List<String> options = new ArrayList<>(List.of(more));
    String dialled = address.indexOf(':') < 0 ? address : "[" + address + "]";
    options.addAll(List.of("--resolve", site + ":443:" + dialled));
    return curl(pod, "https://" + site + "/", options.toArray(String[]::new));
  }

  /// curl to a site, dialling the decoy.
  Result curlViaDecoy(Place pod, String site) {
    return curlVia(pod, site, DECOY);
  }

  /// The first line that a server says to a client that says nothing.
  Result greet(Place pod, String address, int port) {
    return lab.exec(
        pod,
        "timeout",
        "8",
        "bash",
        "-c",
        "exec 3<>/dev/tcp/" + address + "/" + port + " && head -n 1 <&3");
  }

  /// Takes every rule out of the pods with what stands beside them, as `rules remove` does.
  void removeRules() {
    Processes processes = new Processes();
    EgressGuard guard = new EgressGuard(processes);
    TrafficRules rules =
        new TrafficRules(RulePrograms.detect(Optional.empty(), processes), processes);
    for (Place pod : List.of(ratings, reviews)) {
      try (NetworkNamespace namespace = NetworkNamespace.open(pod.path())) {
        rules.remove(namespace);
        Ipv6Block.remove(namespace);
        guard.remove(namespace);
      }
    }
  }

  /// Waits for a condition, at most 20 seconds, and fails with what was awaited.
  static void await(Supplier<String> what, BooleanSupplier holds) {
    long deadline = System.nanoTime() + Duration.ofSeconds(20).toNanos();
    while (!holds.getAsBoolean()) {
      if (System.nanoTime() - deadline > 0) {
        throw new AssertionError("not within 20 s: " + what.get());
      }
      LockSupport.parkNanos(Duration.ofMillis(50).toNanos());
    }
  }

  @Override
  public void close() {
    lab.close();
  }
}
