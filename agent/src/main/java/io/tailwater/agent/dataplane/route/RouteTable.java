package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Pod;
import java.util.List;

/// One compiled policy: immutable, published whole. Views are built on first use and cached.
public interface RouteTable {
  /// Counts up with each compile.
  long generation();

  /// The view for a pod. Keep it until the generation changes; looking it up is not for each
  /// connection.
  ClientView view(Pod pod);

  /// The decision for one connection and what else was considered. For people: it costs a walk over
  /// everything that is configured.
  default Explanation explain(Pod pod, OriginalDst dst, Preface preface) {
    ClientView view = view(pod);
    Preface read = view.ask(dst) == ClientView.Ask.PREFACE ? preface : new Preface.Silent();
    return new Explanation(view.decide(dst, read), List.of());
  }
}
