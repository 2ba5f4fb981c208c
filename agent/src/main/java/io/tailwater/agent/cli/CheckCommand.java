package io.tailwater.agent.cli;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import io.tailwater.agent.config.AgentConfig;
import io.tailwater.agent.config.AgentConfigReader;
import io.tailwater.agent.config.ConfigProblem;
import io.tailwater.agent.control.compile.PolicyCompiler;
import io.tailwater.agent.control.istio.EgressSettings;
import io.tailwater.agent.control.istio.MeshSettings;
import io.tailwater.agent.control.source.FileResources;
import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.control.source.Problems;
import io.tailwater.agent.control.source.ResourceSet;
import io.tailwater.agent.control.source.SourceSnapshot;
import io.tailwater.agent.control.source.YamlDocument;
import io.tailwater.agent.control.source.YamlValue;
import io.tailwater.agent.traffic.ResourceRef;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// `tailwater check`: everything that is wrong with resources and agent configurations, at once.
@Command(
    name = "check",
    mixinStandardHelpOptions = true,
    description = {
      "Validate Istio and Kubernetes resources and agent configuration.",
      "Exit code 0 without errors, 1 with; --strict counts warnings as errors; 2 where a path"
          + " cannot be read."
    },
    footer = {"", "Example: tailwater check policies/ agent.yaml", ""})
final class CheckCommand implements Callable<Integer> {
  @Parameters(
      arity = "1..*",
      paramLabel = "PATH",
      description =
          "Files or folders. What has neither apiVersion nor kind is read as an agent"
              + " configuration.")
  private List<Path> paths = new ArrayList<>();

  @Option(names = "--strict", description = "Warnings count as errors: exit code 1.")
  private boolean strict;

  @Mixin private OutputOption output = new OutputOption();

  @Spec private CommandSpec spec;

  /// Made by picocli, which fills the fields.
  @SuppressWarnings("NullAway.Init")
  CheckCommand() {}

  private static final Pattern PLACE = Pattern.compile("(.*):(\\d+)");

  @Override
  public Integer call() throws IOException {
    Optional<List<Path>> files = PolicyFiles.of(spec, paths);
    if (files.isEmpty()) {
      return 2;
    }
    Found found = new Found();
    files.get().forEach(found::read);
    List<Problem> problems = found.finish();
    long errors = problems.stream().filter(Problem::isError).count();
    long warnings = problems.size() - errors;
    PrintWriter out = spec.commandLine().getOut();
    switch (output.format()) {
      case text -> {
        problems.forEach(p -> out.println(p.text() + (p.isError() ? "" : " (warning)")));
        out.println(
            count(errors, "error")
                + ", "
                + count(warnings, "warning")
                + " in "
                + count(found.files, "file"));
      }
      case json -> json(out, problems, errors, warnings);
    }
    out.flush();
    return errors > 0 || (strict && warnings > 0) ? 1 : 0;
  }

  private static String count(long number, String what) {
    return number + " " + what + (number == 1 ? "" : "s");
  }

  /// Sorts documents into resources and agent configurations, and collects what is wrong.
  private static final class Found {
    private final List<Problem> problems = new ArrayList<>();
    private final List<KubeObject> objects = new ArrayList<>();
    private final List<AgentConfig> configs = new ArrayList<>();
    private int files;

    void read(Path file) {
      Problems here = new Problems(file.toString());
      try {
        List<YamlDocument> documents = FileResources.documents(file);
        if (documents.stream().anyMatch(Found::isPolicyTest)) {
          return;
        }
        files++;
        if (documents.stream().anyMatch(Found::isAgentConfig)) {
          AgentConfigReader.Loaded loaded = AgentConfigReader.read(file, Map.of());
          loaded.problems().forEach(p -> problems.add(problem(p)));
          loaded.config().ifPresent(configs::add);
          documents.forEach(d -> modes(d, here));
          problems.addAll(here.list());
          return;
        }
        for (YamlDocument document : documents) {
          switch (document) {
            case YamlDocument.Broken(int line, String why) -> here.error(line, "", why);
            case YamlDocument.Parsed(YamlValue root) -> objects.addAll(KubeObject.read(root, here));
          }
        }
      } catch (IOException e) {
        files++;
        here.error(0, "", String.valueOf(e.getMessage()));
      }
      problems.addAll(here.list());
    }

    private static boolean isPolicyTest(YamlDocument document) {
      return document instanceof YamlDocument.Parsed(YamlValue.Mapping root)
          && !root.keys().contains("apiVersion")
          && root.keys().contains("name")
          && (root.keys().contains("probes") || root.keys().contains("invalid"));
    }

    private static boolean isAgentConfig(YamlDocument document) {
      return document instanceof YamlDocument.Parsed(YamlValue.Mapping root)
          && !root.keys().contains("apiVersion")
          && !root.keys().contains("kind");
    }

    /// Modes that are meant for a while, and stay.
    private static void modes(YamlDocument document, Problems here) {
      if (!(document instanceof YamlDocument.Parsed(YamlValue.Mapping root))) {
        return;
      }
      Optional<YamlValue.Mapping> egress = root.mapping("egress");
      egress
          .flatMap(e -> e.field("mode"))
          .ifPresent(f -> mode(f, "egress.mode", "namespaces without a mode of their own", here));
      egress
          .flatMap(e -> e.mapping("namespaces"))
          .ifPresent(namespaces ->
              namespaces
                  .fields()
                  .values()
                  .forEach(f -> mode(f, "egress.namespaces." + f.key(), f.key(), here)));
    }

    private static void mode(YamlValue.Field field, String key, String where, Problems here) {
      if (!(field.value() instanceof YamlValue.Scalar(_, String mode, _))) {
        return;
      }
      switch (mode) {
        case "audit" ->
            here.warning(
                field.line(),
                key,
                "audit refuses nothing of what the pods of "
                    + where
                    + " do; once `denials` shows nothing that they need, write enforce");
        case "off" ->
            here.warning(
                field.line(),
                key,
                "off applies no resource to the pods of "
                    + where
                    + ": all they do passes to where they dial; write audit to see what they do");
        default -> {}
      }
    }

    private static Problem problem(ConfigProblem problem) {
      Matcher place = PLACE.matcher(problem.where());
      boolean matches = place.matches();
      return new Problem(
          problem.stops() ? Problem.Severity.ERROR : Problem.Severity.WARNING,
          matches ? place.group(1) : problem.where(),
          matches ? Integer.parseInt(place.group(2)) : 0,
          Optional.empty(),
          problem.key(),
          problem.message());
    }

    /// Resources are checked as one set, with the settings of the configuration that is among the
    /// files, if there is exactly one.
    List<Problem> finish() {
      boolean one = configs.size() == 1;
      MeshSettings mesh = one ? configs.getFirst().mesh() : MeshSettings.DEFAULTS;
      EgressSettings egress = one ? configs.getFirst().egress() : EgressSettings.DEFAULTS;
      ResourceSet set = ResourceSet.of(List.of(new SourceSnapshot("files", objects, problems)));
      Set<String> pods = new HashSet<>();
      for (AgentConfig config : configs) {
        config.pods().forEach(p -> pods.add(p.ref().namespace()));
        config.podFolders().forEach(f -> pods.add(f.namespace()));
      }
      return new PolicyCompiler(mesh, egress).check(set, pods).problems();
    }
  }

  private static void json(PrintWriter out, List<Problem> problems, long errors, long warnings)
      throws IOException {
    JsonGenerator json = new JsonFactory().createGenerator(out).useDefaultPrettyPrinter();
    json.writeStartObject();
    json.writeNumberField("errors", errors);
    json.writeNumberField("warnings", warnings);
    json.writeArrayFieldStart("problems");
    for (Problem problem : problems) {
      json.writeStartObject();
      json.writeStringField("severity", problem.isError() ? "error" : "warning");
      json.writeStringField("file", problem.file());
      json.writeNumberField("line", problem.line());
      Optional<ResourceRef> ref = problem.resource();
      if (ref.isPresent()) {
        json.writeStringField("resource", Problem.show(ref.get()));
      }
      json.writeStringField("field", problem.field());
      json.writeStringField("message", problem.message());
      json.writeEndObject();
    }
    json.writeEndArray();
    json.writeEndObject();
    json.flush();
    out.println();
  }
}
