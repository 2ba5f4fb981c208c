package io.tailwater.agent.control.source;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class FieldsTest {
  @ParameterizedTest
  @ValueSource(ints = {0, 1, 3, 12, 13, 200})
  void aMappingOfAnySizeBehavesAsTheMapThatItWasMadeOf(int size) {
    Map<String, YamlValue.Field> written = new LinkedHashMap<>();
    IntStream.range(0, size)
        .mapToObj(i -> "key-" + i)
        .forEach(key ->
            written.put(
                key,
                new YamlValue.Field(
                    key, 1, new YamlValue.Scalar(1, key, YamlValue.Scalar.Kind.STRING))));

    YamlValue.Mapping mapping = new YamlValue.Mapping(1, written);

    assertThat(mapping.fields()).isEqualTo(written).hasSize(size);
    assertThat(mapping.fields().hashCode()).isEqualTo(written.hashCode());
    assertThat(mapping.keys()).containsExactlyElementsOf(written.keySet());
    assertThat(mapping.fields().values()).containsExactlyElementsOf(written.values());
    assertThat(mapping.fields().get("key-99")).isEqualTo(written.get("key-99"));
    assertThat(mapping.keys().contains("key-2")).isEqualTo(size > 2);
    assertThat(mapping.text("absent")).isEmpty();
  }
}
