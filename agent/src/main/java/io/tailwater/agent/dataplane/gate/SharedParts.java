package io.tailwater.agent.dataplane.gate;

import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import java.net.InetAddress;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// What many connections of one pod have in common is kept once: tens of thousands of them go to a
/// few destinations. The gate's thread only.
final class SharedParts {
  /// Destinations; with more of them it begins anew, and those that live keep what they have.
  private static final int MOST = 1024;

  /// Names at one destination.
  private static final int MOST_NAMES = 32;

  private final Map<OriginalDst, OfDestination> destinations = new HashMap<>();
  private @Nullable InetAddress source;

  /// Of one destination.
  static final class OfDestination {
    private final OriginalDst dst;
    private final Map<Preface, Said> said = new HashMap<>();
    private List<HostName> told = List.of();

    private OfDestination(OriginalDst dst) {
      this.dst = dst;
    }

    OriginalDst dst() {
      return dst;
    }

    Preface preface(Preface preface) {
      Said known = said.get(preface);
      if (known != null) {
        return known.preface;
      }
      if (said.size() < MOST_NAMES) {
        said.put(preface, new Said(preface));
      }
      return preface;
    }

    /// What comes of an answer of policy, which mostly is the very one as before.
    @SuppressWarnings("ReferenceEquality") // another one that is equal is worked out anew
    Judged judged(Preface preface, Decision answer) {
      Said known = said.get(preface);
      @Nullable Judged before = known == null ? null : known.judged;
      if (before != null && before.answer == answer) {
        return before;
      }
      Decision decision = answer.named(preface);
      boolean same = before != null && decision.equals(before.decision);
      Decision kept = same ? before.decision : decision;
      Judged judged = new Judged(answer, kept, Releasable.obstacle(kept, dst.port()));
      if (known != null) {
        known.judged = judged;
      }
      return judged;
    }

    List<HostName> told(List<HostName> names) {
      if (!names.equals(told)) {
        told = List.copyOf(names);
      }
      return told;
    }
  }

  /// A decision on a preface at a destination.
  ///
  /// @param answer of policy
  /// @param decision the same with the client's name put in
  /// @param obstacle why the kernel cannot carry it out, or null
  record Judged(Decision answer, Decision decision, @Nullable String obstacle) {}

  private static final class Said {
    private final Preface preface;
    private @Nullable Judged judged;

    Said(Preface preface) {
      this.preface = preface;
    }
  }

  OfDestination at(OriginalDst dst) {
    OfDestination known = destinations.get(dst);
    if (known == null) {
      if (destinations.size() >= MOST) {
        destinations.clear();
      }
      known = new OfDestination(dst);
      destinations.put(dst, known);
    }
    return known;
  }

  /// A pod has one address of each family, or a few.
  InetAddress source(InetAddress address) {
    if (!address.equals(source)) {
      source = address;
      return address;
    }
    return source;
  }
}
