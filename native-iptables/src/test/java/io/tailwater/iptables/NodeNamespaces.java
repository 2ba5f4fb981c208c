package io.tailwater.iptables;

import io.tailwater.iptables.netns.NetworkNamespace;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;

/// A pod (10.91.0.2, fd91::2), its node, and a server (10.92.0.2, fd92::2) behind the node, which
/// forwards. Names carry the process's number, so that two runs do not collide.
public final class NodeNamespaces implements AutoCloseable {
  /// The host-side end of the pod's interface.
  public static final String HOST_SIDE = "pod0";

  public static final String POD_V4 = "10.91.0.2";
  public static final String POD_V6 = "fd91::2";
  public static final String SERVER_V4 = "10.92.0.2";
  public static final String SERVER_V6 = "fd92::2";

  private static final AtomicInteger COUNT = new AtomicInteger();

  private final List<String> made = new ArrayList<>();
  private final NetworkNamespace pod;
  private final NetworkNamespace node;
  private final NetworkNamespace server;

  public NodeNamespaces() {
    String base = "twn-" + ProcessHandle.current().pid() + "-" + COUNT.incrementAndGet();
    boolean ready = false;
    try {
      add(base + "p");
      add(base + "n");
      add(base + "s");
      join(base + "n", HOST_SIDE, base + "p", "91");
      join(base + "n", "up0", base + "s", "92");
      String forward = "net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1";
      in(base + "n", "sysctl -qw " + forward);
      in(base + "p", "sysctl -qw 'net.ipv4.ip_local_port_range=20000 60999'");
      TwoNamespaces.awaitUp(base + "p", "eth0");
      TwoNamespaces.awaitUp(base + "n", HOST_SIDE);
      TwoNamespaces.awaitUp(base + "n", "up0");
      TwoNamespaces.awaitUp(base + "s", "eth0");
      pod = NetworkNamespace.open(path(base + "p"));
      node = NetworkNamespace.open(path(base + "n"));
      server = NetworkNamespace.open(path(base + "s"));
      ready = true;
    } finally {
      if (!ready) {
        removeAll();
      }
    }
  }

  public NetworkNamespace pod() {
    return pod;
  }

  public NetworkNamespace node() {
    return node;
  }

  public NetworkNamespace server() {
    return server;
  }

  private void add(String name) {
    TwoNamespaces.run("ip", "netns", "add", name);
    made.add(name);
    // An address that is still being asked for finds no neighbours.
    in(name, "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0");
    in(name, "ip link set lo up");
  }

  /// The node is .1 of the network and the other one's way to everywhere.
  private static void join(String node, String device, String other, String net) {
    in(node, "ip link add %s type veth peer name eth0 netns %s".formatted(device, other));
    in(node, "ip addr add 10.%s.0.1/24 dev %s".formatted(net, device));
    in(node, "ip -6 addr add fd%s::1/64 dev %s nodad".formatted(net, device));
    in(node, "ip link set %s up".formatted(device));
    in(other, "ip addr add 10.%s.0.2/24 dev eth0".formatted(net));
    in(other, "ip -6 addr add fd%s::2/64 dev eth0 nodad".formatted(net));
    in(other, "ip link set eth0 up");
    in(other, "ip route add default via 10.%s.0.1".formatted(net));
    in(other, "ip -6 route add default via fd%s::1".formatted(net));
  }

  private static void in(String name, String command) {
    TwoNamespaces.run("nsenter", "--net=" + path(name), "--", "sh", "-c", command);
  }

  private static Path path(String name) {
    return Path.of("/run/netns", name);
  }

  private void removeAll() {
    made.forEach(name -> TwoNamespaces.run("ip", "netns", "del", name));
    made.clear();
  }

  @Override
  public void close() {
    pod.close();
    node.close();
    server.close();
    removeAll();
  }
}
