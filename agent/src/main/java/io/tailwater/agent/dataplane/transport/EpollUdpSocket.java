package io.tailwater.agent.dataplane.transport;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.PooledByteBufAllocator;
import io.netty.channel.EventLoop;
import io.netty.channel.IoEvent;
import io.netty.channel.IoEventLoop;
import io.netty.channel.IoRegistration;
import io.netty.channel.epoll.EpollIoHandle;
import io.netty.channel.epoll.EpollIoOps;
import io.netty.channel.unix.DatagramSocketAddress;
import io.netty.channel.unix.FileDescriptor;
import io.netty.channel.unix.Socket;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// A UDP descriptor on a loop's epoll. It keeps no buffer: one is borrowed for each turn.
final class EpollUdpSocket implements UdpSocket, EpollIoHandle {
  private static final Logger LOG = LoggerFactory.getLogger(EpollUdpSocket.class);

  /// Packets taken for one event before others get their turn.
  private static final int BURST = 64;

  /// The largest payload of a UDP packet.
  private static final int LARGEST = 65_535;

  private final Socket socket;
  private volatile IoEventLoop loop;
  private volatile IoRegistration registration;
  private Intake intake;

  @SuppressWarnings("NullAway.Init") // before #open nobody asks
  EpollUdpSocket(Socket socket) {
    this.socket = socket;
  }

  @Override
  public void open(EventLoop on, InetSocketAddress address, Intake into) throws Exception {
    loop = (IoEventLoop) on;
    intake = into;
    socket.bind(address);
    registration = loop.register(this).sync().getNow();
    registration.submit(EpollIoOps.EPOLLIN);
  }

  @Override
  public FileDescriptor fd() {
    return socket;
  }

  @Override
  public void handle(IoRegistration source, IoEvent event) {
    take();
  }

  private void take() {
    ByteBuf borrowed = PooledByteBufAllocator.DEFAULT.directBuffer(LARGEST, LARGEST);
    try {
      ByteBuffer buffer = borrowed.internalNioBuffer(0, LARGEST);
      int start = buffer.position();
      for (int i = 0; i < BURST && socket.isOpen(); i++) {
        DatagramSocketAddress from = socket.recvFrom(buffer, start, start + LARGEST);
        if (from == null) {
          return;
        }
        byte[] packet = new byte[from.receivedAmount()];
        buffer.get(start, packet);
        intake.received(packet, from);
      }
    } catch (IOException e) {
      LOG.debug("a packet could not be received", e); // an ICMP error to an earlier answer
    } finally {
      borrowed.release();
    }
  }

  @Override
  public void send(byte[] packet, InetSocketAddress to) {
    ByteBuf borrowed = PooledByteBufAllocator.DEFAULT.directBuffer(packet.length);
    try {
      borrowed.writeBytes(packet);
      ByteBuffer buffer = borrowed.internalNioBuffer(0, packet.length);
      int start = buffer.position();
      if (socket.isOpen()) {
        socket.sendTo(buffer, start, start + packet.length, to.getAddress(), to.getPort());
      }
    } catch (IOException e) {
      LOG.debug("a packet to {} was lost", to, e); // the client is gone, as packets get lost
    } finally {
      borrowed.release();
    }
  }

  /// A connected socket gets packets of its peer only, and of several that share an address it is
  /// passed over. The peer is the address itself, where nobody else is.
  @Override
  public void takeNoMore() {
    IoEventLoop on = loop;
    if (on != null && !on.isShuttingDown()) {
      on.submit(this::toItself).awaitUninterruptibly(5, TimeUnit.SECONDS);
    }
  }

  private void toItself() {
    try {
      UnixSocketOptions.connectToItself(socket);
      take();
    } catch (IOException e) {
      LOG.debug("an address that is shared could not be left", e);
      release(); // better a question lost than one that nobody takes
    }
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
