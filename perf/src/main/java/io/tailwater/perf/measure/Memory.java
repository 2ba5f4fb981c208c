package io.tailwater.perf.measure;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/// Memory of some processes in KB, out of smaps_rollup. PSS shares out what processes have in
/// common, so it adds up over them; RSS counts it again in each. Socket buffers and other kernel
/// memory are in neither.
public record Memory(long pssKb, long rssKb) {
  public static Memory of(List<Long> pids) {
    Memory sum = new Memory(0, 0);
    for (long pid : pids) {
      try {
        sum = sum.plus(parse(Files.readString(Path.of("/proc/" + pid + "/smaps_rollup"))));
      } catch (IOException e) {
        throw new UncheckedIOException("memory of process " + pid, e);
      }
    }
    return sum;
  }

  static Memory parse(String rollup) {
    return new Memory(line(rollup, "Pss:"), line(rollup, "Rss:"));
  }

  private Memory plus(Memory other) {
    return new Memory(pssKb + other.pssKb, rssKb + other.rssKb);
  }

  private static long line(String rollup, String key) {
    return rollup
        .lines()
        .filter(line -> line.startsWith(key))
        .map(line -> Long.parseLong(line.substring(key.length()).replace("kB", "").strip()))
        .findFirst()
        .orElseThrow(() -> new IllegalArgumentException("smaps_rollup has no " + key));
  }
}
