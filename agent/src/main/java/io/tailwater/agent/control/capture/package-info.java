/// Which pods are captured, and whether they really are. In: `PodEvent`s. Out: listeners and rules
/// in each pod's namespace. One platform thread owns everything here, because a network namespace
/// belongs to an OS thread. Neighbours: native-iptables below, the data plane's listeners beside.
@NullMarked
package io.tailwater.agent.control.capture;

import org.jspecify.annotations.NullMarked;
