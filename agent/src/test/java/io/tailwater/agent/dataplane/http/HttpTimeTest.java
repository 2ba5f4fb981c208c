package io.tailwater.agent.dataplane.http;

import static org.assertj.core.api.Assertions.assertThat;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.embedded.EmbeddedChannel;
import io.tailwater.agent.dataplane.http.HttpObserver.HttpEnd;
import io.tailwater.agent.dataplane.http.Upstream.RequestEnd;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.RequestPolicy;
import io.tailwater.agent.traffic.Refusal;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

/// Everything that depends on time, with a clock that the test moves.
class HttpTimeTest {
  private final EmbeddedChannel client = new EmbeddedChannel();
  private final List<EmbeddedChannel> destinations = new ArrayList<>();
  private final List<RequestRecord> records = new ArrayList<>();
  private final List<HttpEnd> ends = new ArrayList<>();
  private final List<RequestEnd> counted = new ArrayList<>();
  private boolean reachable = true;
  private ConnectionPolicy connection = ConnectionPolicy.DEFAULT;

  private final HttpObserver observer =
      new HttpObserver() {
        @Override
        public void ended(RequestRecord request) {
          records.add(request);
        }

        @Override
        public void closed(HttpEnd end) {
          ends.add(end);
        }
      };

  private void serve(RequestPolicy policy) {
    client.freezeTime();
    HttpConnection.serve(
        client,
        Unpooled.EMPTY_BUFFER,
        false,
        false,
        _ -> new Upstreams.Routed.To(new Destination(policy)),
        observer,
        HttpLimits.DEFAULT);
  }

  private final class Destination implements Upstream, Upstream.RequestCounter {
    private final RequestPolicy policy;

    Destination(RequestPolicy policy) {
      this.policy = policy;
    }

    @Override
    public Object key() {
      return "the one";
    }

    @Override
    public boolean http2() {
      return false;
    }

    @Override
    public Decision decision() {
      return new Decision.PerRequest();
    }

    @Override
    public RequestPolicy request() {
      return policy;
    }

    @Override
    public ConnectionPolicy connection() {
      return connection;
    }

    @Override
    public boolean admit(Place place) {
      return true;
    }

    @Override
    public void left(Place place) {}

    @Override
    public void connect(Consumer<Connected> then) {
      if (!reachable) {
        then.accept(new Connected.Failed(Refusal.CONNECT_FAILED, ""));
        return;
      }
      EmbeddedChannel made = new EmbeddedChannel();
      destinations.add(made);
      then.accept(new Connected.Open(made, false, this));
    }

    @Override
    public void started() {}

    @Override
    public void ended(RequestEnd end) {
      counted.add(end);
    }
  }

  private void send(EmbeddedChannel to, String text) {
    to.writeInbound(Unpooled.copiedBuffer(text.replace("\n", "\r\n"), StandardCharsets.ISO_8859_1));
  }

  private static String sent(EmbeddedChannel from) {
    StringBuilder all = new StringBuilder();
    for (ByteBuf part = from.readOutbound(); part != null; part = from.readOutbound()) {
      all.append(part.toString(StandardCharsets.ISO_8859_1));
      part.release();
    }
    return all.toString().replace("\r\n", "\n");
  }

  private void pass(long amount, TimeUnit unit) {
    client.advanceTimeBy(amount, unit);
    client.runPendingTasks();
    client.runScheduledPendingTasks();
  }

  private static RequestPolicy policy(Optional<Duration> timeout, RequestPolicy.Retries retries) {
    return new RequestPolicy(
        Optional.empty(),
        Optional.empty(),
        timeout,
        retries,
        RequestPolicy.Headers.NONE,
        RequestPolicy.Headers.NONE);
  }

  @Test
  void aHeadThatDoesNotComeToItsEndIs408() {
    serve(RequestPolicy.NONE);
    send(client, "GET / HTTP/1.1\nHost: a");
    pass(9, TimeUnit.SECONDS);
    assertThat(client.isOpen()).isTrue();
    pass(1, TimeUnit.SECONDS);
    assertThat(sent(client)).startsWith("HTTP/1.1 408 Request Timeout\n");
    assertThat(client.isOpen()).isFalse();
    assertThat(ends).containsExactly(HttpEnd.IDLE);
  }

  @Test
  void aClientThatSaysNothingIsClosedWithoutAnAnswer() {
    serve(RequestPolicy.NONE);
    pass(10, TimeUnit.SECONDS);
    assertThat(sent(client)).isEmpty();
    assertThat(client.isOpen()).isFalse();
  }

  @Test
  void theSecondHeadMayWaitAsLongAsAConnectionMayRestButNotInTheMiddle() {
    serve(RequestPolicy.NONE);
    send(client, "GET / HTTP/1.1\nHost: a.test\n\n");
    send(destinations.getFirst(), "HTTP/1.1 200 OK\nContent-Length: 0\n\n");
    assertThat(sent(client)).startsWith("HTTP/1.1 200");
    pass(50, TimeUnit.MINUTES);
    assertThat(client.isOpen()).isTrue();
    send(client, "GET");
    pass(10, TimeUnit.SECONDS);
    assertThat(sent(client)).startsWith("HTTP/1.1 408");
    assertThat(client.isOpen()).isFalse();
  }

  @Test
  void aConnectionThatRestsTooLongIsClosed() {
    serve(RequestPolicy.NONE);
    send(client, "GET / HTTP/1.1\nHost: a.test\n\n");
    send(destinations.getFirst(), "HTTP/1.1 200 OK\nContent-Length: 0\n\n");
    pass(30, TimeUnit.MINUTES);
    assertThat(client.isOpen()).isTrue();
    pass(61, TimeUnit.MINUTES);
    assertThat(client.isOpen()).isFalse();
    assertThat(ends).containsExactly(HttpEnd.IDLE);
  }

  @Test
  void aKeptUpstreamConnectionIsClosedAfterAWhile() {
    serve(RequestPolicy.NONE);
    send(client, "GET / HTTP/1.1\nHost: a.test\n\n");
    send(destinations.getFirst(), "HTTP/1.1 200 OK\nContent-Length: 0\n\n");
    pass(30, TimeUnit.SECONDS);
    assertThat(destinations.getFirst().isOpen()).isTrue();
    pass(90, TimeUnit.SECONDS);
    assertThat(destinations.getFirst().isOpen()).isFalse();
    assertThat(client.isOpen()).isTrue();
  }

  private static ConnectionPolicy connection(Optional<Duration> longest, Optional<Duration> idle) {
    ConnectionPolicy plain = ConnectionPolicy.DEFAULT;
    return new ConnectionPolicy(
        plain.tls(),
        plain.limits(),
        plain.connectTimeout(),
        plain.idleTimeout(),
        longest,
        plain.keepAlive(),
        plain.balancing(),
        plain.outlier(),
        new ConnectionPolicy.Http(Optional.empty(), idle));
  }

  @Test
  void aRuleSaysHowLongAKeptConnectionRests() {
    connection = connection(Optional.empty(), Optional.of(Duration.ofSeconds(2)));
    serve(RequestPolicy.NONE);
    send(client, "GET / HTTP/1.1\nHost: a.test\n\n");
    send(destinations.getFirst(), "HTTP/1.1 200 OK\nContent-Length: 0\n\n");
    pass(1, TimeUnit.SECONDS);
    send(client, "GET / HTTP/1.1\nHost: a.test\n\n");
    send(destinations.getFirst(), "HTTP/1.1 200 OK\nContent-Length: 0\n\n");
    pass(1, TimeUnit.SECONDS);
    assertThat(destinations.getFirst().isOpen()).isTrue();
    pass(1, TimeUnit.SECONDS);
    assertThat(destinations.getFirst().isOpen()).isFalse();

    connection = connection(Optional.empty(), Optional.of(Duration.ofMinutes(30)));
    send(client, "GET / HTTP/1.1\nHost: a.test\n\n");
    send(destinations.getLast(), "HTTP/1.1 200 OK\nContent-Length: 0\n\n");
    pass(29, TimeUnit.MINUTES);
    assertThat(destinations.getLast().isOpen()).isTrue();
    pass(1, TimeUnit.MINUTES);
    assertThat(destinations.getLast().isOpen()).isFalse();
  }

  @Test
  void aConnectionThatHasLivedAsLongAsItMayEndsAfterTheResponseThatIsUnderWay() {
    connection = connection(Optional.of(Duration.ofSeconds(5)), Optional.empty());
    serve(RequestPolicy.NONE);
    send(client, "GET / HTTP/1.1\nHost: a.test\n\n");
    pass(6, TimeUnit.SECONDS);
    send(destinations.getFirst(), "HTTP/1.1 200 OK\nContent-Length: 2\n\no");
    assertThat(destinations.getFirst().isOpen()).isTrue();
    send(destinations.getFirst(), "k");
    assertThat(destinations.getFirst().isOpen()).isFalse();
    assertThat(sent(client)).endsWith("ok").doesNotContain("connection: close");

    send(client, "GET / HTTP/1.1\nHost: a.test\n\n");
    assertThat(destinations).hasSize(2);
    send(destinations.getLast(), "HTTP/1.1 200 OK\nContent-Length: 0\n\n");
    assertThat(sent(client)).startsWith("HTTP/1.1 200");
    pass(5, TimeUnit.SECONDS);
    assertThat(destinations.getLast().isOpen()).isFalse();
    assertThat(client.isOpen()).isTrue();
  }

  @Test
  void aRequestOnWhichNothingMovesIs504() {
    serve(RequestPolicy.NONE);
    send(client, "GET / HTTP/1.1\nHost: a.test\n\n");
    pass(90, TimeUnit.MINUTES);
    pass(60, TimeUnit.MINUTES);
    assertThat(sent(client)).startsWith("HTTP/1.1 504 Gateway Timeout\n");
    assertThat(counted).containsExactly(RequestEnd.TIMEOUT);
    assertThat(destinations.getFirst().isOpen()).isFalse();
  }

  @Test
  void theTimeoutOfARouteEndsARequestWith504AndAResponseWithAReset() {
    serve(policy(Optional.of(Duration.ofSeconds(3)), RequestPolicy.Retries.DEFAULT));
    send(client, "GET / HTTP/1.1\nHost: a.test\n\n");
    pass(3, TimeUnit.SECONDS);
    assertThat(sent(client)).startsWith("HTTP/1.1 504").doesNotContain("connection: close");
    assertThat(records.getLast().detail()).contains("timeout");

    send(client, "GET / HTTP/1.1\nHost: a.test\n\n");
    send(destinations.getLast(), "HTTP/1.1 200 OK\nContent-Length: 100\n\nsome");
    assertThat(sent(client)).endsWith("some");
    pass(3, TimeUnit.SECONDS);
    assertThat(client.isOpen()).isFalse();
    assertThat(counted).containsExactly(RequestEnd.TIMEOUT, RequestEnd.TIMEOUT);
  }

  @Test
  void theTimeoutBeginsWhenTheRequestIsWhole() {
    serve(policy(Optional.of(Duration.ofSeconds(3)), RequestPolicy.Retries.DEFAULT));
    send(client, "POST / HTTP/1.1\nHost: a.test\nContent-Length: 2\n\na");
    pass(10, TimeUnit.SECONDS);
    assertThat(sent(client)).isEmpty();
    send(client, "b");
    assertThat(sent(destinations.getFirst())).endsWith("ab");
    pass(3, TimeUnit.SECONDS);
    assertThat(sent(client)).startsWith("HTTP/1.1 504");
  }

  @Test
  void anAttemptThatTakesTooLongIsFollowedByAnother() {
    serve(
        policy(
            Optional.empty(),
            new RequestPolicy.Retries(1, Optional.of(Duration.ofSeconds(2)), List.of("5xx"))));
    send(client, "GET / HTTP/1.1\nHost: a.test\n\n");
    pass(2, TimeUnit.SECONDS);
    pass(1, TimeUnit.SECONDS);
    assertThat(destinations).hasSize(2);
    assertThat(destinations.getFirst().isOpen()).isFalse();
    send(destinations.getLast(), "HTTP/1.1 200 OK\nContent-Length: 0\n\n");
    assertThat(sent(client)).startsWith("HTTP/1.1 200");
    assertThat(counted).containsExactly(RequestEnd.TIMEOUT, RequestEnd.SUCCESS);
  }

  @Test
  void aDestinationThatCannotBeReachedIsTriedAgainByDefault() {
    reachable = false;
    serve(RequestPolicy.NONE);
    send(client, "GET / HTTP/1.1\nHost: a.test\n\n");
    assertThat(sent(client)).isEmpty();
    reachable = true;
    pass(1, TimeUnit.SECONDS);
    assertThat(destinations).hasSize(1);
    send(destinations.getLast(), "HTTP/1.1 200 OK\nContent-Length: 0\n\n");
    assertThat(sent(client)).startsWith("HTTP/1.1 200");
  }

  @Test
  void whatIsReadFromAClientOneByteAtATimeIsTheSameRequest() {
    serve(RequestPolicy.NONE);
    String request =
        "POST /x HTTP/1.1\nHost: a.test\nTransfer-Encoding: chunked\n\n3\nabc\n0\n\n"
            .replace("\n", "\r\n");
    for (int i = 0; i < request.length(); i++) {
      client.writeInbound(Unpooled.wrappedBuffer(new byte[] {(byte) request.charAt(i)}));
    }
    assertThat(sent(destinations.getFirst()))
        .isEqualTo(
            """
            POST /x HTTP/1.1
            host: a.test
            transfer-encoding: chunked

            1
            a
            1
            b
            1
            c
            0

            """);
  }
}
