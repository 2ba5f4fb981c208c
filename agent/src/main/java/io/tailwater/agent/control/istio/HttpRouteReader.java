package io.tailwater.agent.control.istio;

import com.google.re2j.Pattern;
import com.google.re2j.PatternSyntaxException;
import io.tailwater.agent.control.source.FieldReader;
import io.tailwater.agent.control.source.Nearest;
import io.tailwater.agent.dataplane.route.TextMatch;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
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

  /// The numbers that Go's net/http has a text for, which is what the webhook asks.
  private static final Set<Integer> STATUSES = statuses();

  private static Set<Integer> statuses() {
    Set<Integer> out = new HashSet<>();
    int[][] ranges = {
      {100, 103},
      {200, 208},
      {226, 226},
      {300, 305},
      {307, 308},
      {400, 418},
      {421, 426},
      {428, 429},
      {431, 431},
      {451, 451},
      {500, 508},
      {510, 511}
    };
    for (int[] range : ranges) {
      for (int status = range[0]; status <= range[1]; status++) {
        out.add(status);
      }
    }
    return Set.copyOf(out);
  }

  /// What of a request is no header and may be matched like one (RFC 9113 section 8.3).
  private static final Set<String> PSEUDO =
      Set.of(":method", ":scheme", ":authority", ":path", ":status");

  private static final String CLAIMS = "@request.auth.claims";

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
    List<VirtualService.HttpMatch> matches = new ArrayList<>();
    for (FieldReader match : route.mappings("match")) {
      matches.add(match(match));
    }
    List<VirtualService.Weighted> to = service.weighted(route, true);
    conflicts(route);
    Optional<FieldReader> rewriteReader = route.mapping("rewrite");
    Optional<VirtualService.Rewrite> rewrite = rewriteReader.map(r -> rewrite(r, cannot));
    VirtualService.HeaderChanges headers = HeaderChangesReader.read(route);
    if (rewrite.flatMap(VirtualService.Rewrite::authority).isPresent()
        && HeaderChangesReader.setsAuthority(headers.request())) {
      route.error("headers", "must not set the authority, which rewrite sets already");
    }
    Optional<Duration> timeout = GoDuration.read(route, "timeout");
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
    HttpRouteChecks.check(route, service::destination, cannot);
    route.finish();
    if (mesh) {
      cannot.forEach(
          what -> route.warning(what + ": what the route takes is refused (not_supported_yet)"));
    }
    return new VirtualService.Http(
        name, matches, to, rewrite, headers, timeout, retries, cannot.stream().findFirst());
  }

  /// What excludes each other, and what is needed.
  private static void conflicts(FieldReader route) {
    boolean to = !route.lacks("route");
    if (route.has("delegate")) {
      if (to) {
        route.error("route", "cannot be set with delegate");
      }
      if (route.has("redirect")) {
        route.error("redirect", "cannot be set with delegate");
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
      if (route.has("fault")) {
        route.error("fault", "cannot be set with " + answer);
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

  private VirtualService.HttpMatch match(FieldReader match) {
    match.string("name");
    match.string("statPrefix");
    boolean ignoreCase = match.bool("ignoreUriCase").orElse(false);
    VirtualService.HttpMatch out =
        new VirtualService.HttpMatch(
            text(match, "uri").map(t -> ignoreCase ? ignoringCase(t) : t),
            longer(match, "scheme"),
            longer(match, "method"),
            longer(match, "authority"),
            headers(match, "headers"),
            headers(match, "withoutHeaders"),
            parameters(match),
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

  private Map<String, TextMatch> parameters(FieldReader match) {
    Map<String, TextMatch> out = new LinkedHashMap<>();
    match
        .mapping("queryParams")
        .ifPresent(params -> {
          for (String name : params.mapping().keys()) {
            longer(params, name).ifPresent(t -> out.put(name, t));
          }
        });
    return out;
  }

  private Map<String, TextMatch> headers(FieldReader match, String key) {
    Map<String, TextMatch> out = new LinkedHashMap<>();
    Optional<FieldReader> reader = match.mapping(key);
    if (reader.isEmpty()) {
      return out;
    }
    FieldReader headers = reader.get();
    boolean without = key.equals("withoutHeaders");
    for (String name : headers.mapping().keys()) {
      notHeader(name).ifPresent(why -> headers.error(name, why));
      if (headers.has(name)) {
        header(headers, name, without).ifPresent(t -> out.put(name.toLowerCase(Locale.ROOT), t));
      } else if (without) {
        out.put(name.toLowerCase(Locale.ROOT), new TextMatch.Present());
      } else {
        headers.error(name, "must not be null; write {} for \"is there\"");
      }
    }
    return out;
  }

  /// In `withoutHeaders` a lone star, which is no expression, stands for any value.
  private static Optional<TextMatch> header(FieldReader headers, String name, boolean without) {
    boolean star =
        without
            && headers
                .mapping(name)
                .flatMap(m -> m.mapping().text("regex"))
                .filter("*"::equals)
                .isPresent();
    return star ? Optional.of(new TextMatch.Present()) : longer(headers, name);
  }

  private Optional<String> notHeader(String name) {
    String lower = name.toLowerCase(Locale.ROOT);
    if (lower.startsWith(CLAIMS) && lower.substring(CLAIMS.length()).matches("\\..+|\\[.+\\]")) {
      return mesh
          ? Optional.of("JWT claims are for gateways, and this holds for pods")
          : Optional.empty();
    }
    return PSEUDO.contains(name) || HeaderChangesReader.NAME.matcher(name).matches()
        ? Optional.empty()
        : Optional.of("\"" + name + "\" is no header name");
  }

  /// A match that is no empty prefix, which only a path may be.
  private static Optional<TextMatch> longer(FieldReader reader, String key) {
    Optional<TextMatch> match = text(reader, key);
    if (match.orElse(null) instanceof TextMatch.Prefix(String prefix) && prefix.isEmpty()) {
      reader.error(key, "has an empty prefix; write {} for \"is there\", or leave it out");
      return Optional.empty();
    }
    return match;
  }

  private static Optional<TextMatch> text(FieldReader reader, String key) {
    Optional<FieldReader> inner = reader.mapping(key);
    if (inner.isEmpty()) {
      return Optional.empty();
    }
    FieldReader match = inner.get();
    Optional<String> exact = match.string("exact");
    Optional<String> prefix = match.string("prefix");
    Optional<String> regex = match.string("regex");
    match.finish();
    onlyOne(match);
    if (regex.isPresent()) {
      return regex(match, "regex", regex.get()).map(TextMatch.Regex::new);
    }
    if (prefix.isPresent()) {
      return Optional.of(new TextMatch.Prefix(prefix.get()));
    }
    return Optional.of(
        exact.<TextMatch>map(TextMatch.Exact::new).orElseGet(TextMatch.Present::new));
  }

  static void onlyOne(FieldReader match) {
    long set = List.of("exact", "prefix", "regex").stream().filter(match::has).count();
    if (set > 1) {
      match.error("exact, prefix and regex exclude each other");
    }
  }

  static Optional<Pattern> regex(FieldReader reader, String key, String text) {
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
      r.string("match").filter(m -> !m.isEmpty()).ifPresent(m -> regex(r, "match", m));
      for (String key : List.of("match", "rewrite")) {
        if (r.string(key).orElse("").isEmpty()) {
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

  private VirtualService.Retries retries(FieldReader reader) {
    int attempts = reader.integer("attempts", 0, Integer.MAX_VALUE).orElse(0);
    Optional<Duration> perTry = GoDuration.read(reader, "perTryTimeout");
    Optional<String> on = reader.string("retryOn").filter(o -> !o.isEmpty());
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
      boolean status = part.matches("\\d{3}") && STATUSES.contains(Integer.parseInt(part));
      if (!status && !RETRY_ON.contains(part)) {
        reader.error(
            "retryOn",
            "\""
                + part
                + "\" is no condition of retries"
                + (RETRY_ON.contains(part.strip())
                    ? "; write them with commas and without blanks"
                    : Nearest.hint(part, RETRY_ON)));
      }
      conditions.add(part);
    }
    return new VirtualService.Retries(attempts, perTry, List.copyOf(conditions));
  }
}
