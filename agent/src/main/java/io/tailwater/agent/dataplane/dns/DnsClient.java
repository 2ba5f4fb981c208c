package io.tailwater.agent.dataplane.dns;

import io.netty.channel.EventLoop;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.traffic.Pod;
import java.net.Inet4Address;
import java.net.Inet6Address;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Supplier;

/// One pod that asks. Its loop only, but for what was told and where said.
public final class DnsClient {
  /// Questions of one pod that servers are being asked at the same time.
  private static final int MOST_OPEN = 512;

  /// Questions of one pod that wait for its loop.
  private static final int MOST_WAITING = 1024;

  /// TCP connections of one pod at the same time.
  private static final int MOST_STREAMS = 128;

  private final Pod pod;
  private final EventLoop loop;
  private final Supplier<ClientView> view;
  private final ToldAddresses told;
  private final int perSecond;
  private double tokens;
  private double beyond;
  private long refilledAt;
  private int open;
  private final AtomicInteger waiting = new AtomicInteger();
  private final AtomicInteger streams = new AtomicInteger();

  /// @param view the policy in force, asked once per query
  /// @param told where is written down what the pod was told
  public DnsClient(
      Pod pod, EventLoop loop, Supplier<ClientView> view, ToldAddresses told, int perSecond) {
    this.pod = pod;
    this.loop = loop;
    this.view = view;
    this.told = told;
    this.perSecond = perSecond;
    this.tokens = perSecond;
    this.beyond = perSecond;
    this.refilledAt = System.nanoTime();
  }

  /// What a query may cost.
  enum Admission {
    ADMITTED,
    /// It is told that it has asked too much.
    REFUSED,
    /// Telling it would cost too much, too.
    DROPPED
  }

  /// A second's worth may come at once. As many again are refused with an answer.
  Admission admit(long now) {
    double refill = (now - refilledAt) / 1e9 * perSecond;
    refilledAt = now;
    tokens = Math.min(perSecond, tokens + refill);
    beyond = Math.min(perSecond, beyond + refill);
    if (tokens >= 1) {
      tokens--;
      return Admission.ADMITTED;
    }
    if (beyond >= 1) {
      beyond--;
      return Admission.REFUSED;
    }
    return Admission.DROPPED;
  }

  /// Whether one more question may be put before the loop; [#waitsNoMore] follows where it may. Any
  /// thread.
  boolean mayWait() {
    if (waiting.incrementAndGet() > MOST_WAITING) {
      waiting.decrementAndGet();
      return false;
    }
    return true;
  }

  void waitsNoMore() {
    waiting.decrementAndGet();
  }

  /// Whether the pod may have one more TCP connection; [#endStream] follows where it may. Any
  /// thread.
  boolean beginStream() {
    if (streams.incrementAndGet() > MOST_STREAMS) {
      streams.decrementAndGet();
      return false;
    }
    return true;
  }

  void endStream() {
    streams.decrementAndGet();
  }

  boolean beginQuestion() {
    if (open >= MOST_OPEN) {
      return false;
    }
    open++;
    return true;
  }

  void endQuestion() {
    open--;
  }

  /// Whether addresses of the family lead anywhere from the pod.
  boolean speaks(boolean six) {
    Class<?> family = six ? Inet6Address.class : Inet4Address.class;
    return pod.ips().isEmpty() || pod.ips().stream().anyMatch(family::isInstance);
  }

  Pod pod() {
    return pod;
  }

  EventLoop loop() {
    return loop;
  }

  ClientView view() {
    return view.get();
  }

  ToldAddresses told() {
    return told;
  }
}
