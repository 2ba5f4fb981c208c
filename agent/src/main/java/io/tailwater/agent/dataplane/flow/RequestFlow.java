package io.tailwater.agent.dataplane.flow;

import io.netty.channel.Channel;
import io.tailwater.agent.dataplane.account.ConnectionRecord;
import io.tailwater.agent.dataplane.account.HttpExchange;
import io.tailwater.agent.dataplane.account.Outcome;
import io.tailwater.agent.dataplane.connect.ConnectRequest;
import io.tailwater.agent.dataplane.connect.Connector;
import io.tailwater.agent.dataplane.connect.UpstreamConnection;
import io.tailwater.agent.dataplane.http.HttpObserver;
import io.tailwater.agent.dataplane.http.RequestRecord;
import io.tailwater.agent.dataplane.http.Upstream;
import io.tailwater.agent.dataplane.http.Upstreams;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.Request;
import io.tailwater.agent.dataplane.route.RequestPolicy;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.dataplane.upstream.Cluster;
import io.tailwater.agent.dataplane.upstream.Endpoint;
import io.tailwater.agent.dataplane.upstream.Sign;
import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.agent.traffic.Grade;
import io.tailwater.agent.traffic.Refusal;
import java.time.Instant;
import java.util.Optional;
import java.util.function.Consumer;

/// The requests of one connection: asks policy for each of them, connects, counts and tells, as
/// `ConnectionFlow` does for a connection. On its loop.
final class RequestFlow implements Upstreams, HttpObserver {
  private final Stages stages;
  private final ClientView view;
  private final ConnectionRecord connection;
  private final Connector.Client client;
  private final Consumer<HttpEnd> closed;
  private boolean opened;

  RequestFlow(
      Stages stages,
      ClientView view,
      ConnectionRecord connection,
      Connector.Client client,
      Consumer<HttpEnd> closed) {
    this.stages = stages;
    this.view = view;
    this.connection = connection;
    this.client = client;
    this.closed = closed;
  }

  // ---- route

  @Override
  public Routed route(Request request) {
    Decision decision = view.decide(connection.dst(), request);
    Routed routed = route(request, decision);
    if (!opened && routed instanceof Routed.To(Upstream to)) {
      opened = true;
      stages.observer().opened(connection, to.decision());
    }
    return routed;
  }

  private Routed route(Request request, Decision decision) {
    return switch (decision) {
      case Decision.Refuse refuse ->
          new Routed.Refused(
              refuse.why(),
              refuse.noRoute().map(r -> "none of the http routes of " + r + " takes it").orElse(""),
              decision);
      case Decision.Passthrough _ -> toDialled(decision, request);
      case Decision.Forward forward when forward.target().tunnelled() ->
          view.registryOnly() && view.mode() != EgressMode.AUDIT
              ? new Routed.Refused(Refusal.NOT_SUPPORTED_YET, "HBONE is not spoken yet", decision)
              : toDialled(
                  new Decision.Passthrough(Optional.empty(), Optional.of(forward.resource())),
                  request);
      case Decision.Forward forward -> forward(forward, request);
      case Decision.ToWaypoint waypoint ->
          new Routed.Refused(
              Refusal.NOT_SUPPORTED_YET,
              "waypoints are not used yet: " + waypoint.waypoint(),
              decision);
      case Decision.PerRequest _, Decision.ByName _ ->
          throw new IllegalStateException("not the answer to a request: " + decision);
    };
  }

  private Routed toDialled(Decision decision, Request request) {
    return new Routed.To(
        new Destination(
            decision,
            new ConnectRequest.ToDialled(connection.dst()),
            request.http2(),
            RequestPolicy.NONE));
  }

  private Routed forward(Decision.Forward forward, Request request) {
    Cluster cluster = stages.clusters().cluster(forward.to().cluster());
    if (!cluster.admitRequest(forward.to().policy().limits())) {
      return new Routed.Refused(
          Refusal.LIMIT,
          "http2MaxRequests ("
              + forward.to().policy().limits().maxRequests()
              + ") of the destination is reached",
          forward);
    }
    Optional<String> host =
        request.host().map(h -> h.text()).or(() -> request.address().map(AddressText::of));
    boolean http2 = forward.to().http().http2(request.http2());
    return new Routed.To(
        new Destination(
            forward, ConnectRequest.forHttp(forward, host, http2), http2, forward.request()));
  }

  /// Requests with the same key may share a connection: same cluster, same place to dial, same name
  /// in the certificate.
  private record Key(ConnectRequest request) {}

  /// Where one request goes.
  private final class Destination implements Upstream {
    private Decision decision;
    private final ConnectRequest request;
    private final boolean http2;
    private final RequestPolicy policy;

    Destination(Decision decision, ConnectRequest request, boolean http2, RequestPolicy policy) {
      this.decision = decision;
      this.request = request;
      this.http2 = http2;
      this.policy = policy;
    }

    @Override
    public Object key() {
      return new Key(request);
    }

    @Override
    public boolean http2() {
      return http2;
    }

    @Override
    public Decision decision() {
      return decision;
    }

    @Override
    public RequestPolicy request() {
      return policy;
    }

    @Override
    public ConnectionPolicy connection() {
      return request.policy();
    }

    @Override
    public boolean admit(Place place) {
      return switch (place) {
        case WAITING -> cluster().admitPending(limits());
        case RETRY -> cluster().admitRetry(limits());
      };
    }

    @Override
    public void left(Place place) {
      switch (place) {
        case WAITING -> cluster().pendingLeft();
        case RETRY -> cluster().retryLeft();
      }
    }

    private Cluster cluster() {
      return stages.clusters().cluster(request.cluster());
    }

    private ConnectionPolicy.Limits limits() {
      return request.policy().limits();
    }

    @Override
    public void connect(Consumer<Connected> then) {
      connect(request, then);
    }

    private void connect(ConnectRequest to, Consumer<Connected> then) {
      stages
          .connector()
          .connect(
              client,
              to,
              new Connector.Listener() {
                @Override
                public void dialling() {
                  // told with the request
                }

                @Override
                public void connected(UpstreamConnection made) {
                  boolean agreed =
                      http2 && (!secured(to) || made.protocol().equals(ConnectRequest.HTTP2));
                  made.socket()
                      .channel(channel ->
                          then.accept(
                              new Connected.Open(channel, agreed, new Counter(made, channel))));
                }

                @Override
                public void refused(Refusal why, String detail) {
                  then.accept(new Connected.Failed(why, detail));
                }

                @Override
                public void filtered() {
                  // Audit lets a filtered name pass to the dialled address.
                  if (decision instanceof Decision.Forward forward) {
                    decision =
                        new Decision.Passthrough(
                            Optional.of(Refusal.ADDRESS_FILTERED), Optional.of(forward.resource()));
                  }
                  connect(new ConnectRequest.ToDialled(RequestFlow.this.connection.dst()), then);
                }
              });
    }

    /// Over TLS the server has a say (RFC 9113 section 3.2).
    private static boolean secured(ConnectRequest to) {
      return to instanceof ConnectRequest.ToDestination known && known.tls().isPresent();
    }

    /// The request is over.
    void left() {
      if (request instanceof ConnectRequest.ToDestination) {
        cluster().requestLeft();
      }
    }
  }

  /// One connection to an endpoint, with the requests that it carries.
  private static final class Counter implements Upstream.RequestCounter {
    private final UpstreamConnection made;

    Counter(UpstreamConnection made, Channel channel) {
      this.made = made;
      made.endpoint().connected();
      channel
          .closeFuture()
          .addListener(_ -> {
            made.endpoint().disconnected(System.nanoTime());
            made.ended();
          });
    }

    Endpoint endpoint() {
      return made.endpoint();
    }

    Cluster cluster() {
      return made.cluster();
    }

    @Override
    public void started() {
      made.endpoint().requestStarted();
    }

    @Override
    public void ended(Upstream.RequestEnd end) {
      Endpoint endpoint = made.endpoint();
      switch (end) {
        case SUCCESS -> {
          endpoint.requestSucceeded();
          tell(Sign.ANSWER);
        }
        case SERVER_ERROR -> {
          endpoint.requestFailed();
          tell(Sign.SERVER_ERROR);
        }
        case GATEWAY_ERROR -> {
          endpoint.requestFailed();
          tell(Sign.GATEWAY_ERROR);
        }
        case RESET -> {
          endpoint.requestFailed();
          tell(Sign.NO_ANSWER);
        }
        case TIMEOUT -> {
          endpoint.requestTimedOut();
          tell(Sign.NO_ANSWER);
        }
        case CANCELLED -> endpoint.requestCancelled();
      }
    }

    private void tell(Sign sign) {
      made.cluster().tell(made.endpoint(), sign, made.policy().outlier(), System.nanoTime());
    }
  }

  // ---- tell

  @Override
  public void ended(RequestRecord request) {
    ConnectionRecord own =
        new ConnectionRecord(
            connection.id(),
            connection.pod(),
            connection.direction(),
            connection.client(),
            connection.dst(),
            Instant.now().minusNanos(request.nanos()),
            System.nanoTime() - request.nanos());
    connection.toldNames().ifPresent(own::told);
    own.preface(
        request
            .request()
            .<Preface>map(asked ->
                new Preface.Http(
                    asked.host(), asked.port(), asked.http2(), asked.method(), request.path()))
            .orElseGet(() ->
                new Preface.Http(
                    Optional.empty(),
                    Optional.empty(),
                    request.http2(),
                    request.method(),
                    request.path())));
    own.bytes(request.sent(), request.received());
    own.grade(Grade.COPY);
    own.exchange(
        new HttpExchange(
            request.http2() ? "HTTP/2" : "HTTP/1.1",
            request.method(),
            request.path(),
            request.status(),
            request.detail()));
    request
        .routed()
        .ifPresent(routed -> {
          switch (routed) {
            case Routed.To(Upstream upstream) -> {
              own.decision(upstream.decision());
              if (upstream instanceof Destination destination) {
                destination.left();
              }
            }
            case Routed.Refused(_, _, Decision decision) -> own.decision(decision);
          }
        });
    if (request.counter().orElse(null) instanceof Counter counter) {
      own.upstream(counter.endpoint().address());
      counter.cluster().bytes(request.sent(), request.received());
    }
    stages.observer().request(own, outcome(request));
  }

  private static Outcome outcome(RequestRecord request) {
    if (request.refusal().isPresent()) {
      return new Outcome.Refused(request.refusal().get(), request.detail());
    }
    return switch (request.end()) {
      case SUCCESS, SERVER_ERROR, GATEWAY_ERROR -> new Outcome.Finished();
      case RESET -> new Outcome.Reset(false);
      case TIMEOUT -> new Outcome.IdleTimeout();
      case CANCELLED -> request.status() == 0 ? new Outcome.Reset(true) : new Outcome.Finished();
    };
  }

  @Override
  public void closed(HttpEnd end) {
    closed.accept(end);
  }
}
