package io.tailwater.agent.control.source;

import io.tailwater.agent.traffic.ResourceRef;
import java.util.Comparator;
import java.util.Optional;

/// One thing that is wrong with what somebody wrote: where, what, and what to do. `line` is 0 where
/// the whole file is meant, `field` is empty where the whole resource is.
public record Problem(
    Severity severity,
    String file,
    int line,
    Optional<ResourceRef> resource,
    String field,
    String message)
    implements Comparable<Problem> {
  /// Whether it stops the resource from being used.
  public enum Severity {
    ERROR,
    WARNING
  }

  private static final Comparator<Problem> ORDER =
      Comparator.comparing(Problem::file)
          .thenComparingInt(Problem::line)
          .thenComparing(Problem::field)
          .thenComparing(Problem::severity)
          .thenComparing(Problem::message);

  /// What concerns an object as a whole, where its document begins.
  public static Problem of(Severity severity, KubeObject object, String message) {
    return new Problem(
        severity, object.file(), object.line(), Optional.of(object.key().ref()), "", message);
  }

  /// Whether it is an error.
  public boolean isError() {
    return severity == Severity.ERROR;
  }

  /// `file:line: kind/namespace/name: field: what is wrong`, parts that are not known left out.
  public String text() {
    StringBuilder out = new StringBuilder(file);
    if (line > 0) {
      out.append(':').append(line);
    }
    out.append(": ");
    resource.ifPresent(ref -> out.append(show(ref)).append(": "));
    if (!field.isEmpty()) {
      out.append(field).append(": ");
    }
    return out.append(message).toString();
  }

  /// `kind/namespace/name`, or `kind/name` for what lives in no namespace.
  public static String show(ResourceRef ref) {
    return ref.namespace().isEmpty() ? ref.kind() + "/" + ref.name() : ref.toString();
  }

  @Override
  public int compareTo(Problem other) {
    return ORDER.compare(this, other);
  }

  @Override
  public String toString() {
    return (isError() ? "error: " : "warning: ") + text();
  }
}
