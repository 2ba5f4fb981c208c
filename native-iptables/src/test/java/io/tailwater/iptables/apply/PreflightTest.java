package io.tailwater.iptables.apply;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.iptables.apply.CommandRunner.CommandException;
import io.tailwater.iptables.apply.CommandRunner.Result;
import io.tailwater.iptables.apply.Preflight.Finding;
import io.tailwater.iptables.apply.Preflight.Finding.State;
import io.tailwater.lab.NeedsRoot;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PreflightTest {
  private static final CommandRunner WORKING =
      (inside, command, input, environment) ->
          new Result(
              0, command.contains("--version") ? "iptables-restore v1.8.9 (nf_tables)" : "", "");

  @TempDir Path proc;

  @Test
  void machineThatHasEverythingHasNoComplaint() throws IOException {
    machine("000001ffffffffff", "0", "32768\t60999", "1048576");

    List<Finding> findings = preflight(WORKING);

    assertThat(findings).extracting(Finding::state).containsOnly(State.OK);
    assertThat(findings).extracting(Finding::whatToDo).containsOnly("");
    assertThat(findings)
        .extracting(Finding::what)
        .doesNotHaveDuplicates()
        .contains("capture of IPv4", "capture of IPv6");
  }

  @Test
  void absentCapabilitiesAreNamed() throws IOException {
    machine("0000000000002000", "0", "32768\t60999", "1048576");

    List<Finding> findings = preflight(WORKING);

    assertThat(of(findings, "CAP_SYS_ADMIN").state()).isEqualTo(State.MISSING);
    assertThat(of(findings, "CAP_NET_ADMIN").whatToDo()).contains("Run as root");
    assertThat(of(findings, "CAP_NET_RAW").state()).isEqualTo(State.OK);
  }

  @Test
  void weakSettingsAreWarnings() throws IOException {
    machine("000001ffffffffff", "2", "1024\t65535", "1024");

    List<Finding> findings = preflight(WORKING);

    assertThat(findings).extracting(Finding::state).doesNotContain(State.MISSING);
    assertThat(of(findings, "io_uring"))
        .extracting(Finding::state, Finding::found)
        .contains(State.WARNING, "switched off: kernel.io_uring_disabled=2");
    assertThat(of(findings, "local ports").whatToDo()).contains("15090");
    assertThat(of(findings, "open files").whatToDo()).contains("65536");
  }

  @Test
  void machineWithoutIptablesOrProcStillGetsAWholeList() {
    CommandRunner nothing =
        (inside, command, input, environment) -> {
          throw new CommandException("There is no program " + command.get(0), true);
        };

    List<Finding> findings = preflight(nothing);

    assertThat(of(findings, "rules").state()).isEqualTo(State.MISSING);
    assertThat(of(findings, "rules").found()).contains("There is no program iptables-nft-save");
    assertThat(of(findings, "open files").state()).isEqualTo(State.WARNING);
  }

  @Test
  void unprivilegedUserIsToldToBeRoot() throws IOException {
    machine("0000000000000000", "0", "32768\t60999", "1048576");

    List<Finding> findings =
        preflight(failing("unshare", "unshare: unshare failed: Operation not permitted"));

    assertThat(of(findings, "rules").state()).isEqualTo(State.MISSING);
    assertThat(of(findings, "rules").whatToDo()).contains("Run as root");
  }

  @Test
  void programThatLacksPrivilegeIsNotCalledMissing() {
    List<Finding> findings =
        preflight((inside, command, input, environment) ->
            new Result(4, "", "Permission denied (you must be root)"));

    assertThat(of(findings, "rules").whatToDo()).isEqualTo("Run as root: rules need CAP_NET_ADMIN");
  }

  @Test
  void kernelWithoutNatForIpv6CanStillRefuseIt() throws IOException {
    machine("000001ffffffffff", "0", "32768\t60999", "1048576");
    CommandRunner noNat =
        (inside, command, input, environment) ->
            (command.stream().anyMatch(word -> word.startsWith("ip6tables"))
                        && input.contains("*nat"))
                    || input.contains("nat-output-ipv6")
                ? new Result(
                    1,
                    "",
                    "ip6tables-nft-restore: line 3 failed: No chain/target/match by that name.\n")
                : WORKING.run(inside, command, input, environment);

    List<Finding> findings = preflight(noNat);

    assertThat(of(findings, "capture of IPv6").state()).isEqualTo(State.WARNING);
    assertThat(of(findings, "capture of IPv6").found()).contains("No chain/target/match");
    assertThat(of(findings, "refusal of IPv6").state()).isEqualTo(State.OK);
  }

  @Test
  void kernelWithoutEgressHookIsWarnedOf() throws IOException {
    machine("000001ffffffffff", "0", "32768\t60999", "1048576");
    CommandRunner noEgress =
        (inside, command, input, environment) ->
            input.contains("hook egress")
                ? new Result(1, "", "Error: Could not process rule: Operation not supported\n")
                : WORKING.run(inside, command, input, environment);

    Finding guard = of(preflight(noEgress), "guard against packet sockets");

    assertThat(guard.state()).isEqualTo(State.WARNING);
    assertThat(guard.whatToDo()).contains("CONFIG_NETFILTER_EGRESS", "CAP_NET_RAW");
  }

  @NeedsRoot
  @Test
  void kernelWithoutSetsIsWarnedOf() throws IOException {
    machine("000001ffffffffff", "0", "32768\t60999", "1048576");
    CommandRunner noSets =
        (inside, command, input, environment) ->
            input.contains("-m set")
                ? new Result(2, "", "Can't open socket to ipset.\n")
                : WORKING.run(inside, command, input, environment);

    Finding open = of(preflight(noSets), "rules that let pass while no agent lives");

    assertThat(open.state()).isEqualTo(State.WARNING);
    assertThat(open.whatToDo()).contains("ip_set_hash_net", "xt_set");
  }

  @Test
  void captureOnTheNodeNeedsTproxyInEachFamilyThatThereIs() throws IOException {
    machine("000001ffffffffff", "0", "32768\t60999", "1048576");
    CommandRunner noTproxy =
        (inside, command, input, environment) ->
            input.contains("TPROXY")
                ? new Result(2, "", "unknown option \"--tproxy-mark\"\n")
                : WORKING.run(inside, command, input, environment);
    RulePrograms programs = RulePrograms.detect(Optional.of(RuleBackend.IPTABLES_NFT), WORKING);

    assertThat(onNode(noTproxy, programs))
        .singleElement()
        .extracting(Finding::state, Finding::found)
        .containsExactly(State.MISSING, "unknown option \"--tproxy-mark\"");
    Files.createDirectories(proc.resolve("sys/net/ipv6"));
    assertThat(onNode(noTproxy, programs)).hasSize(2);
    assertThat(onNode(noTproxy, programs).getLast().whatToDo()).contains("xt_TPROXY");
    assertThat(onNode(WORKING, programs)).extracting(Finding::state).containsOnly(State.OK);
  }

  private List<Finding> onNode(CommandRunner runner, RulePrograms programs) {
    return new Preflight(runner, Optional.empty(), true, proc).onNode(programs);
  }

  @Test
  void whatOnlyAHandOverNeedsIsAWarning() throws IOException {
    machine("000001ffffffffff", "0", "32768\t60999", "1048576");
    Files.delete(proc.resolve("sys/net/ipv4/tcp_migrate_req"));

    List<Finding> findings = preflight(WORKING);

    assertThat(of(findings, "hand-over without loss").state()).isEqualTo(State.WARNING);
  }

  @NeedsRoot
  @Test
  void thisMachineCanCapture() {
    List<Finding> findings = new Preflight(new Processes(), Optional.empty(), false).run();

    assertThat(findings).extracting(Finding::state).doesNotContain(State.MISSING);
    assertThat(of(findings, "capture of IPv6").found()).isEqualTo("works");
    assertThat(of(findings, "guard against packet sockets").found()).isEqualTo("works");
    assertThat(of(findings, "rules that let pass while no agent lives").found()).isEqualTo("work");
    assertThat(of(findings, "local ports").found())
        .matches("net.ipv4.ip_local_port_range=\\d+ \\d+.*");
  }

  private List<Finding> preflight(CommandRunner runner) {
    return new Preflight(runner, Optional.empty(), false, proc).run();
  }

  private static CommandRunner failing(String program, String error) {
    return (inside, command, input, environment) ->
        command.get(0).equals(program)
            ? new Result(1, "", error)
            : WORKING.run(inside, command, input, environment);
  }

  private static Finding of(List<Finding> findings, String what) {
    return findings.stream()
        .filter(finding -> finding.what().equals(what))
        .findFirst()
        .orElseThrow();
  }

  private void machine(String capabilities, String ioUring, String ports, String files)
      throws IOException {
    write("self/status", "Name:\tjava\nCapPrm:\t0000000000000000\nCapEff:\t" + capabilities + "\n");
    write(
        "self/limits",
        "Limit                     Soft Limit           Hard Limit           Units\n"
            + "Max open files            "
            + files
            + "              1048576              files\n");
    write("sys/kernel/io_uring_disabled", ioUring + "\n");
    write("sys/net/ipv4/ip_local_port_range", ports + "\n");
    write("sys/net/ipv4/tcp_migrate_req", "0\n");
  }

  private void write(String file, String text) throws IOException {
    Files.createDirectories(proc.resolve(file).getParent());
    Files.writeString(proc.resolve(file), text);
  }
}
