package io.tailwater.agent.admin;

import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaders;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;

/// Tells whether a request can come from a person on this machine. A page of a stranger that a
/// browser here shows can send requests too: by a name that it points at 127.0.0.1 (then Host is
/// that name), or across origins (then Origin, Sec-Fetch-Site or a form's content type shows it).
final class LocalRequests {
  private static final Set<String> HOSTS = Set.of("localhost", "127.0.0.1", "[::1]");

  /// What a form can send without asking.
  private static final List<String> FORMS =
      List.of("application/x-www-form-urlencoded", "multipart/form-data", "text/plain");

  private LocalRequests() {}

  /// Whether a Host value, with or without a port, is local.
  static boolean isLocal(String host) {
    String lower = host.toLowerCase(Locale.ROOT);
    int colon = lower.lastIndexOf(':');
    if (colon > lower.lastIndexOf(']')) {
      String port = lower.substring(colon + 1);
      boolean digits = port.length() <= 5 && port.chars().allMatch(c -> c >= '0' && c <= '9');
      return digits && HOSTS.contains(lower.substring(0, colon));
    }
    return HOSTS.contains(lower);
  }

  /// Why a request that changes something is not served; empty when it is.
  static Optional<String> foreign(HttpHeaders headers) {
    Optional<String> origin = Optional.ofNullable(headers.get(HttpHeaderNames.ORIGIN));
    String host = Optional.ofNullable(headers.get(HttpHeaderNames.HOST)).orElse("");
    if (origin.isPresent() && !origin.get().equals("http://" + host)) {
      return Optional.of("POST from a foreign origin is refused");
    }
    Optional<String> site = Optional.ofNullable(headers.get("Sec-Fetch-Site"));
    if (site.isPresent() && !site.get().equals("same-origin") && !site.get().equals("none")) {
      return Optional.of("POST from another site is refused");
    }
    String type =
        Optional.ofNullable(headers.get(HttpHeaderNames.CONTENT_TYPE))
            .orElse("")
            .toLowerCase(Locale.ROOT);
    return FORMS.stream().anyMatch(type::startsWith)
        ? Optional.of("POST from a form is refused; send no body")
        : Optional.empty();
  }
}
