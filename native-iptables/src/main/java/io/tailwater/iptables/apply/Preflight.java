package io.tailwater.iptables.apply;

import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.libc.Syscalls;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/// What this machine lacks for capturing pods. Changes nothing: rules are tried in a namespace that
/// ends with the program which tries them. Needs no privilege itself; without it, that is the
/// finding. A platform thread.
public final class Preflight {
  /// Ports that the agent uses in pods and on the node.
  private static final int FIRST_PORT = 15000;

  private static final int LAST_PORT = 15090;

  /// Two descriptors for a quiet connection, up to six while bytes are in flight; the default limit
  /// of connections wants this much.
  private static final long WANTED_DESCRIPTORS = 65536;

  /// `linux/capability.h`
  private static final int CAP_NET_ADMIN = 12;

  private static final int CAP_NET_RAW = 13;
  private static final int CAP_SYS_ADMIN = 21;

  private final CommandRunner runner;
  private final Optional<RuleBackend> backend;
  private final boolean onNode;
  private final Path proc;

  /// @param backend the one that is configured, or empty for the one that is found
  /// @param onNode whether pods are to be captured on the node instead of in their namespaces
  public Preflight(CommandRunner runner, Optional<RuleBackend> backend, boolean onNode) {
    this(runner, backend, onNode, Path.of("/proc"));
  }

  Preflight(CommandRunner runner, Optional<RuleBackend> backend, boolean onNode, Path proc) {
    this.runner = runner;
    this.backend = backend;
    this.onNode = onNode;
    this.proc = proc;
  }

  /// One thing that was looked at.
  ///
  /// @param what the thing
  /// @param found what was found there
  /// @param whatToDo empty when it is fine
  public record Finding(String what, State state, String found, String whatToDo) {
    /// How grave it is.
    public enum State {
      OK,
      /// Capturing works without it, but less well; what changes is said.
      WARNING,
      /// Nothing can be captured without it.
      MISSING
    }

    static Finding ok(String what, String found) {
      return new Finding(what, State.OK, found, "");
    }

    static Finding warning(String what, String found, String whatToDo) {
      return new Finding(what, State.WARNING, found, whatToDo);
    }

    static Finding missing(String what, String found, String whatToDo) {
      return new Finding(what, State.MISSING, found, whatToDo);
    }
  }

  /// Only what is needed and can be seen without starting a program: for an agent that starts.
  public List<Finding> essentials() {
    List<Finding> findings = new ArrayList<>();
    capabilities(findings);
    if (onNode) {
      findings.addAll(new NodePreflight(proc.resolve("sys/net")).run());
    }
    return List.copyOf(findings);
  }

  /// What capture on the node needs of the kernel and of the programs that keep the rules: tried in
  /// namespaces that end with the trial.
  public List<Finding> onNode(RulePrograms programs) {
    return new RuleTrials(runner).onNode(programs, hasIpv6());
  }

  private boolean hasIpv6() {
    return Files.isDirectory(proc.resolve("sys/net/ipv6"));
  }

  /// All findings, the good ones too, in a fixed order.
  public List<Finding> run() {
    List<Finding> findings = new ArrayList<>();
    capabilities(findings);
    rules(findings);
    if (onNode) {
      findings.addAll(new NodePreflight(proc.resolve("sys/net")).run());
    }
    findings.add(nativeCalls());
    findings.add(ioUring());
    findings.add(localPorts());
    findings.add(handOver());
    findings.add(descriptors());
    return List.copyOf(findings);
  }

  private void capabilities(List<Finding> findings) {
    Optional<Long> effective =
        line("self/status", "CapEff:").map(text -> Long.parseUnsignedLong(text, 16));
    findings.add(
        capability(
            effective,
            CAP_SYS_ADMIN,
            "CAP_SYS_ADMIN",
            true,
            "enters the pods' network namespaces"));
    findings.add(
        capability(
            effective,
            CAP_NET_ADMIN,
            "CAP_NET_ADMIN",
            true,
            "writes rules and marks the agent's own packets"));
    findings.add(
        capability(
            effective,
            CAP_NET_RAW,
            "CAP_NET_RAW",
            false,
            "lets iptables-legacy reach its tables; iptables-nft works without"));
  }

  private static Finding capability(
      Optional<Long> effective, int bit, String name, boolean needed, String use) {
    if (effective.isEmpty()) {
      return Finding.warning(name, "/proc/self/status cannot be read", "Mount /proc");
    }
    if ((effective.get() & (1L << bit)) != 0) {
      return Finding.ok(name, "present");
    }
    String what = "Run as root or add the capability: it " + use;
    return needed ? Finding.missing(name, "absent", what) : Finding.warning(name, "absent", what);
  }

  private static Finding program(String name, String aptPackage) {
    return Processes.find(name)
        .map(path -> Finding.ok(name, path.toString()))
        .orElseGet(() -> Finding.missing(name, "not found", "Install the package " + aptPackage));
  }

  private void rules(List<Finding> findings) {
    findings.add(program("unshare", "util-linux"));
    List<String> reasons = new ArrayList<>();
    Optional<RulePrograms> found = RulePrograms.find(backend, runner, reasons);
    if (found.isEmpty()) {
      findings.add(
          Finding.missing(
              "rules", String.join("; ", reasons), RulePrograms.advice(backend, reasons)));
      return;
    }
    RulePrograms programs = found.get();
    findings.add(
        Finding.ok(
            "rules",
            "kept by "
                + programs
                + (backend.isPresent() ? ", as configured" : ", found by itself")));
    findings.addAll(new RuleTrials(runner).run(programs, onNode, hasIpv6()));
  }

  private static Finding nativeCalls() {
    try {
      Syscalls.warmUp();
      return Finding.ok("system calls and splice", "work");
    } catch (SyscallException e) {
      return Finding.missing(
          "system calls and splice",
          e.getMessage(),
          "Let the seccomp profile allow splice and pipe2");
    } catch (LinkageError e) {
      return Finding.missing(
          "system calls and splice",
          "the native library cannot be loaded: " + e,
          "Give Java a temporary folder from which programs may run: -Djava.io.tmpdir=...");
    }
  }

  private Finding ioUring() {
    Optional<String> disabled = text("sys/kernel/io_uring_disabled");
    String what = "io_uring";
    String todo =
        "Nothing, unless 'transport: io_uring' is wanted: then set the sysctl"
            + " kernel.io_uring_disabled to 0";
    return switch (disabled.orElse("absent")) {
      case "0" ->
          Finding.ok(
              what, "allowed by the kernel; a container's seccomp profile may still forbid it");
      case "absent" ->
          Finding.warning(
              what,
              "no sysctl kernel.io_uring_disabled: an older kernel",
              "Nothing: epoll is the default");
      default ->
          Finding.warning(
              what, "switched off: kernel.io_uring_disabled=" + disabled.orElse(""), todo);
    };
  }

  private Finding localPorts() {
    String what = "local ports";
    Optional<String> range = text("sys/net/ipv4/ip_local_port_range");
    String[] ends = range.orElse("").split("\\s+", -1);
    if (ends.length != 2 || !ends[0].matches("\\d+") || !ends[1].matches("\\d+")) {
      return Finding.warning(
          what, "net.ipv4.ip_local_port_range cannot be read", "Mount /proc/sys");
    }
    boolean collides =
        Integer.parseInt(ends[0]) <= LAST_PORT && Integer.parseInt(ends[1]) >= FIRST_PORT;
    String found = "net.ipv4.ip_local_port_range=" + ends[0] + " " + ends[1];
    return collides
        ? Finding.warning(
            what,
            found + " includes the agent's ports " + FIRST_PORT + "-" + LAST_PORT,
            "Another program's connection may take such a port first: start the range above "
                + LAST_PORT
                + ", or reserve them with net.ipv4.ip_local_reserved_ports")
        : Finding.ok(what, found);
  }

  private Finding handOver() {
    String what = "hand-over without loss";
    String sysctl = "net.ipv4.tcp_migrate_req";
    return text("sys/net/ipv4/tcp_migrate_req").isPresent()
        ? Finding.ok(what, sysctl + " is there, and set in each pod")
        : Finding.warning(
            what,
            "no sysctl " + sysctl + ": a kernel before Linux 5.14",
            "When one agent follows another, connections that wait to be accepted at that moment"
                + " may be reset");
  }

  private Finding descriptors() {
    String what = "open files";
    Optional<String> limits = line("self/limits", "Max open files");
    String soft = limits.map(text -> text.strip().split("\\s+", -1)[0]).orElse("");
    if (soft.equals("unlimited")) {
      return Finding.ok(what, soft);
    }
    if (!soft.matches("\\d+")) {
      return Finding.warning(what, "/proc/self/limits cannot be read", "Mount /proc");
    }
    return Long.parseLong(soft) >= WANTED_DESCRIPTORS
        ? Finding.ok(what, "at most " + soft)
        : Finding.warning(
            what,
            "at most " + soft,
            "Raise the limit to "
                + WANTED_DESCRIPTORS
                + " (ulimit -n, LimitNOFILE=): a connection takes two to six");
  }

  /// In one large read: a sysctl of several numbers ends after the first read, and
  /// `Files.readString` begins with one byte.
  private Optional<String> text(String file) {
    byte[] bytes = new byte[8192];
    try (InputStream in = Files.newInputStream(proc.resolve(file))) {
      int length = in.read(bytes);
      return Optional.of(new String(bytes, 0, Math.max(length, 0), StandardCharsets.UTF_8).strip());
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  private Optional<String> line(String file, String start) {
    return text(file)
        .flatMap(text -> text.lines().filter(line -> line.startsWith(start)).findFirst())
        .map(line -> line.substring(start.length()).strip());
  }
}
