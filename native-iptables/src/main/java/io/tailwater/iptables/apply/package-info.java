/// Brings rules into the kernel and compares them with what is there. In: a namespace and a
/// [io.tailwater.iptables.rule.CapturePlan]. Out: an [io.tailwater.iptables.apply.InstallReport], a
/// [io.tailwater.iptables.rule.Drift], or a [io.tailwater.iptables.apply.RulesException] that says
/// which family and table failed and what to do.
///
/// Thread: one platform thread at a time per namespace (the agent's capture loop, or a command's
/// main thread), outside of any namespace. Programs are born in the namespace, without a thread of
/// Java's: see [io.tailwater.iptables.apply.Processes].
///
/// Neighbours: `rule` says what, `netns` where. `Preflight` lives here, not in `netns`, because it
/// asks the programs too.
package io.tailwater.iptables.apply;
