/// Who takes part: how each proxy is configured for the same job (take a redirected connection,
/// read the SNI, allow `*.bench.test` alone, resolve the name at the lab's DNS server, connect,
/// relay) and started as a foreign process. Files and processes only; no traffic. One thread.
package io.tailwater.perf.peer;
