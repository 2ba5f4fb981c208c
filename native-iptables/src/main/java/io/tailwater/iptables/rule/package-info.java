/// What the rules of a namespace are; no kernel here. In: a
/// [io.tailwater.iptables.rule.CapturePlan] and what `iptables-save` printed. Out: a
/// [io.tailwater.iptables.rule.RuleSet], the [io.tailwater.iptables.rule.RestoreScript] that leads
/// there, and the differences between the two.
///
/// Thread: none, all values are immutable.
///
/// Neighbours: `apply` runs the scripts. Nothing in this package knows Java's network or process
/// classes beyond addresses.
package io.tailwater.iptables.rule;
