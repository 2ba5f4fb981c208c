package io.tailwater.iptables;

import io.tailwater.iptables.netns.NetworkNamespace;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/// A pod (10.90.0.2, fd90::2) and a server (10.90.0.1, fd90::1) joined by a veth pair; the server
/// is the pod's default route. Names carry the process's number, so that two runs do not collide.
public final class TwoNamespaces implements AutoCloseable {
  public static final String POD_V4 = "10.90.0.2";
  public static final String POD_V6 = "fd90::2";
  public static final String SERVER_V4 = "10.90.0.1";
  public static final String SERVER_V6 = "fd90::1";

  private static final AtomicInteger COUNT = new AtomicInteger();

  private final List<String> made = new ArrayList<>();
  private final NetworkNamespace pod;
  private final NetworkNamespace server;

  public TwoNamespaces() {
    String base = "tw-" + ProcessHandle.current().pid() + "-" + COUNT.incrementAndGet();
    String podName = base + "p";
    String serverName = base + "s";
    boolean ready = false;
    try {
      add(podName);
      add(serverName);
      run(
          "ip",
          "-n",
          podName,
          "link",
          "add",
          "eth0",
          "type",
          "veth",
          "peer",
          "name",
          "eth0",
          "netns",
          serverName);
      configure(podName, POD_V4, POD_V6);
      configure(serverName, SERVER_V4, SERVER_V6);
      run("ip", "-n", podName, "route", "add", "default", "via", SERVER_V4);
      run("ip", "-n", podName, "-6", "route", "add", "default", "via", SERVER_V6);
      awaitUp(podName, "eth0");
      awaitUp(serverName, "eth0");
      pod = NetworkNamespace.open(path(podName));
      server = NetworkNamespace.open(path(serverName));
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

  public NetworkNamespace server() {
    return server;
  }

  /// Runs a command in the pod from an ordinary thread and returns what it printed.
  public String inPod(String... command) {
    List<String> whole = new ArrayList<>(List.of("nsenter", "--net=" + pod.path(), "--"));
    whole.addAll(List.of(command));
    return run(whole.toArray(String[]::new));
  }

  @Override
  public void close() {
    pod.close();
    server.close();
    removeAll();
  }

  /// Runs a command, at most ten seconds; throws when it fails.
  public static String run(String... command) {
    try {
      Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
      process.getOutputStream().close();
      String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      if (!process.waitFor(10, TimeUnit.SECONDS)) {
        process.destroyForcibly();
        throw new IllegalStateException(String.join(" ", command) + " did not end");
      }
      if (process.exitValue() != 0) {
        throw new IllegalStateException(String.join(" ", command) + ": " + output);
      }
      return output;
    } catch (IOException e) {
      throw new IllegalStateException(String.join(" ", command), e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException(e);
    }
  }

  private void add(String name) {
    run("ip", "netns", "add", name);
    made.add(name);
  }

  private static void configure(String name, String v4, String v6) {
    run("ip", "-n", name, "link", "set", "lo", "up");
    run("ip", "-n", name, "addr", "add", v4 + "/24", "dev", "eth0");
    run("ip", "-n", name, "-6", "addr", "add", v6 + "/64", "dev", "eth0", "nodad");
    run("ip", "-n", name, "link", "set", "eth0", "up");
    run(
        "nsenter",
        "--net=" + path(name),
        "--",
        "sysctl",
        "-qw",
        "net.ipv4.ip_local_port_range=20000 60999");
  }

  /// Up to a second passes between "up" and the first packet: the kernel hears of the carrier late.
  static void awaitUp(String name, String device) {
    for (int i = 0; i < 200; i++) {
      if (run("ip", "-n", name, "link", "show", device).contains("state UP")) {
        return;
      }
      try {
        Thread.sleep(20);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        break;
      }
    }
    throw new IllegalStateException(device + " of " + name + " does not come up");
  }

  private static Path path(String name) {
    return Path.of("/run/netns", name);
  }

  private void removeAll() {
    made.forEach(name -> run("ip", "netns", "del", name));
    made.clear();
  }
}
