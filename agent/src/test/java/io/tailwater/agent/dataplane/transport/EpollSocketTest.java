package io.tailwater.agent.dataplane.transport;

import static org.assertj.core.api.Assertions.assertThat;

import io.netty.buffer.ByteBuf;
import io.netty.channel.EventLoop;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.unix.DomainSocketAddress;
import io.netty.channel.unix.Socket;
import io.tailwater.agent.traffic.OriginalDst;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.StandardProtocolFamily;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// A bare descriptor on a loop, on loopback.
@Timeout(20)
class EpollSocketTest {
  private static final EpollTransport EPOLL = new EpollTransport();
  private static MultiThreadIoEventLoopGroup group;
  private static EventLoop loop;

  @BeforeAll
  static void start() {
    group = new MultiThreadIoEventLoopGroup(1, EPOLL.ioHandlers());
    loop = group.next();
  }

  @AfterAll
  static void stop() {
    group.shutdownGracefully(0, 1, TimeUnit.SECONDS).syncUninterruptibly();
  }

  /// What a socket tells: `lost`, `end`, or the bytes.
  private static final class Told implements StreamSocket.Reader {
    final BlockingQueue<String> what = new LinkedBlockingQueue<>();

    @Override
    public void bytes(ByteBuf bytes) {
      what.add(bytes.toString(StandardCharsets.US_ASCII));
      bytes.release();
    }

    @Override
    public void inputEnded() {
      what.add("end");
    }

    @Override
    public void lost(Throwable why) {
      what.add("lost");
    }
  }

  private static StreamSocket connected(StreamSocket socket, ServerSocket to, Told told)
      throws Exception {
    CompletableFuture<Void> done = new CompletableFuture<>();
    loop.execute(() ->
        socket.connect(
            loop,
            (InetSocketAddress) to.getLocalSocketAddress(),
            failure -> {
              if (failure != null) {
                done.completeExceptionally(failure);
                return;
              }
              socket.reader(told);
              done.complete(null);
            }));
    done.get();
    return socket;
  }

  private static ServerSocket server() throws Exception {
    return new ServerSocket(0, 5, InetAddress.ofLiteral("127.0.0.1"));
  }

  /// A program that is being started has all descriptors of the agent until it has closed them. Of
  /// a socket that is closed meanwhile, epoll goes on to tell by its number.
  @Test
  void lossOfAnEarlierSocketOfTheSameNumberIsNotBelieved(@TempDir Path folder) throws Exception {
    Socket listener = Socket.newSocketDomain();
    Socket child = Socket.newSocketDomain();
    DomainSocketAddress path = new DomainSocketAddress(folder.resolve("s").toString());
    try (ServerSocket server = server()) {
      listener.bind(path);
      listener.listen(1);
      assertThat(child.connect(path)).isTrue();
      EpollSocket first = (EpollSocket) EPOLL.socket(StandardProtocolFamily.INET, 0);
      int number = first.descriptor();
      connected(first, server, new Told());
      loop.submit(first::read).sync(); // watched from now on
      java.net.Socket peerOfFirst = server.accept();
      assertThat(child.sendFd(number)).isPositive(); // in flight, it is as good as inherited

      List<EpollSocket> others = new ArrayList<>();
      loop.submit(
              () -> {
                first.close();
                for (EpollSocket one = null; one == null || one.descriptor() != number; ) {
                  assertThat(others).hasSizeLessThan(50);
                  one = (EpollSocket) EPOLL.socket(StandardProtocolFamily.INET, 0);
                  others.add(one);
                }
              })
          .sync();
      Told told = new Told();
      EpollSocket second = others.removeLast();
      connected(second, server, told);
      java.net.Socket peerOfSecond = server.accept();
      loop.submit(() -> second.want(0)).sync();

      peerOfFirst.setSoLinger(true, 0);
      peerOfFirst.close(); // EPOLLERR and EPOLLHUP, told by the number that is the second's now
      assertThat(told.what.poll(300, TimeUnit.MILLISECONDS)).isNull();
      loop.submit(second::read).sync();
      peerOfSecond.getOutputStream().write("hello".getBytes(StandardCharsets.US_ASCII));
      assertThat(told.what.take()).isEqualTo("hello");

      peerOfSecond.setSoLinger(true, 0);
      peerOfSecond.close();
      assertThat(told.what.take()).as("its own loss is").isEqualTo("lost");
      others.forEach(EpollSocket::close);
    } finally {
      child.close();
      listener.close();
    }
  }

  /// A refusal may be there when connect(2) returns, as an answer of the same node mostly is.
  @Test
  void aPortWhereNobodyListensIsNoConnection() throws Exception {
    InetSocketAddress closed;
    try (ServerSocket server = server()) {
      closed = (InetSocketAddress) server.getLocalSocketAddress();
    }
    EpollSocket socket = (EpollSocket) EPOLL.socket(StandardProtocolFamily.INET, 0);
    BlockingQueue<String> told = new LinkedBlockingQueue<>();
    loop.execute(() ->
        socket.connect(
            loop, closed, failure -> told.add(failure == null ? "connected" : "refused")));
    assertThat(told.take()).isEqualTo("refused");
    assertThat(socket.isOpen()).isFalse();
  }

  /// Nobody has asked for its bytes: they wait in the kernel and do not wake the loop again, and a
  /// loss is told all the same.
  @Test
  void whatComesToAnAcceptedSocketBeforeItIsReadWaits() throws Exception {
    ListeningSocket listener = EPOLL.listener(StandardProtocolFamily.INET, 0);
    BlockingQueue<StreamSocket> accepted = new LinkedBlockingQueue<>();
    Told told = new Told();
    InetSocketAddress at;
    try (ServerSocket free = server()) {
      at = (InetSocketAddress) free.getLocalSocketAddress();
    }
    listener.open(
        loop,
        at,
        5,
        new ListeningSocket.Intake() {
          @Override
          public void accepted(
              StreamSocket socket, InetSocketAddress peer, Optional<OriginalDst> redirected) {
            socket.reader(told);
            accepted.add(socket);
          }

          @Override
          public void failed(Throwable why) {
            throw new IllegalStateException(why);
          }
        });
    java.net.Socket client = new java.net.Socket(at.getAddress(), at.getPort());
    try {
      StreamSocket socket = accepted.take();
      client.getOutputStream().write("hello".getBytes(StandardCharsets.US_ASCII));
      assertThat(told.what.poll(200, TimeUnit.MILLISECONDS)).isNull();
      loop.submit(socket::read).sync();
      assertThat(told.what.take()).isEqualTo("hello");
      client.getOutputStream().write("unread".getBytes(StandardCharsets.US_ASCII));
      assertThat(told.what.poll(200, TimeUnit.MILLISECONDS)).isNull();
      client.setSoLinger(true, 0);
      client.close();
      assertThat(told.what.take()).isEqualTo("lost");
    } finally {
      client.close();
      listener.close();
    }
  }
}
