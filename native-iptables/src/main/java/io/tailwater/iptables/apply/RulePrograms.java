package io.tailwater.iptables.apply;

import io.tailwater.iptables.apply.CommandRunner.CommandException;
import io.tailwater.iptables.apply.CommandRunner.Result;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.NamespaceRules;
import io.tailwater.iptables.rule.NftScript;
import io.tailwater.iptables.rule.RestoreScript;
import io.tailwater.iptables.rule.SavedRules;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/// The programs that read and write rules on this machine, and so the backend. Found once, in the
/// agent's own namespace, and used for every pod.
///
/// @param v4 first part of the programs' names: `-save` and `-restore` follow; for nf_tables the
///   whole name
/// @param v6 the same for IPv6
/// @param version as the program tells it
public record RulePrograms(RuleBackend backend, String v4, String v6, String version) {
  private static final String NFT = "nft";

  /// Finds the programs: the forced backend, or else iptables-legacy only where it is in use (it
  /// has rules), else iptables-nft, else plain iptables of whatever kind, and nf_tables itself
  /// where no iptables works. What counts is rules: a chain alone is left by a mere look at a
  /// table. A program counts as working when it takes rules of ours, in a namespace that ends with
  /// it; one that does so for both families goes before one that leaves IPv6 open.
  ///
  /// @throws RulesException when there is none that works
  public static RulePrograms detect(Optional<RuleBackend> forced, CommandRunner runner) {
    List<String> reasons = new ArrayList<>();
    return find(forced, runner, reasons)
        .orElseThrow(() ->
            new RulesException(
                "No usable "
                    + forced.map(RuleBackend::toString).orElse("iptables or nft")
                    + ": "
                    + String.join("; ", reasons)
                    + ". "
                    + advice(forced, reasons)));
  }

  /// What `auto` would take here, or why nothing can be: one line.
  public static String describe(CommandRunner runner) {
    List<String> reasons = new ArrayList<>();
    return find(Optional.empty(), runner, reasons)
        .map(RulePrograms::toString)
        .orElseGet(
            () -> "no: " + String.join("; ", reasons) + ". " + advice(Optional.empty(), reasons));
  }

  /// Empty when there is none that works; `reasons` tells then what was tried.
  static Optional<RulePrograms> find(
      Optional<RuleBackend> forced, CommandRunner runner, List<String> reasons) {
    if (forced.isEmpty()) {
      return automatic(runner, reasons);
    }
    return switch (forced.get()) {
      case NFT -> nft(runner, reasons).map(Probed::programs);
      case IPTABLES_NFT, IPTABLES_LEGACY ->
          usable(forced.get().toString(), runner, reasons).map(Probed::programs);
    };
  }

  /// What to do about the reasons.
  static String advice(Optional<RuleBackend> forced, List<String> reasons) {
    if (reasons.stream()
        .anyMatch(
            reason -> reason.contains("ermission denied") || reason.contains("not permitted"))) {
      return "Run as root: rules need CAP_NET_ADMIN";
    }
    return forced.filter(RuleBackend.NFT::equals).isPresent()
        ? "Install the package nftables (1.0 or newer, with JSON support)"
        : "Install the package iptables (1.8 or newer), or nftables";
  }

  /// What to do when nft printed something that is no JSON.
  static String jsonAdvice(Result result) {
    return (result.output() + result.error()).contains("JSON support not compiled-in")
        ? ". This nft was built without JSON: install one with it, or take iptables-nft"
        : "";
  }

  /// The usual programs of a backend, if they are here; nothing is run.
  static Optional<RulePrograms> named(RuleBackend backend) {
    return switch (backend) {
      case NFT -> Processes.find(NFT).map(path -> new RulePrograms(RuleBackend.NFT, NFT, NFT, ""));
      case IPTABLES_NFT, IPTABLES_LEGACY ->
          Processes.find(backend + "-restore")
              .map(path ->
                  new RulePrograms(backend, backend.toString(), forIpv6(backend.toString()), ""));
    };
  }

  /// `iptables-nft-save`; not for nf_tables itself.
  public String save(IpFamily family) {
    return prefix(family) + "-save";
  }

  /// `iptables-nft-restore`; not for nf_tables itself.
  public String restore(IpFamily family) {
    return prefix(family) + "-restore";
  }

  /// `nft`; only for nf_tables itself.
  public String nft() {
    return v4;
  }

  /// For people: `iptables-nft (iptables-restore v1.8.9 (nf_tables))`.
  @Override
  public String toString() {
    return backend + (version.isEmpty() ? "" : " (" + version + ")");
  }

  private String prefix(IpFamily family) {
    return switch (family) {
      case V4 -> v4;
      case V6 -> v6;
    };
  }

  /// @param inUse whether it has rules here
  /// @param ipv6 whether it takes rules for IPv6
  private record Probed(RulePrograms programs, boolean inUse, boolean ipv6) {}

  private static Optional<RulePrograms> automatic(CommandRunner runner, List<String> reasons) {
    List<Probed> working = new ArrayList<>();
    Optional<Probed> legacy = usable("iptables-legacy", runner, reasons);
    legacy.filter(Probed::inUse).ifPresent(working::add);
    for (String name : List.of("iptables-nft", "iptables")) {
      if (working.stream().noneMatch(Probed::ipv6)) {
        usable(name, runner, reasons).ifPresent(working::add);
      }
    }
    legacy.ifPresent(working::add);
    if (working.stream().noneMatch(Probed::ipv6)) {
      nft(runner, reasons).ifPresent(working::add);
    }
    return working.stream()
        .filter(Probed::ipv6)
        .findFirst()
        .or(() -> working.stream().findFirst())
        .map(Probed::programs);
  }

  private static Optional<Probed> usable(String v4, CommandRunner runner, List<String> reasons) {
    String v6 = forIpv6(v4);
    try {
      Result saved = runner.run(List.of(v4 + "-save"), "");
      if (!saved.succeeded()) {
        reasons.add(v4 + "-save: " + saved.complaint());
        return Optional.empty();
      }
      String version = runner.run(List.of(v4 + "-restore", "--version"), "").output().strip();
      RulePrograms programs = new RulePrograms(backend(v4, version), v4, v6, version);
      if (!takes(programs, IpFamily.V4, runner, reasons)) {
        return Optional.empty();
      }
      boolean inUse = SavedRules.parse(saved.output()).hasRules() || v6InUse(v6, runner);
      return Optional.of(
          new Probed(programs, inUse, takes(programs, IpFamily.V6, runner, reasons)));
    } catch (CommandException | IllegalArgumentException e) {
      reasons.add(v4 + ": " + e.getMessage());
      return Optional.empty();
    }
  }

  /// Tries a plan's rules in a namespace that ends with the program.
  private static boolean takes(
      RulePrograms programs, IpFamily family, CommandRunner runner, List<String> reasons) {
    try {
      Result tried = programs.tried(NamespaceRules.of(CapturePlan.egress()), family, runner);
      if (!tried.succeeded()) {
        reasons.add(programs.writer(family) + ", " + family + ": " + tried.complaint());
      }
      return tried.succeeded();
    } catch (CommandException e) {
      reasons.add(programs.writer(family) + ": " + e.getMessage());
      return false;
    }
  }

  /// Has the rules of one family written in a namespace that ends with the program.
  ///
  /// @throws CommandException as [CommandRunner#run]
  Result tried(NamespaceRules rules, IpFamily family, CommandRunner runner) {
    return tried(Optional.empty(), List.of("unshare", "--net", "--"), rules, family, runner);
  }

  /// The same in a namespace that is there.
  Result tried(
      NetworkNamespace inside, NamespaceRules rules, IpFamily family, CommandRunner runner) {
    return tried(Optional.of(inside), List.of(), rules, family, runner);
  }

  private Result tried(
      Optional<NetworkNamespace> inside,
      List<String> before,
      NamespaceRules rules,
      IpFamily family,
      CommandRunner runner) {
    List<String> line = new ArrayList<>(before);
    line.add(writer(family));
    if (backend == RuleBackend.NFT) {
      line.addAll(List.of("-f", "-"));
      return runner.run(inside, line, NftScript.fresh(rules.only(family)).text(), List.of());
    }
    line.add("--noflush");
    return runner.run(inside, line, RestoreScript.fresh(rules.family(family)).text(), List.of());
  }

  /// The program that writes rules.
  private String writer(IpFamily family) {
    return backend == RuleBackend.NFT ? nft() : restore(family);
  }

  private static Optional<Probed> nft(CommandRunner runner, List<String> reasons) {
    try {
      Result listed = runner.run(List.of(NFT, "-j", "list", "tables"), "");
      if (!listed.succeeded() || !jsonAdvice(listed).isEmpty()) {
        reasons.add("nft: " + listed.complaint() + jsonAdvice(listed));
        return Optional.empty();
      }
      String version = runner.run(List.of(NFT, "--version"), "").output().strip();
      RulePrograms programs = new RulePrograms(RuleBackend.NFT, NFT, NFT, version);
      if (!takes(programs, IpFamily.V4, runner, reasons)) {
        return Optional.empty();
      }
      return Optional.of(
          new Probed(programs, false, takes(programs, IpFamily.V6, runner, reasons)));
    } catch (CommandException e) {
      reasons.add("nft: " + e.getMessage());
      return Optional.empty();
    }
  }

  private static String forIpv6(String v4) {
    return v4.replaceFirst("^iptables", "ip6tables");
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

  private static RuleBackend backend(String name, String version) {
    if (name.endsWith("-legacy")) {
      return RuleBackend.IPTABLES_LEGACY;
    }
    boolean nft = name.endsWith("-nft") || version.toLowerCase(Locale.ROOT).contains("nf_tables");
    return nft ? RuleBackend.IPTABLES_NFT : RuleBackend.IPTABLES_LEGACY;
  }
}
