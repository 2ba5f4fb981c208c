package io.tailwater.agent.dataplane.transport;

import io.netty.channel.ChannelException;
import io.netty.channel.EventLoop;
import io.netty.channel.IoEvent;
import io.netty.channel.IoEventLoop;
import io.netty.channel.IoRegistration;
import io.netty.channel.epoll.EpollIoHandle;
import io.netty.channel.epoll.EpollIoOps;
import io.netty.channel.unix.FileDescriptor;
import io.netty.channel.unix.NativeInetAddress;
import io.netty.channel.unix.Socket;
import io.tailwater.agent.traffic.OriginalDst;
import java.io.IOException;
import java.net.Inet4Address;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// A listening descriptor on a loop's epoll, whose connections are [EpollSocket]s.
final class EpollListener implements ListeningSocket, EpollIoHandle {
  private static final Logger LOG = LoggerFactory.getLogger(EpollListener.class);

  /// Connections taken for one event before others get their turn.
  private static final int BURST = 64;

  private static final EpollIoOps READABLE = EpollIoOps.EPOLLIN;

  /// A `struct sockaddr` as Netty writes it: one byte of length, the address, scope and port.
  private final byte[] peer = new byte[26];

  private final ByteBuffer answer = ByteBuffer.allocateDirect(28);
  private final Socket socket;
  private final boolean redirects;
  private volatile IoEventLoop loop;
  private volatile IoRegistration registration;
  private Intake intake;

  /// @param redirects whether to ask the kernel what was dialled before it was redirected
  @SuppressWarnings("NullAway.Init") // before #open nobody asks
  EpollListener(Socket socket, boolean redirects) {
    this.socket = socket;
    this.redirects = redirects;
  }

  @Override
  public void open(EventLoop on, InetSocketAddress address, int backlog, Intake into)
      throws Exception {
    loop = (IoEventLoop) on;
    intake = into;
    socket.bind(address);
    socket.listen(backlog);
    registration = loop.register(this).sync().getNow();
    resume();
  }

  @Override
  public void pause() {
    registration.submit(EpollIoOps.EPOLLERR);
  }

  @Override
  public void resume() {
    if (registration.isValid()) {
      registration.submit(READABLE);
    }
  }

  @Override
  public FileDescriptor fd() {
    return socket;
  }

  @Override
  public void handle(IoRegistration source, IoEvent event) {
    for (int i = 0; i < BURST && socket.isOpen(); i++) {
      int descriptor;
      try {
        descriptor = socket.accept(peer);
      } catch (IOException e) {
        intake.failed(e);
        return;
      }
      if (descriptor < 0) {
        return;
      }
      take(descriptor);
    }
  }

  private void take(int descriptor) {
    EpollSocket accepted = new EpollSocket(new Socket(descriptor));
    try {
      InetSocketAddress from = NativeInetAddress.address(peer, 1, peer[0]);
      accepted.accepted(loop);
      intake.accepted(
          accepted, from, redirected(accepted, from.getAddress() instanceof Inet4Address));
      accepted.turnOver();
    } catch (RuntimeException e) {
      accepted.close(); // it alone is lost; accepting goes on
      LOG.warn("an accepted connection could not be prepared", e);
    }
  }

  private Optional<OriginalDst> redirected(EpollSocket accepted, boolean four) {
    if (!redirects) {
      return Optional.empty();
    }
    try {
      ((Socket) accepted.fd())
          .getRawOpt(
              four ? UnixSocketOptions.SOL_IP : UnixSocketOptions.SOL_IPV6,
              UnixSocketOptions.ORIGINAL_DST,
              answer.clear().limit(four ? 16 : 28));
    } catch (IOException | ChannelException _) {
      return Optional.empty(); // ENOENT: conntrack knows no redirection for this connection
    }
    return Optional.of(UnixSocketOptions.originalDst(answer.clear(), four));
  }

  /// Also by the loop, when it shuts down.
  @Override
  public void close() {
    IoEventLoop on = loop;
    if (on == null || on.inEventLoop() || on.isShuttingDown()) {
      release();
    } else {
      on.submit(this::release).awaitUninterruptibly(5, TimeUnit.SECONDS);
    }
  }

  private void release() {
    if (socket.isOpen()) {
      try {
        socket.close();
      } catch (IOException _) {
        // the descriptor is gone all the same
      }
    }
    if (registration != null) {
      registration.cancel();
    }
  }
}
