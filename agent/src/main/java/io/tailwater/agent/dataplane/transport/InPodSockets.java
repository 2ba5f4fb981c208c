package io.tailwater.agent.dataplane.transport;

import io.netty.channel.Channel;
import io.netty.channel.ChannelOption;
import io.netty.channel.ServerChannel;
import io.netty.channel.socket.SocketChannel;
import io.netty.channel.unix.UnixChannelOption;
import io.tailwater.iptables.netns.NetworkNamespace;
import java.net.StandardProtocolFamily;
import java.util.List;

/// Sockets born inside the pod's network namespace: they have the pod's addresses and routes, and
/// the agent's mark, which the capture rules let pass.
public final class InPodSockets implements SocketPlace {
  private final NetworkNamespace namespace;
  private final Transport transport;
  private final int mark;
  private final boolean ipv6;

  public InPodSockets(NetworkNamespace namespace, Transport transport, int mark, boolean ipv6) {
    this.namespace = namespace;
    this.transport = transport;
    this.mark = mark;
    this.ipv6 = ipv6;
  }

  @Override
  public ServerChannel listener() {
    return namespace.call(() -> {
      ServerChannel listener =
          transport.listener(ipv6 ? StandardProtocolFamily.INET6 : StandardProtocolFamily.INET);
      return orClosed(
          listener,
          () -> {
            // Accepted sockets inherit the mark, so that what the agent answers passes the rules
            // too.
            transport.mark(listener, mark);
            listener.config().setOption(ChannelOption.SO_REUSEADDR, true);
            listener.config().setOption(UnixChannelOption.SO_REUSEPORT, true);
          });
    });
  }

  @Override
  public void sockets(StandardProtocolFamily family, int count, List<SocketChannel> made) {
    namespace.call(() -> {
      for (int i = 0; i < count; i++) {
        SocketChannel socket = transport.socket(family);
        made.add(
            orClosed(
                socket,
                () -> {
                  transport.mark(socket, mark);
                  socket.config().setOption(ChannelOption.SO_KEEPALIVE, true);
                }));
      }
      return made;
    });
  }

  /// Nobody else knows the socket yet: where its options are refused, its descriptor is closed
  /// here.
  private static <C extends Channel> C orClosed(C socket, Runnable options) {
    boolean set = false;
    try {
      options.run();
      set = true;
      return socket;
    } finally {
      if (!set) {
        socket.unsafe().closeForcibly();
      }
    }
  }

  @Override
  public boolean hasIpv6() {
    return ipv6;
  }
}
