/// `./tailwater perf`: measures Tailwater next to a direct connection, nginx, HAProxy and Envoy,
/// all in one run and in the same network namespaces. {@link io.tailwater.perf.Perf} is the
/// command; `bench` plays the rounds, `peer` knows how each contestant is configured and started,
/// `load` makes the traffic, `measure` and `report` turn it into numbers, a table and a picture.
/// One thread, the command's.
package io.tailwater.perf;
