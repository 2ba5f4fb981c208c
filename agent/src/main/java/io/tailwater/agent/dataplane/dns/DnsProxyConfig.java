package io.tailwater.agent.dataplane.dns;

/// How captured DNS is answered: the keys of `dns:` and `limits:` that look-ups have no part in.
///
/// @param queriesPerPodPerSecond more are answered with SERVFAIL, far more with nothing
public record DnsProxyConfig(
    Answers answers, UnknownNames unknownNames, int queriesPerPodPerSecond) {
  /// What holds where nothing is written.
  public static final DnsProxyConfig DEFAULTS =
      new DnsProxyConfig(Answers.AUTO, UnknownNames.FORWARD, 100);

  /// Which addresses are told for hosts of policy.
  public enum Answers {
    /// Real, filtered ones where the client's bytes carry the name, allocated ones otherwise.
    AUTO,
    /// Allocated ones for every host that Istio allocates for.
    ALLOCATED
  }

  /// What becomes of names that policy does not know.
  public enum UnknownNames {
    FORWARD,
    /// NXDOMAIN, and recorded.
    REFUSE
  }

  public DnsProxyConfig {
    if (queriesPerPodPerSecond < 1) {
      throw new IllegalArgumentException("dnsQueriesPerPodPerSecond must be at least 1");
    }
  }
}
