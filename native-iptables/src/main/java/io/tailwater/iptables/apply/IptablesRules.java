package io.tailwater.iptables.apply;

import io.tailwater.iptables.apply.CommandRunner.CommandException;
import io.tailwater.iptables.apply.CommandRunner.Result;
import io.tailwater.iptables.apply.InstallReport.Outcome;
import io.tailwater.iptables.apply.InstallReport.State;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.Drift;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.NamespaceRules;
import io.tailwater.iptables.rule.RestoreScript;
import io.tailwater.iptables.rule.RuleSet;
import io.tailwater.iptables.rule.SavedRules;
import io.tailwater.iptables.rule.StandingPods;
import io.tailwater.iptables.rule.StandingPods.StandingPod;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.BiFunction;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/// The rules of one namespace kept by iptables, of either kind. Each table changes in one
/// transaction.
final class IptablesRules implements RuleStore {
  /// Somebody else may change the tables between our look and our transaction; the transaction
  /// fails then, and we look again.
  private static final int ATTEMPTS = 3;

  private static final Pattern FAILED_LINE = Pattern.compile("line:? (\\d+)");

  private final RulePrograms programs;
  private final CommandRunner runner;
  private volatile @Nullable Boolean lacksIpv6Programs;

  IptablesRules(RulePrograms programs, CommandRunner runner) {
    this.programs = programs;
    this.runner = runner;
  }

  @Override
  public RulePrograms programs() {
    return programs;
  }

  @Override
  public Map<IpFamily, Outcome> install(
      NetworkNamespace namespace, NamespaceRules rules, boolean hasIpv6) {
    Map<IpFamily, Outcome> outcomes = new EnumMap<>(IpFamily.class);
    List<IpFamily> toUndo = new ArrayList<>();
    try {
      KernelTables tables = KernelTables.of(namespace);
      for (IpFamily family : IpFamily.values()) {
        RuleSet wanted = rules.family(family);
        if (family == IpFamily.V6 && !hasIpv6) {
          outcomes.put(family, new Outcome(State.SKIPPED, "this namespace has no IPv6"));
          continue;
        }
        if (family == IpFamily.V6 && wanted.isEmpty() && lacksIpv6Programs()) {
          outcomes.put(
              family,
              new Outcome(
                  State.SKIPPED, "no rules wanted, and no " + programs.save(family) + " here"));
          continue;
        }
        SavedRules before =
            tables.lacks(programs.backend(), family) ? SavedRules.EMPTY : read(namespace, family);
        Drift drift = Drift.between(wanted, before);
        if (drift instanceof Drift.None) {
          outcomes.put(
              family, new Outcome(State.UNCHANGED, wanted.isEmpty() ? "no rules wanted" : ""));
          continue;
        }
        if (!before.hasOurs()) {
          toUndo.add(family);
        }
        SavedRules after =
            transact(
                namespace, family, before, (now, attempt) -> RestoreScript.install(wanted, now));
        Drift left = Drift.between(wanted, after);
        if (!(left instanceof Drift.None)) {
          throw new RulesException(
              family,
              where(namespace, family)
                  + ": the rules were accepted but read back different: "
                  + left);
        }
        outcomes.put(family, outcome(wanted, before));
      }
      return outcomes;
    } catch (RulesException e) {
      throw undo(namespace, toUndo, e);
    }
  }

  /// About 5 ms per family.
  @Override
  public Drift verify(NetworkNamespace namespace, NamespaceRules rules, boolean hasIpv6) {
    Map<IpFamily, Drift> drifts = new EnumMap<>(IpFamily.class);
    for (IpFamily family : IpFamily.values()) {
      RuleSet wanted = rules.family(family);
      boolean absent =
          family == IpFamily.V6 && (!hasIpv6 || (wanted.isEmpty() && lacksIpv6Programs()));
      if (!absent) {
        Drift drift = Drift.between(wanted, read(namespace, family));
        if (!wanted.isEmpty() || !(drift instanceof Drift.None)) {
          drifts.put(family, drift);
        }
      }
    }
    return Drift.together(drifts);
  }

  @Override
  public List<StandingPod> pods(NetworkNamespace node, boolean hasIpv6) {
    List<StandingPod> pods = new ArrayList<>(StandingPods.in(read(node, IpFamily.V4)));
    if (hasIpv6 && !lacksIpv6Programs()) {
      pods.addAll(StandingPods.in(read(node, IpFamily.V6)));
    }
    return StandingPods.together(pods);
  }

  /// Takes every chain of ours and every jump to one away, in both families, whatever plan they
  /// came from. When one family cannot be cleaned, the other one is tried all the same.
  @Override
  public Map<IpFamily, Outcome> remove(NetworkNamespace namespace, boolean hasIpv6) {
    Map<IpFamily, Outcome> outcomes = new EnumMap<>(IpFamily.class);
    List<String> failures = new ArrayList<>();
    for (IpFamily family : IpFamily.values()) {
      if (family == IpFamily.V6 && !hasIpv6) {
        outcomes.put(family, new Outcome(State.SKIPPED, "this namespace has no IPv6"));
      } else if (family == IpFamily.V6 && lacksIpv6Programs()) {
        outcomes.put(family, new Outcome(State.SKIPPED, "no " + programs.save(family) + " here"));
      } else {
        try {
          outcomes.put(family, remove(namespace, family));
        } catch (RulesException e) {
          failures.add(e.getMessage());
        }
      }
    }
    if (!failures.isEmpty()) {
      throw new RulesException(String.join("; ", failures));
    }
    return outcomes;
  }

  /// Whether anything of ours is there in a family whose program is there.
  boolean hasOurs(NetworkNamespace namespace, IpFamily family) {
    return !(family == IpFamily.V6 && lacksIpv6Programs()) && read(namespace, family).hasOurs();
  }

  private Outcome remove(NetworkNamespace namespace, IpFamily family) {
    SavedRules before = read(namespace, family);
    if (!before.hasOurs()) {
      return new Outcome(State.UNCHANGED, "nothing of ours was there");
    }
    // Deleting emptied built-in chains is a nicety of nf_tables; when it fails, our chains go
    // without it.
    boolean nft = programs.backend() == RuleBackend.IPTABLES_NFT;
    SavedRules after =
        transact(
            namespace,
            family,
            before,
            (now, attempt) -> RestoreScript.removal(family, now, nft && attempt == 1));
    if (after.hasOurs()) {
      throw new RulesException(
          family, where(namespace, family) + ": rules of ours are still there after their removal");
    }
    return new Outcome(State.REMOVED, "");
  }

  private RulesException undo(
      NetworkNamespace namespace, List<IpFamily> families, RulesException cause) {
    List<String> also = new ArrayList<>();
    for (IpFamily family : families) {
      try {
        remove(namespace, family);
      } catch (RulesException e) {
        also.add("Undoing failed too: " + e.getMessage());
      }
    }
    String done =
        families.isEmpty() ? "What was there before is still in force" : "Nothing was left behind";
    String message = cause.getMessage() + ". " + (also.isEmpty() ? done : String.join("; ", also));
    return cause
        .family()
        .map(family -> new RulesException(family, message, cause))
        .orElseGet(() -> new RulesException(message));
  }

  private static Outcome outcome(RuleSet wanted, SavedRules before) {
    if (!before.hasOurs()) {
      return new Outcome(State.INSTALLED, "");
    }
    return wanted.isEmpty()
        ? new Outcome(State.REMOVED, "no rules wanted any more")
        : new Outcome(State.REPAIRED, "");
  }

  /// Runs the script made from what is there, until it is accepted; returns what is there then.
  private SavedRules transact(
      NetworkNamespace namespace,
      IpFamily family,
      SavedRules before,
      BiFunction<SavedRules, Integer, RestoreScript> making) {
    SavedRules now = before;
    for (int attempt = 1; ; attempt++) {
      RestoreScript script = making.apply(now, attempt);
      Result result = restore(namespace, family, script.text());
      SavedRules next = read(namespace, family);
      if (result.succeeded()) {
        return next;
      }
      if (attempt == ATTEMPTS) {
        throw new RulesException(family, failure(namespace, family, script, result));
      }
      now = next;
    }
  }

  private SavedRules read(NetworkNamespace namespace, IpFamily family) {
    Result result = inside(namespace, family, List.of(programs.save(family)), "");
    if (!result.succeeded()) {
      throw new RulesException(
          family,
          where(namespace, family)
              + ": "
              + programs.save(family)
              + " failed: "
              + result.complaint()
              + privilege(result));
    }
    try {
      return SavedRules.parse(result.output());
    } catch (IllegalArgumentException e) {
      throw new RulesException(
          family,
          where(namespace, family) + ": " + programs.save(family) + ": " + e.getMessage(),
          e);
    }
  }

  private Result restore(NetworkNamespace namespace, IpFamily family, String script) {
    List<String> command = new ArrayList<>(List.of(programs.restore(family), "--noflush"));
    if (programs.backend() == RuleBackend.IPTABLES_LEGACY) {
      command.add("--wait=10");
    }
    return inside(namespace, family, command, script);
  }

  private Result inside(
      NetworkNamespace namespace, IpFamily family, List<String> command, String input) {
    // The tables belong to the namespace, so its file is the right lock; the machine's lock file
    // may not even be writable.
    List<String> environment =
        programs.backend() == RuleBackend.IPTABLES_LEGACY
            ? List.of("XTABLES_LOCKFILE=" + namespace.handle())
            : List.of();
    try {
      return runner.run(Optional.of(namespace), command, input, environment);
    } catch (CommandException e) {
      throw new RulesException(family, where(namespace, family) + ": " + e.getMessage(), e);
    }
  }

  private String failure(
      NetworkNamespace namespace, IpFamily family, RestoreScript script, Result result) {
    Matcher line = FAILED_LINE.matcher(result.error());
    String where = where(namespace, family);
    String table = "";
    String rule = "";
    if (line.find()) {
      List<String> lines = script.text().lines().toList();
      int number = Integer.parseInt(line.group(1));
      for (int i = 0; i < Math.min(number, lines.size()); i++) {
        if (lines.get(i).startsWith("*")) {
          table = lines.get(i).substring(1);
        }
      }
      rule = number >= 1 && number <= lines.size() ? lines.get(number - 1) : "";
    }
    return where
        + (table.isEmpty() ? "" : ", table " + table)
        + ": "
        + programs.restore(family)
        + " failed"
        + (rule.isEmpty() ? "" : " at '" + rule + "'")
        + ": "
        + result.complaint()
        + privilege(result)
        + (family == IpFamily.V6 && table.equals("nat")
            ? ". If this kernel has no nat for IPv6, have IPv6 refused instead of captured"
            : "");
  }

  private static String privilege(Result result) {
    return result.error().contains("not permitted") || result.error().contains("Permission denied")
        ? ". CAP_NET_ADMIN and CAP_SYS_ADMIN are needed: run as root"
        : "";
  }

  private static String where(NetworkNamespace namespace, IpFamily family) {
    return namespace.path() + ", " + family;
  }

  /// Whether the programs for IPv6 are missing. Asked once: programs do not come and go.
  private boolean lacksIpv6Programs() {
    Boolean known = lacksIpv6Programs;
    if (known == null) {
      try {
        runner.run(List.of(programs.save(IpFamily.V6), "--version"), "");
        known = false;
      } catch (CommandException e) {
        known = e.isAbsent();
      }
      lacksIpv6Programs = known;
    }
    return known;
  }
}
