package io.tailwater.iptables.rule;

import java.util.Locale;

/// The tables that we write to, in the order in which they are installed: marks before the
/// redirection that needs them, and what refuses the rest after it, so that nothing is refused that
/// would be redirected a moment later. Removal goes backwards.
public enum Table {
  RAW,
  MANGLE,
  NAT,
  FILTER;

  /// As in a restore script: `nat`.
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
