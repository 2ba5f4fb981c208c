package io.tailwater.perf.measure;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/// What some processes take up at a moment, added up.
///
/// @param pssKb memory, as [Memory] reads it
/// @param descriptors open ones
public record Footprint(long pssKb, long descriptors, long threads) {
  public static Footprint of(List<Long> pids) {
    long descriptors = 0;
    long threads = 0;
    for (long pid : pids) {
      descriptors += entries(Path.of("/proc/" + pid + "/fd"));
      threads += entries(Path.of("/proc/" + pid + "/task"));
    }
    return new Footprint(Memory.of(pids).pssKb(), descriptors, threads);
  }

  private static long entries(Path folder) {
    try (Stream<Path> all = Files.list(folder)) {
      return all.count();
    } catch (IOException e) {
      throw new UncheckedIOException(folder.toString(), e);
    }
  }
}
