package io.tailwater.agent.dataplane.http;

import io.tailwater.agent.dataplane.route.Request;
import io.tailwater.agent.traffic.Refusal;
import java.util.Optional;

/// What there is to tell of one request that is over.
///
/// @param method as the client wrote it; empty where the head could not be read
/// @param authority the host and port that it was routed by; empty where the head could not be read
/// @param path without the query, which carries secrets; what is not printable ASCII is
///   percent-encoded
/// @param http2 what the client speaks
/// @param status what the client was told; 0 where it was told nothing
/// @param sent payload bytes of the request that were sent on
/// @param received payload bytes of the response that were sent to the client
/// @param nanos from its head to its end
/// @param end how it ended, where it was sent on
/// @param request what it was routed by; empty where the head could not be read
/// @param routed where it was to go; empty where the head could not be read
/// @param counter the connection that carried it last
/// @param refusal why it did not get there
/// @param detail for people; empty when it ended well
public record RequestRecord(
    String method,
    String authority,
    String path,
    boolean http2,
    int status,
    long sent,
    long received,
    long nanos,
    Upstream.RequestEnd end,
    Optional<Request> request,
    Optional<Upstreams.Routed> routed,
    Optional<Upstream.RequestCounter> counter,
    Optional<Refusal> refusal,
    String detail) {}
