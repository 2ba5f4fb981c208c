package io.tailwater.iptables.netlink;

import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.libc.Syscalls;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Waits for the netlink sockets of all namespaces at once, and for other descriptors that have no
/// loop of their own ([Polled]), by epoll on one platform thread. A wake-up allocates nothing.
///
/// Sockets come and go on any thread. What is received goes to the socket's [Receiver] on the
/// poller's thread, which serves all pods: a receiver must not block.
public final class NetlinkPoller implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(NetlinkPoller.class);

  private static final int MOST_EVENTS = 64;

  /// Datagrams taken from one socket before others get their turn.
  private static final int BURST = 64;

  /// `struct epoll_event`: u32 events, u64 data; packed on x86-64 only.
  private static final boolean PACKED = System.getProperty("os.arch").equals("amd64");

  private static final int EVENT = PACKED ? 12 : 16;
  private static final int EVENT_DATA = PACKED ? 4 : 8;

  /// In place of a slot: the event that wakes the thread up, for tasks or to end.
  private static final long WAKE = -1;

  private final int epoll = Syscalls.epoll();
  private final int waking = Syscalls.eventDescriptor();
  private final NetlinkMemory memory = new NetlinkMemory(NetlinkMemory.LARGEST);
  private final NetlinkMessages messages = new NetlinkMessages(memory);
  private final NetlinkMemory events = new NetlinkMemory(MOST_EVENTS * EVENT);
  private final Thread thread;
  private final NetlinkMemory wakeUp = new NetlinkMemory(8);
  private final NetlinkMemory woken = new NetlinkMemory(8);
  private final Queue<Runnable> tasks = new ConcurrentLinkedQueue<>();

  /// By slot; guarded by itself. A slot is used again, so each event carries the watch's number
  /// too.
  private final List<@Nullable Watch> watches = new ArrayList<>();

  private Runnable tick = () -> {};
  private long everyMillis = -1;
  private int watchesMade;
  private volatile boolean closed;

  /// Takes what one socket receives. On the poller's thread.
  public interface Receiver {
    /// One datagram; the messages are valid during the call only.
    void received(NetlinkMessages messages);

    /// Messages were lost (ENOBUFS), because they came faster than they were taken. Until
    /// [#emptied] more may be.
    void lost();

    /// All that had come was taken.
    default void emptied() {}
  }

  /// Something else than a netlink socket that is to be received from.
  public interface Polled {
    int descriptor();

    /// Takes one datagram, on the poller's thread; false when there is none. It must not block.
    boolean receive();

    /// Closes the descriptor. Once.
    void close();
  }

  public NetlinkPoller(String name) {
    this.thread = Thread.ofPlatform().name(name).daemon(true).unstarted(this::run);
    wakeUp.bytes().putLong(0, 1);
    control(Syscalls.EPOLL_CTL_ADD, waking, WAKE);
  }

  /// Starts the thread. Call it from the agent's own namespace.
  public NetlinkPoller start() {
    thread.start();
    return this;
  }

  /// Has something done again and again, on the poller's thread; it must not block. Before
  /// [#start].
  public NetlinkPoller every(long millis, Runnable what) {
    everyMillis = millis;
    tick = what;
    return this;
  }

  /// Has something done once, soon, on the poller's thread; it must not block. Any thread. What is
  /// given after [#close] is not done.
  public void execute(Runnable task) {
    synchronized (watches) {
      if (!closed) {
        tasks.add(task);
        Syscalls.write(waking, wakeUp.address(), 8);
      }
    }
  }

  /// Receives from a socket, which belongs to the watch from now on. Any thread.
  ///
  /// @throws SyscallException when the kernel takes no more sockets; this one is closed then
  /// @throws IllegalStateException when the poller is closed; so is the socket then
  public Watch add(NetlinkSocket socket, Receiver receiver) {
    return add(new Netlink(socket, receiver));
  }

  /// Receives from something else, which belongs to the watch from now on. Any thread.
  ///
  /// @throws SyscallException as [#add(NetlinkSocket, Receiver)]
  public Watch add(Polled polled) {
    boolean added = false;
    try {
      Watch watch = watch(polled);
      added = true;
      return watch;
    } finally {
      if (!added) {
        polled.close();
      }
    }
  }

  private Watch watch(Polled polled) {
    synchronized (watches) {
      if (closed) {
        throw new IllegalStateException("the poller is closed");
      }
      int slot = watches.indexOf(null);
      Watch watch = new Watch(polled, slot < 0 ? watches.size() : slot, ++watchesMade);
      control(Syscalls.EPOLL_CTL_ADD, polled.descriptor(), watch.data());
      if (slot < 0) {
        watches.add(watch);
      } else {
        watches.set(slot, watch);
      }
      return watch;
    }
  }

  /// A netlink socket and who takes what it receives.
  private final class Netlink implements Polled {
    private final NetlinkSocket socket;
    private final Receiver receiver;

    Netlink(NetlinkSocket socket, Receiver receiver) {
      this.socket = socket;
      this.receiver = receiver;
    }

    @Override
    public int descriptor() {
      return socket.descriptor();
    }

    @Override
    public boolean receive() {
      long length = socket.receive(memory);
      if (length > 0) {
        receiver.received(messages.received((int) length));
      } else if (length == -Errno.ENOBUFS || length == -Errno.EMSGSIZE) {
        receiver.lost();
      } else if (length == -Errno.EAGAIN) {
        receiver.emptied();
        return false;
      } else if (length < 0 && length != -Errno.EINTR) {
        throw new SyscallException("netlink reception", (int) -length, "");
      }
      return true;
    }

    @Override
    public void close() {
      socket.close();
    }
  }

  /// One socket that is received from.
  public final class Watch implements AutoCloseable {
    private final Polled polled;
    private final int slot;
    private final int number;
    private boolean over;

    private Watch(Polled polled, int slot, int number) {
      this.polled = polled;
      this.slot = slot;
      this.number = number;
    }

    private long data() {
      return ((long) number << 32) | slot;
    }

    /// Sends from the netlink socket: the number of bytes, or `-errno` (EBADF after [#close]). Any
    /// thread; the answer, if one was asked for, goes to the receiver.
    public synchronized long send(MessageWriter request) {
      return over || !(polled instanceof Netlink netlink)
          ? -Errno.EBADF
          : netlink.socket.send(request);
    }

    /// Closes the socket. Any thread; waits for a call of the receiver that is under way, unless
    /// this is it. The receiver is not called any more afterwards.
    @Override
    public void close() {
      synchronized (watches) {
        if (slot < watches.size() && watches.get(slot) == this) {
          watches.set(slot, null);
        }
      }
      synchronized (this) {
        if (!over) {
          over = true;
          polled.close(); // epoll lets go of a closed descriptor by itself
        }
      }
    }

    private synchronized void drain() {
      for (int i = 0; i < BURST && !over; i++) {
        try {
          if (!polled.receive()) {
            return;
          }
        } catch (SyscallException e) {
          LOG.error("reception failed: {}", e.getMessage());
          close();
        }
      }
    }
  }

  private void run() {
    long nextTick = System.nanoTime();
    while (true) {
      int wait = -1;
      if (everyMillis > 0) {
        long now = System.nanoTime();
        if (now - nextTick >= 0) {
          nextTick = now + TimeUnit.MILLISECONDS.toNanos(everyMillis);
          tick();
        }
        wait = (int) TimeUnit.NANOSECONDS.toMillis(Math.max(0, nextTick - now)) + 1;
      }
      long count = Syscalls.epollWait(epoll, events.address(), MOST_EVENTS, wait);
      for (int i = 0; i < count; i++) {
        long data = events.bytes().getLong(i * EVENT + EVENT_DATA);
        if (data == WAKE) {
          Syscalls.read(waking, woken.address(), 8);
          if (closed) {
            return;
          }
          runTasks();
          continue;
        }
        Watch watch = find((int) data, (int) (data >>> 32));
        if (watch != null) {
          drain(watch);
        }
      }
      if (count < 0 && count != -Errno.EINTR) {
        LOG.error("epoll_wait failed: {}", Errno.describe((int) -count));
        return;
      }
    }
  }

  private void runTasks() {
    for (Runnable task = tasks.poll(); task != null; task = tasks.poll()) {
      try {
        task.run();
      } catch (RuntimeException e) {
        LOG.error("a task of the netlink thread failed", e);
      }
    }
  }

  private void tick() {
    try {
      tick.run();
    } catch (RuntimeException e) {
      LOG.error("what the netlink thread does regularly failed", e);
    }
  }

  private static void drain(Watch watch) {
    try {
      watch.drain();
    } catch (RuntimeException e) {
      LOG.error("a receiver failed", e);
    }
  }

  private @Nullable Watch find(int slot, int number) {
    synchronized (watches) {
      Watch watch = slot < watches.size() ? watches.get(slot) : null;
      return watch != null && watch.number == number ? watch : null;
    }
  }

  private void control(int operation, int fd, long data) {
    NetlinkMemory event = new NetlinkMemory(EVENT);
    event.bytes().order(ByteOrder.nativeOrder()).putInt(0, Syscalls.EPOLLIN);
    event.bytes().putLong(EVENT_DATA, data);
    long done = Syscalls.epollControl(epoll, operation, fd, event.address());
    if (done < 0) {
      throw new SyscallException("epoll_ctl()", (int) -done, "");
    }
  }

  /// Ends the thread and closes the sockets that are left. Not from a receiver.
  @Override
  public void close() {
    List<Watch> left = new ArrayList<>();
    synchronized (watches) {
      if (closed) {
        return;
      }
      closed = true;
      for (Watch watch : watches) {
        if (watch != null) {
          left.add(watch);
        }
      }
    }
    Syscalls.write(waking, wakeUp.address(), 8);
    if (thread.getState() != Thread.State.NEW) {
      boolean interrupted = false;
      while (thread.isAlive()) {
        try {
          thread.join();
        } catch (InterruptedException _) {
          interrupted = true; // descriptors must not be closed under the thread
        }
      }
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
    left.forEach(Watch::close);
    Syscalls.close(epoll);
    Syscalls.close(waking);
  }
}
