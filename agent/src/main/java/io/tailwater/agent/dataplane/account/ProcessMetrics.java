package io.tailwater.agent.dataplane.account;

import io.netty.util.internal.PlatformDependent;
import io.prometheus.client.Collector;
import io.prometheus.client.CounterMetricFamily;
import io.prometheus.client.GaugeMetricFamily;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;

/// The process itself, under Prometheus' usual names. Reads /proc when scraped; what cannot be read
/// is left out.
final class ProcessMetrics extends Collector {
  private static final Path PROC = Path.of("/proc/self");

  @Override
  public List<MetricFamilySamples> collect() {
    List<MetricFamilySamples> out = new ArrayList<>();
    openFiles()
        .ifPresent(n -> gauge(out, "process_open_fds", "Open file descriptors.", (double) n));
    maxFiles().ifPresent(n -> gauge(out, "process_max_fds", "Most file descriptors.", (double) n));
    status("VmRSS:")
        .ifPresent(
            kib -> gauge(out, "process_resident_memory_bytes", "Resident memory.", kib * 1024.0));
    status("Threads:").ifPresent(n -> gauge(out, "process_threads", "Threads.", (double) n));
    ProcessHandle.Info info = ProcessHandle.current().info();
    info.totalCpuDuration()
        .ifPresent(d ->
            out.add(
                new CounterMetricFamily(
                    "process_cpu_seconds",
                    "Processor time used.",
                    d.toMillis() / MILLISECONDS_PER_SECOND)));
    info.startInstant()
        .ifPresent(t ->
            gauge(
                out,
                "process_start_time_seconds",
                "When the process started.",
                t.toEpochMilli() / MILLISECONDS_PER_SECOND));
    Runtime runtime = Runtime.getRuntime();
    gauge(
        out,
        "jvm_heap_used_bytes",
        "Heap in use.",
        (double) runtime.totalMemory() - runtime.freeMemory());
    gauge(out, "jvm_heap_max_bytes", "Most heap.", (double) runtime.maxMemory());
    long direct = PlatformDependent.usedDirectMemory();
    if (direct >= 0) {
      gauge(out, "jvm_direct_buffer_used_bytes", "Memory of network buffers.", (double) direct);
    }
    out.add(collections());
    return out;
  }

  private static void gauge(List<MetricFamilySamples> out, String name, String help, double value) {
    out.add(new GaugeMetricFamily(name, help, value));
  }

  private static MetricFamilySamples collections() {
    CounterMetricFamily family =
        new CounterMetricFamily(
            "jvm_gc_collection_seconds", "Time spent collecting garbage.", List.of("gc"));
    ManagementFactory.getGarbageCollectorMXBeans()
        .forEach(bean ->
            family.addMetric(
                List.of(bean.getName()), bean.getCollectionTime() / MILLISECONDS_PER_SECOND));
    return family;
  }

  /// Counts the names in /proc/self/fd, the one of counting excepted.
  private static OptionalLong openFiles() {
    long n = 0;
    try (DirectoryStream<Path> fds = Files.newDirectoryStream(PROC.resolve("fd"))) {
      for (Path _ : fds) {
        n++;
      }
    } catch (IOException _) {
      return OptionalLong.empty();
    }
    return OptionalLong.of(Math.max(0, n - 1));
  }

  private static OptionalLong maxFiles() {
    // "Max open files            1024                 524288               files"
    Optional<String> line = line("limits", "Max open files");
    return line.isEmpty()
        ? OptionalLong.empty()
        : number(line.get().substring("Max open files".length()).strip());
  }

  private static OptionalLong status(String name) {
    Optional<String> line = line("status", name);
    return line.isEmpty()
        ? OptionalLong.empty()
        : number(line.get().substring(name.length()).strip());
  }

  private static OptionalLong number(String text) {
    int end = 0;
    while (end < text.length() && Character.isDigit(text.charAt(end))) {
      end++;
    }
    return end == 0 || end > 18
        ? OptionalLong.empty()
        : OptionalLong.of(Long.parseLong(text.substring(0, end)));
  }

  private static Optional<String> line(String file, String start) {
    try {
      return Files.readAllLines(PROC.resolve(file)).stream()
          .filter(l -> l.startsWith(start))
          .findFirst();
    } catch (IOException _) {
      return Optional.empty();
    }
  }
}
