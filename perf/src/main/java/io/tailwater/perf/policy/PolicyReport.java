package io.tailwater.perf.policy;

import io.tailwater.perf.code.ImageLauncher;
import io.tailwater.perf.code.Measured;
import io.tailwater.perf.peer.GeneratedPolicy;
import io.tailwater.perf.report.Machine;
import java.util.ArrayList;
import java.util.List;
import java.util.function.ToDoubleFunction;

/// What the measurements came to, as Markdown. Pure.
///
/// @param bytes of all files together
record PolicyReport(
    Machine machine,
    ImageLauncher launcher,
    long bytes,
    List<LoadMain.Loaded> loads,
    List<Measured> decisions) {
  PolicyReport {
    loads = List.copyOf(loads);
    decisions = List.copyOf(decisions);
  }

  /// Whether a destination is found by its name, which must not allocate.
  private static boolean isHit(Measured decision) {
    return decision.name().equals("exactName") || decision.name().equals("underAWildcard");
  }

  private double median(ToDoubleFunction<LoadMain.Loaded> of) {
    double[] sorted = loads.stream().mapToDouble(of).sorted().toArray();
    return (sorted[(sorted.length - 1) / 2] + sorted[sorted.length / 2]) / 2;
  }

  private double most(ToDoubleFunction<LoadMain.Loaded> of) {
    return loads.stream().mapToDouble(of).max().orElse(0);
  }

  private static double whole(LoadMain.Loaded loaded) {
    return loaded.loadMillis() + loaded.viewMillis();
  }

  String markdown() {
    StringBuilder out = new StringBuilder();
    out.append("# A large policy\n\n")
        .append("Made by `./tailwater perf policy`: ")
        .append(machine.sentence())
        .append(".\n\n")
        .append(
            "%,d ServiceEntries, %,d of them wildcards with DYNAMIC_DNS, in %d files (%.1f MB)."
                .formatted(
                    GeneratedPolicy.ENTRIES,
                    GeneratedPolicy.WILDCARDS,
                    GeneratedPolicy.FILES,
                    bytes / 1e6))
        .append(
            " %d fresh JVMs with the image's flags, without its AOT cache:\n\n"
                .formatted(loads.size()))
        .append("`")
        .append(String.join(" ", launcher.portableFlags()))
        .append("`\n\n")
        .append("| load | median | worst |\n|---|---:|---:|\n")
        .append(row("files to published table, ms", LoadMain.Loaded::loadMillis, 0))
        .append(row("first client's view, ms", LoadMain.Loaded::viewMillis, 0))
        .append(row("both, ms (bound: 2000)", PolicyReport::whole, 0))
        .append(row("of these collecting garbage, ms", LoadMain.Loaded::collectedMillis, 0))
        .append(row("heap kept, MB", l -> l.heapKilobytes() * 1024 / 1e6, 1))
        .append(
            row(
                "heap kept per entry, bytes",
                l -> l.heapKilobytes() * 1024 / GeneratedPolicy.ENTRIES,
                0))
        .append("\n")
        .append(Measured.TABLE_HEAD);
    decisions.forEach(one -> out.append(one.row()));
    return out.toString();
  }

  private String row(String what, ToDoubleFunction<LoadMain.Loaded> of, int digits) {
    String number = "%,." + digits + "f";
    return "| %s | %s | %s |\n"
        .formatted(what, number.formatted(median(of)), number.formatted(most(of)));
  }

  /// The bounds that do not hold.
  List<String> broken(double loadMillis, double decisionNanos, double hitBytes) {
    List<String> out = new ArrayList<>();
    if (median(PolicyReport::whole) > loadMillis) {
      out.add(
          "a load takes %.0f ms, more than %.0f"
              .formatted(median(PolicyReport::whole), loadMillis));
    }
    for (Measured measured : decisions) {
      if (measured.nanos() > decisionNanos) {
        out.add("%s takes %.0f ns".formatted(measured.name(), measured.nanos()));
      }
      if (isHit(measured) && measured.bytes() > hitBytes) {
        out.add("%s allocates %.1f bytes".formatted(measured.name(), measured.bytes()));
      }
    }
    return out;
  }
}
