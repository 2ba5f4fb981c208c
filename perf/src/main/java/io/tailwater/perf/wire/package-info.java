/// The bytes that cross the wire in a benchmark: a real ClientHello that names the server, then one
/// 16-byte command, then raw messages. Nothing here does I/O; `load` on both sides uses it. Any
/// thread.
package io.tailwater.perf.wire;
