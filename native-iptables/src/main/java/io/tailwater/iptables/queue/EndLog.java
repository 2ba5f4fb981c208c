package io.tailwater.iptables.queue;

import io.tailwater.iptables.netlink.Attributes;
import io.tailwater.iptables.netlink.NetlinkMessages;
import io.tailwater.iptables.netlink.NetlinkPoller;
import io.tailwater.iptables.netlink.PacketLog;
import io.tailwater.iptables.netns.NetworkNamespace;
import java.nio.ByteBuffer;
import java.util.function.Consumer;

/// How released connections of one namespace end: the rules log each FIN and RST of them, from
/// either side, to a group of its own. Together with the sequence numbers at the release they tell
/// the payload bytes exactly, as no counter does.
public final class EndLog implements NetlinkPoller.Receiver {
  private final Consumer<EndSegment> segments;
  private final Runnable lost;
  private final Attributes attributes = new Attributes();

  private EndLog(Consumer<EndSegment> segments, Runnable lost) {
    this.segments = segments;
    this.lost = lost;
  }

  /// Has a poller read the group. On a platform thread outside of any namespace; `segments` and
  /// `lost` on the poller's, up to a tenth of a second after the segment.
  ///
  /// @param lost is told when some were lost: ask conntrack for what is left
  /// @throws io.tailwater.iptables.libc.SyscallException EBUSY or EPERM while somebody else reads
  ///   the group in this namespace
  public static NetlinkPoller.Watch watch(
      NetworkNamespace namespace,
      NetlinkPoller poller,
      int group,
      Consumer<EndSegment> segments,
      Runnable lost) {
    return poller.add(PacketLog.open(namespace, group), new EndLog(segments, lost));
  }

  @Override
  public void received(NetlinkMessages messages) {
    while (messages.next()) {
      if (messages.type() == PacketLog.PACKET) {
        messages.netfilterAttributes(attributes);
        while (attributes.next()) {
          if (attributes.type() == PacketLog.PAYLOAD) {
            ByteBuffer packet = messages.memory().slice(attributes.offset(), attributes.length());
            EndSegment.read(packet).ifPresent(segments);
          }
        }
      }
    }
  }

  @Override
  public void lost() {
    lost.run();
  }
}
