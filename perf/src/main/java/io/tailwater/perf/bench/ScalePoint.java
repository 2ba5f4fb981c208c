package io.tailwater.perf.bench;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;

/// One size of one axis for one grade of the agent: everything else is small there.
///
/// @param grade as contestants are called: `kernel`, `splice`
/// @param size connections held, pods captured, or ServiceEntries in force
public record ScalePoint(Axis axis, String grade, int size) {
  /// Connections of one pod: a client process has 20,000 descriptors.
  private static final int HELD_IN_POD = 12_500;

  /// What grows.
  public enum Axis {
    CONNECTIONS("connections held"),
    PODS("pods captured"),
    POLICIES("ServiceEntries");

    private final String title;

    Axis(String title) {
      this.title = title;
    }

    private List<Integer> sizes() {
      return switch (this) {
        case CONNECTIONS -> List.of(10, 100, 1000, 8900, 50_000);
        case PODS -> List.of(1, 10, 50, 200);
        case POLICIES -> List.of(10, 100, 1000, 10_000);
      };
    }

    public String title() {
      return title;
    }

    /// As on the command line.
    public String word() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /// All points of an axis. A relayed connection costs the agent two descriptors of its 20,000, and
  /// those that are measured come on top.
  public static List<ScalePoint> of(Axis axis) {
    return Stream.of("kernel", "splice")
        .flatMap(grade ->
            axis.sizes().stream()
                .filter(size -> axis != Axis.CONNECTIONS || grade.equals("kernel") || size <= 8900)
                .map(size -> new ScalePoint(axis, grade, size)))
        .toList();
  }

  int held() {
    return axis == Axis.CONNECTIONS ? size : 0;
  }

  /// Pods that hold connections.
  int holders() {
    return Math.max(1, (held() + HELD_IN_POD - 1) / HELD_IN_POD);
  }

  int pods() {
    return axis == Axis.PODS ? size : holders();
  }

  int entries() {
    return axis == Axis.POLICIES ? size : 1;
  }

  /// How many of the held connections each pod has.
  int[] shares() {
    int[] shares = new int[holders()];
    Arrays.setAll(shares, i -> held() / shares.length + (i < held() % shares.length ? 1 : 0));
    return shares;
  }
}
