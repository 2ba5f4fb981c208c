package io.tailwater.perf.bench;

import io.tailwater.lab.DnsServer;
import io.tailwater.lab.LabException;
import io.tailwater.lab.NetLab;
import io.tailwater.lab.Place;
import io.tailwater.lab.Running;
import io.tailwater.perf.load.Fields;
import io.tailwater.perf.peer.BenchException;
import io.tailwater.perf.peer.Contestant;
import io.tailwater.perf.peer.Setting;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;

/// The place of the benchmark: one pod with the client, the node, a server and a DNS server, all in
/// namespaces without an uplink.
///
/// All contestants take the same pod's traffic, one at a time. Who that is, is said to the first
/// packet of each connection: unless it is Tailwater's turn it carries the mark that Tailwater's
/// rules let pass, and a rule behind them redirects what goes to the decoy to the port of the one
/// whose turn it is. Connections of the proxies themselves always carry the mark. One thread.
final class BenchLab implements AutoCloseable {
  /// What the client dials when a proxy takes the connection: nobody has this address, the name
  /// alone counts.
  static final String DECOY = "203.0.113.250";

  static final String SERVER = "198.51.100.10";
  static final String WEB = "198.51.100.11";
  static final String DOMAIN = "bench.test";
  static final String SNI = "raw.bench.test";
  static final String WEB_SNI = "web.bench.test";

  private static final String DNS = "198.51.100.53";
  private static final String CHAIN = "PERF_TURN";

  /// The mark of the agent's own packets, which its rules leave alone; here it says "not
  /// Tailwater's turn".
  private static final String PASS = "0x539/0xfff";

  private static final int CAPTURE_PORT = 15_001;
  private static final Duration START = Duration.ofSeconds(30);

  private final NetLab lab = NetLab.create();
  private final Place pod;
  private final Place web;
  private final LoadProcess server;
  private final LoadProcess client;
  private final Map<String, Running> started = new LinkedHashMap<>();

  BenchLab() {
    try {
      pod = lab.addPod("client");
      Place raw = lab.addHost("server", SERVER);
      web = lab.addHost("web", WEB);
      Place dns = lab.addHost("dns", DNS);
      DnsServer.start(
          lab, dns, Duration.ofMinutes(10), Map.of(SNI, List.of(SERVER), WEB_SNI, List.of(WEB)));
      lab.nameserver(DNS);
      tune();
      chains();
      server = new LoadProcess(lab, raw, "LoadServer", SERVER, "443");
      client = new LoadProcess(lab, pod, "LoadClient");
    } catch (RuntimeException e) {
      lab.close();
      throw e;
    }
  }

  /// Ten thousand connections a second leave ten thousand closing sockets and conntrack entries a
  /// second behind; without this, ports and entries would run out and not the proxy's time.
  private void tune() {
    for (Place place : List.of(pod, lab.node())) {
      script(
          place,
          """
          for pair in ipv4/tcp_tw_reuse=1 ipv4/tcp_max_syn_backlog=8192 core/somaxconn=8192 \
              netfilter/nf_conntrack_tcp_timeout_time_wait=2 netfilter/nf_conntrack_tcp_timeout_close=2; do
            if [ -w /proc/sys/net/${pair%=*} ]; then echo ${pair#*=} > /proc/sys/net/${pair%=*}; fi
          done
          """);
    }
    script(pod, "echo 20000 60999 > /proc/sys/net/ipv4/ip_local_port_range");
    for (Place place : List.of(lab.place("server"), web)) {
      script(
          place,
          """
          echo 8192 > /proc/sys/net/core/somaxconn
          echo 8192 > /proc/sys/net/ipv4/tcp_max_syn_backlog
          """);
    }
  }

  NetLab lab() {
    return lab;
  }

  Place pod() {
    return pod;
  }

  Place web() {
    return web;
  }

  Setting setting() {
    return new Setting(lab, pod, DNS, DOMAIN);
  }

  /// Starts a contestant and waits until connections can be sent to it.
  void start(Contestant contestant) {
    if (contestant.isDirect()) {
      return;
    }
    Running running =
        lab.start(
            contestant.inPod() ? pod : lab.node(),
            contestant.name(),
            contestant.environment(),
            contestant.command());
    started.put(contestant.name(), running);
    if (contestant.inPod()) {
      running.awaitTcp(contestant.port().orElseThrow(), START);
    } else {
      awaitCapture(contestant.name(), running);
    }
  }

  /// Waits for a listener on the capture port in the pod's namespace and for a rule that leads to
  /// it.
  private void awaitCapture(String name, Running running) {
    long deadline = System.nanoTime() + START.toNanos();
    while (!(listens(CAPTURE_PORT)
        && lab.exec(pod, "iptables-save").stdout().contains(Integer.toString(CAPTURE_PORT)))) {
      if (!running.isAlive() || System.nanoTime() > deadline) {
        throw new BenchException(
            name + " does not capture the pod's connections:\n" + running.output());
      }
      LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(50));
    }
  }

  private boolean listens(int port) {
    String wanted = ":%04X".formatted(port);
    return Stream.of("tcp", "tcp6")
        .flatMap(table -> lines(Path.of("/proc/" + client.pid() + "/net/" + table)))
        .skip(1)
        .map(line -> line.strip().split("\\s+", 5))
        .anyMatch(
            column -> column.length > 3 && column[1].endsWith(wanted) && column[3].equals("0A"));
  }

  private static Stream<String> lines(Path file) {
    try {
      return Files.readAllLines(file).stream();
    } catch (IOException e) {
      return Stream.of();
    }
  }

  /// From now on the client's connections go this contestant's way.
  void turn(Contestant contestant) {
    Running running = started.get(contestant.name());
    if (running != null && !running.isAlive()) {
      throw new BenchException(contestant.name() + " has ended:\n" + running.output());
    }
    String user = Integer.toString(Setting.USER);
    rule("raw", "-F", CHAIN);
    for (String who : List.of("--uid-owner", "--gid-owner")) {
      rule("raw", "-A", CHAIN, "-m", "owner", who, user, "-j", "MARK", "--set-mark", PASS);
    }
    if (contestant.isDirect() || contestant.inPod()) {
      rule("raw", "-A", CHAIN, "-p", "tcp", "-j", "MARK", "--set-mark", PASS);
    }
    rule("nat", "-F", CHAIN);
    contestant
        .port()
        .ifPresent(port ->
            rule(
                "nat",
                "-A",
                CHAIN,
                "-d",
                DECOY,
                "-p",
                "tcp",
                "--dport",
                "443",
                "-j",
                "REDIRECT",
                "--to-ports",
                Integer.toString(port)));
  }

  /// The names of this file are what programs in the pod look up first, before they ask the DNS
  /// server: it sends them to the decoy, or for the direct connection to the web server.
  void hosts(Contestant contestant) {
    try {
      Files.writeString(
          Path.of("/etc/netns", pod.namespace(), "hosts"),
          "127.0.0.1 localhost\n" + (contestant.isDirect() ? WEB : DECOY) + " " + WEB_SNI + "\n");
    } catch (IOException e) {
      throw new BenchException("cannot write the pod's hosts file", e);
    }
  }

  /// What every run has to know about where it goes.
  Fields to(Contestant contestant, Fields run) {
    return run.with("address", contestant.isDirect() ? SERVER : DECOY)
        .with("port", 443)
        .with("sni", SNI)
        .with("size", Plan.MESSAGE)
        .with("pids", String.join(",", pids(contestant).stream().map(String::valueOf).toList()));
  }

  Fields ask(Fields run, Duration limit) {
    return client.ask(run, limit);
  }

  /// The contestant's processes, all generations; none for the direct connection.
  List<Long> pids(Contestant contestant) {
    Running running = started.get(contestant.name());
    if (running == null) {
      return List.of();
    }
    return ProcessHandle.of(running.pid()).stream()
        .flatMap(process -> Stream.concat(Stream.of(process), process.descendants()))
        .map(ProcessHandle::pid)
        .toList();
  }

  /// Two chains of ours: one that marks in `raw`, ahead of everybody's nat, and one that redirects
  /// at the end of nat OUTPUT, behind Tailwater's, which insists on being first and lets marked
  /// packets return.
  private void chains() {
    rule("raw", "-N", CHAIN);
    rule("raw", "-A", "OUTPUT", "-p", "tcp", "--syn", "-j", CHAIN);
    rule("raw", "-A", "OUTPUT", "-p", "udp", "-j", CHAIN);
    rule("nat", "-N", CHAIN);
    rule("nat", "-A", "OUTPUT", "-j", CHAIN);
  }

  private void rule(String table, String... arguments) {
    String[] command =
        Stream.concat(Stream.of("iptables", "-w", "-t", table), Stream.of(arguments))
            .toArray(String[]::new);
    lab.exec(pod, command).orThrow();
  }

  private void script(Place place, String text) {
    lab.exec(place, "sh", "-euc", text).orThrow();
  }

  @Override
  public void close() {
    client.close();
    server.close();
    try {
      lab.close();
    } catch (LabException e) {
      System.err.println("the lab was not removed whole: " + e.getMessage());
    }
  }
}
