package io.tailwater.agent.control.istio;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.tailwater.agent.control.source.FieldReader;
import io.tailwater.agent.control.source.Nearest;
import io.tailwater.agent.control.source.YamlValue;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;

/// Validates what of an `http` route is not honoured: redirects, fixed answers, faults, mirrors and
/// CORS. Stateless.
final class HttpRouteChecks {
  private static final Set<String> CORS_METHODS =
      Set.of("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*");

  /// The names of gRPC's status codes.
  private static final Set<String> GRPC_STATUSES =
      Set.of(
          "OK",
          "CANCELLED",
          "UNKNOWN",
          "INVALID_ARGUMENT",
          "DEADLINE_EXCEEDED",
          "NOT_FOUND",
          "ALREADY_EXISTS",
          "PERMISSION_DENIED",
          "RESOURCE_EXHAUSTED",
          "FAILED_PRECONDITION",
          "ABORTED",
          "OUT_OF_RANGE",
          "UNIMPLEMENTED",
          "INTERNAL",
          "UNAVAILABLE",
          "DATA_LOSS",
          "UNAUTHENTICATED");

  private static final int MAX_BODY = 1 << 20;
  private static final int LARGE_BODY = 100 * 1024;
  private static final double LEAST_PERCENT = 0.0001;

  private HttpRouteChecks() {}

  /// @param destinations reads and checks a destination
  /// @param cannot gets what leads the route elsewhere than its destinations, and is refused
  static void check(FieldReader route, Consumer<FieldReader> destinations, List<String> cannot) {
    route.mapping("redirect").ifPresent(r -> redirect(route, r, cannot));
    route.mapping("directResponse").ifPresent(r -> directResponse(r, cannot));
    route.mapping("fault").ifPresent(f -> fault(f, cannot));
    mirrors(route, destinations);
    route.mapping("corsPolicy").ifPresent(c -> cors(route, c));
  }

  private static void redirect(FieldReader route, FieldReader redirect, List<String> cannot) {
    boolean uri = !redirect.string("uri").orElse("").isEmpty();
    boolean prefix = !redirect.string("prefixRewrite").orElse("").isEmpty();
    boolean authority = !redirect.string("authority").orElse("").isEmpty();
    Optional<String> scheme = redirect.string("scheme").filter(s -> !s.isEmpty());
    if (scheme.isPresent() && !Set.of("http", "https").contains(scheme.get())) {
      redirect.error("scheme", "must be http or https");
    }
    redirect.integer("port", 0, 65535);
    redirect.oneOf("derivePort", Map.of("FROM_PROTOCOL_DEFAULT", 1, "FROM_REQUEST_PORT", 2));
    if (redirect.has("port") && redirect.has("derivePort")) {
      redirect.error("derivePort", "and port exclude each other");
    }
    redirect
        .number("redirectCode", 0, 0xffff_ffffL)
        .filter(c -> c != 0 && (c < 300 || c > 399))
        .ifPresent(c -> redirect.error("redirectCode", "must be 3xx, not " + c));
    if (uri && prefix) {
      redirect.error("prefixRewrite", "and uri exclude each other");
    }
    if (prefix && !matchesPrefixes(route)) {
      redirect.error("prefixRewrite", "needs matches whose uri is a prefix");
    }
    boolean port = redirect.has("port") || redirect.has("derivePort");
    if (!uri && !prefix && !authority && scheme.isEmpty() && !port) {
      redirect.error("sets nothing: uri, prefixRewrite, authority, scheme or port is needed");
    }
    redirect.finish();
    cannot.add("redirect is not honoured");
  }

  private static boolean matchesPrefixes(FieldReader route) {
    for (FieldReader.Item item : route.items("match")) {
      if (item.value() instanceof YamlValue.Mapping match
          && match.mapping("uri").filter(uri -> uri.get("prefix").isEmpty()).isPresent()) {
        return false;
      }
    }
    return true;
  }

  private static void directResponse(FieldReader response, List<String> cannot) {
    if (!response.has("status")) {
      response.error("status", "is missing");
    }
    response.integer("status", 200, 599);
    response
        .mapping("body")
        .ifPresent(body -> {
          int text = body.string("string").orElse("").getBytes(UTF_8).length;
          int bytes = body.string("bytes").orElse("").length() / 4 * 3;
          if (body.has("string") && body.has("bytes")) {
            body.error("bytes", "and string exclude each other");
          }
          if (Math.max(text, bytes) > MAX_BODY) {
            body.error("is longer than 1 MiB");
          } else if (Math.max(text, bytes) > LARGE_BODY) {
            body.warning("is longer than 100 KiB, which weighs on the control plane");
          }
          body.finish();
        });
    response.finish();
    cannot.add("directResponse is not honoured");
  }

  private static void fault(FieldReader fault, List<String> cannot) {
    if (!fault.has("abort") && !fault.has("delay")) {
      fault.error("sets nothing: abort or delay is needed");
    }
    fault
        .mapping("abort")
        .ifPresent(abort -> {
          abort.integer("httpStatus", 200, 599);
          abort
              .string("grpcStatus")
              .filter(s -> !GRPC_STATUSES.contains(s))
              .ifPresent(s ->
                  abort.error(
                      "grpcStatus",
                      "\"" + s + "\" is no status of gRPC" + Nearest.hint(s, GRPC_STATUSES)));
          if (abort.has("http2Error")) {
            abort.error("http2Error", "is not supported by Istio");
          } else if (abort.has("httpStatus") && abort.has("grpcStatus")) {
            abort.error("grpcStatus", "and httpStatus exclude each other");
          } else if (!abort.has("httpStatus") && !abort.has("grpcStatus")) {
            abort.warning("aborts with nothing: set httpStatus or grpcStatus");
          }
          percentage(abort, LEAST_PERCENT);
          abort.finish();
          cannot.add("fault.abort is not honoured");
        });
    fault
        .mapping("delay")
        .ifPresent(delay -> {
          GoDuration.read(delay, "fixedDelay");
          if (delay.has("exponentialDelay")) {
            delay.error("exponentialDelay", "is not supported by Istio");
          }
          delay.integer("percent", 0, 100);
          percentage(delay, LEAST_PERCENT);
          delay.finish();
          fault.warning("delay", "is not honoured");
        });
    fault.finish();
  }

  /// @param least the smallest one above zero
  private static void percentage(FieldReader reader, double least) {
    reader.mapping("percentage").ifPresent(p -> percent(p, least));
  }

  private static void percent(FieldReader percent, double least) {
    percent
        .decimal("value")
        .filter(v -> v < 0 || v > 100 || (v > 0 && v < least))
        .ifPresent(_ ->
            percent.error(
                "value",
                "must be between 0 and 100" + (least > 0 ? ", and at least 0.0001 or 0" : "")));
    percent.finish();
  }

  private static void mirrors(FieldReader route, Consumer<FieldReader> destinations) {
    route.mapping("mirror").ifPresent(destinations);
    for (FieldReader mirror : route.mappings("mirrors")) {
      mirror.mapping("destination").ifPresent(destinations);
      if (!mirror.has("destination")) {
        mirror.error("destination", "is missing");
      }
      percentage(mirror, 0);
      mirror.finish();
    }
    if (route.has("mirror") && !route.lacks("mirrors")) {
      route.error("mirrors", "and mirror exclude each other");
    }
    for (String key : List.of("mirrorPercent", "mirror_percent")) {
      if (route.has(key)) {
        route.integer(key, 0, 100);
        route.warning(key, "is deprecated; use mirrorPercentage");
      }
    }
    route.mapping("mirrorPercentage").ifPresent(p -> percent(p, 0));
    if (route.has("mirror") || route.has("mirrors")) {
      route.warning(
          route.has("mirror") ? "mirror" : "mirrors", "is not honoured: nothing is mirrored");
    }
  }

  private static void cors(FieldReader route, FieldReader cors) {
    cors.strings("allowOrigin");
    for (FieldReader origin : cors.mappings("allowOrigins")) {
      Optional<String> regex = origin.string("regex");
      boolean any =
          !origin.string("exact").orElse("").isEmpty()
              || !origin.string("prefix").orElse("").isEmpty()
              || !regex.orElse("").isEmpty();
      if (!any) {
        origin.error("is empty: exact, prefix or regex is needed");
      }
      HttpRouteReader.onlyOne(origin);
      regex.filter(r -> !r.isEmpty()).ifPresent(r -> HttpRouteReader.regex(origin, "regex", r));
      origin.finish();
    }
    for (FieldReader.Text method : cors.strings("allowMethods")) {
      if (!CORS_METHODS.contains(method.text())) {
        cors.problems()
            .error(method.line(), method.path(), "\"" + method.text() + "\" is no method");
      }
    }
    for (String key : List.of("allowHeaders", "exposeHeaders")) {
      for (FieldReader.Text header : cors.strings(key)) {
        if (!HeaderChangesReader.NAME.matcher(header.text()).matches()) {
          cors.problems()
              .error(header.line(), header.path(), "\"" + header.text() + "\" is no header name");
        }
      }
    }
    GoDuration.read(cors, "maxAge")
        .filter(d -> d.toNanosPart() > 0)
        .ifPresent(_ -> cors.error("maxAge", "must be whole seconds"));
    cors.bool("allowCredentials");
    cors.oneOf("unmatchedPreflights", Map.of("UNSPECIFIED", 0, "FORWARD", 1, "IGNORE", 2));
    cors.finish();
    route.warning("corsPolicy", "is not honoured: the destination answers preflights");
  }
}
