package io.tailwater.agent.dataplane.upstream;

import io.tailwater.agent.dataplane.route.OutlierDetection;
import java.net.InetSocketAddress;
import java.util.concurrent.atomic.LongAdder;
import org.jspecify.annotations.Nullable;

/// One address of a cluster under one host name, with Envoy's per-host counters. Any thread.
///
/// For passed-through TCP a connection counts as one request, as Envoy's tcp_proxy does;
/// `rq_success` stays 0 there.
public final class Endpoint {
  private final InetSocketAddress address;
  private final String hostname;
  private final LongAdder cxTotal = new LongAdder();
  private final LongAdder cxActive = new LongAdder();
  private final LongAdder cxConnectFail = new LongAdder();
  private final LongAdder rqTotal = new LongAdder();
  private final LongAdder rqActive = new LongAdder();
  private final LongAdder rqSuccess = new LongAdder();
  private final LongAdder rqError = new LongAdder();
  private final LongAdder rqTimeout = new LongAdder();
  private final FailuresInARow failures = new FailuresInARow();
  private volatile @Nullable Health health;
  private volatile long lastUsedNanos;

  Endpoint(InetSocketAddress address, String hostname, long nowNanos) {
    this.address = address;
    this.hostname = hostname;
    this.lastUsedNanos = nowNanos;
  }

  public InetSocketAddress address() {
    return address;
  }

  /// The name that was resolved to this address, or the entry's host.
  public String hostname() {
    return hostname;
  }

  /// A connection to it was established and is in use.
  public void opened() {
    cxTotal.increment();
    cxActive.increment();
    rqTotal.increment();
    rqActive.increment();
  }

  /// The connection ended.
  public void closed(long nowNanos) {
    cxActive.decrement();
    rqActive.decrement();
    lastUsedNanos = nowNanos;
  }

  /// An attempt to connect failed. As in Envoy it counts as a connection too.
  public void connectFailed(long nowNanos) {
    cxTotal.increment();
    cxConnectFail.increment();
    rqError.increment();
    lastUsedNanos = nowNanos;
  }

  /// A connection for HTTP requests was established; the requests are counted one by one.
  public void connected() {
    cxTotal.increment();
    cxActive.increment();
  }

  /// A connection for HTTP requests ended.
  public void disconnected(long nowNanos) {
    cxActive.decrement();
    lastUsedNanos = nowNanos;
  }

  /// An HTTP request goes out.
  public void requestStarted() {
    rqTotal.increment();
    rqActive.increment();
  }

  /// An HTTP request is over, as Envoy counts it: responses below 500 are successes, others and
  /// what got no response are errors, one that took too long is also a timeout.
  public void requestSucceeded() {
    rqActive.decrement();
    rqSuccess.increment();
  }

  public void requestFailed() {
    rqActive.decrement();
    rqError.increment();
  }

  public void requestTimedOut() {
    rqActive.decrement();
    rqError.increment();
    rqTimeout.increment();
  }

  /// The client went away: neither good nor bad.
  public void requestCancelled() {
    rqActive.decrement();
  }

  /// Whether it rests now, after failures. Envoy's `/failed_outlier_check`.
  public boolean ejected(long nowNanos) {
    Health last = health;
    return last != null && last.ejected(nowNanos);
  }

  @Nullable Health health() {
    return health;
  }

  void eject(Health ejected) {
    failures.forget();
    health = ejected;
  }

  /// Whether that makes as many failures in a row as the rule ejects for.
  boolean took(Sign sign, OutlierDetection rule) {
    return failures.took(sign, rule);
  }

  /// Whether it may be forgotten: idle, and at rest no longer, since before `beforeNanos`.
  boolean idleSince(long beforeNanos) {
    return cxActive.sum() == 0 && lastUsedNanos - beforeNanos < 0 && !ejected(beforeNanos);
  }

  public long cxTotal() {
    return cxTotal.sum();
  }

  public long cxActive() {
    return cxActive.sum();
  }

  public long cxConnectFail() {
    return cxConnectFail.sum();
  }

  public long rqTotal() {
    return rqTotal.sum();
  }

  public long rqActive() {
    return rqActive.sum();
  }

  public long rqSuccess() {
    return rqSuccess.sum();
  }

  public long rqError() {
    return rqError.sum();
  }

  public long rqTimeout() {
    return rqTimeout.sum();
  }
}
