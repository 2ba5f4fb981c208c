package io.tailwater.agent.dataplane.transport;

import io.netty.buffer.ByteBufUtil;
import io.netty.buffer.Unpooled;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.EventLoop;
import io.netty.channel.FixedRecvByteBufAllocator;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.channel.socket.DatagramChannel;
import io.netty.channel.socket.DatagramPacket;
import io.netty.channel.unix.Socket;
import io.netty.channel.unix.UnixChannel;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// A UDP socket over a Netty channel.
final class ChannelUdpSocket implements UdpSocket {
  private static final Logger LOG = LoggerFactory.getLogger(ChannelUdpSocket.class);

  /// The largest payload of a UDP packet.
  private static final int LARGEST = 65_535;

  private final DatagramChannel channel;

  ChannelUdpSocket(DatagramChannel channel) {
    this.channel = channel;
  }

  @Override
  public void open(EventLoop loop, InetSocketAddress address, Intake intake) {
    channel.config().setRecvByteBufAllocator(new FixedRecvByteBufAllocator(LARGEST));
    channel.pipeline().addLast(new Receiver(intake));
    loop.register(channel).syncUninterruptibly();
    channel.bind(address).syncUninterruptibly();
  }

  @Override
  public void send(byte[] packet, InetSocketAddress to) {
    channel.writeAndFlush(new DatagramPacket(Unpooled.wrappedBuffer(packet), to));
  }

  /// As [EpollUdpSocket] does; what has come is taken by the loop.
  @Override
  public void takeNoMore() {
    channel
        .eventLoop()
        .submit(() -> {
          try {
            UnixSocketOptions.connectToItself(new Socket(((UnixChannel) channel).fd().intValue()));
          } catch (IOException | ClassCastException e) {
            LOG.debug("an address that is shared could not be left", e);
            channel.close();
          }
        })
        .awaitUninterruptibly(5, TimeUnit.SECONDS);
  }

  @Override
  public void close() {
    if (channel.isRegistered()) {
      channel.close().syncUninterruptibly();
    } else {
      channel.unsafe().closeForcibly();
    }
  }

  private static final class Receiver extends SimpleChannelInboundHandler<DatagramPacket> {
    private final Intake intake;

    Receiver(Intake intake) {
      this.intake = intake;
    }

    @Override
    protected void channelRead0(ChannelHandlerContext ctx, DatagramPacket packet) {
      intake.received(ByteBufUtil.getBytes(packet.content()), packet.sender());
    }

    @Override
    public void exceptionCaught(ChannelHandlerContext ctx, Throwable failure) {
      LOG.debug("a packet could not be received", failure); // an ICMP error to an earlier answer
    }
  }
}
