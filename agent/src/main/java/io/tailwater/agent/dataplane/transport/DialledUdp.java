package io.tailwater.agent.dataplane.transport;

import io.tailwater.iptables.netlink.NetlinkPoller;
import io.tailwater.iptables.tproxy.DialledDatagrams;
import java.net.InetAddress;
import java.net.InetSocketAddress;

/// UDP that pods send to some server and that TPROXY brings to the node's loopback. One pair of
/// sockets for each family, whoever was dialled; the same under every transport, none of which
/// tells in both families whom a packet was for.
public final class DialledUdp implements AutoCloseable {
  private final DialledDatagrams sockets;
  private final NetlinkPoller.Watch watch;

  private DialledUdp(DialledDatagrams sockets, NetlinkPoller.Watch watch) {
    this.sockets = sockets;
    this.watch = watch;
  }

  /// Takes what comes in, on the poller's thread; it must not block.
  public interface Intake {
    /// One packet, whole; the intake's now.
    void received(byte[] packet, InetAddress from, Answers answers);
  }

  /// Where answers to one packet go.
  public interface Answers {
    /// Sends an answer that comes from whom the packet was for. Any thread; what the kernel has no
    /// room for is lost, as packets get lost.
    void send(byte[] answer);
  }

  static DialledUdp open(
      NetlinkPoller poller, InetSocketAddress at, int dialledPort, int mark, Intake intake) {
    DialledDatagrams sockets =
        DialledDatagrams.open(
            at,
            dialledPort,
            mark,
            (by, packet, from, dialled) ->
                intake.received(
                    packet,
                    from.getAddress(),
                    answer -> by.answer(answer, dialled.getAddress(), from)));
    boolean watched = false;
    try {
      DialledUdp udp = new DialledUdp(sockets, poller.add(sockets));
      watched = true;
      return udp;
    } finally {
      if (!watched) {
        sockets.answerNoMore();
      }
    }
  }

  /// Receives no more; what was received may be answered as long as the process lives. Any thread.
  public void takeNoMore() {
    watch.close();
  }

  /// Receives and answers no more. Any thread.
  @Override
  public void close() {
    watch.close();
    sockets.answerNoMore();
  }
}
