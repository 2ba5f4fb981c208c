/// The run: a lab with one pod, a server and a DNS server, the load processes in it, and rounds in
/// which the contestants take turns. In: contestants and a plan; out: samples. One thread drives;
/// what it waits for is bounded. Neighbours: `lab` for namespaces, `peer` for who takes part,
/// `load` for traffic.
package io.tailwater.perf.bench;
