package io.tailwater.agent.dataplane.account;

import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.ClientAddress;
import io.tailwater.agent.traffic.Direction;
import io.tailwater.agent.traffic.Grade;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Pod;
import java.net.InetSocketAddress;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// Everything that is known of one connection, filled stage by stage by its flow. Belongs to the
/// connection's loop; whoever lists live connections asks the loop to make a copy.
public final class ConnectionRecord {
  private static final long NANOS = 1_000_000_000;

  private final long id;
  private final Pod pod;
  private final Direction direction;
  private final ClientAddress client;
  private final OriginalDst dst;

  /// Nanoseconds since 1970: an Instant would cost three times as much.
  private final long openedAtNanos;

  private final long openedNanos;
  private Preface preface = new Preface.Silent();
  private @Nullable Decision decision;
  private @Nullable InetSocketAddress upstream;
  private @Nullable Grade grade;
  private @Nullable HttpExchange exchange;
  private @Nullable List<HostName> told;
  private String stage = "accepted";
  private long bytesSent;
  private long bytesReceived;
  private ByteCount byteCount = ByteCount.EXACT;

  /// What the accounts keep with a connection, so that nothing is looked up twice.
  @Nullable TrafficSeries series;

  boolean inventoried;

  public ConnectionRecord(
      long id,
      Pod pod,
      Direction direction,
      ClientAddress client,
      OriginalDst dst,
      Instant openedAt,
      long openedNanos) {
    this.id = id;
    this.pod = pod;
    this.direction = direction;
    this.client = client;
    this.dst = dst;
    this.openedAtNanos = Math.addExact(openedAt.getEpochSecond() * NANOS, openedAt.getNano());
    this.openedNanos = openedNanos;
  }

  /// Unique while the agent runs.
  public long id() {
    return id;
  }

  public Pod pod() {
    return pod;
  }

  /// Whether the pod dialled or was dialled.
  public Direction direction() {
    return direction;
  }

  public ClientAddress client() {
    return client;
  }

  public OriginalDst dst() {
    return dst;
  }

  public Instant openedAt() {
    return Instant.ofEpochSecond(openedAtNanos / NANOS, openedAtNanos % NANOS);
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

  /// The names that captured DNS told the pod this address for, the newest first; empty also where
  /// DNS is not captured.
  public List<HostName> told() {
    return told == null ? List.of() : told;
  }

  /// The same; empty only where DNS is not captured.
  public Optional<List<HostName>> toldNames() {
    return Optional.ofNullable(told);
  }

  /// Sets them; DNS of the pod is captured.
  public void told(List<HostName> names) {
    told = List.copyOf(names);
  }

  /// Whether the client names a host that the pod was not told this address for, though its DNS is
  /// captured: it has the address from elsewhere, or says another name than it asked for.
  public boolean mismatched() {
    return told != null && named().isPresent() && !told.contains(named().get());
  }

  private Optional<HostName> named() {
    return switch (preface) {
      case Preface.Tls tls -> Optional.of(tls.sni());
      case Preface.Http http -> http.host();
      case Preface.TlsWithoutName _, Preface.MalformedTls _, Preface.Opaque _, Preface.Silent _ ->
          Optional.empty();
    };
  }

  /// The name that the client said or claimed, else the one that it asked for to get the address;
  /// for people, empty where there is none.
  public String shownName() {
    Optional<String> name = AccessRecord.name(preface);
    if (name.isPresent()) {
      return name.get();
    }
    return told().isEmpty() ? "" : told().getFirst().text();
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

  /// How sure they are.
  public ByteCount byteCount() {
    return byteCount;
  }

  public void byteCount(ByteCount value) {
    byteCount = value;
  }

  /// A copy that no loop changes any more. On the loop.
  public ConnectionRecord copy() {
    ConnectionRecord copy =
        new ConnectionRecord(id, pod, direction, client, dst, openedAt(), openedNanos);
    copy.preface = preface;
    copy.decision = decision;
    copy.upstream = upstream;
    copy.grade = grade;
    copy.exchange = exchange;
    copy.told = told;
    copy.stage = stage;
    copy.bytesSent = bytesSent;
    copy.bytesReceived = bytesReceived;
    copy.byteCount = byteCount;
    return copy;
  }
}
