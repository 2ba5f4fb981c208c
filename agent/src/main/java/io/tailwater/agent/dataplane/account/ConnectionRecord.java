package io.tailwater.agent.dataplane.account;

import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.ClientAddress;
import io.tailwater.agent.traffic.Grade;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Pod;
import java.net.InetSocketAddress;
import java.time.Instant;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// Everything that is known of one connection, filled stage by stage by its flow. Belongs to the
/// connection's loop; whoever lists live connections asks the loop to make a copy.
public final class ConnectionRecord {
  private final long id;
  private final Pod pod;
  private final ClientAddress client;
  private final OriginalDst dst;
  private final Instant openedAt;
  private final long openedNanos;
  private Preface preface = new Preface.Silent();
  private @Nullable Decision decision;
  private @Nullable InetSocketAddress upstream;
  private @Nullable Grade grade;
  private @Nullable HttpExchange exchange;
  private String stage = "accepted";
  private long bytesSent;
  private long bytesReceived;

  /// What the accounts keep with a connection, so that nothing is looked up twice.
  @Nullable TrafficSeries series;

  boolean inventoried;

  public ConnectionRecord(
      long id, Pod pod, ClientAddress client, OriginalDst dst, Instant openedAt, long openedNanos) {
    this.id = id;
    this.pod = pod;
    this.client = client;
    this.dst = dst;
    this.openedAt = openedAt;
    this.openedNanos = openedNanos;
  }

  /// Unique while the agent runs.
  public long id() {
    return id;
  }

  public Pod pod() {
    return pod;
  }

  public ClientAddress client() {
    return client;
  }

  public OriginalDst dst() {
    return dst;
  }

  public Instant openedAt() {
    return openedAt;
  }

  /// On the monotonic clock, for durations.
  public long openedNanos() {
    return openedNanos;
  }

  /// What the client said; `Silent` while unknown. Read in passing where the decision did not need
  /// it.
  public Preface preface() {
    return preface;
  }

  public void preface(Preface value) {
    preface = value;
  }

  /// Empty until routed.
  public Optional<Decision> decision() {
    return Optional.ofNullable(decision);
  }

  public void decision(Decision value) {
    decision = value;
  }

  /// The address that was dialled; empty until connected.
  public Optional<InetSocketAddress> upstream() {
    return Optional.ofNullable(upstream);
  }

  public void upstream(InetSocketAddress value) {
    upstream = value;
  }

  /// Who moves the bytes; empty until connected.
  public Optional<Grade> grade() {
    return Optional.ofNullable(grade);
  }

  public void grade(Grade value) {
    grade = value;
  }

  /// For the record of one request: what it was.
  public Optional<HttpExchange> exchange() {
    return Optional.ofNullable(exchange);
  }

  public void exchange(HttpExchange value) {
    exchange = value;
  }

  /// Where in its life it is: accepted, sniffing, resolving, connecting, relaying, closed.
  public String stage() {
    return stage;
  }

  public void stage(String value) {
    stage = value;
  }

  /// Payload bytes from client to server so far.
  public long bytesSent() {
    return bytesSent;
  }

  /// Payload bytes from server to client so far.
  public long bytesReceived() {
    return bytesReceived;
  }

  public void bytes(long sent, long received) {
    bytesSent = sent;
    bytesReceived = received;
  }

  /// A copy that no loop changes any more. On the loop.
  public ConnectionRecord copy() {
    ConnectionRecord copy = new ConnectionRecord(id, pod, client, dst, openedAt, openedNanos);
    copy.preface = preface;
    copy.decision = decision;
    copy.upstream = upstream;
    copy.grade = grade;
    copy.exchange = exchange;
    copy.stage = stage;
    copy.bytesSent = bytesSent;
    copy.bytesReceived = bytesReceived;
    return copy;
  }
}
