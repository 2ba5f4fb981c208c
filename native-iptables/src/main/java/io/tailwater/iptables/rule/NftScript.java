package io.tailwater.iptables.rule;

import io.tailwater.iptables.rule.NftTable.NftHook;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.BiConsumer;
import java.util.stream.Stream;

/// The input of `nft -f -` that leads from what is there to what shall be there: one transaction
/// for all tables and both families, so that there is no moment with half of the rules.
///
/// Everything stands in one table of family inet. Each chain of a family is a base chain of its own
/// and leaves the other family alone with its first rule.
public record NftScript(String text) {
  /// Our table; nobody else's has this name.
  public static final String TABLE = "tailwater";

  private static final String OURS = " inet " + TABLE;

  /// In front of what iptables hangs at the same hook: the first redirection counts.
  private static final int AHEAD = 5;

  /// Whether nothing is to be done.
  public boolean isEmpty() {
    return text.isEmpty();
  }

  /// From `current` to the wanted rules. Elements of sets stay.
  ///
  /// @param anew remove the table and make it again in the same transaction, which works whatever
  ///   it was; sets lose their elements
  public static NftScript install(NamespaceRules wanted, NftTable current, boolean anew) {
    if (wanted.isEmpty()) {
      return removal(current);
    }
    StringBuilder text = new StringBuilder();
    boolean fromScratch = anew || !fits(wanted, current);
    line(text, "add table" + OURS);
    if (current.exists() && fromScratch) {
      line(text, "delete table" + OURS);
      line(text, "add table" + OURS);
    } else if (current.exists()) {
      line(text, "flush table" + OURS);
    }
    sets(text, wanted);
    Map<String, Optional<NftHook>> chains = chains(wanted);
    chains.forEach((name, hook) -> chain(text, name, hook));
    rules(text, wanted, chains.keySet());
    if (!fromScratch) {
      leaving(current, chains.keySet()).forEach(name -> delete(text, name));
      setsAway(text, wanted, current);
    }
    return new NftScript(text.toString());
  }

  /// From `current` to the wanted rules where only some chains differ from them: the others are not
  /// touched. Elements of sets stay.
  ///
  /// @param differing names of wanted chains that are not there, or not as wanted
  public static NftScript change(
      NamespaceRules wanted, NftTable current, Collection<String> differing) {
    if (wanted.isEmpty() || !current.exists() || !fits(wanted, current)) {
      return install(wanted, current, false);
    }
    StringBuilder text = new StringBuilder();
    sets(text, wanted);
    Map<String, Optional<NftHook>> chains = chains(wanted);
    differing.forEach(name -> chain(text, name, chains.getOrDefault(name, Optional.empty())));
    List<String> leaving = leaving(current, chains.keySet());
    Stream.concat(differing.stream(), leaving.stream())
        .forEach(name -> line(text, "flush chain" + OURS + " " + name));
    rules(text, wanted, differing);
    leaving.forEach(name -> delete(text, name)); // nothing jumps there any more
    setsAway(text, wanted, current);
    return new NftScript(text.toString());
  }

  /// From nothing to what is wanted, but with the rules of some chains only: to learn how these are
  /// told.
  public static NftScript sample(NamespaceRules wanted, Collection<String> ofChains) {
    StringBuilder text = new StringBuilder();
    line(text, "add table" + OURS);
    sets(text, wanted);
    chains(wanted).forEach((name, hook) -> chain(text, name, hook));
    rules(text, wanted, ofChains);
    return new NftScript(text.toString());
  }

  private static List<String> leaving(NftTable current, Set<String> wanted) {
    return current.chains().keySet().stream().filter(name -> !wanted.contains(name)).toList();
  }

  private static void chain(StringBuilder text, String name, Optional<NftHook> hook) {
    line(text, "add chain" + OURS + " " + name + hook.map(at -> " { " + at + " }").orElse(""));
  }

  private static void delete(StringBuilder text, String chain) {
    line(text, "delete chain" + OURS + " " + chain);
  }

  private static void sets(StringBuilder text, NamespaceRules wanted) {
    for (RuleSet family : wanted.families()) {
      for (AddressSet set : family.sets()) {
        line(text, "add set" + OURS + " " + set.name() + " { " + set.nft(family.family()) + " }");
      }
    }
  }

  private static void setsAway(StringBuilder text, NamespaceRules wanted, NftTable current) {
    List<String> sets =
        wanted.families().stream()
            .flatMap(family -> family.sets().stream().map(AddressSet::name))
            .toList();
    current.sets().stream()
        .filter(name -> !sets.contains(name))
        .forEach(name -> line(text, "delete set" + OURS + " " + name));
  }

  /// From nothing: what is shown to people, and what [NftTable]s to compare with are made from.
  public static NftScript fresh(NamespaceRules wanted) {
    return install(wanted, NftTable.ABSENT, false);
  }

  /// Takes our table away.
  public static NftScript removal(NftTable current) {
    return new NftScript(current.exists() ? "delete table" + OURS + "\n" : "");
  }

  /// The rules of a chain as they are said, with the one that leaves the other family alone.
  static List<String> said(Chain chain, NftPlace place) {
    List<String> rules = new ArrayList<>();
    if (chain.isHooked()) {
      rules.add(otherFamily(place.family()));
    }
    chain.rules().forEach(rule -> rules.add(rule.nft(place)));
    return rules;
  }

  /// What is said of each chain, by its name: its hook and its rules.
  public static Map<String, String> said(NamespaceRules wanted) {
    Map<String, Optional<NftHook>> hooks = chains(wanted);
    Map<String, String> all = new LinkedHashMap<>();
    each(
        wanted,
        (chain, place) -> {
          String name = place.chain(chain.name());
          all.put(name, hooks.get(name) + "\n" + String.join("\n", said(chain, place)));
        });
    return all;
  }

  private static void rules(StringBuilder text, NamespaceRules wanted, Collection<String> only) {
    each(
        wanted,
        (chain, place) -> {
          String name = place.chain(chain.name());
          if (!only.contains(name)) {
            return;
          }
          String start = "add rule" + OURS + " " + name + " ";
          if (chain.isHooked()) {
            line(text, start + otherFamily(place.family()));
          }
          for (Rule rule : chain.rules()) {
            line(text, "# " + rule.why());
            line(text, start + rule.nft(place));
          }
        });
  }

  private static void each(NamespaceRules wanted, BiConsumer<Chain, NftPlace> what) {
    for (RuleSet family : wanted.families()) {
      for (Table table : Table.values()) {
        NftPlace place = new NftPlace(table, family.family());
        family.chains(table).forEach(chain -> what.accept(chain, place));
      }
    }
  }

  private static String otherFamily(IpFamily family) {
    return switch (family) {
      case V4 -> "meta nfproto ipv6 return";
      case V6 -> "meta nfproto ipv4 return";
    };
  }

  private static Map<String, Optional<NftHook>> chains(NamespaceRules wanted) {
    Map<String, Optional<NftHook>> chains = new LinkedHashMap<>();
    each(
        wanted,
        (chain, place) ->
            chains.put(
                place.chain(chain.name()),
                chain.isHooked()
                    ? Optional.of(hook(place.table(), chain.hook()))
                    : Optional.empty()));
    return chains;
  }

  /// A base chain cannot be hung elsewhere, and a sleeping table cannot be woken by what we write.
  private static boolean fits(NamespaceRules wanted, NftTable current) {
    Map<String, Optional<NftHook>> chains = chains(wanted);
    return current.flags().isEmpty()
        && current.chains().entrySet().stream()
            .allMatch(chain -> {
              Optional<NftHook> hook = chains.get(chain.getKey());
              return hook == null || hook.equals(chain.getValue().hook());
            });
  }

  private static NftHook hook(Table table, String builtIn) {
    String hook = builtIn.toLowerCase(Locale.ROOT);
    boolean source = hook.equals("postrouting") || hook.equals("input");
    return switch (table) {
      case FILTER -> new NftHook("filter", hook, 0, "accept");
      case RAW -> new NftHook("filter", hook, -300, "accept");
      case MANGLE -> new NftHook(hook.equals("output") ? "route" : "filter", hook, -150, "accept");
      case NAT -> new NftHook("nat", hook, (source ? 100 : -100) - AHEAD, "accept");
    };
  }

  private static void line(StringBuilder text, String line) {
    text.append(line).append('\n');
  }
}
