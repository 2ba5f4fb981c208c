package io.tailwater.lab.demo;

import io.tailwater.lab.Certificates;
import io.tailwater.lab.DnsServer;
import io.tailwater.lab.LabException;
import io.tailwater.lab.NetLab;
import io.tailwater.lab.Place;
import io.tailwater.lab.Result;
import io.tailwater.lab.Running;
import io.tailwater.lab.TlsUpstream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;

/// A node with two captured pods and one that is not, the sites they call, and two DNS servers: an
/// honest one for the agent, and one for the pods that sends every name to a decoy. A connection
/// that ends at the right site with a certificate that verifies was therefore dialled by name, not
/// by the address that the pod got. One thread; [#close] ends all.
final class Scenario implements AutoCloseable {
  /// What the pods' DNS server answers for every name.
  static final String DECOY = "203.0.113.250";

  static final String DECOY_6 = "2001:db8:bad::250";

  /// The site that plaintext HTTP is allowed to, by a wildcard.
  static final String INTERNAL = "details.default.svc.cluster.local";

  private static final String WILDCARD_HTTP =
      """
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: internal, namespace: istio-system}
      spec:
        hosts: ["*.svc.cluster.local"]
        location: MESH_INTERNAL
        ports: [{number: 80, name: http, protocol: HTTP}]
        resolution: DYNAMIC_DNS
      """;

  /// The sites, each on an address of its own.
  static final Map<String, List<String>> SITES = sites();

  private static final Duration READY = Duration.ofSeconds(20);
  private static final Duration CURL = Duration.ofSeconds(20);

  private final NetLab lab;
  private final Certificates authority;
  private final Place ratings;
  private final Place reviews;
  private final Place bare;
  private final Path configuration;
  private final Map<String, TlsUpstream> upstreams = new LinkedHashMap<>();
  private final DnsServer dns;

  private Scenario(NetLab lab, Path examples) {
    this.lab = lab;
    authority = Certificates.create(lab);
    ratings = lab.addPod("ratings");
    reviews = lab.addPod("reviews");
    bare = lab.addPod("bare");
    SITES.forEach((name, addresses) -> {
      Place host = lab.addHost(name, addresses.toArray(String[]::new));
      upstreams.put(name, TlsUpstream.start(lab, host, authority, name));
    });
    // The decoy claims all names, with certificates of an authority that nobody trusts.
    Place decoy = lab.addHost("decoy", DECOY, DECOY_6);
    TlsUpstream.start(
        lab,
        decoy,
        Certificates.create(lab.folder("decoy-certificates")),
        SITES.keySet().toArray(String[]::new));

    Place honest = lab.addHost("dns", "198.51.100.53");
    dns = DnsServer.start(lab, honest, Duration.ofSeconds(30), SITES);
    Place lying = lab.addHost("pod-dns", "203.0.113.53");
    DnsServer.startLying(lab, lying, Duration.ofSeconds(30), DECOY, DECOY_6);
    lab.nameserver(honest.v4());
    for (Place pod : List.of(ratings, reviews, bare)) {
      lab.nameserver(pod, lying.v4());
    }
    configuration = writeConfiguration(examples, honest);
  }

  /// Builds all but the agent. `examples` is the folder with the resources.
  static Scenario build(Path examples) {
    NetLab lab = NetLab.create();
    try {
      return new Scenario(lab, examples.toAbsolutePath());
    } catch (RuntimeException e) {
      lab.close();
      throw e;
    }
  }

  private static Map<String, List<String>> sites() {
    Map<String, List<String>> sites = new LinkedHashMap<>();
    sites.put("en.wikipedia.org", List.of("198.51.100.10", "2001:db8::10"));
    sites.put("de.wikipedia.org", List.of("198.51.100.11", "2001:db8::11"));
    sites.put("upload.wikipedia.org", List.of("198.51.100.12", "2001:db8::12"));
    sites.put("edition.cnn.com", List.of("198.51.100.20", "2001:db8::20"));
    sites.put("example.org", List.of("198.51.100.30", "2001:db8::30"));
    sites.put(INTERNAL, List.of("198.51.100.40", "2001:db8::40"));
    return sites;
  }

  NetLab lab() {
    return lab;
  }

  /// The pod of namespace `default`.
  Place ratings() {
    return ratings;
  }

  /// The pod of namespace `other`.
  Place reviews() {
    return reviews;
  }

  /// A pod that the agent does not capture.
  Place bare() {
    return bare;
  }

  Certificates authority() {
    return authority;
  }

  DnsServer dns() {
    return dns;
  }

  TlsUpstream upstream(String name) {
    return upstreams.get(name);
  }

  /// The agent's configuration file.
  Path configuration() {
    return configuration;
  }

  /// Starts the agent in the node's namespace with a command line to which `run --config FILE` is
  /// added, and waits until its readiness answers 200.
  Running startAgent(List<String> command) {
    List<String> whole = new ArrayList<>(command);
    whole.addAll(List.of("run", "--config", configuration.toString()));
    Running agent = lab.start(lab.node(), "agent", Map.of(), whole);
    long deadline = System.nanoTime() + READY.toNanos();
    while (!node(
            "curl", "-fsS", "-m", "2", "-o", "/dev/null", "http://localhost:15021/healthz/ready")
        .ok()) {
      if (!agent.isAlive()) {
        throw new LabException(
            "the agent ended with " + agent.exit().orElse(-1) + ":\n" + agent.output());
      }
      if (System.nanoTime() - deadline > 0) {
        throw new LabException("the agent was not ready within " + READY + ":\n" + agent.output());
      }
      LockSupport.parkNanos(Duration.ofMillis(50).toNanos());
    }
    return agent;
  }

  /// Runs a command in the node's namespace.
  Result node(String... command) {
    return lab.exec(lab.node(), command);
  }

  /// curl with certificate verification on. Its standard output is the body and then a line
  /// `HTTP_CODE REMOTE_IP SPEED`.
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
                "%{http_code} %{remote_ip} %{speed_download}\\n"));
    command.addAll(List.of(more));
    command.add(url);
    return lab.exec(pod, CURL, command);
  }

  @Override
  public void close() {
    lab.close();
  }

  private Path writeConfiguration(Path examples, Place honest) {
    String text =
        """
        node: demo
        stateDir: STATE
        mesh:
          rootNamespace: istio-system
          outboundTrafficPolicy: {mode: REGISTRY_ONLY}
        sources:
          - files: EXAMPLES/exact-host
          - files: EXAMPLES/wildcard
          - files: INTERNAL
        pods:
          - {namespace: default, name: ratings-v1, serviceAccount: ratings, labels: {app: ratings}, netns: RATINGS}
          - {namespace: other, name: reviews-v1, serviceAccount: reviews, labels: {app: reviews}, netns: REVIEWS}
        dns:
          servers: [DNS]
        accessLog: {format: text, path: ACCESSLOG}
        """
            .replace("STATE", lab.folder("agent-state").toString())
            .replace("EXAMPLES", examples.toString())
            .replace("INTERNAL", lab.folder("policies").toString())
            .replace("RATINGS", ratings.path().toString())
            .replace("REVIEWS", reviews.path().toString())
            .replace("ACCESSLOG", lab.folder("log").resolve("access.log").toString())
            .replace("DNS", honest.v4());
    try {
      Files.writeString(lab.folder("policies").resolve("internal.yaml"), WILDCARD_HTTP);
      return Files.writeString(lab.folder().resolve("demo.yaml"), text);
    } catch (IOException e) {
      throw new LabException("cannot write the agent's configuration", e);
    }
  }
}
