package io.tailwater.agent.control.istio;

import com.google.re2j.Pattern;
import com.google.re2j.PatternSyntaxException;
import io.tailwater.agent.control.source.FieldReader;
import io.tailwater.agent.dataplane.route.TextMatch;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// Reads the `http` routes of a VirtualService. One use, one thread.
final class HttpRouteReader {
  /// Istio's limit, which stands for RE2's on the size of a compiled expression.
  private static final int LONGEST_REGEX = 1024;

  private static final java.util.regex.Pattern HEADER_NAME =
      java.util.regex.Pattern.compile("[-!#$%&'*+.^_`|~0-9a-zA-Z]+");
  private static final Set<String> RETRY_ON =
      Set.of(
          "5xx",
          "gateway-error",
          "reset",
          "reset-before-request",
          "connect-failure",
          "envoy-ratelimited",
          "retriable-4xx",
          "refused-stream",
          "retriable-status-codes",
          "retriable-headers",
          "http3-post-connect-failure",
          "cancelled",
          "deadline-exceeded",
          "internal",
          "resource-exhausted",
          "unavailable");
  private static final Set<String> CORS_METHODS =
      Set.of("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*");
  private static final int MAX_BODY = 1 << 20;

  private final VirtualServiceReader service;
  private final boolean delegate;
  private final boolean mesh;

  /// @param delegate whether others delegate to the resource
  /// @param mesh whether it holds for pods
  HttpRouteReader(VirtualServiceReader service, boolean delegate, boolean mesh) {
    this.service = service;
    this.delegate = delegate;
    this.mesh = mesh;
  }

  VirtualService.Http read(FieldReader route) {
    List<String> cannot = new ArrayList<>();
    String name = route.string("name").orElse("");
    boolean plainMatch = !delegate && !route.has("delegate");
    List<VirtualService.HttpMatch> matches = new ArrayList<>();
    for (FieldReader match : route.mappings("match")) {
      matches.add(match(match, plainMatch));
    }
    List<VirtualService.Weighted> to = service.weighted(route, true);
    conflicts(route);
    Optional<FieldReader> rewriteReader = route.mapping("rewrite");
    Optional<VirtualService.Rewrite> rewrite = rewriteReader.map(r -> rewrite(r, cannot));
    VirtualService.HeaderChanges headers = headers(route);
    if (rewrite.flatMap(VirtualService.Rewrite::authority).isPresent()
        && setsAuthority(headers.request())) {
      route.error("headers", "must not set the authority, which rewrite sets already");
    }
    Optional<Duration> timeout = GoDuration.readOrZero(route, "timeout");
    Optional<VirtualService.Retries> retries = route.mapping("retries").map(this::retries);
    Optional<FieldReader> other = route.mapping("delegate");
    other.ifPresent(d -> {
      d.string("name");
      d.string("namespace");
      d.finish();
      cannot.add("delegate is not honoured");
      if (delegate) {
        route.error("delegate", "cannot stand in a route that others delegate to");
      }
    });
    route.mapping("redirect").ifPresent(r -> redirect(r, cannot));
    route.mapping("directResponse").ifPresent(r -> directResponse(r, cannot));
    route.mapping("fault").ifPresent(f -> fault(f, cannot));
    mirrors(route);
    route.mapping("corsPolicy").ifPresent(c -> cors(route, c));
    route.finish();
    if (mesh) {
      cannot.forEach(
          what -> route.warning(what + ": what the route takes is refused (not_supported_yet)"));
    }
    return new VirtualService.Http(
        name, matches, to, rewrite, headers, timeout, retries, cannot.stream().findFirst());
  }

  private static boolean setsAuthority(VirtualService.Changes changes) {
    return changes.set().keySet().stream().anyMatch(HttpRouteReader::isAuthority)
        || changes.add().keySet().stream().anyMatch(HttpRouteReader::isAuthority);
  }

  private static boolean isAuthority(String header) {
    return header.equals(":authority") || header.equals("host");
  }

  /// What excludes each other, and what is needed.
  private static void conflicts(FieldReader route) {
    boolean to = !route.items("route").isEmpty();
    if (route.has("delegate")) {
      for (String key : List.of("redirect", "route", "directResponse")) {
        if (route.has(key)) {
          route.error(key, "cannot be set with delegate");
        }
      }
      return;
    }
    for (String answer : List.of("redirect", "directResponse")) {
      if (!route.has(answer)) {
        continue;
      }
      if (to) {
        route.error(answer, "and route exclude each other");
      }
      if (route.has("fault") && answer.equals("redirect")) {
        route.error("fault", "cannot be set with redirect");
      }
      if (route.has("rewrite")) {
        route.error("rewrite", "cannot be set with " + answer);
      }
    }
    if (route.has("redirect") && route.has("directResponse")) {
      route.error("directResponse", "and redirect exclude each other");
    }
    if (!to && !route.has("redirect") && !route.has("directResponse")) {
      route.error("route", "is missing: a destination, redirect or directResponse is needed");
    }
  }

  // ---- matches -----------------------------------------------------------------------------

  private VirtualService.HttpMatch match(FieldReader match, boolean regexAllowed) {
    match.string("name");
    match.string("statPrefix");
    boolean ignoreCase = match.bool("ignoreUriCase").orElse(false);
    VirtualService.HttpMatch out =
        new VirtualService.HttpMatch(
            text(match, "uri", regexAllowed).map(t -> ignoreCase ? ignoringCase(t) : t),
            text(match, "scheme", regexAllowed),
            text(match, "method", regexAllowed),
            text(match, "authority", regexAllowed),
            texts(match, "headers", regexAllowed, true),
            texts(match, "withoutHeaders", regexAllowed, true),
            texts(match, "queryParams", regexAllowed, false),
            service.source(match));
    match.finish();
    return out;
  }

  private static TextMatch ignoringCase(TextMatch match) {
    return switch (match) {
      case TextMatch.Exact(String value) ->
          new TextMatch.IgnoringCase(new TextMatch.Exact(value.toLowerCase(Locale.ROOT)));
      case TextMatch.Prefix(String value) ->
          new TextMatch.IgnoringCase(new TextMatch.Prefix(value.toLowerCase(Locale.ROOT)));
      // As in Istio, an expression says by itself whether case counts.
      case TextMatch.Regex _, TextMatch.Present _, TextMatch.IgnoringCase _ -> match;
    };
  }

  private Map<String, TextMatch> texts(
      FieldReader match, String key, boolean regexAllowed, boolean headers) {
    Map<String, TextMatch> out = new LinkedHashMap<>();
    Optional<FieldReader> reader = match.mapping(key);
    if (reader.isEmpty()) {
      return out;
    }
    for (String name : reader.get().mapping().keys()) {
      if (headers && !HEADER_NAME.matcher(name).matches() && !name.startsWith("@")) {
        reader.get().error(name, "\"" + name + "\" is no header name");
      }
      if (name.startsWith("@request.auth.claims")) {
        reader.get().error(name, "JWT claims are for gateways, and this holds for pods");
      }
      if (!reader.get().has(name)) {
        reader.get().error(name, "must not be null; write {} for \"is there\"");
        continue;
      }
      text(reader.get(), name, regexAllowed)
          .ifPresent(t -> out.put(headers ? name.toLowerCase(Locale.ROOT) : name, t));
    }
    return out;
  }

  private Optional<TextMatch> text(FieldReader reader, String key, boolean regexAllowed) {
    Optional<FieldReader> inner = reader.mapping(key);
    if (inner.isEmpty()) {
      return Optional.empty();
    }
    FieldReader match = inner.get();
    Optional<String> exact = match.string("exact");
    Optional<String> prefix = match.string("prefix");
    Optional<String> regex = match.string("regex");
    match.finish();
    int set =
        (exact.isPresent() ? 1 : 0) + (prefix.isPresent() ? 1 : 0) + (regex.isPresent() ? 1 : 0);
    if (set > 1) {
      match.error("exact, prefix and regex exclude each other");
    }
    if (regex.isPresent()) {
      if (!regexAllowed) {
        match.error("regex", "is not allowed where routes are delegated");
        return Optional.empty();
      }
      return regex(match, "regex", regex.get()).map(TextMatch.Regex::new);
    }
    if (prefix.isPresent()) {
      return Optional.of(new TextMatch.Prefix(prefix.get()));
    }
    return Optional.of(
        exact.<TextMatch>map(TextMatch.Exact::new).orElseGet(TextMatch.Present::new));
  }

  private static Optional<Pattern> regex(FieldReader reader, String key, String text) {
    if (text.isEmpty()) {
      reader.error(key, "is empty");
      return Optional.empty();
    }
    if (text.length() > LONGEST_REGEX) {
      reader.error(key, "is longer than " + LONGEST_REGEX + " characters");
      return Optional.empty();
    }
    try {
      return Optional.of(Pattern.compile(text));
    } catch (PatternSyntaxException e) {
      reader.error(key, "is no expression of RE2: " + e.getDescription());
      return Optional.empty();
    }
  }

  // ---- what is done ------------------------------------------------------------------------

  private static VirtualService.Rewrite rewrite(FieldReader reader, List<String> cannot) {
    Optional<String> uri = reader.string("uri").filter(u -> !u.isEmpty());
    Optional<String> authority = reader.string("authority").filter(a -> !a.isEmpty());
    Optional<FieldReader> regex = reader.mapping("uriRegexRewrite");
    regex.ifPresent(r -> {
      r.string("match").ifPresent(m -> regex(r, "match", m));
      r.string("rewrite");
      for (String key : List.of("match", "rewrite")) {
        if (!r.has(key)) {
          r.error(key, "is missing");
        }
      }
      r.finish();
      cannot.add("rewrite.uriRegexRewrite is not honoured");
      if (uri.isPresent()) {
        reader.error("uriRegexRewrite", "and uri exclude each other");
      }
    });
    if (uri.isEmpty() && authority.isEmpty() && regex.isEmpty()) {
      reader.error("sets nothing: uri, uriRegexRewrite or authority is needed");
    }
    reader.finish();
    return new VirtualService.Rewrite(uri, authority);
  }

  /// The `headers` of a route or destination.
  static VirtualService.HeaderChanges headers(FieldReader route) {
    Optional<FieldReader> reader = route.mapping("headers");
    if (reader.isEmpty()) {
      return VirtualService.HeaderChanges.NONE;
    }
    VirtualService.HeaderChanges out =
        new VirtualService.HeaderChanges(
            reader
                .get()
                .mapping("request")
                .map(r -> changes(r, true))
                .orElse(VirtualService.Changes.NONE),
            reader
                .get()
                .mapping("response")
                .map(r -> changes(r, false))
                .orElse(VirtualService.Changes.NONE));
    reader.get().finish();
    return out;
  }

  private static VirtualService.Changes changes(FieldReader reader, boolean request) {
    Map<String, String> set = named(reader, "set", request);
    Map<String, String> add = named(reader, "add", request);
    List<String> remove = new ArrayList<>();
    for (FieldReader.Text text : reader.strings("remove")) {
      String name = text.text().toLowerCase(Locale.ROOT);
      wrongHeader(name, false)
          .ifPresent(why -> reader.problems().error(text.line(), text.path(), why));
      remove.add(name);
    }
    reader.finish();
    if (setsAuthority(new VirtualService.Changes(Map.of(), add, List.of()))
        && setsAuthority(new VirtualService.Changes(set, Map.of(), List.of()))) {
      reader.error("add", "must not set the authority, which set sets already");
    }
    return new VirtualService.Changes(set, add, remove);
  }

  private static Map<String, String> named(FieldReader reader, String key, boolean authority) {
    Map<String, String> out = new HashMap<>();
    reader
        .stringMap(key)
        .forEach((name, value) -> {
          String lower = name.toLowerCase(Locale.ROOT);
          wrongHeader(lower, authority).ifPresent(why -> reader.error(key, why));
          if (value.chars().anyMatch(c -> c < ' ' && c != '\t')) {
            reader.error(key, "the value of " + name + " has a control character");
          }
          out.put(lower, value);
        });
    return out;
  }

  private static Optional<String> wrongHeader(String name, boolean authority) {
    if (isAuthority(name)) {
      return authority ? Optional.empty() : Optional.of("\"" + name + "\" cannot be changed here");
    }
    return HEADER_NAME.matcher(name).matches()
        ? Optional.empty()
        : Optional.of("\"" + name + "\" is no header name");
  }

  private VirtualService.Retries retries(FieldReader reader) {
    int attempts = reader.integer("attempts", 0, Integer.MAX_VALUE).orElse(0);
    Optional<Duration> perTry = GoDuration.readOrZero(reader, "perTryTimeout");
    Optional<String> on = reader.string("retryOn");
    boolean localities = reader.has("retryRemoteLocalities");
    reader.bool("retryRemoteLocalities");
    reader.bool("retryIgnorePreviousHosts");
    Optional<Duration> backoff = GoDuration.read(reader, "backoff");
    reader.finish();
    if (attempts == 0 && (perTry.isPresent() || on.isPresent() || localities)) {
      reader.error("attempts", "is 0, which turns retries off: the rest has no effect");
    }
    if (backoff.isPresent()) {
      reader.warning("backoff", "is not honoured");
    }
    List<String> conditions = new ArrayList<>();
    for (String part : on.map(o -> o.split(",", -1)).orElse(new String[0])) {
      if (part.isEmpty()) {
        continue;
      }
      if (!RETRY_ON.contains(part) && !part.matches("[1-5]\\d\\d")) {
        reader.error("retryOn", "\"" + part + "\" is no condition of retries");
      }
      conditions.add(part);
    }
    return new VirtualService.Retries(
        attempts, perTry.filter(d -> !d.isZero()), List.copyOf(conditions));
  }

  // ---- what is validated alone -------------------------------------------------------------

  private static void redirect(FieldReader redirect, List<String> cannot) {
    redirect.string("uri");
    redirect.string("authority");
    Optional<String> scheme = redirect.string("scheme").filter(s -> !s.isEmpty());
    if (scheme.isPresent() && !Set.of("http", "https").contains(scheme.get())) {
      redirect.error("scheme", "must be http or https");
    }
    redirect.integer("port", 1, 65535);
    redirect.oneOf("derivePort", Map.of("FROM_PROTOCOL_DEFAULT", 1, "FROM_REQUEST_PORT", 2));
    redirect
        .integer("redirectCode", 0, 999)
        .filter(c -> c != 0 && (c < 300 || c > 399))
        .ifPresent(c -> redirect.error("redirectCode", "must be 3xx, not " + c));
    boolean any =
        redirect.has("uri")
            || redirect.has("authority")
            || redirect.has("scheme")
            || redirect.has("port")
            || redirect.has("derivePort");
    if (!any) {
      redirect.error("sets nothing: uri, authority, scheme or port is needed");
    }
    redirect.finish();
    cannot.add("redirect is not honoured");
  }

  private static void directResponse(FieldReader response, List<String> cannot) {
    if (!response.has("status")) {
      response.error("status", "is missing");
    }
    response.integer("status", 200, 599);
    response
        .mapping("body")
        .ifPresent(body -> {
          if (body.string("string").orElse("").length() > MAX_BODY) {
            body.error("string", "is longer than 1 MiB");
          }
          body.string("bytes");
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
          abort.string("grpcStatus");
          if (abort.has("http2Error")) {
            abort.error("http2Error", "is not supported by Istio");
          }
          percentage(abort);
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
          percentage(delay);
          delay.finish();
          fault.warning("delay", "is not honoured");
        });
    fault.finish();
  }

  private static void percentage(FieldReader reader) {
    reader
        .mapping("percentage")
        .ifPresent(p -> {
          TrafficPolicyReader.number(p, "value")
              .filter(v -> v < 0 || v > 100)
              .ifPresent(_ -> p.error("value", "must be between 0 and 100"));
          p.finish();
        });
  }

  private void mirrors(FieldReader route) {
    route.mapping("mirror").ifPresent(service::destination);
    for (FieldReader mirror : route.mappings("mirrors")) {
      mirror.mapping("destination").ifPresent(service::destination);
      if (!mirror.has("destination")) {
        mirror.error("destination", "is missing");
      }
      percentage(mirror);
      mirror.finish();
    }
    if (route.has("mirror") && route.has("mirrors")) {
      route.error("mirrors", "and mirror exclude each other");
    }
    for (String key : List.of("mirrorPercent", "mirror_percent")) {
      if (route.has(key)) {
        route.integer(key, 0, 100);
        route.warning(key, "is deprecated; use mirrorPercentage");
      }
    }
    route
        .mapping("mirrorPercentage")
        .ifPresent(p -> {
          TrafficPolicyReader.number(p, "value")
              .filter(v -> v < 0 || v > 100)
              .ifPresent(_ -> p.error("value", "must be between 0 and 100"));
          p.finish();
        });
    if (route.has("mirror") || route.has("mirrors")) {
      route.warning(
          route.has("mirror") ? "mirror" : "mirrors", "is not honoured: nothing is mirrored");
    }
  }

  private void cors(FieldReader route, FieldReader cors) {
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
      regex.ifPresent(r -> regex(origin, "regex", r));
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
        if (!HEADER_NAME.matcher(header.text()).matches()) {
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
