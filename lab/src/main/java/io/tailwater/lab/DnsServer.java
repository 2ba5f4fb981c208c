package io.tailwater.lab;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/// dnsmasq on a host of the lab: answers from a map of names to addresses that can be changed while
/// it runs, NXDOMAIN for the rest, NODATA for a family that a name lacks. It asks nobody. Any
/// thread.
public final class DnsServer implements AutoCloseable {
  private static final Duration LIMIT = Duration.ofSeconds(10);
  private static final Pattern QUERY = Pattern.compile("query\\[(\\w+)\\] (\\S+) from (\\S+)");

  /// Else names that it knows nothing of would be REFUSED.
  private static final String UNKNOWN_IS_NXDOMAIN = "--local=/#/";

  /// One query that arrived: record type, name in lower case, asker's address. Resolvers vary the
  /// case.
  public record Query(String type, String name, String from) {}

  private final NetLab lab;
  private final Place host;
  private final Duration ttl;
  private final List<String> more;
  private final Path hosts;
  private final Map<String, List<String>> records = new TreeMap<>();
  private Running dnsmasq;

  private DnsServer(NetLab lab, Place host, Duration ttl, List<String> more) {
    this.lab = lab;
    this.host = host;
    this.ttl = ttl;
    this.more = more;
    this.hosts = lab.folder("dns-" + host.name()).resolve("hosts");
  }

  /// Starts one that answers these names with these addresses (IPv4 and IPv6 mixed) and this TTL.
  public static DnsServer start(
      NetLab lab, Place host, Duration ttl, Map<String, List<String>> records) {
    return start(lab, host, ttl, records, List.of());
  }

  /// The same with more of dnsmasq's options, such as `--txt-record=`.
  public static DnsServer start(
      NetLab lab,
      Place host,
      Duration ttl,
      Map<String, List<String>> records,
      List<String> options) {
    List<String> all = new ArrayList<>(options);
    all.add(UNKNOWN_IS_NXDOMAIN);
    DnsServer server = new DnsServer(lab, host, ttl, all);
    server.records.putAll(records);
    server.write();
    server.launch();
    return server;
  }

  /// Starts one that answers every name whatsoever with these addresses: a resolver that lies.
  public static DnsServer startLying(NetLab lab, Place host, Duration ttl, String... addresses) {
    List<String> everyName =
        Stream.of(addresses).map(address -> "--address=/#/" + address).toList();
    DnsServer server = new DnsServer(lab, host, ttl, everyName);
    server.write();
    server.launch();
    return server;
  }

  /// Points a name at other addresses; none at all makes it NXDOMAIN. Returns when new queries see
  /// it.
  public synchronized void point(String name, String... addresses) {
    if (addresses.length == 0) {
      records.remove(name);
    } else {
      records.put(name, List.of(addresses));
    }
    write();
    int before = reads();
    dnsmasq.signal("HUP");
    long deadline = System.nanoTime() + LIMIT.toNanos();
    while (reads() == before) {
      if (System.nanoTime() - deadline > 0) {
        throw new LabException("dnsmasq did not read its names again:\n" + dnsmasq.output());
      }
      java.util.concurrent.locks.LockSupport.parkNanos(5_000_000);
    }
  }

  /// The queries that arrived so far, oldest first.
  public synchronized List<Query> queries() {
    return QUERY
        .matcher(dnsmasq.output())
        .results()
        .map(match ->
            new Query(match.group(1), match.group(2).toLowerCase(Locale.ROOT), match.group(3)))
        .toList();
  }

  /// Holds all answers back: queries pile up in the socket until [#resume].
  public synchronized void pause() {
    dnsmasq.signal("STOP");
  }

  public synchronized void resume() {
    dnsmasq.signal("CONT");
  }

  /// Stops it; queries then meet a closed port until [#restart]. Its list of queries starts anew.
  public synchronized void stop() {
    dnsmasq.close();
  }

  public synchronized void restart() {
    dnsmasq.close();
    launch();
  }

  /// The server's process.
  public synchronized Running process() {
    return dnsmasq;
  }

  @Override
  public synchronized void close() {
    dnsmasq.close();
  }

  private void launch() {
    List<String> command =
        new ArrayList<>(
            List.of(
                "dnsmasq",
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--no-resolv",
                "--no-hosts",
                "--no-poll",
                "--addn-hosts=" + hosts,
                "--local-ttl=" + ttl.toSeconds(),
                "--pid-file=",
                "--user=root",
                "--group=root",
                "--log-queries",
                "--log-facility=-",
                "--cache-size=0"));
    command.addAll(more);
    dnsmasq = lab.start(host, "dnsmasq", Map.of(), command);
    dnsmasq.awaitUdp(53, LIMIT);
    dnsmasq.awaitOutput("read " + hosts, LIMIT);
  }

  private int reads() {
    return dnsmasq.output().split("read " + Pattern.quote(hosts.toString()), -1).length;
  }

  private void write() {
    StringBuilder text = new StringBuilder();
    records.forEach((name, addresses) ->
        addresses.stream()
            .filter(address -> lab.ipv6() || !Place.isV6(address))
            .forEach(address -> text.append(address).append(' ').append(name).append('\n')));
    try {
      Files.writeString(hosts, text);
    } catch (IOException e) {
      throw new LabException("cannot write " + hosts, e);
    }
  }
}
