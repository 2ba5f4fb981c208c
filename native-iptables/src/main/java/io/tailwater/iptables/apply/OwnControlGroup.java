package io.tailwater.iptables.apply;

import io.tailwater.iptables.apply.CommandRunner.CommandException;
import io.tailwater.iptables.apply.CommandRunner.Result;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.ControlGroup;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.NamespaceRules;
import io.tailwater.iptables.rule.Strictness;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/// Whether rules can know the agent by its control group (version 2), besides its mark. Where there
/// is any doubt they cannot, and why is said: the group is one that a rule can name, everybody in
/// it is the agent or its kin, and these programs and this kernel take such a rule.
///
/// Reads files and runs one program, outside of any namespace. Any platform thread.
public final class OwnControlGroup {
  /// `PROC_CGROUP_INIT_INO` of `linux/proc_ns.h`: not inside a namespace of groups, where a path
  /// means something else to us than to the kernel before Linux 6.1.
  private static final String FIRST_NAMESPACE = "cgroup:[4026531835]";

  /// Where nft looks for groups; its path is not to be configured.
  private static final String NFT_MOUNT = "/sys/fs/cgroup";

  private final CommandRunner runner;
  private final Path proc;
  private final long pid;

  public OwnControlGroup(CommandRunner runner) {
    this(runner, Path.of("/proc"), ProcessHandle.current().pid());
  }

  OwnControlGroup(CommandRunner runner, Path proc, long pid) {
    this.runner = runner;
    this.proc = proc;
    this.pid = pid;
  }

  /// What was found.
  ///
  /// @param group empty where the mark alone has to do
  /// @param why what is in the way; empty when nothing is
  public record Found(Optional<ControlGroup> group, String why) {}

  /// Looks.
  public Found find(RulePrograms programs) {
    try {
      ControlGroup group = own(programs.backend());
      tried(programs, group);
      return new Found(Optional.of(group), "");
    } catch (Unfit | IOException e) {
      return new Found(Optional.empty(), String.valueOf(e.getMessage()));
    }
  }

  /// Whether this process is still in that group. Reads one small file.
  public boolean isStillIn(ControlGroup group) {
    try {
      return path().equals("/" + group.path());
    } catch (Unfit | IOException e) {
      return false;
    }
  }

  /// Why rules with an agent's group can be neither written nor compared by this process: nft looks
  /// it up in the file system each time, iptables has it from the kernel. Empty where they can.
  public static Optional<String> outOfSight(RuleBackend backend, ControlGroup group) {
    return backend == RuleBackend.NFT ? outOfSight(Path.of(NFT_MOUNT), group) : Optional.empty();
  }

  static Optional<String> outOfSight(Path mount, ControlGroup group) {
    String rules = "the rules ask for the agent's control group " + group;
    if (!Files.exists(mount.resolve("cgroup.controllers"))) {
      return Optional.of(
          rules
              + ", and nft looks for it at "
              + mount
              + ", where there are no control groups (cgroup2) here. Run this where the agent runs,"
              + " or 'mount -t cgroup2 none "
              + mount
              + "' in a mount namespace of its own ('unshare --mount')");
    }
    try {
      if (Files.getAttribute(mount.resolve(group.path()), "unix:ino").equals(group.id())) {
        return Optional.empty();
      }
    } catch (IOException _) {
      // It is not there.
    }
    return Optional.of(
        rules
            + ", which is not at "
            + mount
            + ": the agent has ended and its group is gone, or this is another namespace of control"
            + " groups. Start the agent, or run this where it runs");
  }

  private ControlGroup own(RuleBackend backend) throws Unfit, IOException {
    String path = path();
    if (path.equals("/")) {
      throw new Unfit("the agent is in the root group, as far as it can see, and so is everybody");
    }
    if (path.contains("/..") || path.endsWith(" (deleted)")) {
      throw new Unfit("the agent's group is out of its sight: " + path);
    }
    if (!Files.readSymbolicLink(proc.resolve("self/ns/cgroup"))
        .toString()
        .equals(FIRST_NAMESPACE)) {
      throw new Unfit("a namespace of control groups hides where the agent is");
    }
    Path folder = Path.of(mount(backend) + path);
    alone(folder);
    try {
      return new ControlGroup(path.substring(1), (Long) Files.getAttribute(folder, "unix:ino"));
    } catch (IllegalArgumentException e) {
      throw new Unfit("rules cannot name the agent's group: " + e.getMessage());
    }
  }

  /// As the kernel tells it: `0::/system.slice/tailwater.service`.
  private String path() throws Unfit, IOException {
    return Files.readAllLines(proc.resolve("self/cgroup")).stream()
        .filter(line -> line.startsWith("0::/"))
        .map(line -> line.substring("0::".length()))
        .findFirst()
        .orElseThrow(() -> new Unfit("no control groups of version 2 here"));
  }

  /// Where the whole hierarchy can be seen.
  private String mount(RuleBackend backend) throws Unfit, IOException {
    List<String> mounts =
        Files.readAllLines(proc.resolve("self/mountinfo")).stream()
            .filter(line -> line.contains(" - cgroup2 "))
            .map(line -> line.split(" ", -1))
            .filter(words -> words.length > 4 && words[3].equals("/"))
            .map(words -> words[4])
            .toList();
    if (mounts.isEmpty()) {
      throw new Unfit("the hierarchy of control groups (cgroup2) is not mounted here");
    }
    if (backend == RuleBackend.NFT && !mounts.contains(NFT_MOUNT)) {
      throw new Unfit(
          "nft looks for control groups at " + NFT_MOUNT + ", and they are at " + mounts);
    }
    return backend == RuleBackend.NFT ? NFT_MOUNT : mounts.getLast();
  }

  /// Nobody else in it, and nothing below it: a pod there would be taken for the agent.
  private void alone(Path folder) throws Unfit, IOException {
    List<String> all =
        Files.readAllLines(folder.resolve("cgroup.procs"), StandardCharsets.US_ASCII);
    if (!all.contains(Long.toString(pid))) {
      throw new Unfit("the agent is not in " + folder + ", where it should be");
    }
    try (DirectoryStream<Path> below = Files.newDirectoryStream(folder, Files::isDirectory)) {
      for (Path one : below) {
        throw new Unfit("there are groups below the agent's: " + one);
      }
    }
    Path home = Files.readSymbolicLink(proc.resolve("self/ns/net"));
    for (String other : all) {
      Path network = proc.resolve(other).resolve("ns/net");
      try {
        if (!Files.readSymbolicLink(network).equals(home)) {
          throw new Unfit(
              "process " + other + " is in the agent's group and in another network namespace");
        }
      } catch (IOException _) {
        // It has ended.
      }
    }
  }

  /// Rules of ours with the group, in a namespace that ends with the program.
  private void tried(RulePrograms programs, ControlGroup group) throws Unfit {
    CapturePlan plan =
        CapturePlan.egress().withStrictness(Strictness.NONE.withCgroup(Optional.of(group)));
    try {
      Result result = programs.tried(NamespaceRules.of(plan), IpFamily.V4, runner);
      if (!result.succeeded()) {
        throw new Unfit("rules cannot ask for a control group here: " + result.complaint());
      }
    } catch (CommandException e) {
      throw new Unfit("rules cannot ask for a control group here: " + e.getMessage());
    }
  }

  /// The group will not do.
  private static final class Unfit extends Exception {
    Unfit(String why) {
      super(why);
    }
  }
}
