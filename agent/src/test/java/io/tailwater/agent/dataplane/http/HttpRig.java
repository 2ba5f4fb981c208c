package io.tailwater.agent.dataplane.http;

import io.netty.bootstrap.Bootstrap;
import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.ChannelOption;
import io.netty.channel.EventLoop;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.epoll.EpollServerSocketChannel;
import io.netty.channel.epoll.EpollSocketChannel;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.Request;
import io.tailwater.agent.dataplane.route.RequestPolicy;
import io.tailwater.agent.dataplane.transport.EpollTransport;
import io.tailwater.agent.traffic.Refusal;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;

/// The room on loopback sockets: a listener whose connections are served by it, with destinations
/// by host name.
final class HttpRig implements AutoCloseable, Upstreams {
  final MultiThreadIoEventLoopGroup loops =
      new MultiThreadIoEventLoopGroup(1, new EpollTransport().ioHandlers());
  final EventLoop loop = loops.next();
  final LinkedBlockingQueue<RequestRecord> records = new LinkedBlockingQueue<>();
  final LinkedBlockingQueue<HttpObserver.HttpEnd> ends = new LinkedBlockingQueue<>();
  final LinkedBlockingQueue<Upstream.RequestEnd> counted = new LinkedBlockingQueue<>();
  final LinkedBlockingQueue<HttpConnection> connections = new LinkedBlockingQueue<>();
  final LinkedBlockingQueue<Request> asked = new LinkedBlockingQueue<>();
  final AtomicInteger started = new AtomicInteger();
  final AtomicInteger dials = new AtomicInteger();
  final AtomicInteger waiting = new AtomicInteger();
  final AtomicInteger retrying = new AtomicInteger();

  private static final Decision NOTHING = new Decision.PerRequest();

  private final Map<String, Server> servers = new HashMap<>();
  private final Channel listener;

  /// A destination of the test.
  ///
  /// @param http2 what is wanted
  /// @param agrees whether the destination agrees to HTTP/2
  record Server(
      InetSocketAddress address,
      boolean http2,
      boolean agrees,
      RequestPolicy policy,
      ConnectionPolicy connection) {}

  HttpRig(boolean http2) {
    this(http2, HttpLimits.DEFAULT);
  }

  HttpRig(boolean http2, HttpLimits limits) {
    HttpObserver observer =
        new HttpObserver() {
          @Override
          public void ended(RequestRecord request) {
            records.add(request);
          }

          @Override
          public void closed(HttpEnd end) {
            ends.add(end);
          }
        };
    listener =
        new ServerBootstrap()
            .group(loop)
            .channel(EpollServerSocketChannel.class)
            .childOption(ChannelOption.ALLOW_HALF_CLOSURE, true)
            .childOption(ChannelOption.AUTO_READ, false)
            .childHandler(
                new ChannelInitializer<Channel>() {
                  @Override
                  protected void initChannel(Channel client) {
                    connections.add(
                        HttpConnection.serve(
                            client,
                            Unpooled.EMPTY_BUFFER,
                            false,
                            http2,
                            HttpRig.this,
                            observer,
                            limits));
                  }
                })
            .bind(InetAddress.getLoopbackAddress(), 0)
            .syncUninterruptibly()
            .channel();
  }

  InetSocketAddress address() {
    return (InetSocketAddress) listener.localAddress();
  }

  Peer client() {
    return Peer.connect(address());
  }

  /// A destination for a host name, HTTP/1.
  Peer.Listener host(String name) {
    return host(name, RequestPolicy.NONE);
  }

  Peer.Listener host(String name, RequestPolicy policy) {
    Peer.Listener made = new Peer.Listener();
    host(name, made.address(), false, policy);
    return made;
  }

  void host(String name, InetSocketAddress address, boolean http2, RequestPolicy policy) {
    host(name, new Server(address, http2, http2, policy, ConnectionPolicy.DEFAULT));
  }

  void host(String name, Server server) {
    loop.submit(() -> servers.put(name, server)).syncUninterruptibly();
  }

  <T> T next(LinkedBlockingQueue<T> queue) {
    try {
      T got = queue.poll(10, TimeUnit.SECONDS);
      if (got == null) {
        throw new AssertionError("nothing was told");
      }
      return got;
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  RequestRecord record() {
    return next(records);
  }

  @Override
  public Routed route(Request request) {
    asked.add(request);
    String host = request.host().map(h -> h.text()).orElse("");
    if (host.equals("filtered.test")) {
      return new Routed.Refused(Refusal.ADDRESS_FILTERED, "", NOTHING);
    }
    Server server = servers.get(host);
    return server == null
        ? new Routed.Refused(Refusal.HTTP_502, "", NOTHING)
        : new Routed.To(new Destination(host, server));
  }

  private final class Destination implements Upstream, Upstream.RequestCounter {
    private final String host;
    private final Server server;

    Destination(String host, Server server) {
      this.host = host;
      this.server = server;
    }

    @Override
    public Object key() {
      return host;
    }

    @Override
    public boolean http2() {
      return server.http2();
    }

    @Override
    public Decision decision() {
      return NOTHING;
    }

    @Override
    public RequestPolicy request() {
      return server.policy();
    }

    @Override
    public ConnectionPolicy connection() {
      return server.connection();
    }

    @Override
    public boolean admit(Upstream.Place which) {
      AtomicInteger held = which == Upstream.Place.WAITING ? waiting : retrying;
      long most =
          which == Upstream.Place.WAITING
              ? connection().limits().maxPendingRequests()
              : connection().limits().maxRetries();
      if (held.get() >= most) {
        return false;
      }
      held.incrementAndGet();
      return true;
    }

    @Override
    public void left(Upstream.Place which) {
      (which == Upstream.Place.WAITING ? waiting : retrying).decrementAndGet();
    }

    @Override
    public void connect(Consumer<Connected> then) {
      dials.incrementAndGet();
      new Bootstrap()
          .group(loop)
          .channel(EpollSocketChannel.class)
          .option(ChannelOption.ALLOW_HALF_CLOSURE, true)
          .option(ChannelOption.AUTO_READ, false)
          .handler(
              new ChannelInitializer<Channel>() {
                @Override
                protected void initChannel(Channel channel) {}
              })
          .connect(server.address())
          .addListener((io.netty.channel.ChannelFuture connected) ->
              then.accept(
                  connected.isSuccess()
                      ? new Connected.Open(connected.channel(), server.agrees(), this)
                      : new Connected.Failed(Refusal.CONNECT_FAILED, "refused")));
    }

    @Override
    public void started() {
      started.incrementAndGet();
    }

    @Override
    public void ended(RequestEnd end) {
      counted.add(end);
    }
  }

  /// A policy that retries.
  static RequestPolicy retries(int attempts, String... on) {
    return new RequestPolicy(
        Optional.empty(),
        Optional.empty(),
        Optional.empty(),
        new RequestPolicy.Retries(attempts, Optional.empty(), List.of(on)),
        RequestPolicy.Headers.NONE,
        RequestPolicy.Headers.NONE);
  }

  @Override
  public void close() {
    listener.close().syncUninterruptibly();
    loops.shutdownGracefully(0, 1, TimeUnit.SECONDS).syncUninterruptibly();
  }
}
