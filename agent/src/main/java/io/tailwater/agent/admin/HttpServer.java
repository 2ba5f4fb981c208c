package io.tailwater.agent.admin;

import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.ChannelOption;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.channel.group.ChannelGroup;
import io.netty.channel.group.DefaultChannelGroup;
import io.netty.channel.socket.DuplexChannel;
import io.netty.channel.socket.nio.NioChannelOption;
import io.netty.channel.socket.nio.NioServerDomainSocketChannel;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.handler.codec.DecoderResult;
import io.netty.handler.codec.http.DefaultFullHttpResponse;
import io.netty.handler.codec.http.FullHttpRequest;
import io.netty.handler.codec.http.FullHttpResponse;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpObjectAggregator;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpServerCodec;
import io.netty.handler.codec.http.HttpUtil;
import io.netty.handler.codec.http.HttpVersion;
import io.netty.handler.codec.http.QueryStringDecoder;
import io.netty.handler.codec.http.TooLongHttpHeaderException;
import io.netty.handler.codec.http.TooLongHttpLineException;
import io.netty.handler.timeout.WriteTimeoutHandler;
import io.netty.util.concurrent.GlobalEventExecutor;
import io.netty.util.concurrent.ScheduledFuture;
import io.tailwater.agent.config.ListenAddress;
import java.io.IOException;
import java.net.BindException;
import java.net.SocketAddress;
import java.net.StandardSocketOptions;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayDeque;
import java.util.List;
import java.util.Optional;
import java.util.Queue;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// One address that speaks HTTP/1.1. Requests are read on the given loop, one at a time per
/// connection, and answered on a virtual thread, which may block.
///
/// Bounds: line 4 KiB, head 8 KiB, body 64 KiB; a whole request within `REQUEST_SECONDS` of
/// connecting, within `IDLE_SECONDS` on a kept connection; a response read within `WRITE_SECONDS`;
/// `maxConnections` at a time, more are closed at once.
final class HttpServer implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(HttpServer.class);

  private static final ChannelOption<Boolean> REUSE_PORT =
      NioChannelOption.of(StandardSocketOptions.SO_REUSEPORT);

  private static final int MAX_LINE = 4096;
  private static final int MAX_HEAD = 8192;
  private static final int MAX_BODY = 65536;
  private static final int REQUEST_SECONDS = 10;
  private static final int IDLE_SECONDS = 60;
  private static final int WRITE_SECONDS = 30;
  private static final int LINGER_SECONDS = 2;

  /// What this server is.
  ///
  /// @param key of the configuration, for messages
  /// @param guarded whether only local Host values are served and foreign POSTs refused
  /// @param sharing whether another agent listens there that is about to go
  record Options(
      String key, ListenAddress address, boolean guarded, int maxConnections, boolean sharing) {}

  private final Options options;
  private final Function<Request, Response> pages;
  private final ChannelGroup connections = new DefaultChannelGroup(GlobalEventExecutor.INSTANCE);
  private final Channel listener;
  private volatile boolean given;

  private HttpServer(Options options, EventLoopGroup loop, Function<Request, Response> pages) {
    this.options = options;
    this.pages = pages;
    this.listener = bind(loop);
  }

  /// Listens.
  ///
  /// @throws AdminException when the address cannot be had
  static HttpServer start(Options options, EventLoopGroup loop, Function<Request, Response> pages) {
    return new HttpServer(options, loop, pages);
  }

  private Channel bind(EventLoopGroup loop) {
    ServerBootstrap bootstrap =
        new ServerBootstrap()
            .group(loop)
            .childOption(ChannelOption.AUTO_READ, false)
            .childHandler(
                new ChannelInitializer<>() {
                  @Override
                  protected void initChannel(Channel channel) {
                    connected(channel);
                  }
                });
    SocketAddress address =
        switch (options.address()) {
          case ListenAddress.Tcp tcp -> {
            bootstrap
                .channel(NioServerSocketChannel.class)
                .option(ChannelOption.SO_REUSEADDR, true)
                .option(REUSE_PORT, options.sharing());
            yield tcp.socketAddress();
          }
          case ListenAddress.Unix(Path path) -> {
            bootstrap.channel(NioServerDomainSocketChannel.class);
            yield unix(options.sharing() ? beside(path) : path);
          }
        };
    try {
      Channel bound = bootstrap.bind(address).syncUninterruptibly().channel();
      if (options.address() instanceof ListenAddress.Unix(Path path)) {
        Path made = options.sharing() ? beside(path) : path;
        Files.setPosixFilePermissions(made, PosixFilePermissions.fromString("rw-rw----"));
        if (options.sharing()) {
          Files.move(made, path, StandardCopyOption.REPLACE_EXISTING);
        }
      }
      return bound;
    } catch (Exception e) {
      throw cannot(e);
    }
  }

  /// Where a socket is made that is to take another one's place.
  private static Path beside(Path path) {
    return path.resolveSibling(path.getFileName() + ".next");
  }

  /// Lets another agent listen on the same address, or nobody any more.
  void share(boolean withAnother) {
    if (options.address() instanceof ListenAddress.Tcp) {
      listener.config().setOption(REUSE_PORT, withAnother);
    }
  }

  /// Ends, and leaves the address to the one who shares it.
  void give() {
    given = true;
    listener.close().awaitUninterruptibly(2, TimeUnit.SECONDS);
    // Who has asked, or is about to, still gets an answer; who only keeps a connection does not.
    try {
      for (int i = 0; i < 50 && !connections.isEmpty(); i++) {
        TimeUnit.MILLISECONDS.sleep(20);
      }
    } catch (InterruptedException _) {
      Thread.currentThread().interrupt(); // then they are cut
    }
    close();
  }

  private AdminException cannot(Exception e) {
    String what =
        e instanceof BindException
            ? "cannot be bound ("
                + e.getMessage()
                + "); is another agent running? Set `"
                + options.key()
                + "` to a free address"
            : "cannot be bound: " + e.getMessage();
    return new AdminException(options.key() + ": " + options.address() + " " + what, e);
  }

  /// The socket of a dead agent is removed; one that answers is left, and binding then fails.
  private UnixDomainSocketAddress unix(Path path) {
    UnixDomainSocketAddress address = UnixDomainSocketAddress.of(path);
    try {
      Optional<Path> folder = Optional.ofNullable(path.getParent());
      if (folder.isPresent()) {
        Files.createDirectories(folder.get());
      }
      if (Files.exists(path) && !Files.isRegularFile(path) && !Files.isDirectory(path)) {
        try (SocketChannel _ = SocketChannel.open(address)) {
          return address;
        } catch (IOException _) {
          Files.delete(path);
        }
      }
    } catch (IOException e) {
      throw cannot(e);
    }
    return address;
  }

  /// Where it really listens: the port that was found when 0 was asked for.
  SocketAddress address() {
    return listener.localAddress();
  }

  private void connected(Channel channel) {
    if (connections.size() >= options.maxConnections()) {
      channel.close();
      return;
    }
    connections.add(channel);
    channel
        .pipeline()
        .addLast(
            new HttpServerCodec(MAX_LINE, MAX_HEAD, MAX_BODY),
            new HttpObjectAggregator(MAX_BODY, true),
            new WriteTimeoutHandler(WRITE_SECONDS),
            new Connection());
  }

  @Override
  public void close() {
    listener.close().awaitUninterruptibly(2, TimeUnit.SECONDS);
    connections.close().awaitUninterruptibly(2, TimeUnit.SECONDS);
    if (!given && options.address() instanceof ListenAddress.Unix(Path path)) {
      try {
        Files.deleteIfExists(path);
      } catch (IOException e) {
        LOG.warn("{}: {} cannot be removed: {}", options.key(), path, e.getMessage());
      }
    }
  }

  /// One connection; its state belongs to the loop. Owns requests that came before the one in work
  /// was answered: no more than one read brings, because nothing is read meanwhile.
  private final class Connection extends SimpleChannelInboundHandler<FullHttpRequest> {
    private final Queue<FullHttpRequest> waiting = new ArrayDeque<>();
    private boolean working;
    private boolean leaving;
    private @Nullable ScheduledFuture<?> deadline;

    @Override
    public void channelActive(ChannelHandlerContext ctx) {
      next(ctx, REQUEST_SECONDS);
    }

    /// Asks for one whole request, which must be there in time.
    private void next(ChannelHandlerContext ctx, int seconds) {
      deadline =
          ctx.executor()
              .schedule(
                  () -> {
                    ctx.close();
                  },
                  seconds,
                  TimeUnit.SECONDS);
      ctx.read();
    }

    private void inTime() {
      if (deadline != null) {
        deadline.cancel(false);
        deadline = null;
      }
    }

    @Override
    protected void channelRead0(ChannelHandlerContext ctx, FullHttpRequest request) {
      if (leaving) {
        return;
      }
      if (working) {
        waiting.add(request.retain());
      } else {
        begin(ctx, request);
      }
    }

    private void begin(ChannelHandlerContext ctx, FullHttpRequest request) {
      inTime();
      working = true;
      boolean keep = HttpUtil.isKeepAlive(request) && request.decoderResult().isSuccess();
      boolean head = request.method().name().equals("HEAD");
      Optional<Response> refused = refusal(request);
      if (refused.isPresent()) {
        send(ctx, refused.get(), keep, head);
        return;
      }
      QueryStringDecoder uri = new QueryStringDecoder(request.uri());
      Request read;
      try {
        read =
            new Request(
                request.method().name(),
                uri.path(),
                uri.parameters(),
                String.join(",", request.headers().getAll(HttpHeaderNames.ACCEPT)));
      } catch (IllegalArgumentException _) {
        send(ctx, Response.text(400, "malformed URL\n"), false, head);
        return;
      }
      Thread.ofVirtual()
          .name("http-" + options.key())
          .start(() -> {
            Response response = answer(read);
            ctx.executor().execute(() -> send(ctx, response, keep, head));
          });
    }

    private void sent(ChannelHandlerContext ctx) {
      working = false;
      FullHttpRequest next = waiting.poll();
      if (next == null) {
        next(ctx, IDLE_SECONDS);
        return;
      }
      try {
        begin(ctx, next);
      } finally {
        next.release();
      }
    }

    private Response answer(Request request) {
      try {
        return pages.apply(request);
      } catch (RuntimeException e) {
        LOG.error("{} {} failed", options.key(), request.path(), e);
        return Response.text(500, "the page could not be made; the agent's log says why\n");
      }
    }

    private Optional<Response> refusal(FullHttpRequest request) {
      DecoderResult result = request.decoderResult();
      if (result.isFailure()) {
        return Optional.of(
            switch (result.cause()) {
              case TooLongHttpHeaderException _ -> Response.text(431, "the headers are too long\n");
              case TooLongHttpLineException _ -> Response.text(414, "the URL is too long\n");
              default -> Response.text(400, "malformed request\n");
            });
      }
      List<String> hosts = request.headers().getAll(HttpHeaderNames.HOST);
      if (!options.guarded()) {
        return Optional.empty();
      }
      boolean tcp = options.address() instanceof ListenAddress.Tcp;
      if (tcp && (hosts.size() != 1 || !LocalRequests.isLocal(hosts.getFirst()))) {
        return Optional.of(
            Response.text(403, "only the hosts localhost, 127.0.0.1 and [::1] are served\n"));
      }
      boolean changes =
          !request.method().name().equals("GET") && !request.method().name().equals("HEAD");
      return changes
          ? LocalRequests.foreign(request.headers()).map(why -> Response.text(403, why + "\n"))
          : Optional.empty();
    }

    private void send(ChannelHandlerContext ctx, Response response, boolean keep, boolean head) {
      byte[] body = response.body().getBytes(StandardCharsets.UTF_8);
      FullHttpResponse out =
          new DefaultFullHttpResponse(
              HttpVersion.HTTP_1_1,
              HttpResponseStatus.valueOf(response.status()),
              head ? Unpooled.EMPTY_BUFFER : Unpooled.wrappedBuffer(body));
      out.headers()
          .set(HttpHeaderNames.CONTENT_TYPE, response.contentType())
          .set(HttpHeaderNames.CONTENT_LENGTH, body.length)
          .set(HttpHeaderNames.CACHE_CONTROL, "no-cache, max-age=0")
          .set("x-content-type-options", "nosniff")
          .set(HttpHeaderNames.X_FRAME_OPTIONS, "DENY")
          .set(
              HttpHeaderNames.CONTENT_SECURITY_POLICY,
              "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");
      HttpUtil.setKeepAlive(out, keep);
      ctx.writeAndFlush(out)
          .addListener(done -> {
            if (!done.isSuccess()) {
              ctx.close();
            } else if (keep) {
              sent(ctx);
            } else {
              leave(ctx);
            }
          });
    }

    /// Closing while there are bytes to read would be a reset, and the client might lose the
    /// answer: say that no more comes, and take what still does for a moment.
    private void leave(ChannelHandlerContext ctx) {
      leaving = true;
      if (!(ctx.channel() instanceof DuplexChannel channel)) {
        ctx.close();
        return;
      }
      channel.shutdownOutput();
      deadline =
          ctx.executor()
              .schedule(
                  () -> {
                    ctx.close();
                  },
                  LINGER_SECONDS,
                  TimeUnit.SECONDS);
      channel.config().setAutoRead(true);
    }

    @Override
    public void channelInactive(ChannelHandlerContext ctx) {
      inTime();
      waiting.forEach(FullHttpRequest::release);
      waiting.clear();
      ctx.fireChannelInactive();
    }

    @Override
    public void exceptionCaught(ChannelHandlerContext ctx, Throwable failure) {
      LOG.debug("{}: {}", options.key(), failure.toString());
      ctx.close();
    }
  }
}
