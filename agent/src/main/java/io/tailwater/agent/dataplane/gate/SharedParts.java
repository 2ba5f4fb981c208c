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

    Decision decision(Preface preface, Decision decision) {
      Said known = said.get(preface);
      if (known == null) {
        return decision;
      }
      if (!decision.equals(known.decision)) {
        known.decision = decision;
        return decision;
      }
      return known.decision;
    }

    List<HostName> told(List<HostName> names) {
      if (!names.equals(told)) {
        told = List.copyOf(names);
      }
      return told;
    }
  }

  private static final class Said {
    private final Preface preface;
    private @Nullable Decision decision;

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
