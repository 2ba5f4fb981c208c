package io.tailwater.iptables.apply;

import io.tailwater.iptables.apply.CommandRunner.CommandException;
import io.tailwater.iptables.apply.CommandRunner.Result;
import io.tailwater.iptables.apply.InstallReport.Outcome;
import io.tailwater.iptables.apply.InstallReport.State;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.Drift;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.Mark;
import io.tailwater.iptables.rule.NamespaceRules;
import io.tailwater.iptables.rule.NftScript;
import io.tailwater.iptables.rule.NftTable;
import io.tailwater.iptables.rule.NftTable.NftChain;
import io.tailwater.iptables.rule.RuleSet;
import io.tailwater.iptables.rule.StandingPods;
import io.tailwater.iptables.rule.StandingPods.StandingPod;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// Native nf_tables: one table, one transaction for both families.
///
/// nf_tables rewrites the rules that it is given. So what it tells is compared with what it tells
/// of the wanted rules in a namespace that ends with the program; chain by chain, so that what is
/// remembered of a chain serves whatever stands beside it, and a change touches the chains that
/// differ alone.
final class NftRules implements RuleStore {
  private static final int ATTEMPTS = 3;

  /// Chains of which it is remembered what nft tells, as digests: those of some 800 pods on a node.
  /// Pods whose plans differ by the mark alone share them.
  private static final int REMEMBERED = 8192;

  /// Of SHA-256: more than anybody finds two of.
  private static final int DIGEST_BYTES = 16;

  /// Smaller marks might be something else's number too.
  private static final int LEAST_TELLING = 1 << 16;

  /// In place of a chain that is not there, of which nothing more has to be known.
  private static final NftChain GONE = new NftChain(Optional.empty(), List.of());

  private static final Pattern FAILED_LINE = Pattern.compile("(?m)^[^:\\n]*:(\\d+):\\d+");
  private static final String LIST = "list table inet " + NftScript.TABLE;

  private final RulePrograms programs;
  private final CommandRunner runner;
  private final Map<String, String> told =
      Collections.synchronizedMap(
          new LinkedHashMap<>(16, 0.75f, true) {
            @Override
            protected boolean removeEldestEntry(Map.Entry<String, String> eldest) {
              return size() > REMEMBERED;
            }
          });

  NftRules(RulePrograms programs, CommandRunner runner) {
    this.programs = programs;
    this.runner = runner;
  }

  @Override
  public RulePrograms programs() {
    return programs;
  }

  @Override
  public Map<IpFamily, Outcome> install(
      NetworkNamespace namespace, NamespaceRules asked, boolean hasIpv6) {
    NamespaceRules wanted = hasIpv6 ? asked : asked.withoutIpv6();
    NftTable before =
        KernelTables.of(namespace).lacks(RuleBackend.NFT, IpFamily.V4)
            ? NftTable.ABSENT
            : read(namespace);
    Found found = before.exists() ? compare(namespace, wanted, before) : nothingYet(wanted);
    Map<IpFamily, Drift> drifts = found.drifts();
    if (!drifts.values().stream().allMatch(Drift.None.class::isInstance)
        || (wanted.isEmpty() && before.exists())) {
      transact(namespace, wanted, before, found.chains());
    }
    Map<IpFamily, Outcome> outcomes = new EnumMap<>(IpFamily.class);
    drifts.forEach((family, drift) ->
        outcomes.put(
            family,
            family == IpFamily.V6 && !hasIpv6
                ? new Outcome(State.SKIPPED, "this namespace has no IPv6")
                : outcome(wanted.family(family), drift)));
    return outcomes;
  }

  @Override
  public Drift verify(NetworkNamespace namespace, NamespaceRules asked, boolean hasIpv6) {
    NamespaceRules wanted = hasIpv6 ? asked : asked.withoutIpv6();
    Map<IpFamily, Drift> drifts = compare(namespace, wanted, read(namespace)).drifts();
    drifts
        .entrySet()
        .removeIf(drift ->
            wanted.family(drift.getKey()).isEmpty() && drift.getValue() instanceof Drift.None);
    return Drift.together(drifts);
  }

  @Override
  public List<StandingPod> pods(NetworkNamespace node, boolean hasIpv6) {
    return StandingPods.in(read(node));
  }

  @Override
  public Map<IpFamily, Outcome> remove(NetworkNamespace namespace, boolean hasIpv6) {
    NftTable before = read(namespace);
    for (int attempt = 1; before.exists(); attempt++) {
      Result result = nft(namespace, List.of("-f", "-"), NftScript.removal(before).text());
      NftTable after = read(namespace);
      if (after.exists() && attempt == ATTEMPTS) {
        throw new RulesException(
            namespace.path()
                + ": the table "
                + NftScript.TABLE
                + " is still there after its removal: "
                + result.complaint()
                + privilege(result));
      }
      if (!after.exists()) {
        break;
      }
    }
    Map<IpFamily, Outcome> outcomes = new EnumMap<>(IpFamily.class);
    for (IpFamily family : IpFamily.values()) {
      outcomes.put(
          family,
          family == IpFamily.V6 && !hasIpv6
              ? new Outcome(State.SKIPPED, "this namespace has no IPv6")
              : before.has(family)
                  ? new Outcome(State.REMOVED, "")
                  : new Outcome(State.UNCHANGED, "nothing of ours was there"));
    }
    return outcomes;
  }

  /// How what is there differs from what is wanted.
  ///
  /// @param chains wanted ones that are not there, or not as wanted
  private record Found(Map<IpFamily, Drift> drifts, Set<String> chains) {}

  private Found compare(NetworkNamespace namespace, NamespaceRules wanted, NftTable current) {
    Map<String, String> shapes = new LinkedHashMap<>();
    NftScript.said(wanted).forEach((name, said) -> shapes.put(name, digest(said, wanted.marks())));
    Map<String, NftChain> expected = new LinkedHashMap<>();
    Set<String> unlike = new LinkedHashSet<>();
    Set<String> tried = new LinkedHashSet<>();
    shapes.forEach((name, shape) -> {
      NftChain present = current.chains().get(name);
      if (present != null && digest(present, wanted.marks()).equals(told.get(shape))) {
        expected.put(name, present);
      } else if (present == null && told.containsKey(shape)) {
        unlike.add(name);
        expected.put(name, GONE);
      } else {
        unlike.add(name);
        tried.add(name);
      }
    });
    if (!tried.isEmpty()) {
      NftScript sample = NftScript.sample(wanted, tried);
      NftTable listed = told(sample, namespace.path().toString(), current);
      for (String name : tried) {
        NftChain chain = listed.chains().get(name);
        if (chain == null) {
          throw new RulesException(
              namespace.path() + ": nft did not tell of the chain " + name + " it was given");
        }
        told.put(shapes.getOrDefault(name, ""), digest(chain, wanted.marks()));
        expected.put(name, chain);
        if (chain.equals(current.chains().get(name))) {
          unlike.remove(name);
        }
      }
    }
    NftTable whole = new NftTable(true, List.of(), expected, List.of());
    Map<IpFamily, Drift> drifts = new EnumMap<>(IpFamily.class);
    for (RuleSet family : wanted.families()) {
      drifts.put(family.family(), Drift.between(family, whole, current));
    }
    return new Found(drifts, unlike);
  }

  /// Needs no comparison, and a script that nft refuses is then refused in the namespace itself.
  private static Found nothingYet(NamespaceRules wanted) {
    Map<IpFamily, Drift> drifts = new EnumMap<>(IpFamily.class);
    for (RuleSet family : wanted.families()) {
      drifts.put(family.family(), family.isEmpty() ? new Drift.None() : new Drift.NotInstalled());
    }
    return new Found(drifts, Set.of());
  }

  private static Outcome outcome(RuleSet wanted, Drift before) {
    return switch (before) {
      case Drift.None _ -> new Outcome(State.UNCHANGED, wanted.isEmpty() ? "no rules wanted" : "");
      case Drift.NotInstalled _ -> new Outcome(State.INSTALLED, "");
      case Drift.Missing _, Drift.Changed _ ->
          wanted.isEmpty()
              ? new Outcome(State.REMOVED, "no rules wanted any more")
              : new Outcome(State.REPAIRED, "");
    };
  }

  /// First what differs; where that is not enough, because somebody else changes the table too,
  /// everything.
  private void transact(
      NetworkNamespace namespace, NamespaceRules wanted, NftTable before, Set<String> chains) {
    NftTable now = before;
    for (int attempt = 1; ; attempt++) {
      NftScript script =
          attempt == 1
              ? NftScript.change(wanted, now, chains)
              : NftScript.install(wanted, now, attempt == ATTEMPTS);
      Result result = nft(namespace, List.of("-f", "-"), script.text());
      now = read(namespace);
      if (result.succeeded()) {
        Drift left = Drift.together(compare(namespace, wanted, now).drifts());
        if (left instanceof Drift.None) {
          return;
        }
        if (attempt == ATTEMPTS) {
          throw new RulesException(
              namespace.path() + ": the rules were accepted but read back different: " + left);
        }
      } else if (attempt == ATTEMPTS) {
        throw failure(namespace.path().toString(), script, result, before);
      }
    }
  }

  /// What nft tells of rules when it has just been given them.
  private NftTable told(NftScript script, String where, NftTable current) {
    String both = programs.nft() + " -f - && exec " + programs.nft() + " -n -j " + LIST;
    Result result =
        run(Optional.empty(), List.of("unshare", "--net", "--", "sh", "-c", both), script.text());
    if (!result.succeeded()) {
      throw failure(where, script, result, current);
    }
    return parse(result, where);
  }

  /// Equal for chains that do the same but for these marks.
  private static String digest(NftChain chain, List<Mark> marks) {
    return digest(chain.hook() + "\n" + String.join("\n", chain.rules()), marks);
  }

  /// The text with names for the marks, which scripts write as hexadecimal numbers and nft tells as
  /// decimal ones.
  private static String unmarked(String text, List<Mark> marks) {
    String unmarked = text;
    for (int i = 0; i < marks.size(); i++) {
      int value = marks.get(i).value();
      if (Integer.compareUnsigned(value, LEAST_TELLING) >= 0) {
        unmarked =
            unmarked.replaceAll(
                "\\b(?:0x%x|%s)\\b".formatted(value, Integer.toUnsignedString(value)), "mark-" + i);
      }
    }
    return unmarked;
  }

  private static String digest(String text, List<Mark> marks) {
    try {
      byte[] whole =
          MessageDigest.getInstance("SHA-256")
              .digest(unmarked(text, marks).getBytes(StandardCharsets.UTF_8));
      return HexFormat.of().formatHex(whole, 0, DIGEST_BYTES);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
  }

  private NftTable read(NetworkNamespace namespace) {
    Result result = nft(namespace, List.of("-n", "-j", LIST), "");
    if (!result.succeeded()) {
      if (result.error().contains("No such file or directory")) {
        return NftTable.ABSENT;
      }
      throw new RulesException(
          namespace.path() + ": nft cannot list: " + result.complaint() + privilege(result));
    }
    return parse(result, namespace.path().toString());
  }

  private static NftTable parse(Result result, String where) {
    try {
      return NftListing.parse(result.output());
    } catch (IllegalArgumentException e) {
      throw new RulesException(where + ": " + e.getMessage() + RulePrograms.jsonAdvice(result));
    }
  }

  private Result nft(NetworkNamespace namespace, List<String> arguments, String input) {
    List<String> line = new ArrayList<>(List.of(programs.nft()));
    line.addAll(arguments);
    return run(Optional.of(namespace), line, input);
  }

  private Result run(Optional<NetworkNamespace> inside, List<String> line, String input) {
    try {
      return runner.run(inside, line, input, List.of());
    } catch (CommandException e) {
      throw new RulesException(e.getMessage());
    }
  }

  private static RulesException failure(
      String where, NftScript script, Result result, NftTable before) {
    Matcher line = FAILED_LINE.matcher(result.error());
    String failed = "";
    if (line.find()) {
      int number = Integer.parseInt(line.group(1));
      failed = script.text().lines().skip(number - 1L).findFirst().orElse("");
    }
    boolean v6 = failed.contains("-ipv6 ");
    String message =
        where
            + (failed.isEmpty() ? "" : v6 ? ", IPv6" : ", IPv4")
            + (failed.contains(" nat-") ? ", table nat" : "")
            + ": nft failed"
            + (failed.isEmpty() ? "" : " at '" + failed + "'")
            + ": "
            + result.complaint()
            + privilege(result)
            + (v6 && failed.contains("redirect")
                ? ". If this kernel has no nat for IPv6, have IPv6 refused instead of captured"
                : "")
            + ". "
            + (before.exists()
                ? "What was there before is still in force"
                : "Nothing was left behind");
    return failed.isEmpty()
        ? new RulesException(message)
        : new RulesException(v6 ? IpFamily.V6 : IpFamily.V4, message);
  }

  private static String privilege(Result result) {
    return result.error().contains("not permitted")
        ? ". CAP_NET_ADMIN and CAP_SYS_ADMIN are needed: run as root"
        : "";
  }
}
