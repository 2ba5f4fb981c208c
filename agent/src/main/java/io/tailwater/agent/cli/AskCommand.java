package io.tailwater.agent.cli;

import java.io.PrintWriter;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/// What all commands that ask a running agent have in common. 0 with what it said, 1 when it does
/// not answer or cannot, 2 when the question is wrong.
abstract class AskCommand implements Callable<Integer> {
  @Spec private @org.jspecify.annotations.Nullable CommandSpec spec;

  @Mixin private AdminOption admin = new AdminOption();

  @Mixin private OutputOption output = new OutputOption();

  /// One parameter of a question.
  record Parameter(String name, String value) {}

  /// Whether JSON is asked for.
  final boolean isJson() {
    return output.isJson();
  }

  final int get(String path, List<Parameter> parameters) {
    List<Parameter> all = new ArrayList<>(parameters);
    if (output.isJson()) {
      all.add(new Parameter("format", "json"));
    }
    return print(admin.client().get(path + query(all)));
  }

  final int post(String path, List<Parameter> parameters) {
    return print(admin.client().post(path + query(parameters)));
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
