package io.tailwater.agent.dataplane.transport;

import io.netty.channel.EventLoop;
import java.net.StandardProtocolFamily;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/// Makes the sockets that one loop dials from. A loop never enters a pod's namespace; this platform
/// thread does, and does nothing else. For pods that are busy it keeps a few sockets ready, so that
/// a new connection need not wait for it.
///
/// [#take] and the stores belong to the loop; only [#run] is on the maker's thread. Crossing over
/// is by queue one way and by tasks on the loop the other way.
public final class SocketMaker implements AutoCloseable {
  /// Sockets kept for the busiest pod; each costs one descriptor. As many connections as are
  /// accepted in one turn, so that half of them is one order.
  private static final int MOST_READY = 64;

  /// How long a store may go unused before it is emptied.
  private static final long KEEP_SECONDS = 5;

  private final EventLoop loop;
  private final Thread thread;
  private final BlockingQueue<Order> orders = new LinkedBlockingQueue<>();
  private final Map<Key, Store> stores = new HashMap<>();
  private boolean sweeping;
  private volatile boolean closed;

  /// Compared and hashed for each connection, therefore by hand.
  private record Key(SocketPlace place, StandardProtocolFamily family) {
    @Override
    public boolean equals(@Nullable Object other) {
      return other instanceof Key that && family == that.family && place.equals(that.place);
    }

    @Override
    public int hashCode() {
      return place.hashCode() * 31 + family.hashCode();
    }
  }

  private record Order(Key key, int count, @Nullable Waiter waiter) {}

  /// Gets the socket, or why there is none.
  public interface Waiter {
    /// On the loop. The socket is the receiver's now: it connects or closes it.
    void made(StreamSocket socket);

    /// On the loop.
    void failed(RuntimeException why);
  }

  private static final class Store {
    final ArrayDeque<StreamSocket> ready = new ArrayDeque<>();
    int coming;
    int wanted;
    boolean used;
  }

  public SocketMaker(EventLoop loop, String name) {
    this.loop = loop;
    this.thread = Thread.ofPlatform().name(name).daemon(true).unstarted(this::run);
  }

  /// Starts the thread. Call it from the agent's own namespace: a thread inherits the namespace of
  /// whoever starts it.
  public void start() {
    thread.start();
  }

  /// Asks for one socket; on the loop. The waiter may be called before this returns.
  public void take(SocketPlace place, StandardProtocolFamily family, Waiter waiter) {
    Key key = new Key(place, family);
    Store store = stores.computeIfAbsent(key, _ -> new Store());
    store.used = true;
    StreamSocket ready = store.ready.poll();
    if (ready != null) {
      refill(key, store);
      waiter.made(ready);
      return;
    }
    // Nothing was ready though somebody asked: the pod is busier than thought.
    store.wanted = Math.min(MOST_READY, store.wanted == 0 ? 1 : store.wanted * 2);
    orders.add(new Order(key, 1, waiter));
    refill(key, store);
    if (!sweeping) {
      sweeping = true;
      loop.schedule(this::sweep, KEEP_SECONDS, TimeUnit.SECONDS);
    }
  }

  private void refill(Key key, Store store) {
    int have = store.ready.size() + store.coming;
    // Half empty is soon enough: one order for several sockets enters the namespace once.
    if (store.wanted > 1 && have <= store.wanted / 2) {
      store.coming += store.wanted - have;
      orders.add(new Order(key, store.wanted - have, null));
    }
  }

  private void sweep() {
    Iterator<Map.Entry<Key, Store>> all = stores.entrySet().iterator();
    while (all.hasNext()) {
      Store store = all.next().getValue();
      if (!store.used) {
        store.ready.forEach(StreamSocket::close);
        store.ready.clear();
        store.wanted = 0;
        if (store.coming == 0) {
          all.remove();
        }
      }
      store.used = false;
    }
    sweeping = !stores.isEmpty() && !closed;
    if (sweeping) {
      loop.schedule(this::sweep, KEEP_SECONDS, TimeUnit.SECONDS);
    }
  }

  /// Closes what is kept for a place that is no more; on the loop.
  public void forget(SocketPlace place) {
    stores
        .entrySet()
        .removeIf(e -> {
          if (!e.getKey().place().isOf(place)) {
            return false;
          }
          e.getValue().ready.forEach(StreamSocket::close);
          return true;
        });
  }

  private void run() {
    while (!closed) {
      try {
        make(orders.take());
      } catch (InterruptedException _) {
        return; // only close() interrupts
      }
    }
  }

  private void make(Order order) {
    List<StreamSocket> made = new ArrayList<>(order.count());
    RuntimeException failure = null;
    try {
      order.key().place().sockets(order.key().family(), order.count(), made);
    } catch (RuntimeException e) {
      failure = e;
    } catch (Throwable e) {
      // Netty throws I/O failures undeclared, and without this thread nothing is dialled any more
      failure = new IllegalStateException(e.toString(), e);
    }
    RuntimeException why = failure;
    try {
      loop.execute(() -> delivered(order, made, why));
    } catch (RejectedExecutionException _) {
      made.forEach(StreamSocket::close); // the loop has shut down
    }
  }

  private void delivered(Order order, List<StreamSocket> made, @Nullable RuntimeException why) {
    Waiter waiter = order.waiter();
    if (waiter != null) {
      if (why != null) {
        waiter.failed(why);
      } else {
        waiter.made(made.getFirst());
      }
      return;
    }
    Store store = stores.get(order.key());
    if (store == null || closed) {
      made.forEach(StreamSocket::close);
      return;
    }
    store.coming -= order.count();
    store.ready.addAll(made);
  }

  /// Ends the thread and closes what was kept ready.
  @Override
  public void close() {
    closed = true;
    thread.interrupt();
    if (!loop.isShuttingDown()) {
      loop.execute(() -> {
        stores.values().forEach(s -> s.ready.forEach(StreamSocket::close));
        stores.clear();
      });
    }
  }
}
