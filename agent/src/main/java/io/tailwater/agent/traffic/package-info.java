/// The nouns of the whole agent: names, addresses, pods and reasons. Values only: no thread, no
/// I/O, no Netty. Everything above imports this room; it imports nothing of ours.
@NullMarked
package io.tailwater.agent.traffic;

import org.jspecify.annotations.NullMarked;
