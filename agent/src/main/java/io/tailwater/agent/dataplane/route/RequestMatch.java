package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// What a match of a VirtualService's `http` route asks of a request; all of it must hold. Header
/// names are in lower case. Immutable.
///
/// @param uri the path: whole texts and expressions without the query, as Envoy has it
/// @param authority the Host as it was sent, with its port
public record RequestMatch(
    Optional<TextMatch> uri,
    Optional<TextMatch> scheme,
    Optional<TextMatch> method,
    Optional<TextMatch> authority,
    Map<String, TextMatch> headers,
    Map<String, TextMatch> withoutHeaders,
    Map<String, TextMatch> queryParams)
    implements Action.Condition {
  public RequestMatch {
    headers = Map.copyOf(headers);
    withoutHeaders = Map.copyOf(withoutHeaders);
    queryParams = Map.copyOf(queryParams);
  }

  /// Whether it asks nothing.
  public boolean isEmpty() {
    return uri.isEmpty()
        && scheme.isEmpty()
        && method.isEmpty()
        && authority.isEmpty()
        && headers.isEmpty()
        && withoutHeaders.isEmpty()
        && queryParams.isEmpty();
  }

  @Override
  public boolean holds(OriginalDst dst, @Nullable Request request) {
    if (request == null) {
      return false;
    }
    return (uri.isEmpty() || path(uri.get(), request.path()))
        // Only plaintext is looked into.
        && (scheme.isEmpty() || scheme.get().holds("http"))
        && (method.isEmpty() || method.get().holds(request.method()))
        && (authority.isEmpty() || authority.get().holds(authority(request)))
        && headers.entrySet().stream()
            .allMatch(h -> h.getValue().holds(header(request, h.getKey())))
        && withoutHeaders.entrySet().stream()
            .noneMatch(h -> h.getValue().holds(header(request, h.getKey())))
        && queryParams.entrySet().stream()
            .allMatch(q -> q.getValue().holds(parameter(request.path(), q.getKey())));
  }

  /// A header, or what HTTP/2 writes as one (RFC 9113 section 8.3.1).
  private static @Nullable String header(Request request, String name) {
    return switch (name) {
      case ":method" -> request.method();
      case ":path" -> request.path();
      case ":scheme" -> "http";
      case ":authority" -> authority(request);
      default -> request.header().apply(name);
    };
  }

  private static boolean path(TextMatch match, String path) {
    return switch (match) {
      case TextMatch.Prefix prefix -> prefix.holds(path);
      case TextMatch.IgnoringCase(TextMatch.Prefix _) -> match.holds(path);
      case TextMatch.Exact _, TextMatch.Regex _, TextMatch.Present _, TextMatch.IgnoringCase _ ->
          match.holds(withoutQuery(path));
    };
  }

  private static String withoutQuery(String path) {
    int end = path.indexOf('?');
    return end < 0 ? path : path.substring(0, end);
  }

  private static @Nullable String authority(Request request) {
    String port = request.port().map(p -> ":" + p).orElse("");
    return request
        .host()
        .map(HostName::text)
        .or(() -> request.address().map(AddressText::of))
        .map(host -> host + port)
        .orElse(null);
  }

  /// The first value of a parameter, undecoded; an empty text where it has none.
  private static @Nullable String parameter(String path, String name) {
    int from = path.indexOf('?');
    while (from >= 0) {
      int end = path.indexOf('&', from + 1);
      String pair = end < 0 ? path.substring(from + 1) : path.substring(from + 1, end);
      int equals = pair.indexOf('=');
      if ((equals < 0 ? pair : pair.substring(0, equals)).equals(name)) {
        return equals < 0 ? "" : pair.substring(equals + 1);
      }
      from = end;
    }
    return null;
  }
}
