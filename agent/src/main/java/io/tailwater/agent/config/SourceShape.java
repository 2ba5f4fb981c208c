package io.tailwater.agent.config;

import io.tailwater.agent.control.source.Nearest;
import io.tailwater.agent.control.source.YamlValue;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/// One item of `sources:`, which names exactly one kind of source. From the environment, a path.
final class SourceShape implements Shape<AgentConfig.Source> {
  private static final List<String> KINDS = List.of("files", "kubernetes", "istiod");

  @Override
  public Optional<AgentConfig.Source> read(YamlValue value, At at) {
    if (value instanceof YamlValue.Scalar && at.environment()) {
      return files(value, at);
    }
    if (!(value instanceof YamlValue.Mapping map) || map.fields().size() != 1) {
      at.error(value.line(), "must name one source, like `files: ./policies`");
      return Optional.empty();
    }
    YamlValue.Field field = map.fields().values().iterator().next();
    At below = at.below(field.key());
    return switch (field.key()) {
      case "files" -> files(field.value(), below);
      case "kubernetes", "istiod" -> {
        below.notBuilt(field.line(), "is not built yet; this version reads `files` only");
        yield Optional.empty();
      }
      default -> {
        below.error(
            field.line(),
            "unknown source; known are "
                + String.join(", ", KINDS)
                + Nearest.hint(field.key(), KINDS));
        yield Optional.empty();
      }
    };
  }

  private static Optional<AgentConfig.Source> files(YamlValue value, At at) {
    return Shape.path().read(value, at).map((Path p) -> new AgentConfig.Source.Files(p));
  }

  @Override
  public String show(AgentConfig.Source value) {
    return switch (value) {
      case AgentConfig.Source.Files(Path path) -> "{files: " + path + "}";
    };
  }

  @Override
  public String syntax() {
    return "`files: PATH`; not built yet: `kubernetes`, `istiod`";
  }
}
