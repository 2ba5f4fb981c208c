package io.tailwater.iptables.apply;

import io.tailwater.iptables.apply.CommandRunner.CommandException;
import io.tailwater.iptables.apply.CommandRunner.Result;
import io.tailwater.iptables.apply.InstallReport.Outcome;
import io.tailwater.iptables.apply.InstallReport.State;
import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.libc.Syscalls;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.CaptureRules;
import io.tailwater.iptables.rule.Drift;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.RestoreScript;
import io.tailwater.iptables.rule.RuleSet;
import io.tailwater.iptables.rule.SavedRules;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiFunction;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/// The capture rules of one namespace: install, verify, remove, show.
///
/// On a platform thread outside of any namespace, one at a time per namespace. Each table changes
/// in one transaction, so that there is no moment without rules while they are repaired. A failed
/// first installation leaves nothing behind; a failed repair leaves what was there, because
/// removing it would let traffic past.
public final class TrafficRules {
  /// Somebody else may change the tables between our look and our transaction; the transaction
  /// fails then, and we look again.
  private static final int ATTEMPTS = 3;

  private static final Pattern FAILED_LINE = Pattern.compile("line:? (\\d+)");

  private final IptablesTools tools;
  private final CommandRunner runner;
  private final Predicate<NetworkNamespace> hasIpv6;
  private volatile @Nullable Boolean lacksIpv6Programs;

  public TrafficRules(IptablesTools tools, CommandRunner runner) {
    this(tools, runner, TrafficRules::hasIpv6);
  }

  TrafficRules(IptablesTools tools, CommandRunner runner, Predicate<NetworkNamespace> hasIpv6) {
    this.tools = tools;
    this.runner = runner;
    this.hasIpv6 = hasIpv6;
  }

  /// The programs in use.
  public IptablesTools tools() {
    return tools;
  }

  /// The rules of a plan as the restore scripts of both families, with the reason over each rule.
  /// Needs no kernel.
  public static String show(CapturePlan plan) {
    StringBuilder text = new StringBuilder();
    for (IpFamily family : IpFamily.values()) {
      RestoreScript script = RestoreScript.fresh(CaptureRules.of(plan, family));
      text.append("# ")
          .append(family)
          .append(family == IpFamily.V4 ? ": iptables" : ": ip6tables")
          .append("-restore --noflush\n");
      text.append(script.isEmpty() ? "# no rules\n" : script.text());
    }
    return text.toString();
  }

  /// Opens the namespace at a path and installs the rules there.
  public InstallReport install(Path netns, CapturePlan plan) {
    try (NetworkNamespace namespace = NetworkNamespace.open(netns)) {
      return install(namespace, plan);
    }
  }

  /// Brings the rules of `plan` into force, whatever of ours was there before, and reads them back.
  ///
  /// @throws RulesException naming family and table; nothing of ours is left then if there was
  ///   nothing before
  public InstallReport install(NetworkNamespace namespace, CapturePlan plan) {
    Map<IpFamily, Outcome> outcomes = new EnumMap<>(IpFamily.class);
    List<IpFamily> toUndo = new ArrayList<>();
    try {
      for (IpFamily family : IpFamily.values()) {
        RuleSet wanted = CaptureRules.of(plan, family);
        if (family == IpFamily.V6 && !hasIpv6.test(namespace)) {
          outcomes.put(family, new Outcome(State.SKIPPED, "this namespace has no IPv6"));
          continue;
        }
        if (family == IpFamily.V6 && wanted.isEmpty() && lacksIpv6Programs()) {
          outcomes.put(
              family,
              new Outcome(
                  State.SKIPPED, "no rules wanted, and no " + tools.save(family) + " here"));
          continue;
        }
        SavedRules before = read(namespace, family);
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
      return new InstallReport(namespace.path(), namespace.id(), tools.variant(), outcomes);
    } catch (RulesException e) {
      throw undo(namespace, toUndo, e);
    }
  }

  /// Opens the namespace at a path and compares the rules there.
  public Drift verify(Path netns, CapturePlan plan) {
    try (NetworkNamespace namespace = NetworkNamespace.open(netns)) {
      return verify(namespace, plan);
    }
  }

  /// Compares what is in force with the plan. Changes nothing. About 5 ms per family.
  public Drift verify(NetworkNamespace namespace, CapturePlan plan) {
    Map<IpFamily, Drift> drifts = new EnumMap<>(IpFamily.class);
    for (IpFamily family : IpFamily.values()) {
      RuleSet wanted = CaptureRules.of(plan, family);
      boolean absent =
          family == IpFamily.V6
              && (!hasIpv6.test(namespace) || (wanted.isEmpty() && lacksIpv6Programs()));
      if (!absent) {
        Drift drift = Drift.between(wanted, read(namespace, family));
        if (!wanted.isEmpty() || !(drift instanceof Drift.None)) {
          drifts.put(family, drift);
        }
      }
    }
    return Drift.together(drifts);
  }

  /// Opens the namespace at a path and removes our rules there.
  public InstallReport remove(Path netns) {
    try (NetworkNamespace namespace = NetworkNamespace.open(netns)) {
      return remove(namespace);
    }
  }

  /// Takes every chain of ours and every jump to one away, in both families, whatever plan they
  /// came from; rules of others stay.
  ///
  /// @throws RulesException when a family could not be cleaned; the other one was tried all the
  ///   same
  public InstallReport remove(NetworkNamespace namespace) {
    Map<IpFamily, Outcome> outcomes = new EnumMap<>(IpFamily.class);
    List<String> failures = new ArrayList<>();
    for (IpFamily family : IpFamily.values()) {
      if (family == IpFamily.V6 && !hasIpv6.test(namespace)) {
        outcomes.put(family, new Outcome(State.SKIPPED, "this namespace has no IPv6"));
      } else if (family == IpFamily.V6 && lacksIpv6Programs()) {
        outcomes.put(family, new Outcome(State.SKIPPED, "no " + tools.save(family) + " here"));
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
    return new InstallReport(namespace.path(), namespace.id(), tools.variant(), outcomes);
  }

  private Outcome remove(NetworkNamespace namespace, IpFamily family) {
    SavedRules before = read(namespace, family);
    if (!before.hasOurs()) {
      return new Outcome(State.UNCHANGED, "nothing of ours was there");
    }
    // Deleting emptied built-in chains is a nicety of nf_tables; when it fails, our chains go
    // without it.
    boolean nft = tools.variant() == IptablesVariant.NFT;
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
    Result result = inside(namespace, family, List.of(tools.save(family)), "");
    if (!result.succeeded()) {
      throw new RulesException(
          family,
          where(namespace, family)
              + ": "
              + tools.save(family)
              + " failed: "
              + result.complaint()
              + privilege(result));
    }
    try {
      return SavedRules.parse(result.output());
    } catch (IllegalArgumentException e) {
      throw new RulesException(
          family, where(namespace, family) + ": " + tools.save(family) + ": " + e.getMessage(), e);
    }
  }

  private Result restore(NetworkNamespace namespace, IpFamily family, String script) {
    List<String> command = new ArrayList<>(List.of(tools.restore(family), "--noflush"));
    if (tools.variant() == IptablesVariant.LEGACY) {
      command.add("--wait=10");
    }
    return inside(namespace, family, command, script);
  }

  private Result inside(
      NetworkNamespace namespace, IpFamily family, List<String> command, String input) {
    List<String> line = new ArrayList<>(List.of("nsenter", "--net=" + namespace.handle(), "--"));
    line.addAll(command);
    // The tables belong to the namespace, so its file is the right lock; the machine's lock file
    // may not even be writable.
    List<String> environment =
        tools.variant() == IptablesVariant.LEGACY
            ? List.of("XTABLES_LOCKFILE=" + namespace.handle())
            : List.of();
    try {
      return runner.run(line, input, environment);
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
        + tools.restore(family)
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
        runner.run(List.of(tools.save(IpFamily.V6), "--version"), "");
        known = false;
      } catch (CommandException e) {
        known = e.isAbsent();
      }
      lacksIpv6Programs = known;
    }
    return known;
  }

  /// A kernel without IPv6 makes no such socket. (A namespace whose interfaces have IPv6 switched
  /// off does, and gets the rules: it may be switched on at any time.)
  private static boolean hasIpv6(NetworkNamespace namespace) {
    return namespace.call(() -> {
      try {
        Syscalls.close(
            Syscalls.socket(Syscalls.AF_INET6, Syscalls.SOCK_DGRAM | Syscalls.SOCK_CLOEXEC, 0));
        return true;
      } catch (SyscallException e) {
        if (e.errno() == Errno.EAFNOSUPPORT) {
          return false;
        }
        throw e;
      }
    });
  }
}
