package io.tailwater.iptables.apply;

import io.tailwater.iptables.netns.NetnsId;
import io.tailwater.iptables.rule.IpFamily;
import java.nio.file.Path;
import java.util.Collections;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;

/// What an installation or removal did in one namespace, per family.
///
/// @param alsoRemoved from which other backends rules of an earlier agent were taken away
public record InstallReport(
    Path netns,
    NetnsId id,
    RuleBackend backend,
    Map<IpFamily, Outcome> families,
    List<RuleBackend> alsoRemoved) {
  public InstallReport {
    alsoRemoved = List.copyOf(alsoRemoved);
    families = Collections.unmodifiableMap(new EnumMap<>(families));
  }

  /// What happened to one family.
  public record Outcome(State state, String detail) {}

  /// The kinds of outcome.
  public enum State {
    /// There was nothing of ours; now the rules are in force.
    INSTALLED,
    /// Something was missing or different; now the rules are as wanted.
    REPAIRED,
    /// The rules were as wanted already (or there were none to remove).
    UNCHANGED,
    /// Our rules are gone, without residue.
    REMOVED,
    /// Not done, and the detail says why.
    SKIPPED
  }

  public Outcome outcome(IpFamily family) {
    return families.get(family);
  }

  /// `/run/netns/ratings (iptables-nft): IPv4 installed, IPv6 skipped: ...`
  @Override
  public String toString() {
    return netns
        + " ("
        + backend
        + "): "
        + families.entrySet().stream()
            .map(entry ->
                entry.getKey()
                    + " "
                    + entry.getValue().state().name().toLowerCase(Locale.ROOT)
                    + (entry.getValue().detail().isEmpty() ? "" : ": " + entry.getValue().detail()))
            .collect(Collectors.joining(", "))
        + alsoRemoved.stream()
            .map(other -> "; rules that were kept by " + other + " removed")
            .collect(Collectors.joining());
  }
}
