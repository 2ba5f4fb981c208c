/// What the agent shows of itself: Envoy's admin pages and our own on one address, metrics on a
/// second, readiness on a third. In: HTTP requests. Out: pages made from what the rooms below
/// count. Requests are read on one small loop and answered on virtual threads. Neighbours: node
/// starts it; the command line asks it.
@NullMarked
package io.tailwater.agent.admin;

import org.jspecify.annotations.NullMarked;
