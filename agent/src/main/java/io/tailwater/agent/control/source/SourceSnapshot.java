package io.tailwater.agent.control.source;

import java.util.List;

/// What one source holds right now: its objects, and what is wrong with it. Where something could
/// not be read, `objects` carries the last good version of it.
public record SourceSnapshot(String source, List<KubeObject> objects, List<Problem> problems) {
  public SourceSnapshot {
    objects = List.copyOf(objects);
    problems = List.copyOf(problems);
  }
}
