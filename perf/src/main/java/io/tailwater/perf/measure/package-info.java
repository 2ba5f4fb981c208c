/// What is measured and how it is summed up: latencies, CPU and memory out of /proc, medians and
/// quartiles. Pure arithmetic and small reads of /proc; no process is started here. Any thread.
package io.tailwater.perf.measure;
