package io.tailwater.agent.admin;

import java.util.List;
import java.util.Map;

/// `POST /logging`, as Envoy's: `?level=x` for all, `?NAME=x` for one, `?paths=a:x,b:y` for some.
final class LoggingPage {
  private LoggingPage() {}

  static Response page(Request request) {
    Map<String, List<String>> parameters = request.parameters();
    if (parameters.size() > 1) {
      return usage("invalid number of parameters");
    }
    if (parameters.size() == 1) {
      Map.Entry<String, List<String>> only = parameters.entrySet().iterator().next();
      String value = only.getValue().getFirst();
      String problem =
          switch (only.getKey()) {
            case "level" -> all(value);
            case "paths" -> some(value);
            default -> one(only.getKey(), value);
          };
      if (!problem.isEmpty()) {
        return usage(problem);
      }
    }
    if (request.json()) {
      return Response.json(
          JsonText.of(json -> {
            json.writeStartObject();
            for (Map.Entry<String, String> e : LogLevels.active().entrySet()) {
              json.writeStringField(e.getKey(), e.getValue());
            }
            json.writeEndObject();
          }));
    }
    StringBuilder out = new StringBuilder("active loggers:\n");
    LogLevels.active()
        .forEach(
            (name, level) -> out.append("  ").append(name).append(": ").append(level).append('\n'));
    return Response.text(out.append('\n').toString());
  }

  private static String all(String level) {
    if (!LogLevels.isLevel(level)) {
      return "unknown logger level";
    }
    LogLevels.setAll(level);
    return "";
  }

  private static String one(String name, String level) {
    if (name.isEmpty() || level.isEmpty()) {
      return "empty logger name or empty logger level";
    }
    if (!LogLevels.isLevel(level)) {
      return "unknown logger level";
    }
    return LogLevels.set(name, level) ? "" : "unknown logger name";
  }

  /// All or none.
  private static String some(String paths) {
    for (String path : paths.split(",", -1)) {
      int colon = path.lastIndexOf(':');
      if (colon < 1 || colon == path.length() - 1) {
        return "empty logger name or empty logger level";
      }
      if (!LogLevels.isLevel(path.substring(colon + 1))) {
        return "unknown logger level";
      }
      if (!LogLevels.active().containsKey(path.substring(0, colon))) {
        return "unknown logger name";
      }
    }
    for (String path : paths.split(",", -1)) {
      int colon = path.lastIndexOf(':');
      LogLevels.set(path.substring(0, colon), path.substring(colon + 1));
    }
    return "";
  }

  private static Response usage(String problem) {
    return Response.text(
        400,
        "error: "
            + problem
            + "\nusage: /logging?<name>=<level> (change single level)\n"
            + "usage: /logging?level=<level> (change all levels)\n"
            + "levels: "
            + String.join(" ", LogLevels.names())
            + " \n");
  }
}
