package io.tailwater.agent.control.source;

import io.tailwater.agent.traffic.ResourceRef;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/// Collects problems of one file or resource, so that all are reported at once. One thread.
public final class Problems {
  private final String file;
  private final Optional<ResourceRef> resource;
  private final List<Problem> found;

  /// For a file.
  public Problems(String file) {
    this(file, Optional.empty(), new ArrayList<>());
  }

  private Problems(String file, Optional<ResourceRef> resource, List<Problem> found) {
    this.file = file;
    this.resource = resource;
    this.found = found;
  }

  /// A collector into the same list whose problems name the resource.
  public Problems of(ResourceRef ref) {
    return new Problems(file, Optional.of(ref), found);
  }

  /// The file that the problems name.
  public String file() {
    return file;
  }

  public void error(int line, String field, String message) {
    found.add(new Problem(Problem.Severity.ERROR, file, line, resource, field, message));
  }

  public void warning(int line, String field, String message) {
    found.add(new Problem(Problem.Severity.WARNING, file, line, resource, field, message));
  }

  /// What was collected so far, in the order it came.
  public List<Problem> list() {
    return List.copyOf(found);
  }

  public boolean hasErrors() {
    return errors() > 0;
  }

  /// How many errors.
  public int errors() {
    int errors = 0;
    for (Problem problem : found) {
      if (problem.isError()) {
        errors++;
      }
    }
    return errors;
  }
}
