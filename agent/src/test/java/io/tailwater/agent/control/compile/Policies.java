package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.EgressSettings;
import io.tailwater.agent.control.istio.MeshSettings;
import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Problems;
import io.tailwater.agent.control.source.ResourceSet;
import io.tailwater.agent.control.source.SourceSnapshot;
import io.tailwater.agent.control.source.YamlDocument;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.Request;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.PodRef;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// Builds policy out of YAML text and asks it, for tests.
public final class Policies {
  public static final MeshSettings REGISTRY_ONLY =
      new MeshSettings(
          "istio-system",
          "cluster.local",
          MeshSettings.OutboundTrafficPolicy.REGISTRY_ONLY,
          List.of("*"));

  private Policies() {}

  /// One ServiceEntry with TLS on 443.
  public static String tlsEntry(String namespace, String name, String host, String more) {
    return """
    ---
    apiVersion: networking.istio.io/v1
    kind: ServiceEntry
    metadata: {name: %s, namespace: %s}
    spec:
      hosts: ["%s"]
      ports: [{number: 443, name: tls, protocol: TLS}]
    %s
    """
        .formatted(name, namespace, host, more.indent(2));
  }

  public static ResourceSet set(String... yaml) {
    Problems problems = new Problems("test.yaml");
    List<KubeObject> objects = new ArrayList<>();
    for (YamlDocument document : YamlDocument.readAll(String.join("\n---\n", yaml))) {
      switch (document) {
        case YamlDocument.Parsed(var root) -> objects.addAll(KubeObject.read(root, problems));
        case YamlDocument.Broken(int line, String why) -> problems.error(line, "", why);
      }
    }
    return ResourceSet.of(List.of(new SourceSnapshot("test", objects, problems.list())));
  }

  public static PolicyCompiler.Compiled compile(
      MeshSettings mesh, EgressSettings egress, String... yaml) {
    return new PolicyCompiler(mesh, egress).compile(set(yaml));
  }

  public static EgressSettings mode(EgressMode mode) {
    return new EgressSettings(mode, Map.of(), List.of());
  }

  public static Pod pod(String namespace) {
    return new Pod(new PodRef(namespace, "client"), "default", Map.of("app", "client"), List.of());
  }

  public static OriginalDst dst(String address, int port) {
    return new OriginalDst(CidrBlock.parseAddress(address).orElseThrow(), port);
  }

  public static Preface tls(String name) {
    return new Preface.Tls(HostName.of(name), false);
  }

  public static Preface http(String host) {
    return new Preface.Http(Optional.of(HostName.of(host)), Optional.empty(), false, "GET", "/");
  }

  /// Asks as the flow does: what is not asked for is not known, a name is put in where the decision
  /// goes by it, and HTTP is decided by its request.
  public static Decision decide(
      PolicyCompiler.Compiled compiled, String namespace, OriginalDst dst, Preface preface) {
    ClientView view = compiled.table().view(pod(namespace));
    Decision decision =
        view.decide(dst, view.ask(dst) == ClientView.Ask.PREFACE ? preface : new Preface.Silent());
    if (decision instanceof Decision.PerRequest) {
      return view.decide(dst, Request.of((Preface.Http) preface));
    }
    return decision instanceof Decision.ByName byName
        ? byName.forward(((Preface.Tls) preface).sni())
        : decision;
  }

  /// TLS to an address of no importance on port 443.
  public static Decision decide(PolicyCompiler.Compiled compiled, String namespace, String sni) {
    return decide(compiled, namespace, dst("203.0.113.250", 443), tls(sni));
  }

  /// The cluster that a decision counts under, or an empty text.
  public static String cluster(Decision decision) {
    return decision.cluster().orElse("");
  }
}
