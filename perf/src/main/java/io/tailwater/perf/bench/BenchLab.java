package io.tailwater.perf.bench;

import io.tailwater.lab.DnsServer;
import io.tailwater.lab.LabException;
import io.tailwater.lab.NetLab;
import io.tailwater.lab.Place;
import io.tailwater.perf.load.Fields;
import io.tailwater.perf.peer.BenchException;
import io.tailwater.perf.peer.Contestant;
import io.tailwater.perf.peer.Setting;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/// The place of the benchmark: the node, a server, a DNS server, and a [Seat] for each contestant:
/// a pod of its own. All in namespaces without an uplink. Everybody's traffic takes the same way to
/// the same server, one contestant at a time. One thread.
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

  private final NetLab lab = NetLab.create();
  private final Place web;
  private final List<LoadProcess> servers = new ArrayList<>();
  private final Map<String, Seat> seats = new LinkedHashMap<>();

  BenchLab() {
    this(1);
  }

  /// @param serving processes of the server, among which the kernel spreads connections
  BenchLab(int serving) {
    try {
      Place raw = lab.addHost("server", SERVER);
      web = lab.addHost("web", WEB);
      Place dns = lab.addHost("dns", DNS);
      DnsServer.start(
          lab, dns, Duration.ofMinutes(10), Map.of(SNI, List.of(SERVER), WEB_SNI, List.of(WEB)));
      lab.nameserver(DNS);
      tune(lab.node());
      for (Place place : List.of(raw, web)) {
        script(
            place,
            """
            echo 8192 > /proc/sys/net/core/somaxconn
            echo 8192 > /proc/sys/net/ipv4/tcp_max_syn_backlog
            """);
      }
      for (int i = 0; i < serving; i++) {
        servers.add(new LoadProcess(lab, raw, "LoadServer", SERVER, "443"));
      }
    } catch (RuntimeException e) {
      lab.close();
      throw e;
    }
  }

  /// Ten thousand connections a second leave ten thousand closing sockets and conntrack entries a
  /// second behind; without this, ports and entries would run out and not the proxy's time.
  private void tune(Place place) {
    script(
        place,
        """
        for pair in ipv4/tcp_tw_reuse=1 ipv4/tcp_max_syn_backlog=8192 core/somaxconn=8192 \
            netfilter/nf_conntrack_tcp_timeout_time_wait=2 netfilter/nf_conntrack_tcp_timeout_close=2; do
          if [ -w /proc/sys/net/${pair%=*} ]; then echo ${pair#*=} > /proc/sys/net/${pair%=*}; fi
        done
        """);
  }

  /// Makes a pod for a contestant, who is made by what is said of that pod.
  Contestant seat(String name, Function<Setting, Contestant> maker) {
    Place pod = pod(name.replace('_', '-'));
    Contestant contestant = maker.apply(new Setting(lab, pod, seats.size(), DNS, DOMAIN));
    seats.put(contestant.name(), new Seat(lab, pod, contestant));
    return contestant;
  }

  /// A pod from which connections can be made at the rates of this benchmark.
  Place pod(String name) {
    Place pod = lab.addPod(name);
    tune(pod);
    script(pod, "echo 20000 60999 > /proc/sys/net/ipv4/ip_local_port_range");
    return pod;
  }

  Seat seat(Contestant contestant) {
    Seat seat = seats.get(contestant.name());
    if (seat == null) {
      throw new BenchException(contestant.name() + " has no pod");
    }
    return seat;
  }

  NetLab lab() {
    return lab;
  }

  Place web() {
    return web;
  }

  /// What every run has to know about where it goes.
  Fields to(Contestant contestant, Fields run) {
    return run.with("address", contestant.way().dialsServer() ? SERVER : DECOY)
        .with("port", 443)
        .with("sni", SNI)
        .with("size", Plan.MESSAGE)
        .with(
            "pids",
            String.join(",", seat(contestant).pids().stream().map(String::valueOf).toList()));
  }

  /// One run of the client in the contestant's pod.
  Fields ask(Contestant contestant, Fields run, Duration limit) {
    return seat(contestant).client().ask(run, limit);
  }

  private void script(Place place, String text) {
    lab.exec(place, "sh", "-euc", text).orThrow();
  }

  @Override
  public void close() {
    seats.values().forEach(Seat::close);
    servers.forEach(LoadProcess::close);
    try {
      lab.close();
    } catch (LabException e) {
      System.err.println("the lab was not removed whole: " + e.getMessage());
    }
  }
}
