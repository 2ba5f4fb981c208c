/// From the first bytes of a client to what they say: a ClientHello's name, an HTTP request's Host,
/// or neither. In: bytes, as they come. Out: `Sniffed`. Pure and incremental; runs on the
/// connection's loop; keeps no bytes and changes none. Neighbours: flow feeds it, route reads
/// `Preface`.
@NullMarked
package io.tailwater.agent.dataplane.sniff;

import org.jspecify.annotations.NullMarked;
