package io.tailwater.iptables.netlink;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import jnr.ffi.Pointer;
import jnr.ffi.Runtime;

/// Memory outside the heap that the kernel reads from or writes to, with its address. One user at a
/// time.
public final class NetlinkMemory {
  /// Room for the largest message: a packet of 64 KiB with its attributes.
  public static final int LARGEST = 72 * 1024;

  static final Runtime RUNTIME = Runtime.getSystemRuntime();

  private final ByteBuffer bytes;
  private final long address;

  /// @param capacity in bytes; 8 KiB hold everything but packets, which need [#LARGEST]
  public NetlinkMemory(int capacity) {
    this.bytes = ByteBuffer.allocateDirect(capacity).order(ByteOrder.nativeOrder());
    this.address = Pointer.wrap(RUNTIME, bytes).address();
  }

  /// The memory itself, in the machine's byte order.
  public ByteBuffer bytes() {
    return bytes;
  }

  /// Where the memory is, for a system call.
  public long address() {
    return address;
  }
}
