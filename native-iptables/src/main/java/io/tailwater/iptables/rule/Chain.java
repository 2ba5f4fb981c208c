package io.tailwater.iptables.rule;

import java.util.List;

/// A chain of ours and the built-in chain that jumps to it. The jump comes first there: a rule
/// ahead of it could let packets past.
///
/// @param name begins with `TAILWATER_`
/// @param hook the built-in chain, such as `OUTPUT`; empty for one that only our own rules jump to
public record Chain(String name, String hook, List<Rule> rules) {
  /// All our chains and nobody else's begin like this.
  public static final String PREFIX = "TAILWATER_";

  public static final String OUTPUT = PREFIX + "OUTPUT";
  public static final String PREROUTING = PREFIX + "PRERT";
  public static final String FORWARD = PREFIX + "FORWARD";
  public static final String POSTROUTING = PREFIX + "POSTRT";

  public Chain {
    Names.checkChain(name);
    if (!hook.isEmpty()) {
      Names.checkChain(hook);
    }
    if (!isOurs(name)) {
      throw new IllegalArgumentException("Chain " + name + " does not begin with " + PREFIX);
    }
    rules = List.copyOf(rules);
  }

  /// A chain that only our own rules jump to.
  public static Chain called(String name, List<Rule> rules) {
    return new Chain(name, "", rules);
  }

  /// Whether a built-in chain jumps to it.
  public boolean isHooked() {
    return !hook.isEmpty();
  }

  public static boolean isOurs(String chain) {
    return chain.startsWith(PREFIX);
  }

  /// The arguments of the jump, after `-A OUTPUT`.
  public String jump() {
    return "-j " + name;
  }
}
