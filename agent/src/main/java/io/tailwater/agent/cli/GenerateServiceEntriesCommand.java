package io.tailwater.agent.cli;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import io.tailwater.agent.config.AgentConfig;
import io.tailwater.agent.config.AgentConfigReader;
import io.tailwater.agent.control.compile.Explain;
import io.tailwater.agent.control.compile.PolicyCompiler;
import io.tailwater.agent.control.compile.Prediction;
import io.tailwater.agent.control.source.FileResources;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.control.source.ResourceSet;
import io.tailwater.agent.control.source.SourceSnapshot;
import io.tailwater.agent.dataplane.account.Inventory;
import io.tailwater.agent.dataplane.account.InventoryFile;
import io.tailwater.agent.dataplane.resolve.StandardAddressFilter;
import io.tailwater.agent.dataplane.route.RouteTable;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.PodRef;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.PrintWriter;
import java.net.Inet6Address;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/// `generate serviceentries`: a week of audit becomes policy.
@Command(
    name = "serviceentries",
    mixinStandardHelpOptions = true,
    description = {
      "ServiceEntries for what pods really called and policy does not allow by name yet: exact"
          + " names, their ports, for the namespace that called them.",
      "Asks the running agent; with --config it reads the files of an agent instead, with"
          + " --inventory an inventory alone."
    },
    footer = {
      "",
      "Example: tailwater generate serviceentries --namespace default > observed.yaml",
      "         tailwater check observed.yaml",
      ""
    })
final class GenerateServiceEntriesCommand implements Callable<Integer> {
  @Option(
      names = {"-n", "--namespace"},
      paramLabel = "NS",
      description = "Only what pods of this namespace called.")
  private @Nullable String namespace;

  @Option(
      names = "--config",
      paramLabel = "FILE",
      description = "An agent's configuration: its stateDir has the inventory, its sources policy.")
  private @Nullable Path config;

  @Option(
      names = "--inventory",
      paramLabel = "FILE",
      description = "An inventory.json, or what `inventory -o json` printed.")
  private @Nullable Path inventory;

  @Mixin private AdminOption admin = new AdminOption();

  @Mixin private OutputOption output = new OutputOption();

  @Spec private CommandSpec spec;

  /// Made by picocli, which fills the fields.
  @SuppressWarnings("NullAway.Init")
  GenerateServiceEntriesCommand() {}

  /// Why the command ends early.
  private static final class Ended extends RuntimeException {
    private static final long serialVersionUID = 1L;
    private final int exit;

    Ended(int exit, String why) {
      super(why, null, false, false);
      this.exit = exit;
    }
  }

  @Override
  public Integer call() {
    PrintWriter out = spec.commandLine().getOut();
    try {
      ObservedEntries all = config != null ? fromFiles(config) : fromAgent();
      out.print(
          switch (output.format()) {
            case text -> ObservedText.yaml(all);
            case json -> ObservedText.json(all) + "\n";
          });
      out.flush();
      return 0;
    } catch (Ended e) {
      PrintWriter err = spec.commandLine().getErr();
      err.println("tailwater generate serviceentries: " + e.getMessage());
      err.flush();
      return e.exit;
    }
  }

  private ObservedEntries entries(
      List<Inventory.Called> calls, Predicate<Inventory.Called> isAllowed) {
    return ObservedEntries.of(
        calls.stream()
            .filter(c -> namespace == null || c.pod().namespace().equals(namespace))
            .toList(),
        isAllowed);
  }

  private static List<Inventory.Called> read(Path file) {
    try {
      return InventoryFile.read(Files.newInputStream(file));
    } catch (NoSuchFileException _) {
      throw new Ended(2, "there is no inventory at " + file);
    } catch (IOException e) {
      throw new Ended(2, file + " is no inventory that can be read: " + e.getMessage());
    }
  }

  // ---- from files --------------------------------------------------------------------------

  private ObservedEntries fromFiles(Path file) {
    AgentConfigReader.Loaded loaded = AgentConfigReader.read(file, System.getenv());
    loaded.problems().forEach(spec.commandLine().getErr()::println);
    if (loaded.config().isEmpty()) {
      throw new Ended(2, file + " cannot be used");
    }
    AgentConfig agent = loaded.config().get();
    List<SourceSnapshot> snapshots = new ArrayList<>();
    for (AgentConfig.Source source : agent.sources()) {
      switch (source) {
        case AgentConfig.Source.Files(Path path) -> snapshots.add(new FileResources(path).read());
      }
    }
    PolicyCompiler.Compiled compiled =
        new PolicyCompiler(agent.mesh(), agent.egress()).compile(ResourceSet.of(snapshots));
    compiled.problems().stream()
        .filter(Problem::isError)
        .forEach(spec.commandLine().getErr()::println);
    Map<PodRef, Pod> pods = new HashMap<>();
    agent
        .pods()
        .forEach(p -> pods.put(p.ref(), new Pod(p.ref(), p.serviceAccount(), p.labels(), p.ips())));
    Path seen = inventory != null ? inventory : agent.stateDir().resolve("inventory.json");
    return entries(
        read(seen),
        call ->
            isKnown(
                compiled.table(),
                pods.getOrDefault(call.pod(), new Pod(call.pod(), "default", Map.of(), List.of())),
                call));
  }

  private static boolean isKnown(RouteTable table, Pod pod, Inventory.Called call) {
    Optional<Explain.Destination> to = destination(call);
    return to.isPresent()
        && Explain.run(
                table,
                new Explain.Question(
                    pod,
                    to.get(),
                    said(call, Inventory.Protocol.TLS),
                    said(call, Inventory.Protocol.HTTP)),
                Prediction.LookUp.NONE,
                new StandardAddressFilter(Set::of))
            .prediction()
            .cluster()
            .filter(GenerateServiceEntriesCommand::isByName)
            .isPresent();
  }

  /// Whether a cluster is one of a known service: what merely passes has another name.
  private static boolean isByName(String cluster) {
    return cluster.startsWith("outbound|");
  }

  private static Optional<Explain.Destination> destination(Inventory.Called call) {
    try {
      return Optional.of(Explain.Destination.parse(hostAndPort(call)));
    } catch (IllegalArgumentException _) {
      return Optional.empty();
    }
  }

  private static String hostAndPort(Inventory.Called call) {
    boolean v6 =
        CidrBlock.parseAddress(call.name()).filter(Inet6Address.class::isInstance).isPresent();
    return (v6 ? "[" + call.name() + "]" : call.name()) + ":" + call.port();
  }

  /// The name that was said, where it was said in that protocol.
  private static Optional<String> said(Inventory.Called call, Inventory.Protocol protocol) {
    return call.protocol() == protocol && CidrBlock.parseAddress(call.name()).isEmpty()
        ? Optional.of(call.name())
        : Optional.empty();
  }

  // ---- from the running agent --------------------------------------------------------------

  private ObservedEntries fromAgent() {
    if (inventory != null) {
      return entries(read(inventory), _ -> false);
    }
    AdminClient agent = admin.client();
    List<Inventory.Called> calls;
    try {
      calls =
          InventoryFile.read(
              new ByteArrayInputStream(
                  page(agent, "/inventory?format=json").getBytes(StandardCharsets.UTF_8)));
    } catch (IOException e) {
      throw new Ended(1, "what answers there has no inventory: " + e.getMessage());
    }
    return entries(calls, call -> isKnown(agent, call));
  }

  private static String page(AdminClient agent, String path) {
    return switch (agent.get(path)) {
      case AdminClient.Answer.Silence(String why) ->
          throw new Ended(1, why + ", or read files with --config");
      case AdminClient.Answer.Page(int status, String body) when status >= 400 ->
          throw new Ended(status < 500 ? 2 : 1, body.strip());
      case AdminClient.Answer.Page(_, String body) -> body;
    };
  }

  /// A pod that is gone cannot be asked about: then what it called is not taken for allowed.
  private static boolean isKnown(AdminClient agent, Inventory.Called call) {
    StringBuilder query = new StringBuilder("/explain?format=json");
    query.append("&from=").append(encode(call.pod().toString()));
    query.append("&to=").append(encode(hostAndPort(call)));
    said(call, Inventory.Protocol.TLS).ifPresent(n -> query.append("&sni=").append(encode(n)));
    said(call, Inventory.Protocol.HTTP).ifPresent(n -> query.append("&host=").append(encode(n)));
    return agent.get(query.toString()) instanceof AdminClient.Answer.Page(int status, String body)
        && status == 200
        && cluster(body).filter(GenerateServiceEntriesCommand::isByName).isPresent();
  }

  private static String encode(String text) {
    return URLEncoder.encode(text, StandardCharsets.UTF_8);
  }

  private static Optional<String> cluster(String explanation) {
    try (JsonParser json = new JsonFactory().createParser(explanation)) {
      if (json.nextToken() != JsonToken.START_OBJECT) {
        return Optional.empty();
      }
      while (json.nextToken() == JsonToken.FIELD_NAME) {
        String name = json.currentName();
        json.nextToken();
        if (name.equals("cluster")) {
          return Optional.of(json.getText());
        }
        json.skipChildren();
      }
      return Optional.empty();
    } catch (IOException _) {
      return Optional.empty();
    }
  }
}
