package io.tailwater.agent.dataplane.connect;

import io.netty.channel.Channel;
import io.netty.channel.EventLoop;
import io.netty.util.concurrent.ScheduledFuture;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.UpstreamTls;
import io.tailwater.agent.dataplane.tls.TlsContext;
import io.tailwater.agent.dataplane.tls.TlsContexts;
import io.tailwater.agent.dataplane.transport.SocketMaker;
import io.tailwater.agent.dataplane.transport.SocketPlace;
import io.tailwater.agent.dataplane.transport.StreamSocket;
import io.tailwater.agent.dataplane.upstream.Candidate;
import io.tailwater.agent.dataplane.upstream.Cluster;
import io.tailwater.agent.dataplane.upstream.Clusters;
import io.tailwater.agent.dataplane.upstream.Endpoint;
import io.tailwater.agent.dataplane.upstream.EndpointPicker;
import io.tailwater.agent.dataplane.upstream.Sign;
import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.PodRef;
import io.tailwater.agent.traffic.Refusal;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Makes connections to upstreams, for TCP and for HTTP alike:
///
/// ```
/// find addresses ─▶ limit ─▶ read certificates ─▶ pick ─▶ dial ─▶ TLS handshake ─▶ connected
/// ```
///
/// Each step may end it with a refusal. One for all loops; each connection is made on its own.
public final class Connector {
  private static final Logger LOG = LoggerFactory.getLogger(Connector.class);

  private final Candidates candidates;
  private final Clusters clusters;
  private final EndpointPicker picker;
  private final TlsOrigination origination;
  private final Duration connectTimeout;

  /// `connectTimeout` is for destinations that have none of their own.
  public Connector(
      Candidates candidates,
      Clusters clusters,
      EndpointPicker picker,
      TlsOrigination origination,
      Duration connectTimeout) {
    this.candidates = candidates;
    this.clusters = clusters;
    this.picker = picker;
    this.origination = origination;
    this.connectTimeout = connectTimeout;
  }

  /// For whom a connection is made, and where its socket is born.
  ///
  /// @param source the client's address, which consistent hashing goes by
  /// @param locality as `region/zone/subzone`; empty where unknown
  public record Client(
      PodRef pod,
      OriginalDst dst,
      InetAddress source,
      String locality,
      EventLoop loop,
      SocketMaker maker,
      SocketPlace place) {}

  /// Is told on the loop. After [#dialling] comes exactly one of [#connected] and [#refused], or
  /// one of [#refused] and [#filtered] alone; nothing after [Attempt#cancel].
  public interface Listener {
    /// There is something to dial, and it is dialled.
    void dialling();

    /// Connected. Without TLS the socket is as dialled; with TLS it is a channel, and its handlers
    /// must be added before this returns.
    void connected(UpstreamConnection connection);

    /// There is no connection; `detail` is for people and may be empty.
    void refused(Refusal why, String detail);

    /// The address filter refuses every address, the mode is audit, and the dialled address may be
    /// dialled: a [ConnectRequest.ToDialled] is what enforcement would have refused.
    void filtered();
  }

  /// One connection that is being made.
  public interface Attempt {
    /// Gives up without telling anybody.
    void cancel();
  }

  /// Begins. The listener may be told before this returns. On the client's loop.
  public Attempt connect(Client client, ConnectRequest request, Listener listener) {
    Making making = new Making(client, request, listener);
    making.begin();
    return making;
  }

  private final class Making implements Attempt, Dial.Listener {
    private final Client client;
    private final ConnectRequest request;
    private final Cluster cluster;
    private final ConnectionPolicy policy;
    private final Listener listener;
    private boolean over;
    private boolean admitted;
    private long startedNanos;
    private @Nullable TlsContext context;
    private @Nullable Dial dial;
    private @Nullable Channel handshaking;
    private @Nullable ScheduledFuture<?> reading;

    Making(Client client, ConnectRequest request, Listener listener) {
      this.client = client;
      this.request = request;
      this.cluster = clusters.cluster(request.cluster());
      this.policy = request.policy();
      this.listener = listener;
    }

    void begin() {
      try {
        find();
      } catch (RuntimeException e) {
        defect(e);
      }
    }

    /// For steps that others call, where it is not over yet. Those of every connection call
    /// [#defect] themselves: a lambda that captures something is made by a call into the JVM where
    /// C1 compiles it.
    private void guarded(Runnable step) {
      if (over) {
        return;
      }
      try {
        step.run();
      } catch (RuntimeException e) {
        defect(e);
      }
    }

    /// Ends this connection and gives back what it holds.
    private void defect(RuntimeException e) {
      LOG.error("connecting to {} for {} failed", request.cluster(), client.pod(), e);
      refuse(Refusal.CONNECT_FAILED, "the agent failed, see its log");
    }

    private void refuse(Refusal why, String detail) {
      if (!over) {
        cancel();
        listener.refused(why, detail);
      }
    }

    @Override
    public void cancel() {
      if (over) {
        return;
      }
      over = true;
      if (reading != null) {
        reading.cancel(false);
      }
      if (dial != null) {
        dial.cancel();
      }
      if (handshaking != null) {
        handshaking.close();
      }
      if (admitted) {
        admitted = false;
        cluster.connectionLeft();
      }
    }

    // ---- find addresses

    private void find() {
      switch (request) {
        case ConnectRequest.ToDialled(OriginalDst dst) ->
            ready(List.of(new Candidate(dst.socketAddress())));
        case ConnectRequest.ToDestination to ->
            candidates.find(
                new Candidates.Asker(
                    client.pod(), client.dst(), nearness(), client.place().hasIpv6()),
                to.target(),
                to.rule(),
                client.loop(),
                found -> looked(to, found));
      }
    }

    private void looked(ConnectRequest.ToDestination to, Candidates.Found found) {
      if (!over) {
        try {
          found(to, found);
        } catch (RuntimeException e) {
          defect(e);
        }
      }
    }

    /// As in Istio, locality means something only where endpoints can be out.
    private String nearness() {
      return policy.balancing().localityFailover() && policy.outlier().isPresent()
          ? client.locality()
          : "";
    }

    private void found(ConnectRequest.ToDestination to, Candidates.Found found) {
      switch (found) {
        case Candidates.Found.Some(List<Candidate> some) -> ready(some);
        case Candidates.Found.None(Refusal why, String detail) -> {
          if (why == Refusal.ADDRESS_FILTERED
              && to.auditing()
              && candidates.admits(client.dst(), to.rule())) {
            over = true;
            listener.filtered();
            return;
          }
          cluster.noneHealthy();
          refuse(why, detail);
        }
      }
    }

    // ---- limit and certificates

    private void ready(List<Candidate> some) {
      if (!cluster.admitConnection(policy.limits())) {
        refuse(
            Refusal.LIMIT,
            "maxConnections ("
                + policy.limits().maxConnections()
                + ") of the destination is reached");
        return;
      }
      admitted = true;
      Optional<UpstreamTls> tls =
          request instanceof ConnectRequest.ToDestination to ? to.tls() : Optional.empty();
      if (tls.isEmpty()) {
        pick(some);
        return;
      }
      // Files may lie on a file system that does not answer.
      reading =
          client
              .loop()
              .schedule(
                  () ->
                      refuse(
                          Refusal.CONNECT_FAILED,
                          "the certificates for TLS to the destination were not read in time"),
                  timeout().toMillis(),
                  TimeUnit.MILLISECONDS);
      origination.prepare(
          tls.get(),
          client.pod(),
          client.loop(),
          prepared ->
              guarded(() -> {
                if (reading != null) {
                  reading.cancel(false);
                }
                switch (prepared) {
                  case TlsContexts.Prepared.Ready(TlsContext made) -> {
                    context = made;
                    pick(some);
                  }
                  case TlsContexts.Prepared.Unusable(String why) ->
                      refuse(
                          Refusal.CONNECT_FAILED, "TLS to the destination cannot be made: " + why);
                }
              }));
    }

    // ---- pick and dial

    private void pick(List<Candidate> some) {
      long now = System.nanoTime();
      long hash = some.size() == 1 ? 0 : EndpointPicker.hash(client.source().getAddress());
      switch (picker.pick(cluster, request.hostname(), some, policy, hash, now)) {
        case EndpointPicker.Picked.Order(List<Endpoint> order) -> dial(order, now);
        case EndpointPicker.Picked.NoneHealthy(int resting) -> {
          cluster.noneHealthy();
          refuse(
              Refusal.NO_HEALTHY_UPSTREAM,
              resting == 1
                  ? "its endpoint rests after failures (outlierDetection)"
                  : "all " + resting + " endpoints rest after failures (outlierDetection)");
        }
      }
    }

    private void dial(List<Endpoint> order, long now) {
      startedNanos = now;
      listener.dialling();
      if (over) {
        return;
      }
      List<InetSocketAddress> addresses = new ArrayList<>(order.size());
      for (Endpoint endpoint : order) {
        addresses.add(endpoint.address());
      }
      dial = new Dial(client.loop(), client.maker(), client.place(), addresses, timeout(), this);
      dial.start();
    }

    private Duration timeout() {
      return policy.connectTimeout().orElse(connectTimeout);
    }

    private Endpoint endpoint(InetSocketAddress address) {
      return cluster.endpoint(address, request.hostname(), System.nanoTime());
    }

    @Override
    public void attemptFailed(InetSocketAddress address) {
      failedAt(endpoint(address));
    }

    private void failedAt(Endpoint endpoint) {
      long now = System.nanoTime();
      endpoint.connectFailed(now);
      cluster.tell(endpoint, Sign.NO_ANSWER, policy.outlier(), now);
    }

    @Override
    public void failed(boolean timedOut, String detail) {
      if (timedOut) {
        cluster.connectTimedOut();
      }
      refuse(Refusal.CONNECT_FAILED, detail);
    }

    @Override
    public void connected(StreamSocket socket, InetSocketAddress address) {
      if (over) {
        socket.close();
        return;
      }
      try {
        if (policy.keepAlive().isPresent()) {
          keepAlive(socket, policy.keepAlive().get());
        }
        TlsContext tls = context;
        if (tls == null) {
          connected(socket, endpoint(address), "");
        } else {
          socket.channel(channel -> secure(socket, channel, tls, endpoint(address)));
        }
      } catch (RuntimeException e) {
        defect(e);
      }
    }

    private static void keepAlive(StreamSocket socket, ConnectionPolicy.KeepAlive how) {
      socket.keepAlive(seconds(how.time()), seconds(how.interval()), how.probes().orElse(0));
    }

    /// The kernel counts in seconds, from 1 to 32767.
    private static int seconds(Optional<Duration> time) {
      return time.map(t -> Math.clamp(t.toSeconds(), 1, 32767)).orElse(0);
    }

    // ---- TLS

    private void secure(StreamSocket socket, Channel channel, TlsContext tls, Endpoint endpoint) {
      handshaking = channel;
      Optional<String> requested =
          request instanceof ConnectRequest.ToDestination to ? to.requested() : Optional.empty();
      List<String> alpn =
          request instanceof ConnectRequest.ToDestination to ? to.alpn() : List.of();
      Duration left = timeout().minusNanos(System.nanoTime() - startedNanos);
      origination.begin(
          channel,
          new TlsOrigination.Handshake(
              tls, requested, alpn, left.isPositive() ? left : Duration.ofMillis(1)),
          new TlsOrigination.Listener() {
            @Override
            public void secured(Channel upstream, String protocol) {
              if (over) {
                upstream.close();
                return;
              }
              guarded(() -> connected(new SecuredSocket(socket, upstream), endpoint, protocol));
            }

            @Override
            public void failed(String why) {
              if (!over) {
                failedAt(endpoint);
                refuse(
                    Refusal.CONNECT_FAILED,
                    "TLS to "
                        + AddressText.of(
                            endpoint.address().getAddress(), endpoint.address().getPort())
                        + " failed: "
                        + why);
              }
            }
          });
    }

    private void connected(StreamSocket socket, Endpoint endpoint, String protocol) {
      over = true; // from now on it is the listener's
      Sign sign =
          request instanceof ConnectRequest.ToDestination to && to.http()
              ? Sign.CONNECTED
              : Sign.CARRIES;
      cluster.tell(endpoint, sign, policy.outlier(), System.nanoTime());
      listener.connected(new UpstreamConnection(socket, cluster, endpoint, policy, protocol));
    }
  }
}
