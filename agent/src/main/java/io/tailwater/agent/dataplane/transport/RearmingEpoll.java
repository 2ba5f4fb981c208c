package io.tailwater.agent.dataplane.transport;

import io.netty.channel.IoHandle;
import io.netty.channel.IoHandler;
import io.netty.channel.IoHandlerContext;
import io.netty.channel.IoHandlerFactory;
import io.netty.channel.IoOps;
import io.netty.channel.IoRegistration;
import io.netty.channel.epoll.EpollIoHandler;
import io.netty.channel.epoll.EpollIoOps;

/// Netty's epoll, with registrations that survive wanting nothing for a while.
///
/// Netty 4.2.18 takes a descriptor off epoll when nothing is wanted of it, as it must (EPOLLHUP
/// would wake the loop for ever). It then changes the descriptor as if it were still there, which
/// fails with ENOENT and closes the channel: every half-closed connection whose other side is slow
/// for a moment would lose its bytes. Here such a registration is cancelled, and made anew when
/// something is wanted again.
final class RearmingEpoll implements IoHandler {
  private final IoHandler epoll;

  private RearmingEpoll(IoHandler epoll) {
    this.epoll = epoll;
  }

  static IoHandlerFactory factory() {
    IoHandlerFactory epolls = EpollIoHandler.newFactory();
    return executor -> new RearmingEpoll(epolls.newHandler(executor));
  }

  @Override
  public IoRegistration register(IoHandle handle) throws Exception {
    return new Rearming(handle, epoll.register(handle));
  }

  @Override
  public void initialize() {
    epoll.initialize();
  }

  @Override
  public int run(IoHandlerContext context) {
    return epoll.run(context);
  }

  @Override
  public void prepareToDestroy() {
    epoll.prepareToDestroy();
  }

  @Override
  public void destroy() {
    epoll.destroy();
  }

  @Override
  public void wakeup() {
    epoll.wakeup();
  }

  @Override
  public boolean isCompatible(Class<? extends IoHandle> handleType) {
    return epoll.isCompatible(handleType);
  }

  /// Changed on the loop only; asked on any thread.
  private final class Rearming implements IoRegistration {
    private final IoHandle handle;
    private volatile IoRegistration inner;
    private volatile boolean cancelled;

    Rearming(IoHandle handle, IoRegistration inner) {
      this.handle = handle;
      this.inner = inner;
    }

    @Override
    @SuppressWarnings("TypeParameterUnusedInFormals") // Netty's signature
    public <T> T attachment() {
      return inner.attachment();
    }

    @Override
    public long submit(IoOps ops) {
      if (cancelled) {
        return -1;
      }
      if (((EpollIoOps) ops).value() == 0) {
        inner.cancel();
        return 0;
      }
      if (!inner.isValid()) {
        try {
          inner = epoll.register(handle);
        } catch (Exception e) {
          throw new IllegalStateException("cannot watch the descriptor again", e);
        }
      }
      return inner.submit(ops);
    }

    @Override
    public boolean isValid() {
      return !cancelled;
    }

    @Override
    public boolean cancel() {
      if (cancelled) {
        return false;
      }
      cancelled = true;
      inner.cancel();
      return true;
    }
  }
}
