package io.tailwater.perf.peer;

import io.tailwater.lab.NetLab;
import io.tailwater.lab.Place;

/// Where a contestant works: the lab, the pod whose traffic it takes and no other does, and the DNS
/// server it asks. Names under `domain` are allowed, all others are not.
///
/// @param number which of the contestants this is, from 0: ports on the node are told apart by it
public record Setting(NetLab lab, Place pod, int number, String dnsServer, String domain) {}
