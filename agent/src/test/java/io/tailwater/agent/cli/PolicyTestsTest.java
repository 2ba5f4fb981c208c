package io.tailwater.agent.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

class PolicyTestsTest {
  private static final List<Path> FOLDERS =
      List.of(Path.of("../policy-tests"), Path.of("../examples/policy-tests"));

  @TestFactory
  Stream<DynamicTest> everyPolicyTestOfTheProjectHolds() throws IOException {
    Stream.Builder<Path> files = Stream.builder();
    for (Path folder : FOLDERS) {
      List<Path> found = PolicyFiles.below(folder);
      assertThat(found).as(folder.toString()).isNotEmpty();
      found.forEach(files);
    }
    return files
        .build()
        .map(file ->
            DynamicTest.dynamicTest(
                file.toString(),
                () ->
                    assertThat(PolicyTestRun.run(file))
                        .extracting(PolicyTestRun.Failure::text)
                        .isEmpty()));
  }

  private static final String CONFIG =
      """
      name: t
      mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
      config: []
      """;

  private static List<String> run(Path folder, String text) throws IOException {
    Path file = Files.writeString(folder.resolve("t.yaml"), text);
    return PolicyTestRun.run(file).stream().map(PolicyTestRun.Failure::text).toList();
  }

  @Test
  void failureNamesProbeKeyExpectedAndActual(@TempDir Path folder) throws IOException {
    assertThat(
            run(
                folder,
                CONFIG
                    + "probes: [{protocol: tls, dst: \"192.0.2.1:443\", sni: a.example, expect:"
                    + " {action: forward, wouldBlock: false}}]"))
        .containsExactly(
            "line 4, tls to 192.0.2.1:443, sni a.example: action: expected forward, actual block"
                + " (connection_closed)");
  }

  @Test
  void unknownKeysAreFailuresEverywhere(@TempDir Path folder) throws IOException {
    assertThat(run(folder, CONFIG + "probe: []\n"))
        .anyMatch(f -> f.contains("probe: unknown key; did you mean \"probes\"?"));
    assertThat(
            run(
                folder,
                CONFIG
                    + "probes: [{protocol: tcp, dst: \"192.0.2.1:1\", expct: {}, expect: {action:"
                    + " block, clustr: x}}]"))
        .anyMatch(f -> f.contains("probes[0].expct: unknown key"))
        .anyMatch(
            f -> f.contains("probes[0].expect.clustr: unknown key; did you mean \"cluster\"?"));
  }

  @Test
  void badConfigFailsAValidCaseAndPassesAnInvalidOne(@TempDir Path folder) throws IOException {
    String bad =
        """
        name: t
        config:
          - apiVersion: networking.istio.io/v1
            kind: ServiceEntry
            metadata: {name: x}
            spec: {hosts: [], ports: [{number: 443, name: tls, protocol: TLS}]}
        """;
    assertThat(run(folder, bad + "invalid: true\n")).isEmpty();
    assertThat(
            run(
                folder,
                bad + "probes: [{protocol: tcp, dst: \"192.0.2.1:1\", expect: {action: block}}]\n"))
        .anyMatch(f -> f.contains("at least one host"));
    assertThat(run(folder, bad + "invalid: true\nnonsense: 1\n"))
        .anyMatch(f -> f.contains("nonsense: unknown key"));
    assertThat(run(folder, bad.replace("hosts: []", "hosts: [a.example]") + "invalid: true\n"))
        .containsExactly("invalid: expected a validation error, actual the config is valid");
  }

  @Test
  void fileThatCannotBeReadIsAFailure(@TempDir Path folder) throws IOException {
    assertThat(run(folder, "name: [")).hasSize(1);
    assertThat(run(folder, "")).anyMatch(f -> f.contains("one YAML document"));
    assertThat(run(folder, CONFIG)).anyMatch(f -> f.contains("probes: is missing"));
  }

  @Test
  void whatIsNotBuiltFailsClearly(@TempDir Path folder) throws IOException {
    assertThat(
            run(
                folder,
                CONFIG
                    + "probes: [{protocol: tcp, dst: \"10.0.0.1:80\", direction: inbound, expect:"
                    + " {action: forward}}]"))
        .containsExactly("line 4, tcp to 10.0.0.1:80: inbound probes are not built yet");
  }
}
