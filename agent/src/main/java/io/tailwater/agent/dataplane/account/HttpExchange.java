package io.tailwater.agent.dataplane.account;

/// One HTTP request and its response, for the access log.
///
/// @param protocol as the client speaks it: HTTP/1.1 or HTTP/2
/// @param path without its query
/// @param status what the client was told; 0 is nothing
/// @param problem for people; empty when it ended well
public record HttpExchange(
    String protocol, String method, String path, int status, String problem) {}
