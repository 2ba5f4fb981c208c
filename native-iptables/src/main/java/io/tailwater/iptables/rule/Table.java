package io.tailwater.iptables.rule;

import java.util.Locale;

/// The tables that we write to, in the order in which they are installed: refusals and marks before
/// the redirection that needs them. Removal goes backwards.
public enum Table {
  FILTER,
  RAW,
  MANGLE,
  NAT;

  /// As in a restore script: `nat`.
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
