package io.tailwater.agent.control.capture;

import io.tailwater.agent.dataplane.account.ConnectionRecord;
import io.tailwater.agent.dataplane.account.PacketObserver;
import io.tailwater.agent.traffic.ClientAddress;
import io.tailwater.agent.traffic.Direction;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.iptables.netlink.LoggedPacket;
import io.tailwater.iptables.rule.Logged;
import java.net.InetAddress;
import java.time.Instant;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/// Turns what one pod's rules log into records of refusal, and notices when somebody guesses at the
/// agent's mark. On the poller's thread. The rules limit how much is logged, so this is bounded.
final class KernelRefusals {
  /// Connections with a wrong mark in a minute that nobody makes by accident.
  static final int GUESSES = 1000;

  private static final long MINUTE = TimeUnit.MINUTES.toNanos(1);
  private static final InetAddress UNKNOWN = InetAddress.ofLiteral("0.0.0.0");

  private final Pod pod;
  private final PacketObserver observer;
  private final Counts counts;
  private final Runnable guessed;
  private int guesses;
  private long minute = System.nanoTime();

  /// Counts of what has no record of its own. Any thread.
  interface Counts {
    /// A connection carried a mark that is not the agent's.
    void wrongMark(boolean refused);

    /// Records were lost on the way from the kernel.
    void lost();
  }

  /// @param guessed somebody guesses at the mark: it is to be replaced
  KernelRefusals(Pod pod, PacketObserver observer, Counts counts, Runnable guessed) {
    this.pod = pod;
    this.observer = observer;
    this.counts = counts;
    this.guessed = guessed;
  }

  void logged(LoggedPacket packet) {
    Optional<Logged> reason = Logged.of(packet.prefix());
    if (reason.isEmpty()) {
      return; // rules of somebody else that log to our group
    }
    switch (reason.get()) {
      case UDP -> refused(packet, Refusal.UDP);
      case IPV6 -> refused(packet, Refusal.IPV6);
      case ICMP -> refused(packet, Refusal.ICMP);
      case PROTOCOL -> refused(packet, Refusal.PROTOCOL);
      case UNCAPTURED -> refused(packet, Refusal.UNCAPTURED);
      case UNKNOWN_SOURCE -> refused(packet, Refusal.UNKNOWN_SOURCE);
      case PACKET_SOCKET -> refused(packet, Refusal.PACKET_SOCKET);
      case DNS_FLOOD ->
          refused(packet, Refusal.LIMIT, ": far more DNS than dnsQueriesPerPodPerSecond");
      case MARK -> {
        refused(packet, Refusal.MARK);
        wrongMark(true);
      }
      case MARK_CAPTURED -> wrongMark(false);
    }
  }

  void lost() {
    counts.lost();
  }

  private void wrongMark(boolean refused) {
    counts.wrongMark(refused);
    long now = System.nanoTime();
    if (now - minute > MINUTE) {
      minute = now;
      guesses = 0;
    }
    // Once in a minute: the count begins anew only then.
    if (++guesses == GUESSES + 1) {
      guessed.run();
    }
  }

  private void refused(LoggedPacket packet, Refusal why) {
    refused(packet, why, "");
  }

  private void refused(LoggedPacket packet, Refusal why, String more) {
    ConnectionRecord record =
        new ConnectionRecord(
            0,
            pod,
            Direction.OUTBOUND,
            new ClientAddress(packet.source().orElse(UNKNOWN), packet.sourcePort()),
            new OriginalDst(packet.destination().orElse(UNKNOWN), packet.destinationPort()),
            Instant.now(),
            System.nanoTime());
    observer.refused(record, why, detail(packet) + more);
  }

  /// `UDP, by user 1000`
  private static String detail(LoggedPacket packet) {
    StringBuilder text = new StringBuilder(what(packet));
    if (packet.mark() != 0) {
      text.append(", mark 0x").append(Integer.toHexString(packet.mark()));
    }
    if (packet.user() >= 0) {
      text.append(", by user ").append(packet.user());
    }
    return text.toString();
  }

  private static String what(LoggedPacket packet) {
    return switch (packet.protocol()) {
      case LoggedPacket.TCP -> "TCP";
      case LoggedPacket.UDP -> "UDP";
      case LoggedPacket.ICMP -> "ICMP type " + packet.type();
      case LoggedPacket.ICMP6 -> "ICMPv6 type " + packet.type();
      case -1 -> packet.type() < 0 ? "unreadable" : "EtherType 0x%04x".formatted(packet.type());
      default -> "protocol " + packet.protocol();
    };
  }
}
