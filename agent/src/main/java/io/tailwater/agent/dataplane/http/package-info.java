/// Plaintext HTTP, each request by its own Host or `:authority`. In: a client channel with the
/// bytes read ahead. Out: `Upstreams`, which says for one request where it goes and gives the
/// connection, and `HttpObserver`, which is told how it went. Runs on the loop of the client's
/// channel. Neighbours: flow hands the connection over and answers for policy, addresses and
/// dialling.
///
/// Netty's codecs read and write the bytes. What they let pass and should not is refused before
/// them: `HeadScanner` looks at the bytes of every HTTP/1 head, `RequestHead` at what they mean.
@NullMarked
package io.tailwater.agent.dataplane.http;

import org.jspecify.annotations.NullMarked;
