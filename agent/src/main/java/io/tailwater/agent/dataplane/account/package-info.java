/// What happened, counted and written down. In: `ConnectionRecord` with its `Outcome`. Out:
/// metrics, access log, denials, inventory. Observers are called on the connection's loop and never
/// block it. Neighbours: flow calls, admin reads.
@NullMarked
package io.tailwater.agent.dataplane.account;

import org.jspecify.annotations.NullMarked;
