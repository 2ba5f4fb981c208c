package io.tailwater.iptables.rule;

import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// One rule of a chain.
///
/// @param matches all must hold
/// @param why why it is there; printed above it
public record Rule(List<Match> matches, Target target, String why) {
  public Rule {
    matches = List.copyOf(matches);
    if (why.isBlank() || why.lines().count() != 1) {
      throw new IllegalArgumentException("A rule says in one line why it is there");
    }
  }

  public static Rule of(String why, Target target, Match... matches) {
    return new Rule(List.of(matches), target, why);
  }

  /// The arguments after `-A CHAIN`.
  public String text() {
    return Stream.concat(
            matches.stream().flatMap(match -> match.arguments().stream()),
            target.arguments().stream())
        .collect(Collectors.joining(" "));
  }

  /// The same as a rule of nf_tables, after `add rule inet TABLE CHAIN`.
  public String nft(NftPlace place) {
    return Stream.concat(
            matches.stream().map(match -> match.nft(place)), Stream.of(target.nft(place)))
        .collect(Collectors.joining(" "));
  }
}
