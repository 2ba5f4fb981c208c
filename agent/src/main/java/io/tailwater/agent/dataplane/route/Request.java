package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.HostName;
import java.net.InetAddress;
import java.util.Optional;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/// What routing needs of one plaintext HTTP request.
///
/// @param host from `Host` or `:authority`, without the port; empty where it is missing or no host
///   name
/// @param address the IP literal where that stands in place of a name
/// @param port the port written there
/// @param path the path with its query
/// @param header the value of a header by its lower-case name, or null
public record Request(
    Optional<HostName> host,
    Optional<InetAddress> address,
    Optional<Integer> port,
    String method,
    String path,
    boolean http2,
    Function<String, @Nullable String> header) {
  /// A request of which nothing but its head line and Host is known.
  public static Request of(Preface.Http http) {
    return new Request(
        http.host(),
        Optional.empty(),
        http.port(),
        http.method(),
        http.path(),
        http.http2(),
        _ -> null);
  }
}
