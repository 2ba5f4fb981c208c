package io.tailwater.agent.control.istio;

import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import java.util.Comparator;
import java.util.Optional;

/// The names that a rule is written for: the one name `text`, or with `below` every longer one that
/// ends with it. `*.x` is `.x` below, `*` is the empty text below, and `*x.com`, a wildcard that
/// begins inside a label, is `x.com` below (Istio `pkg/config/host`).
public record HostScope(String text, boolean below) {
  /// Every name.
  public static final HostScope ALL = new HostScope("", true);

  /// The more specific first: names before wildcards, longer before shorter.
  public static final Comparator<HostScope> SPECIFICITY =
      Comparator.comparing(HostScope::below)
          .thenComparing(Comparator.comparingInt((HostScope s) -> s.text.length()).reversed())
          .thenComparing(HostScope::text);

  /// What reading a host came to.
  public sealed interface Read {
    /// A host.
    record Scope(HostScope hosts) implements Read {}

    /// An IP address, which some fields allow.
    record Address(String text) implements Read {}

    /// Neither; `why` is a clause that can follow the text.
    record Invalid(String why) implements Read {}
  }

  /// Reads a host as the rules of a namespace write it: a name without a dot is the Kubernetes
  /// Service of that name there.
  public static Read read(String raw, String namespace) {
    if (raw.isEmpty()) {
      return new Read.Invalid("is empty");
    }
    if (raw.equals("*")) {
      return new Read.Scope(ALL);
    }
    if (io.tailwater.agent.traffic.CidrBlock.parseAddress(raw).isPresent()) {
      return new Read.Address(raw);
    }
    boolean below = raw.startsWith("*");
    // The letter stands for what a wildcard leaves out of its first label.
    String whole = below ? "x" + raw.substring(1) : raw;
    if (raw.indexOf('.') < 0 && !below) {
      whole = raw + "." + namespace + ".svc.cluster.local";
    }
    return switch (HostName.parse(whole)) {
      case HostName.Parsed.Invalid(String why) ->
          new Read.Invalid(IstioFields.whyNoName(below ? raw.substring(1) : raw, why));
      case HostName.Parsed.Valid(HostName name, _) -> {
        String bad = ServiceEntryReader.notDns1123(name.text());
        yield bad.isEmpty()
            ? new Read.Scope(new HostScope(name.text().substring(below ? 1 : 0), below))
            : new Read.Invalid(bad);
      }
    };
  }

  /// The same names as a pattern covers.
  public static HostScope of(HostPattern host) {
    return switch (host) {
      case HostPattern.Exact(HostName name) -> new HostScope(name.text(), false);
      case HostPattern.Wildcard(HostName suffix) -> new HostScope("." + suffix.text(), true);
    };
  }

  /// As a pattern of whole labels; empty for `*` and for what begins inside a label.
  public Optional<HostPattern> pattern() {
    if (!below) {
      return Optional.of(new HostPattern.Exact(HostName.of(text)));
    }
    return text.startsWith(".")
        ? Optional.of(new HostPattern.Wildcard(HostName.of(text.substring(1))))
        : Optional.empty();
  }

  /// Whether the name is among these.
  public boolean covers(HostName name) {
    return contains(new HostScope(name.text(), false));
  }

  /// Whether every name of `inner` is among these.
  public boolean contains(HostScope inner) {
    return below
        ? inner.text.endsWith(text) && (inner.below || inner.text.length() > text.length())
        : equals(inner);
  }

  /// Whether some name is among both.
  public boolean overlaps(HostScope other) {
    return contains(other) || other.contains(this);
  }

  /// As it is written.
  public String show() {
    return below ? "*" + text : text;
  }
}
