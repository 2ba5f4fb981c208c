package io.tailwater.lab;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/// A Kubernetes node in miniature: one namespace `node` without an uplink that routes between its
/// pods and an outside world of hosts, each in a namespace of its own.
///
/// ```
///  pod a  10.244.0.2  fd00:10:244::2  ──veth1─┐                ┌─veth2──  host 198.51.100.10  2001:db8::10
///                                             ├──   node    ──┤
///  pod b  10.244.0.3  fd00:10:244::3  ──veth3─┘  192.0.2.1     └─veth4──  host 203.0.113.7
/// ```
///
/// Every link is a veth pair born inside the two namespaces, with host routes: nothing of the lab
/// shows in the machine's own namespace, and two labs may use the same addresses. Nothing leads to
/// the real network.
///
/// One thread builds; `exec` and `start` may be called from any. [#close] ends every process that
/// was started and removes every trace; a run that was killed is removed by the next one
/// ([#sweep]).
public final class NetLab implements AutoCloseable {
  private static final Duration SETUP = Duration.ofSeconds(10);
  private static final Duration EXEC = Duration.ofSeconds(30);

  /// The router's side of every link, as the container network plug-ins do it: one address on all
  /// of them.
  private static final String POD_GATEWAY_4 = "10.244.0.1";

  private static final String POD_GATEWAY_6 = "fd00:10:244::1";
  private static final String WORLD_GATEWAY_4 = "192.0.2.1";
  private static final String WORLD_GATEWAY_6 = "2001:db8:ffff::1";

  private final String id;
  private final boolean ipv6 = Files.exists(Path.of("/proc/sys/net/ipv6"));
  private final Map<String, Place> places = new LinkedHashMap<>();
  private final List<Running> running = new ArrayList<>();
  private final Place node;
  private final Thread hook = new Thread(this::removeQuietly, "lab-shutdown");
  private Optional<String> nameserver = Optional.empty();
  private int links;
  private int pods;
  private boolean closed;

  private NetLab(String id) {
    this.id = id;
    node =
        create("node", ipv6 ? List.of(WORLD_GATEWAY_4, WORLD_GATEWAY_6) : List.of(WORLD_GATEWAY_4));
    shell(
        node,
        """
        echo 1 > /proc/sys/net/ipv4/ip_forward
        if [ -d /proc/sys/net/ipv6 ]; then echo 1 > /proc/sys/net/ipv6/conf/all/forwarding; fi
        """);
  }

  /// Builds a lab with its node and nothing else, after removing what killed runs have left.
  public static NetLab create() {
    List<String> missing = Privileges.missing();
    if (!missing.isEmpty()) {
      throw new LabException("no lab here: " + String.join(", ", missing));
    }
    sweep();
    String id = LabState.claim();
    try {
      NetLab lab = new NetLab(id);
      Runtime.getRuntime().addShutdownHook(lab.hook);
      return lab;
    } catch (RuntimeException e) {
      LabState.remove(id);
      throw e;
    }
  }

  /// Removes the labs whose owner is gone; those that were kept on purpose stay. Returns how many.
  public static int sweep() {
    List<String> orphans = LabState.orphans();
    orphans.forEach(LabState::remove);
    return orphans.size();
  }

  /// Removes the labs that were kept on purpose. Returns how many.
  public static int removeKept() {
    List<String> kept = LabState.kept();
    kept.forEach(LabState::remove);
    return kept.size();
  }

  /// The run id that all names carry.
  public String id() {
    return id;
  }

  /// Whether this machine speaks IPv6; without it, places have no IPv6 addresses.
  public boolean ipv6() {
    return ipv6;
  }

  /// The node, where an agent runs. Its addresses are those that the outside world sees.
  public Place node() {
    return node;
  }

  /// A folder for files of this run, removed with it.
  public Path folder() {
    return LabState.ROOT.resolve(id);
  }

  /// Makes and returns a folder `name` in [#folder].
  public Path folder(String name) {
    if (!Files.isDirectory(folder())) {
      throw new LabException("the lab " + id + " is closed");
    }
    try {
      return Files.createDirectories(folder().resolve(name));
    } catch (IOException e) {
      throw new LabException("cannot make a folder for " + name, e);
    }
  }

  /// Adds a pod: the next address of 10.244.0.0/24 and fd00:10:244::/64, the default route by the
  /// node.
  public synchronized Place addPod(String name) {
    int number = ++pods + 1;
    if (number > 250) {
      throw new LabException("more than 249 pods");
    }
    List<String> addresses = new ArrayList<>(List.of("10.244.0." + number));
    if (ipv6) {
      addresses.add("fd00:10:244::" + Integer.toHexString(number));
    }
    Place pod = create(name, addresses);
    link(pod, POD_GATEWAY_4, POD_GATEWAY_6);
    return pod;
  }

  /// Adds a host of the outside world with the addresses given, IPv4 and IPv6 mixed.
  public synchronized Place addHost(String name, String... addresses) {
    List<String> usable =
        Stream.of(addresses).filter(address -> ipv6 || !Place.isV6(address)).toList();
    Place host = create(name, usable);
    link(host, WORLD_GATEWAY_4, WORLD_GATEWAY_6);
    return host;
  }

  /// The place with a short name, as given to `addPod` or `addHost`.
  public synchronized Place place(String name) {
    return Optional.ofNullable(places.get(name))
        .orElseThrow(() -> new LabException("no place " + name + ", there are " + places.keySet()));
  }

  /// Every place, present and future, asks this DNS server: `/etc/resolv.conf` as seen by what is
  /// run there.
  public synchronized void nameserver(String address) {
    nameserver = Optional.of(address);
    places.values().forEach(this::writeResolvConf);
  }

  /// One place asks this DNS server, whatever the others do.
  public synchronized void nameserver(Place place, String address) {
    write(place, "nameserver " + address + "\noptions timeout:2 attempts:2\n");
  }

  /// Runs a command to its end, at most 30 seconds.
  public Result exec(Place place, String... command) {
    return exec(place, EXEC, List.of(command));
  }

  /// Runs a command to its end. One that takes longer than `limit` is ended, with a [LabException].
  public Result exec(Place place, Duration limit, List<String> command) {
    return Commands.run(folder(), limit, in(place, command));
  }

  /// Starts a command that goes on until it is closed, or the lab is.
  public Running start(Place place, String... command) {
    return start(
        place, command[0].substring(command[0].lastIndexOf('/') + 1), Map.of(), List.of(command));
  }

  /// Starts a command under a name for messages and its log file, with further environment
  /// variables.
  public synchronized Running start(
      Place place, String name, Map<String, String> environment, List<String> command) {
    // A session of its own: Ctrl-C at the terminal reaches us alone, and we end our children in
    // order.
    List<String> whole = new ArrayList<>(List.of("setsid"));
    whole.addAll(in(place, command));
    Path log = folder("log").resolve(place.name() + "-" + name + "-" + running.size() + ".log");
    ProcessBuilder builder = new ProcessBuilder(whole);
    builder.environment().putAll(environment);
    builder.redirectInput(ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()));
    builder.redirectErrorStream(true);
    builder.redirectOutput(log.toFile());
    try {
      Running started = new Running(name, builder.start(), log);
      running.add(started);
      return started;
    } catch (IOException e) {
      throw new LabException("cannot start " + name, e);
    }
  }

  /// The command line that runs `command` in a place, e.g. to print it.
  public List<String> in(Place place, List<String> command) {
    List<String> whole = new ArrayList<>(List.of("ip", "netns", "exec", place.namespace()));
    whole.addAll(command);
    return whole;
  }

  /// Leaves everything up, processes too, when this process ends. [#removeKept] takes it down.
  public synchronized void keep() {
    LabState.keep(id);
    closed = true;
    Runtime.getRuntime().removeShutdownHook(hook);
  }

  /// Ends what was started, last first, and removes namespaces and files. A second call does
  /// nothing.
  @Override
  public void close() {
    synchronized (this) {
      if (closed) {
        return;
      }
    }
    removeAll();
    try {
      Runtime.getRuntime().removeShutdownHook(hook);
    } catch (IllegalStateException e) {
      // Already shutting down: the hook finds nothing left to do.
    }
  }

  private synchronized void removeAll() {
    if (closed) {
      return;
    }
    closed = true;
    running.reversed().forEach(Running::close);
    LabState.remove(id);
  }

  private void removeQuietly() {
    try {
      removeAll();
    } catch (LabException e) {
      System.err.println("lab " + id + " was not removed whole: " + e.getMessage());
    }
  }

  private Place create(String name, List<String> addresses) {
    if (!name.matches("[a-z0-9][a-z0-9.-]{0,62}")) {
      throw new LabException("not a name for a place: " + name);
    }
    Place place = new Place(name, "tw-" + id + "-" + name, addresses);
    if (places.putIfAbsent(name, place) != null) {
      throw new LabException("two places called " + name);
    }
    Commands.must(folder(), SETUP, List.of("ip", "netns", "add", place.namespace()));
    writeResolvConf(place);
    // Local ports keep clear of the agent's (15000-15090); no waiting for duplicate address
    // detection.
    shell(
        place,
        """
        echo 32768 60999 > /proc/sys/net/ipv4/ip_local_port_range
        for conf in all default; do
          echo 0 > /proc/sys/net/ipv4/conf/$conf/rp_filter
          if [ -d /proc/sys/net/ipv6 ]; then
            echo 0 > /proc/sys/net/ipv6/conf/$conf/disable_ipv6
            echo 0 > /proc/sys/net/ipv6/conf/$conf/accept_dad
            echo 0 > /proc/sys/net/ipv6/conf/$conf/accept_ra
          fi
        done
        ip link set lo up
        """);
    return place;
  }

  /// A veth pair between the node and a place, host routes on both sides, the default route by the
  /// node.
  private void link(Place place, String gateway4, String gateway6) {
    String veth = "veth" + ++links;
    Commands.must(
        folder(),
        SETUP,
        List.of(
            "ip",
            "-n",
            node.namespace(),
            "link",
            "add",
            veth,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            place.namespace()));
    StringBuilder there = new StringBuilder("ip link set eth0 up\n");
    StringBuilder here = new StringBuilder("ip link set " + veth + " up\n");
    here.append("ip address add ").append(gateway4).append("/32 dev ").append(veth).append('\n');
    if (ipv6) {
      here.append("ip address add ")
          .append(gateway6)
          .append("/128 dev ")
          .append(veth)
          .append(" nodad\n");
    }
    boolean any4 = false;
    boolean any6 = false;
    for (String address : place.addresses()) {
      if (Place.isV6(address)) {
        there.append("ip address add ").append(address).append("/128 dev eth0 nodad\n");
        here.append("ip -6 route add ").append(address).append(" dev ").append(veth).append('\n');
        any6 = true;
      } else {
        there.append("ip address add ").append(address).append("/32 dev eth0\n");
        here.append("ip route add ").append(address).append(" dev ").append(veth).append('\n');
        any4 = true;
      }
    }
    if (any4) {
      there.append("ip route add ").append(gateway4).append(" dev eth0 scope link\n");
      there.append("ip route add default via ").append(gateway4).append(" dev eth0\n");
    }
    if (any6) {
      there.append("ip -6 route add ").append(gateway6).append(" dev eth0\n");
      there.append("ip -6 route add default via ").append(gateway6).append(" dev eth0\n");
    }
    shell(node, here.toString());
    shell(place, there.toString());
  }

  private void shell(Place place, String script) {
    Commands.must(folder(), SETUP, in(place, List.of("sh", "-euc", script)));
  }

  private void writeResolvConf(Place place) {
    // Without a file of its own a place would see the machine's DNS servers.
    nameserver.ifPresentOrElse(
        address -> nameserver(place, address),
        () -> write(place, "# no DNS server in this lab yet\n"));
  }

  private static void write(Place place, String resolvConf) {
    try {
      Path folder = Files.createDirectories(Path.of("/etc/netns", place.namespace()));
      Files.writeString(folder.resolve("resolv.conf"), resolvConf);
    } catch (IOException e) {
      throw new LabException("cannot write resolv.conf of " + place.name(), e);
    }
  }
}
