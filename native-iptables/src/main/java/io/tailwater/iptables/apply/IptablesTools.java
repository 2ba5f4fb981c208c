package io.tailwater.iptables.apply;

import io.tailwater.iptables.apply.CommandRunner.CommandException;
import io.tailwater.iptables.apply.CommandRunner.Result;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.SavedRules;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/// The programs that read and write rules on this machine. Found once, in the agent's own
/// namespace, and used for every pod.
///
/// @param v4 first part of the programs' names: `-save` and `-restore` follow
/// @param v6 the same for IPv6
/// @param version as the program tells it
public record IptablesTools(IptablesVariant variant, String v4, String v6, String version) {
  /// Finds the programs: the forced variant, or else iptables-legacy only where it is in use (it
  /// has rules), else iptables-nft, else plain iptables of whatever kind. What counts is rules: a
  /// chain alone is left by a mere look at a table.
  ///
  /// @throws RulesException when there is none that works
  public static IptablesTools detect(Optional<IptablesVariant> forced, CommandRunner runner) {
    List<String> reasons = new ArrayList<>();
    return find(forced, runner, reasons)
        .orElseThrow(() ->
            new RulesException(
                "No usable "
                    + forced.map(IptablesVariant::toString).orElse("iptables")
                    + ": "
                    + String.join("; ", reasons)
                    + ". "
                    + advice(reasons)));
  }

  /// Empty when there is none that works; `reasons` tells then what was tried.
  static Optional<IptablesTools> find(
      Optional<IptablesVariant> forced, CommandRunner runner, List<String> reasons) {
    return forced.isPresent()
        ? usable(forced.get().toString(), runner, reasons).map(Probed::tools)
        : automatic(runner, reasons);
  }

  /// What to do about the reasons.
  static String advice(List<String> reasons) {
    return reasons.stream()
            .anyMatch(
                reason -> reason.contains("ermission denied") || reason.contains("not permitted"))
        ? "Run as root: rules need CAP_NET_ADMIN"
        : "Install the package iptables (1.8 or newer)";
  }

  /// `iptables-nft-save`
  public String save(IpFamily family) {
    return prefix(family) + "-save";
  }

  /// `iptables-nft-restore`
  public String restore(IpFamily family) {
    return prefix(family) + "-restore";
  }

  private String prefix(IpFamily family) {
    return switch (family) {
      case V4 -> v4;
      case V6 -> v6;
    };
  }

  private record Probed(IptablesTools tools, boolean inUse) {}

  private static Optional<IptablesTools> automatic(CommandRunner runner, List<String> reasons) {
    Optional<Probed> legacy = usable("iptables-legacy", runner, reasons);
    if (legacy.filter(Probed::inUse).isPresent()) {
      return legacy.map(Probed::tools);
    }
    return usable("iptables-nft", runner, reasons)
        .or(() -> usable("iptables", runner, reasons))
        .or(() -> legacy)
        .map(Probed::tools);
  }

  private static Optional<Probed> usable(String v4, CommandRunner runner, List<String> reasons) {
    String v6 = v4.replaceFirst("^iptables", "ip6tables");
    try {
      Result saved = runner.run(List.of(v4 + "-save"), "");
      if (!saved.succeeded()) {
        reasons.add(v4 + "-save: " + saved.complaint());
        return Optional.empty();
      }
      boolean inUse = SavedRules.parse(saved.output()).hasRules() || v6InUse(v6, runner);
      String version = runner.run(List.of(v4 + "-restore", "--version"), "").output().strip();
      return Optional.of(
          new Probed(new IptablesTools(variant(v4, version), v4, v6, version), inUse));
    } catch (CommandException | IllegalArgumentException e) {
      reasons.add(v4 + ": " + e.getMessage());
      return Optional.empty();
    }
  }

  /// A machine without the program for IPv6 has no such rules.
  private static boolean v6InUse(String v6, CommandRunner runner) {
    try {
      Result saved = runner.run(List.of(v6 + "-save"), "");
      return saved.succeeded() && SavedRules.parse(saved.output()).hasRules();
    } catch (CommandException e) {
      return false;
    }
  }

  private static IptablesVariant variant(String name, String version) {
    if (name.endsWith("-legacy")) {
      return IptablesVariant.LEGACY;
    }
    boolean nft = name.endsWith("-nft") || version.toLowerCase(Locale.ROOT).contains("nf_tables");
    return nft ? IptablesVariant.NFT : IptablesVariant.LEGACY;
  }
}
