package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.control.source.YamlValue;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// Finds the line and the name of a field of an object, for what is said about it after it was
/// read. Stateless.
final class Pointer {
  private Pointer() {}

  /// A warning about a field.
  ///
  /// @param path keys and indexes of lists from the top, like `"spec", "ports", 0`; where the
  ///   object lacks one, the line is that of the last one it has
  static Problem warning(KubeObject object, String message, Object... path) {
    StringBuilder name = new StringBuilder();
    int line = object.line();
    @Nullable YamlValue at = object.root();
    for (Object step : path) {
      switch (step) {
        case Integer index -> {
          name.append('[').append(index).append(']');
          at =
              at instanceof YamlValue.Sequence(_, var items) && index < items.size()
                  ? items.get(index)
                  : null;
          line = at == null ? line : at.line();
        }
        default -> {
          name.append(name.isEmpty() ? "" : ".").append(step);
          YamlValue.@Nullable Field field =
              at instanceof YamlValue.Mapping map ? map.fields().get(step.toString()) : null;
          at = field == null ? null : field.value();
          line = field == null ? line : field.line();
        }
      }
    }
    return new Problem(
        Problem.Severity.WARNING,
        object.file(),
        line,
        Optional.of(object.key().ref()),
        name.toString(),
        message);
  }
}
