/// The demo: the agent's main job on real traffic, without a cluster.
///
/// [Scenario] builds the lab, [Demo] is what a user sees, [Training] runs the same scenario for the
/// AOT cache of the image. The agent is a foreign process, started by its command line in the
/// node's namespace. One thread, blocking. Neighbours: [io.tailwater.lab] below, the launcher
/// above.
@NullMarked
package io.tailwater.lab.demo;

import org.jspecify.annotations.NullMarked;
