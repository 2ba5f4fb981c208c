package io.tailwater.iptables.apply;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.tailwater.iptables.apply.CommandRunner.CommandException;
import io.tailwater.iptables.apply.CommandRunner.Result;
import io.tailwater.iptables.rule.IpFamily;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class RuleProgramsTest {
  private static final String CHAINS_ONLY = "*nat\n:OUTPUT ACCEPT [0:0]\n:KUBE - [0:0]\nCOMMIT\n";
  private static final String RULES = "*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j ACCEPT\nCOMMIT\n";

  private final Map<String, Result> machine = new HashMap<>();
  private final CommandRunner runner =
      (inside, command, input, environment) ->
          Optional.ofNullable(machine.get(String.join(" ", command)))
              .orElseThrow(
                  () -> new CommandException("There is no program " + command.get(0), true));

  @Test
  void nftIsPreferredWhileLegacyIsUnused() {
    programs("iptables-legacy", CHAINS_ONLY);
    programs("iptables-nft", RULES);

    RulePrograms programs = detect();

    assertThat(programs.backend()).isEqualTo(RuleBackend.IPTABLES_NFT);
    assertThat(programs.restore(IpFamily.V4)).isEqualTo("iptables-nft-restore");
    assertThat(programs.save(IpFamily.V6)).isEqualTo("ip6tables-nft-save");
  }

  @Test
  void legacyInUseIsPreferred() {
    programs("iptables-legacy", RULES);
    programs("iptables-nft", "");

    assertThat(detect().backend()).isEqualTo(RuleBackend.IPTABLES_LEGACY);
  }

  @Test
  void legacyInUseForIpv6AloneCountsToo() {
    programs("iptables-legacy", "");
    machine.put("ip6tables-legacy-save", new Result(0, RULES, ""));
    programs("iptables-nft", "");

    assertThat(detect().backend()).isEqualTo(RuleBackend.IPTABLES_LEGACY);
  }

  @Test
  void plainProgramTellsItsKind() {
    programs("iptables", "");
    assertThat(detect().backend()).isEqualTo(RuleBackend.IPTABLES_LEGACY);

    machine.put(
        "iptables-restore --version", new Result(0, "iptables-restore v1.8.7 (nf_tables)", ""));
    assertThat(detect())
        .isEqualTo(
            new RulePrograms(
                RuleBackend.IPTABLES_NFT,
                "iptables",
                "ip6tables",
                "iptables-restore v1.8.7 (nf_tables)"));
  }

  @Test
  void nftThatTheKernelLacksIsPassedOver() {
    programs("iptables-legacy", "");
    programs("iptables-nft", "");
    machine.put(
        "iptables-nft-save", new Result(1, "", "Failed to initialize nft: Protocol not supported"));

    assertThat(detect().backend()).isEqualTo(RuleBackend.IPTABLES_LEGACY);
  }

  @Test
  void programThatTakesNoRuleIsPassedOver() {
    programs("iptables-legacy", "");
    programs("iptables-nft", "");
    machine.put(
        "unshare --net -- iptables-nft-restore --noflush",
        new Result(4, "", "Extension REDIRECT revision 0 not supported, missing kernel module?"));

    assertThat(detect().backend()).isEqualTo(RuleBackend.IPTABLES_LEGACY);
  }

  @Test
  void nfTablesItselfIsTakenWhereNoIptablesWorks() {
    nft();

    assertThat(detect())
        .isEqualTo(new RulePrograms(RuleBackend.NFT, "nft", "nft", "nftables v1.0.6"))
        .hasToString("nft (nftables v1.0.6)");
  }

  @Test
  void nftWithoutJsonIsRefusedAndSaysSo() {
    machine.put("nft -j list tables", new Result(0, "", "Error: JSON support not compiled-in"));
    machine.put("nft --version", new Result(0, "nftables v1.0.6", ""));

    assertThatThrownBy(() -> RulePrograms.detect(Optional.of(RuleBackend.NFT), runner))
        .hasMessageContaining("No usable nft")
        .hasMessageContaining("built without JSON")
        .hasMessageContaining("Install the package nftables");
  }

  @Test
  void forcedVariantIsTakenOrRefused() {
    programs("iptables-legacy", RULES);
    programs("iptables-nft", "");

    assertThat(RulePrograms.detect(Optional.of(RuleBackend.IPTABLES_NFT), runner).backend())
        .isEqualTo(RuleBackend.IPTABLES_NFT);
    machine.keySet().removeIf(command -> command.startsWith("iptables-nft"));
    assertThatThrownBy(() -> RulePrograms.detect(Optional.of(RuleBackend.IPTABLES_NFT), runner))
        .isInstanceOf(RulesException.class)
        .hasMessageContaining("No usable iptables-nft")
        .hasMessageContaining("There is no program iptables-nft-save");
  }

  @Test
  void machineWithoutAnyIsToldWhatWasTried() {
    assertThatThrownBy(this::detect)
        .isInstanceOf(RulesException.class)
        .hasMessageContaining("iptables-legacy-save")
        .hasMessageContaining("iptables-nft-save")
        .hasMessageContaining("Install the package iptables");
  }

  private RulePrograms detect() {
    return RulePrograms.detect(Optional.empty(), runner);
  }

  /// Without its program, IPv6 would be open.
  @Test
  void whatTakesBothFamiliesGoesBeforeWhatLeavesIpv6Open() {
    programs("iptables-nft", "");
    machine.keySet().removeIf(command -> command.contains("ip6tables"));
    assertThat(detect().backend()).isEqualTo(RuleBackend.IPTABLES_NFT);

    nft();
    assertThat(detect().backend()).isEqualTo(RuleBackend.NFT);

    machine.put("unshare --net -- nft -f -", new Result(1, "", "Error: no IPv6 here"));
    assertThat(detect().backend()).isEqualTo(RuleBackend.IPTABLES_NFT);
  }

  private void nft() {
    machine.put("nft -j list tables", new Result(0, "{\"nftables\": []}", ""));
    machine.put("nft --version", new Result(0, "nftables v1.0.6", ""));
    machine.put("unshare --net -- nft -f -", new Result(0, "", ""));
  }

  private void programs(String name, String saved) {
    machine.put(name + "-save", new Result(0, saved, ""));
    machine.put("unshare --net -- " + name + "-restore --noflush", new Result(0, "", ""));
    machine.put(name + "-restore --version", new Result(0, "iptables-restore v1.8.9", ""));
  }
}
