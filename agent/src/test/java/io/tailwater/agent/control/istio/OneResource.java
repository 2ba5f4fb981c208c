package io.tailwater.agent.control.istio;

import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.control.source.Problems;
import io.tailwater.agent.control.source.YamlDocument;
import io.tailwater.agent.control.source.YamlValue;
import java.util.List;
import java.util.Optional;

/// Reads one resource out of YAML text, for tests of readers.
record OneResource<T>(Optional<T> resource, List<Problem> problems) {
  interface Reader<T> {
    Optional<T> read(KubeObject object, Problems problems);
  }

  static <T> OneResource<T> read(Reader<T> reader, String yaml) {
    Problems problems = new Problems("test.yaml");
    YamlDocument document = YamlDocument.readAll(yaml).getFirst();
    if (!(document instanceof YamlDocument.Parsed(YamlValue root))) {
      throw new IllegalArgumentException("no YAML: " + yaml);
    }
    KubeObject object = KubeObject.read(root, problems).getFirst();
    Optional<T> read = reader.read(object, problems);
    return new OneResource<>(read, problems.list());
  }

  /// A resource of Istio's networking group with this spec.
  static <T> OneResource<T> istio(Reader<T> reader, String kind, String spec) {
    return read(
        reader,
        "apiVersion: networking.istio.io/v1\nkind: "
            + kind
            + "\nmetadata: {name: x, namespace: shop}\nspec: "
            + spec
            + "\n");
  }

  T valid() {
    return resource.orElseThrow(() -> new AssertionError(String.valueOf(problems)));
  }

  List<String> errors() {
    return problems.stream().filter(Problem::isError).map(Problem::text).toList();
  }

  List<String> warnings() {
    return problems.stream().filter(p -> !p.isError()).map(Problem::text).toList();
  }
}
