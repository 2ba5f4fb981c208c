package io.tailwater.iptables.apply;

import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.libc.Syscalls;
import io.tailwater.iptables.netlink.Interfaces.Interface;
import io.tailwater.iptables.netns.NetworkNamespace;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import jnr.ffi.Pointer;
import jnr.ffi.Runtime;

/// Holds every queue of a namespace's interfaces for AF_XDP, and never sends anything.
///
/// A process with CAP_NET_RAW can send frames through an AF_XDP socket in copy mode, and those pass
/// no chain at all, neither iptables' nor the egress of an interface. A queue can be bound by one
/// such socket only: while this one has it, everybody else gets EBUSY. Costs some pages of the
/// kernel for each queue, of which a pod's interface commonly has one.
///
/// On a platform thread outside of any namespace, one at a time.
public final class XdpRings implements AutoCloseable {
  private static final int AF_XDP = 44;

  /// `linux/if_xdp.h`
  private static final int SOL_XDP = 283;

  private static final int XDP_TX_RING = 3;
  private static final int XDP_UMEM_REG = 4;
  private static final int XDP_UMEM_FILL_RING = 5;
  private static final int XDP_UMEM_COMPLETION_RING = 6;
  private static final int XDP_COPY = 1 << 1;

  /// Smallest ring.
  private static final int ENTRIES = 1;

  private static final int PAGE = 4096;
  private static final int MOST_QUEUES = 256;

  /// One page that the kernel pins for all of them; nothing is ever written to it.
  private static final class Memory {
    static final ByteBuffer BYTES = ByteBuffer.allocateDirect(2 * PAGE).alignedSlice(PAGE);
    static final long ADDRESS = Pointer.wrap(Runtime.getSystemRuntime(), BYTES).address();
  }

  private final Map<Queue, Integer> sockets = new HashMap<>();
  private final List<String> taken = new ArrayList<>();

  private record Queue(Interface of, int number) {}

  /// Holds nothing yet.
  public XdpRings() {}

  /// Binds all queues that are free, besides those that are held already, and lets go of those of
  /// interfaces that are gone or were made anew. Where this kernel has no AF_XDP there is nothing
  /// to hold.
  ///
  /// @throws SyscallException when the sockets cannot be made; what is held stays
  public void hold(NetworkNamespace namespace, List<Interface> interfaces) {
    taken.clear();
    sockets
        .entrySet()
        .removeIf(held -> {
          boolean gone = !interfaces.contains(held.getKey().of());
          if (gone) {
            Syscalls.close(held.getValue());
          }
          return gone;
        });
    namespace.call(() -> {
      for (Interface one : interfaces) {
        hold(one);
      }
      return null;
    });
  }

  /// Queues that somebody in the pod had before us, as `eth0 queue 0`: through these it can send
  /// unseen.
  public List<String> taken() {
    return List.copyOf(taken);
  }

  private void hold(Interface one) {
    for (int queue = 0; queue < MOST_QUEUES; queue++) {
      Queue which = new Queue(one, queue);
      if (sockets.containsKey(which)) {
        continue;
      }
      int fd;
      try {
        fd = Syscalls.socket(AF_XDP, Syscalls.SOCK_RAW | Syscalls.SOCK_CLOEXEC, 0);
      } catch (SyscallException e) {
        if (e.errno() == Errno.EAFNOSUPPORT) {
          return;
        }
        throw e;
      }
      boolean kept = false;
      try {
        kept = bind(fd, one, queue);
        if (kept) {
          sockets.put(which, fd);
        }
      } catch (SyscallException e) {
        if (e.errno() != Errno.EBUSY) {
          // No such queue (EINVAL), an interface that is gone or down or knows no AF_XDP.
          return;
        }
        taken.add(one.name() + " queue " + queue);
      } finally {
        if (!kept) {
          Syscalls.close(fd);
        }
      }
    }
  }

  private static boolean bind(int fd, Interface one, int queue) {
    // struct xdp_umem_reg: u64 addr, u64 len, u32 chunk_size, u32 headroom, u32 flags
    Syscalls.setsockopt(
        fd,
        SOL_XDP,
        XDP_UMEM_REG,
        words(32).putLong(Memory.ADDRESS).putLong(PAGE).putInt(PAGE).array());
    Syscalls.setsockopt(fd, SOL_XDP, XDP_UMEM_FILL_RING, ENTRIES);
    Syscalls.setsockopt(fd, SOL_XDP, XDP_UMEM_COMPLETION_RING, ENTRIES);
    Syscalls.setsockopt(fd, SOL_XDP, XDP_TX_RING, ENTRIES);
    // struct sockaddr_xdp: u16 family, u16 flags, u32 ifindex, u32 queue_id, u32 shared_umem_fd
    Syscalls.bind(
        fd,
        words(16)
            .putShort((short) AF_XDP)
            .putShort((short) XDP_COPY)
            .putInt(one.index())
            .putInt(queue)
            .array());
    return true;
  }

  private static ByteBuffer words(int length) {
    return ByteBuffer.allocate(length).order(ByteOrder.nativeOrder());
  }

  /// Lets go of the queues. Idempotent.
  @Override
  public void close() {
    sockets.values().forEach(Syscalls::close);
    sockets.clear();
  }
}
