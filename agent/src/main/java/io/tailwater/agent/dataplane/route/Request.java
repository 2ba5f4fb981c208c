package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.traffic.HostName;
import java.util.Optional;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/// What routing needs of one plaintext HTTP request.
///
/// @param host from `Host` or `:authority`, without the port; empty where it is missing or no host
///   name (an IP literal is no name)
/// @param port the port written there
/// @param path the path with its query
/// @param header the value of a header by its lower-case name, or null
public record Request(
    Optional<HostName> host,
    Optional<Integer> port,
    String method,
    String path,
    boolean http2,
    Function<String, @Nullable String> header) {}
