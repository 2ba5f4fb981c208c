package io.tailwater.agent.dataplane.http;

import io.netty.handler.codec.http.HttpResponse;
import io.tailwater.agent.dataplane.route.RequestPolicy;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/// When a request is worth another attempt: Envoy's conditions, as far as they are known here. What
/// is not known matches nothing.
record Retrying(int attempts, Set<String> on, Set<Integer> statuses, Set<String> grpc) {
  static Retrying of(RequestPolicy.Retries retries) {
    Set<String> on = new HashSet<>();
    Set<Integer> statuses = new HashSet<>();
    Set<String> grpc = new HashSet<>();
    for (String condition : retries.on()) {
      switch (condition) {
        case "cancelled" -> grpc.add("1");
        case "deadline-exceeded" -> grpc.add("4");
        case "resource-exhausted" -> grpc.add("8");
        case "internal" -> grpc.add("13");
        case "unavailable" -> grpc.add("14");
        case "gateway-error" -> {
          statuses.addAll(List.of(502, 503, 504));
          on.add("reset");
        }
        case "retriable-4xx" -> statuses.add(409);
        default -> {
          if (condition.matches("[1-5][0-9]{2}")) {
            statuses.add(Integer.valueOf(condition));
          } else {
            on.add(condition);
          }
        }
      }
    }
    return new Retrying(retries.attempts(), Set.copyOf(on), Set.copyOf(statuses), Set.copyOf(grpc));
  }

  /// No address took the connection.
  boolean onConnectFailure() {
    return on.contains("connect-failure") || on.contains("5xx");
  }

  /// An HTTP/2 peer has not looked at it.
  boolean onRefusedStream() {
    return on.contains("refused-stream") || on.contains("5xx");
  }

  /// Connection or stream ended, or a timeout passed, without a response.
  boolean onReset() {
    return on.contains("reset") || on.contains("reset-before-request") || on.contains("5xx");
  }

  boolean onResponse(HttpResponse response) {
    int status = response.status().code();
    if (statuses.contains(status) || (status >= 500 && on.contains("5xx"))) {
      return true;
    }
    String code = grpc.isEmpty() ? null : response.headers().get("grpc-status");
    return code != null && grpc.contains(code);
  }
}
