package io.tailwater.perf.measure;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;

/// CPU seconds since the start: of some processes with all their threads, and of the whole machine,
/// so that work done in the kernel on nobody's account (softirqs) is not hidden. Machine time is
/// user + nice + system + irq + softirq; idle, iowait and steal are not in it. The kernel counts in
/// 10 ms steps; measure a second or more.
public record CpuTime(double processes, double machine) {
  private static final double TICKS_PER_SECOND = 100;

  /// @param pids processes; one that is gone counts as zero
  public static CpuTime now(List<Long> pids) {
    double processes = 0;
    for (long pid : pids) {
      processes += processSeconds(pid);
    }
    try {
      return new CpuTime(processes, machineSeconds(Files.readString(Path.of("/proc/stat"))));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  public CpuTime since(CpuTime earlier) {
    return new CpuTime(processes - earlier.processes, machine - earlier.machine);
  }

  private static double processSeconds(long pid) {
    try {
      return processSeconds(Files.readString(Path.of("/proc/" + pid + "/stat")));
    } catch (NoSuchFileException e) {
      return 0;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// Fields 14 and 15 (utime, stime) of /proc/PID/stat; the name in field 2 may hold spaces and
  /// brackets.
  static double processSeconds(String stat) {
    String[] afterName = stat.substring(stat.lastIndexOf(')') + 2).split(" ", -1);
    return (Long.parseLong(afterName[11]) + Long.parseLong(afterName[12])) / TICKS_PER_SECOND;
  }

  /// The first line of /proc/stat: user nice system idle iowait irq softirq steal ...
  static double machineSeconds(String stat) {
    long[] columns =
        Arrays.stream(stat.lines().findFirst().orElseThrow().split("\\s+", -1))
            .skip(1)
            .mapToLong(Long::parseLong)
            .toArray();
    return (columns[0] + columns[1] + columns[2] + columns[5] + columns[6]) / TICKS_PER_SECOND;
  }
}
