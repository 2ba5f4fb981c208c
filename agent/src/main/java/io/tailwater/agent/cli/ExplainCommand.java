package io.tailwater.agent.cli;

import io.tailwater.agent.config.AgentConfig;
import io.tailwater.agent.config.AgentConfigReader;
import io.tailwater.agent.control.allocate.AddressAllocator;
import io.tailwater.agent.control.compile.DnsAnswers;
import io.tailwater.agent.control.compile.Explain;
import io.tailwater.agent.control.compile.PolicyCompiler;
import io.tailwater.agent.control.compile.Prediction;
import io.tailwater.agent.control.source.FileResources;
import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.control.source.ResourceSet;
import io.tailwater.agent.control.source.SourceSnapshot;
import io.tailwater.agent.dataplane.resolve.ResolveConfig;
import io.tailwater.agent.dataplane.resolve.StandardAddressFilter;
import io.tailwater.agent.dataplane.route.RouteTable;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.PodRef;
import java.io.PrintWriter;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/// `tailwater explain`: what would happen to a connection, and why.
@Command(
    name = "explain",
    mixinStandardHelpOptions = true,
    description = {
      "What would happen to a connection, which resource decides, why not the others.",
      "With --config it reads files; without, it asks the running agent."
    },
    footer = {
      "",
      "Example: tailwater explain --from default/ratings-v1 --to en.wikipedia.org:443 --config"
          + " agent.yaml",
      ""
    })
final class ExplainCommand implements Callable<Integer> {
  /// What somebody expects.
  enum Expected {
    allow,
    refuse
  }

  @Option(
      names = "--from",
      required = true,
      paramLabel = "NAMESPACE/POD",
      description = "The client.")
  private String from = "";

  @Option(
      names = "--to",
      required = true,
      paramLabel = "HOST_OR_IP:PORT",
      description = "What it dials.")
  private String to = "";

  @Option(names = "--sni", paramLabel = "NAME", description = "The server name in its ClientHello.")
  private @Nullable String sni;

  @Option(names = "--host", paramLabel = "NAME", description = "The Host of its plaintext request.")
  private @Nullable String host;

  @Option(
      names = "--labels",
      paramLabel = "KEY=VALUE",
      split = ",",
      description = "Labels of the client instead of its own.")
  private Map<String, String> labels = new LinkedHashMap<>();

  @Option(names = "--config", paramLabel = "FILE", description = "The agent's configuration.")
  private @Nullable Path config;

  @Option(names = "--resolve", description = "Look names up (asks the network).")
  private boolean resolve;

  @Option(
      names = "--expect",
      paramLabel = "allow|refuse",
      description = "Exit code 1 if it turns out otherwise.")
  private @Nullable Expected expect;

  @Mixin private AdminOption admin = new AdminOption();

  @Mixin private OutputOption output = new OutputOption();

  @Spec private CommandSpec spec;

  /// Made by picocli, which fills the fields.
  @SuppressWarnings("NullAway.Init")
  ExplainCommand() {}

  @Override
  public Integer call() {
    if (sni != null && host != null) {
      return usage("--sni and --host exclude each other: a connection is TLS or plaintext HTTP");
    }
    PodRef client;
    Explain.Destination destination;
    try {
      client = podRef(from);
      destination = Explain.Destination.parse(to);
    } catch (IllegalArgumentException e) {
      return usage(String.valueOf(e.getMessage()));
    }
    return config == null ? askAgent() : readFiles(config, client, destination);
  }

  private int usage(String message) {
    spec.commandLine().getErr().println("tailwater explain: " + message);
    return 2;
  }

  private static PodRef podRef(String text) {
    int slash = text.indexOf('/');
    if (slash <= 0 || slash == text.length() - 1 || text.indexOf('/', slash + 1) >= 0) {
      throw new IllegalArgumentException("--from \"" + text + "\" is no NAMESPACE/POD");
    }
    return new PodRef(text.substring(0, slash), text.substring(slash + 1));
  }

  private static final String NOTE =
      "read from files: the node's own addresses are not known here, so none is refused as such";

  // ---- from files --------------------------------------------------------------------------

  private int readFiles(Path file, PodRef client, Explain.Destination destination) {
    PrintWriter err = spec.commandLine().getErr();
    AgentConfigReader.Loaded loaded = AgentConfigReader.read(file, System.getenv());
    loaded.problems().forEach(err::println);
    if (loaded.config().isEmpty()) {
      return 2;
    }
    AgentConfig agent = loaded.config().get();
    List<SourceSnapshot> snapshots = new ArrayList<>();
    for (AgentConfig.Source source : agent.sources()) {
      switch (source) {
        case AgentConfig.Source.Files(Path path) -> snapshots.add(new FileResources(path).read());
      }
    }
    ResourceSet set = ResourceSet.of(snapshots);
    PolicyCompiler.Compiled compiled =
        new PolicyCompiler(agent.mesh(), agent.egress(), dnsAnswers(agent)).compile(set);
    compiled.problems().stream().filter(Problem::isError).forEach(err::println);
    Map<PodRef, Pod> pods = pods(agent, set);
    Pod pod = pods.get(client);
    if (pod == null) {
      return usage(
          "the pod "
              + client
              + " is not known; "
              + (pods.isEmpty()
                  ? "no pod is: neither `pods` of the configuration nor a Pod of its sources"
                  : "known are "
                      + String.join(", ", pods.keySet().stream().map(PodRef::toString).toList())));
    }
    if (!labels.isEmpty()) {
      pod = new Pod(pod.ref(), pod.serviceAccount(), labels, pod.ips());
    }
    Explain.Question question =
        new Explain.Question(pod, destination, Optional.ofNullable(sni), Optional.ofNullable(host));
    Explain.Answer answer =
        answer(compiled.table(), question, agent.dns()).relayed(agent.kernelPass().relayed());
    PrintWriter out = spec.commandLine().getOut();
    switch (output.format()) {
      case text -> out.print(Explain.text(answer, Optional.of(NOTE)));
      case json -> out.println(Explain.json(answer));
    }
    out.flush();
    return verdict(answer.prediction().passes());
  }

  /// As the agent would with its first addresses; nothing is read or kept.
  private static DnsAnswers dnsAnswers(AgentConfig agent) {
    AddressAllocator.Store none =
        new AddressAllocator.Store() {
          @Override
          public Map<AddressAllocator.Host, Integer> load() {
            return Map.of();
          }

          @Override
          public void save(Map<AddressAllocator.Host, Integer> numbers) {}
        };
    return agent.capture().dns()
        ? DnsAnswers.of(agent.dnsProxy().answers(), none)
        : new DnsAnswers.NotCaptured();
  }

  private Explain.Answer answer(RouteTable table, Explain.Question question, ResolveConfig dns) {
    StandardAddressFilter filter = new StandardAddressFilter(Set::of);
    if (!resolve) {
      return Explain.run(table, question, Prediction.LookUp.NONE, filter);
    }
    try (NetworkLookUp lookUp = NetworkLookUp.of(dns)) {
      return Explain.run(table, question, lookUp, filter);
    }
  }

  private int verdict(boolean passes) {
    if (expect == null) {
      return 0;
    }
    return passes == (expect == Expected.allow) ? 0 : 1;
  }

  /// The pods of the configuration, then those of the sources.
  private static Map<PodRef, Pod> pods(AgentConfig agent, ResourceSet set) {
    Map<PodRef, Pod> out = new TreeMap<>();
    for (KubeObject object : set.ofKind("", "Pod")) {
      PodRef ref = new PodRef(object.namespace(), object.name());
      String account = object.spec().flatMap(s -> s.text("serviceAccountName")).orElse("default");
      out.put(ref, new Pod(ref, account, object.labels(), List.of()));
    }
    agent
        .pods()
        .forEach(p -> {
          Pod known = out.get(p.ref());
          out.put(
              p.ref(),
              new Pod(
                  p.ref(),
                  p.serviceAccount(),
                  p.labels().isEmpty() && known != null ? known.labels() : p.labels(),
                  p.ips()));
        });
    return out;
  }

  // ---- from the running agent --------------------------------------------------------------

  private int askAgent() {
    StringBuilder query = new StringBuilder("from=" + encode(from) + "&to=" + encode(to));
    if (sni != null) {
      query.append("&sni=").append(encode(sni));
    }
    if (host != null) {
      query.append("&host=").append(encode(host));
    }
    labels.forEach((k, v) -> query.append("&label=").append(encode(k + "=" + v)));
    if (resolve) {
      query.append("&resolve=true");
    }
    query.append("&format=").append(output.isJson() || expect != null ? "json" : "text");
    return switch (admin.client().get("/explain?" + query)) {
      case AdminClient.Answer.Silence(String why) -> {
        spec.commandLine()
            .getErr()
            .println("tailwater explain: " + why + ", or read files with --config");
        yield 1;
      }
      case AdminClient.Answer.Page(int status, String body) when status >= 400 -> {
        spec.commandLine().getErr().println("tailwater explain: " + body.strip());
        yield status < 500 ? 2 : 1;
      }
      case AdminClient.Answer.Page(_, String body) -> {
        PrintWriter out = spec.commandLine().getOut();
        out.println(body.stripTrailing());
        out.flush();
        yield verdict(
            body.contains("\"action\" : \"forward\"")
                || body.contains("\"action\" : \"passthrough\""));
      }
    };
  }

  private static String encode(String text) {
    return URLEncoder.encode(text, StandardCharsets.UTF_8);
  }
}
