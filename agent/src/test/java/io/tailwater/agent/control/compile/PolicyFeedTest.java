package io.tailwater.agent.control.compile;

import static io.tailwater.agent.control.compile.Policies.REGISTRY_ONLY;
import static io.tailwater.agent.control.compile.Policies.cluster;
import static io.tailwater.agent.control.compile.Policies.dst;
import static io.tailwater.agent.control.compile.Policies.pod;
import static io.tailwater.agent.control.compile.Policies.tls;
import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.control.istio.EgressSettings;
import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.control.source.Problems;
import io.tailwater.agent.control.source.ResourceSet;
import io.tailwater.agent.control.source.ResourceSource;
import io.tailwater.agent.control.source.SourceSnapshot;
import io.tailwater.agent.control.source.YamlDocument;
import io.tailwater.agent.dataplane.route.CurrentRoutes;
import io.tailwater.agent.dataplane.route.Decision;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class PolicyFeedTest {
  private static final class Pushed implements ResourceSource {
    private final String name;
    private final String first;
    private Listener listener = _ -> {};
    private boolean closed;

    Pushed(String name, String first) {
      this.name = name;
      this.first = first;
    }

    @Override
    public String name() {
      return name;
    }

    @Override
    public void start(Listener heard) {
      listener = heard;
      push(first);
    }

    void push(String yaml) {
      Problems problems = new Problems(name);
      List<KubeObject> objects = new ArrayList<>();
      for (YamlDocument document : YamlDocument.readAll(yaml)) {
        if (document instanceof YamlDocument.Parsed(var root)) {
          objects.addAll(KubeObject.read(root, problems));
        }
      }
      listener.changed(new SourceSnapshot(name, objects, problems.list()));
    }

    @Override
    public void close() {
      closed = true;
    }
  }

  private static String entry(String port) {
    return Policies.tlsEntry("n", "x", "a.example", "resolution: DNS").replace("443", port);
  }

  @Test
  void laterSourceWinsAndEveryChangeIsPublished() {
    Pushed first = new Pushed("first", entry("443"));
    Pushed second = new Pushed("second", "");
    CurrentRoutes routes =
        new CurrentRoutes(Policies.compile(REGISTRY_ONLY, EgressSettings.DEFAULTS).table());
    List<List<Problem>> heard = new ArrayList<>();
    try (PolicyFeed feed =
        new PolicyFeed(
            List.of(first, second),
            new PolicyCompiler(REGISTRY_ONLY, EgressSettings.DEFAULTS),
            routes,
            (_, fresh) -> heard.add(fresh))) {
      feed.start();
      assertThat(ask(routes, 443)).isEqualTo("outbound|443||a.example");
      second.push(entry("8443"));
      assertThat(ask(routes, 443)).isEqualTo("BlackHoleCluster");
      assertThat(ask(routes, 8443)).isEqualTo("outbound|8443||a.example");
      second.push(entry("0"));
      assertThat(ask(routes, 8443)).as("last good").isEqualTo("outbound|8443||a.example");
      second.push("");
      assertThat(ask(routes, 443)).isEqualTo("outbound|443||a.example");
    }
    assertThat(heard).hasSize(4);
    assertThat(heard.get(0)).isEmpty();
    assertThat(heard.get(1)).singleElement().asString().contains("its source comes later");
    assertThat(heard.get(2))
        .extracting(Problem::text)
        .anyMatch(t -> t.contains("last good version"));
    assertThat(first.closed && second.closed).isTrue();
  }

  private static String ask(CurrentRoutes routes, int port) {
    return cluster(
        routes.get().view(pod("default")).decide(dst("203.0.113.1", port), tls("a.example")));
  }

  @Test
  void decidingForAnExactOrWildcardHostAllocatesNothingAmongTenThousandEntries() {
    StringBuilder yaml = new StringBuilder();
    for (int i = 0; i < 10_000; i++) {
      yaml.append(
          Policies.tlsEntry(
              "n" + i % 50,
              "e" + i,
              (i % 3 == 0 ? "*." : "") + "h" + i + ".example",
              "resolution: " + (i % 3 == 0 ? "DYNAMIC_DNS" : "DNS")));
    }
    ResourceSet set = Policies.set(yaml.toString());
    var view =
        new PolicyCompiler(REGISTRY_ONLY, EgressSettings.DEFAULTS)
            .compile(set)
            .table()
            .view(pod("default"));
    var dst = dst("203.0.113.1", 443);
    var exact = tls("h1.example");
    var wildcard = tls("x.h9999.example");
    assertThat(cluster(view.decide(dst, wildcard))).isEqualTo("outbound|443||*.h9999.example");
    var threads =
        (com.sun.management.ThreadMXBean) java.lang.management.ManagementFactory.getThreadMXBean();
    for (var hello : List.of(exact, wildcard)) {
      for (int i = 0; i < 20_000; i++) {
        view.decide(dst, hello);
      }
      long before = threads.getCurrentThreadAllocatedBytes();
      for (int i = 0; i < 10_000; i++) {
        if (view.decide(dst, hello) instanceof Decision.Refuse) {
          throw new AssertionError("refused");
        }
      }
      long perDecision = (threads.getCurrentThreadAllocatedBytes() - before) / 10_000;
      assertThat(perDecision).isZero();
    }
  }
}
