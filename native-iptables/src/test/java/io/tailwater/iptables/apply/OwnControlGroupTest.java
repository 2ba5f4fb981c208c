package io.tailwater.iptables.apply;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.iptables.apply.CommandRunner.Result;
import io.tailwater.iptables.rule.ControlGroup;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class OwnControlGroupTest {
  private static final String PATH = "system.slice/tailwater.service";
  private static final RulePrograms IPTABLES =
      new RulePrograms(RuleBackend.IPTABLES_NFT, "iptables-nft", "ip6tables-nft", "");
  private static final RulePrograms NFT = new RulePrograms(RuleBackend.NFT, "nft", "nft", "");
  private static final CommandRunner TAKES =
      (inside, command, input, environment) -> new Result(0, "", "");

  @TempDir Path folder;
  private Path proc;
  private Path group;

  @BeforeEach
  void machine() throws IOException {
    proc = folder.resolve("proc");
    group = Files.createDirectories(folder.resolve("cgroup").resolve(PATH));
    write(proc.resolve("self/cgroup"), "4:memory:/elsewhere\n0::/" + PATH + "\n");
    write(
        proc.resolve("self/mountinfo"),
        "22 1 8:1 / / rw - ext4 /dev/root rw\n31 22 0:28 / "
            + folder.resolve("cgroup")
            + " rw,relatime - cgroup2 cgroup2 rw\n");
    link(proc.resolve("self/ns/cgroup"), "cgroup:[4026531835]");
    link(proc.resolve("self/ns/net"), "net:[4026531833]");
    link(proc.resolve("7/ns/net"), "net:[4026531833]");
    write(group.resolve("cgroup.procs"), "1\n7\n");
  }

  @Test
  void groupOfTheAgentAloneIsNamedWithItsNumber() throws IOException {
    OwnControlGroup.Found found = find(TAKES, IPTABLES);

    assertThat(found.why()).isEmpty();
    assertThat(found.group())
        .contains(new ControlGroup(PATH, (Long) Files.getAttribute(group, "unix:ino")));
  }

  @Test
  void ruleThatIsTriedAsksForTheGroup() {
    StringBuilder tried = new StringBuilder();

    find(
        (inside, command, input, environment) -> {
          tried.append(command).append(input);
          return new Result(0, "", "");
        },
        IPTABLES);

    assertThat(tried).contains("unshare", "-m cgroup --path " + PATH + " ");
  }

  @Test
  void groupOfAnotherProcessIsOutOfSightWhereItCannotBeLookedUp() throws IOException {
    Path mount = folder.resolve("cgroup");
    ControlGroup there = new ControlGroup(PATH, (Long) Files.getAttribute(group, "unix:ino"));

    assertThat(OwnControlGroup.outOfSight(mount, there).orElseThrow())
        .contains("no control groups");
    write(mount.resolve("cgroup.controllers"), "");
    assertThat(OwnControlGroup.outOfSight(mount, there)).isEmpty();
    assertThat(
            OwnControlGroup.outOfSight(mount, new ControlGroup(PATH, there.id() + 1)).orElseThrow())
        .contains("its group is gone");
    assertThat(OwnControlGroup.outOfSight(mount, new ControlGroup("a/b", 7)).orElseThrow())
        .contains("its group is gone");
    assertThat(OwnControlGroup.outOfSight(RuleBackend.IPTABLES_NFT, there)).isEmpty();
  }

  @Test
  void rootGroupHoldsEverybody() throws IOException {
    write(proc.resolve("self/cgroup"), "0::/\n");

    assertThat(why(TAKES, IPTABLES)).contains("root group");
  }

  @Test
  void kernelWithoutVersionTwoIsSaid() throws IOException {
    write(proc.resolve("self/cgroup"), "4:memory:/elsewhere\n");

    assertThat(why(TAKES, IPTABLES)).contains("no control groups of version 2");
  }

  @Test
  void groupThatIsHiddenByANamespaceIsNotTrusted() throws IOException {
    link(proc.resolve("self/ns/cgroup"), "cgroup:[4026532000]");
    assertThat(why(TAKES, IPTABLES)).contains("namespace of control groups");

    write(proc.resolve("self/cgroup"), "0::/../other\n");
    assertThat(why(TAKES, IPTABLES)).contains("out of its sight");
  }

  @Test
  void hierarchyHasToBeMountedWhereTheProgramLooks() throws IOException {
    assertThat(why(TAKES, NFT)).contains("nft looks for control groups at /sys/fs/cgroup");

    write(proc.resolve("self/mountinfo"), "22 1 8:1 / / rw - ext4 /dev/root rw\n");
    assertThat(why(TAKES, IPTABLES)).contains("not mounted");
  }

  @Test
  void mountThatShowsOnlyAPartIsNoMount() throws IOException {
    write(
        proc.resolve("self/mountinfo"),
        "31 22 0:28 /docker/1 " + folder.resolve("cgroup") + " rw - cgroup2 cgroup2 rw\n");

    assertThat(why(TAKES, IPTABLES)).contains("not mounted");
  }

  @Test
  void folderThatIsNotOursIsNotTakenForOurs() throws IOException {
    write(group.resolve("cgroup.procs"), "7\n");

    assertThat(why(TAKES, IPTABLES)).contains("the agent is not in");
  }

  @Test
  void podBelowTheAgentIsSeen() throws IOException {
    Files.createDirectory(group.resolve("pod"));

    assertThat(why(TAKES, IPTABLES)).contains("groups below the agent's");
  }

  @Test
  void podBesideTheAgentIsSeen() throws IOException {
    link(proc.resolve("7/ns/net"), "net:[4026539999]");

    assertThat(why(TAKES, IPTABLES)).contains("process 7 is in the agent's group");
  }

  @Test
  void nameThatWouldHaveToBeQuotedIsRefused() throws IOException {
    String odd = "system.slice/tail\\x2dwater.service";
    write(proc.resolve("self/cgroup"), "0::/" + odd + "\n");
    write(folder.resolve("cgroup").resolve(odd).resolve("cgroup.procs"), "1\n");

    assertThat(why(TAKES, IPTABLES)).contains("rules cannot name the agent's group");
  }

  @Test
  void kernelThatDoesNotTakeTheRuleIsSaid() {
    CommandRunner lacks =
        (inside, command, input, environment) ->
            new Result(2, "", "Extension cgroup revision 0 not supported, missing kernel module?");

    assertThat(why(lacks, IPTABLES)).contains("cannot ask", "missing kernel module");
  }

  private OwnControlGroup.Found find(CommandRunner runner, RulePrograms programs) {
    return new OwnControlGroup(runner, proc, 1).find(programs);
  }

  private String why(CommandRunner runner, RulePrograms programs) {
    OwnControlGroup.Found found = find(runner, programs);
    assertThat(found.group()).isEmpty();
    return found.why();
  }

  private static void write(Path file, String text) throws IOException {
    Files.createDirectories(file.getParent());
    Files.writeString(file, text);
  }

  private static void link(Path link, String to) throws IOException {
    Files.createDirectories(link.getParent());
    Files.deleteIfExists(link);
    Files.createSymbolicLink(link, Path.of(to));
  }
}
