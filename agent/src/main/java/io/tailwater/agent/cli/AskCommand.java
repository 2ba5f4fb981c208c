package io.tailwater.agent.cli;

import io.tailwater.agent.config.ListenAddress;
import java.io.PrintWriter;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import picocli.CommandLine.TypeConversionException;

/// What all commands that ask a running agent have in common. 0 with what it said, 1 when it does
/// not answer or cannot, 2 when the question is wrong.
abstract class AskCommand implements Callable<Integer> {
  @Spec private @org.jspecify.annotations.Nullable CommandSpec spec;

  @Option(
      names = "--admin",
      paramLabel = "ADDRESS",
      defaultValue = "${env:TAILWATER_ADMIN:-127.0.0.1:15000}",
      converter = Address.class,
      description = "Where the agent answers (default: ${DEFAULT-VALUE}).")
  private @org.jspecify.annotations.Nullable ListenAddress admin;

  @Option(
      names = {"-o", "--output"},
      paramLabel = "FORMAT",
      defaultValue = "text",
      description = "text or json.")
  private OutputFormat output = OutputFormat.text;

  /// Reads `--admin`.
  static final class Address implements ITypeConverter<ListenAddress> {
    @Override
    public ListenAddress convert(String text) {
      return ListenAddress.parse(text)
          .orElseThrow(() ->
              new TypeConversionException(
                  "must be an address like 127.0.0.1:15000 or unix:/path, not \"" + text + "\""));
    }
  }

  /// One parameter of a question.
  record Parameter(String name, String value) {}

  final OutputFormat output() {
    return output;
  }

  final int get(String path, List<Parameter> parameters) {
    List<Parameter> all = new ArrayList<>(parameters);
    if (output == OutputFormat.json) {
      all.add(new Parameter("format", "json"));
    }
    return print(client().get(path + query(all)));
  }

  final int post(String path, List<Parameter> parameters) {
    return print(client().post(path + query(parameters)));
  }

  private AdminClient client() {
    return new AdminClient(Optional.ofNullable(admin).orElseThrow());
  }

  private static String query(List<Parameter> parameters) {
    StringBuilder out = new StringBuilder();
    for (Parameter p : parameters) {
      out.append(out.isEmpty() ? '?' : '&')
          .append(URLEncoder.encode(p.name(), StandardCharsets.UTF_8))
          .append('=')
          .append(URLEncoder.encode(p.value(), StandardCharsets.UTF_8));
    }
    return out.toString();
  }

  private int print(AdminClient.Answer answer) {
    CommandSpec command = Optional.ofNullable(spec).orElseThrow();
    PrintWriter err = command.commandLine().getErr();
    PrintWriter out = command.commandLine().getOut();
    return switch (answer) {
      case AdminClient.Answer.Silence(String why) -> {
        err.println("tailwater " + command.name() + ": " + why);
        err.flush();
        yield 1;
      }
      case AdminClient.Answer.Page(int status, String body) when status >= 400 -> {
        err.println("tailwater " + command.name() + ": " + body.strip());
        err.flush();
        yield status < 500 ? 2 : 1;
      }
      case AdminClient.Answer.Page(_, String body) -> {
        out.print(body);
        out.flush();
        yield 0;
      }
    };
  }
}
