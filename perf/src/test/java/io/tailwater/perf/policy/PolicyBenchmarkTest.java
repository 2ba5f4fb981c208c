package io.tailwater.perf.policy;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.control.compile.PolicyCompiler;
import io.tailwater.agent.control.source.FileResources;
import io.tailwater.agent.control.source.ResourceSet;
import io.tailwater.agent.control.source.SourceSnapshot;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.perf.code.ImageLauncher;
import io.tailwater.perf.code.Measured;
import io.tailwater.perf.peer.GeneratedPolicy;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PolicyBenchmarkTest {
  @Test
  void theGeneratedPolicyIsValidAndHasWhatItSays(@TempDir Path folder) throws IOException {
    GeneratedPolicy.write(folder);
    SourceSnapshot snapshot = new FileResources(folder).read();
    PolicyCompiler.Compiled compiled =
        LoadMain.compiler().compile(ResourceSet.of(List.of(snapshot)));

    assertThat(compiled.hasErrors()).isFalse();
    assertThat(snapshot.objects()).hasSize(GeneratedPolicy.ENTRIES);
    long wildcards =
        compiled.table().configured().stream()
            .map(c -> c.host())
            .distinct()
            .filter(host -> host.startsWith("*."))
            .count();
    assertThat(wildcards).isEqualTo(GeneratedPolicy.WILDCARDS);
    String hidden = GeneratedPolicy.domain(3);
    assertThat(
            compiled.table().view(Questions.client()).decide(Questions.TLS, Questions.tls(hidden)))
        .isInstanceOf(Decision.Refuse.class);
  }

  @Test
  void theFlagsAreThoseOfTheImagesLauncher() throws IOException {
    ImageLauncher launcher =
        ImageLauncher.parse(
            """
            #!/bin/sh
            image=$(readlink -f "$0")
            exec "$image/runtime/bin/java" -XX:+UseSerialGC -Xmx96m \\
              -XX:AOTCache="$image/lib/tailwater.aot" -Xlog:disable \\
              -cp "$image/lib/a.jar:$image/lib/b.jar" io.tailwater.agent.cli.Tailwater "$@"
            """,
            Path.of("/opt/image"));

    assertThat(launcher.java()).isEqualTo(Path.of("/opt/image/runtime/bin/java"));
    assertThat(launcher.portableFlags()).containsExactly("-XX:+UseSerialGC", "-Xmx96m");
    assertThat(launcher.command("more", PolicyBenchmarkTest.class, List.of("x")))
        .startsWith("/opt/image/runtime/bin/java", "-XX:+UseSerialGC", "-Xmx96m")
        .containsSequence("-cp", "/opt/image/lib/a.jar:/opt/image/lib/b.jar:more");
  }

  @Test
  void aBoundThatDoesNotHoldIsNamed() {
    PolicyReport report =
        new PolicyReport(
            new io.tailwater.perf.report.Machine(
                "cpu", 2, 1, "Linux", "25", "commit", 0, java.time.Instant.EPOCH),
            new ImageLauncher(Path.of("java"), List.of(), ""),
            1,
            List.of(LoadMain.Loaded.parse("load_ms=1990.0 view_ms=20.0 gc_ms=10 heap_kb=1000")),
            List.of(new Measured("exactName", 90, 1, 24)));

    assertThat(report.broken(2000, 1000, 0.1)).hasSize(2);
    assertThat(report.broken(2010, 1000, 24)).isEmpty();
    assertThat(report.markdown()).contains("2,010").contains("exactName");
  }
}
