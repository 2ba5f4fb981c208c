package io.tailwater.agent.dataplane.resolve;

import io.tailwater.agent.traffic.AddressText;
import java.net.InetSocketAddress;
import java.net.PortUnreachableException;
import java.net.SocketTimeoutException;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/// Passes pods' questions on to the configured servers byte for byte: only the id is a fresh one,
/// the letters of a name over UDP get a random case (draft-vixie-dnsext-dns0x20), and both are put
/// back in the answer. Any thread; answers come on the socket thread.
public final class Forwarder {
  /// What became of a question.
  public sealed interface Outcome {
    /// What a server answered, under the client's id.
    record Answered(WireMessage message) implements Outcome {}

    /// No server did; `detail` is for people.
    record Unanswered(String detail, boolean timeout) implements Outcome {}
  }

  private final List<InetSocketAddress> servers;
  private final Duration timeout;
  private final DnsSockets sockets;
  private final AtomicInteger turn = new AtomicInteger();
  private final SecureRandom ids = new SecureRandom();

  Forwarder(List<InetSocketAddress> servers, Duration timeout, DnsSockets sockets) {
    this.servers = servers;
    this.timeout = timeout;
    this.sockets = sockets;
  }

  /// Asks over UDP or TCP, as the client did. An answer that was cut off is an answer: the client
  /// asks again over TCP by itself. `done` is called exactly once.
  public void forward(WireMessage query, boolean tcp, Consumer<Outcome> done) {
    new Question(query, tcp, done).tries.begin();
  }

  /// One question over all its tries. Socket thread only, once it has begun.
  private final class Question implements Tries.Asker {
    private final WireMessage query;
    private final boolean tcp;
    private final Consumer<Outcome> done;
    private final Tries tries;
    private final byte[] sent;
    private @Nullable WireMessage failure;
    private String detail = "no time to ask";
    private boolean silent;

    Question(WireMessage query, boolean tcp, Consumer<Outcome> done) {
      this.query = query;
      this.tcp = tcp;
      this.done = done;
      int first = turn.getAndIncrement();
      DnsSockets.Inquiry inquiry = sockets.inquiry(timeout);
      this.tries =
          query.opcode() != WireMessage.OPCODE_QUERY
              ? Tries.once(servers, first, inquiry, this)
              : tcp
                  ? Tries.overStreams(servers, first, inquiry, this)
                  : Tries.of(servers, first, inquiry, this);
      this.sent = query.bytes().clone();
    }

    @Override
    public void ask(Tries.Try one) {
      WireMessage.setId(sent, ids.nextInt(1 << 16));
      byte[] asked = sent.clone();
      CompletableFuture<byte[]> answer =
          tcp ? tries.sockets().tcp(one.server(), asked) : tries.sockets().udp(one.server(), asked);
      var _ =
          answer.whenComplete((bytes, error) -> {
            if (error != null) {
              failed(one, error);
            } else {
              answered(one, asked, bytes);
            }
          });
    }

    @Override
    public void unanswered() {
      done.accept(
          failure != null ? new Outcome.Answered(failure) : new Outcome.Unanswered(detail, silent));
    }

    private void answered(Tries.Try one, byte[] asked, byte[] bytes) {
      Optional<WireMessage> read = WireMessage.read(bytes);
      if (read.isEmpty()
          || !read.get().isResponse()
          || read.get().id() != WireMessage.u16(asked, 0)
          || !answersIt(read.get())) {
        detail = text(one.server()) + " sent what is no answer to the question";
        tries.failed(one);
        return;
      }
      WireMessage.setId(bytes, query.id());
      WireMessage message = read.get();
      boolean passing =
          switch (message.rcode()) {
            case WireMessage.SERVFAIL, WireMessage.REFUSED -> true;
            default -> false;
          };
      if (passing) {
        failure = message;
        tries.freshOnly();
        tries.failed(one);
      } else {
        tries.over();
        done.accept(new Outcome.Answered(message));
      }
    }

    /// A server that refuses may leave the question out.
    private boolean answersIt(WireMessage answer) {
      return answer.hasQuestion()
          ? query.sameQuestion(answer)
          : !query.hasQuestion() || answer.rcode() != WireMessage.NOERROR;
    }

    private void failed(Tries.Try one, Throwable error) {
      Throwable cause =
          error instanceof CompletionException && error.getCause() != null
              ? error.getCause()
              : error;
      silent = cause instanceof SocketTimeoutException;
      String what =
          switch (cause) {
            case SocketTimeoutException _ -> " did not answer in " + one.waitedMillis() + " ms";
            case PortUnreachableException _ -> " is not listening";
            default -> " failed: " + cause.getMessage();
          };
      detail = text(one.server()) + what;
      tries.failed(one);
    }
  }

  private static String text(InetSocketAddress server) {
    return "DNS server " + AddressText.of(server.getAddress(), server.getPort());
  }
}
