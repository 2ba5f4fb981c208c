/// A node, its pods and the outside world in network namespaces, with real programs in them: the
/// ground on which tests, the demo and the benchmarks run.
///
/// In goes a description (pods, hosts, names, addresses), out come running namespaces, servers and
/// the results of commands. Everything blocks and belongs on ordinary platform threads; nothing
/// here enters a namespace itself, it starts `ip netns exec` instead, so no thread of the JVM is
/// ever left in a pod.
///
/// A leaf: it knows neither the agent nor native-iptables and drives both as foreign processes.
/// Users are the tests of the other modules, the demo and perf.
@NullMarked
package io.tailwater.lab;

import org.jspecify.annotations.NullMarked;
