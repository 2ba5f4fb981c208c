package io.tailwater.agent.dataplane.flow;

import io.tailwater.agent.dataplane.account.ConnectionRecord;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/// All loops together. Any thread.
public record Workers(List<Worker> all, Admission admission) implements LiveConnections {
  public Workers {
    all = List.copyOf(all);
  }

  @Override
  public int count() {
    return admission.connections();
  }

  @Override
  public CompletableFuture<List<ConnectionRecord>> snapshot() {
    List<CompletableFuture<List<ConnectionRecord>>> parts =
        all.stream().map(Worker::snapshot).toList();
    return CompletableFuture.allOf(parts.toArray(CompletableFuture[]::new))
        .thenApply(_ -> {
          List<ConnectionRecord> records = new ArrayList<>();
          parts.forEach(part -> records.addAll(part.join()));
          records.sort(Comparator.comparing(ConnectionRecord::openedAt));
          return records;
        });
  }

  /// Ends every connection of one pod, by reset.
  public void endAll(ServedPod pod) {
    all.forEach(worker -> worker.endAll(p -> p == pod).join());
  }

  /// Ends every connection, by reset.
  public void endAll() {
    all.forEach(worker -> worker.endAll(_ -> true).join());
  }
}
