/// Where connections go, by name and address, with their counters. In: decisions and addresses.
/// Out: `Cluster` and `Endpoint`. Counters are striped and may be added to on any loop; `/clusters`
/// reads them. Neighbours: connect counts here, admin shows it.
@NullMarked
package io.tailwater.agent.dataplane.upstream;

import org.jspecify.annotations.NullMarked;
