package io.tailwater.agent.dataplane.resolve;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.xbill.DNS.DClass;
import org.xbill.DNS.Flags;
import org.xbill.DNS.Message;
import org.xbill.DNS.Name;
import org.xbill.DNS.Rcode;
import org.xbill.DNS.Record;
import org.xbill.DNS.Section;
import org.xbill.DNS.TXTRecord;
import org.xbill.DNS.Type;

/// What is passed on to servers, and what is believed of their answers. The servers are scripted,
/// on real sockets.
class ForwarderTest {
  private static final String NAME = "some.rather.long.name.example.net";

  private final List<AutoCloseable> open = new ArrayList<>();

  @AfterEach
  void closeAll() throws Exception {
    for (AutoCloseable each : open) {
      each.close();
    }
  }

  private FakeDnsServer server(FakeDnsServer.Script script) throws IOException {
    FakeDnsServer server = new FakeDnsServer(script);
    open.addLast(server);
    return server;
  }

  private Forwarder forwarder(Duration timeout, FakeDnsServer... servers) {
    DnsSockets sockets = new DnsSockets();
    open.addFirst(sockets);
    List<InetSocketAddress> addresses =
        List.of(servers).stream().map(FakeDnsServer::address).toList();
    return new Forwarder(addresses, timeout, sockets);
  }

  private static WireMessage question(int id) throws IOException {
    Message query =
        Message.newQuery(Record.newRecord(Name.fromString(NAME + "."), Type.TXT, DClass.IN));
    query.getHeader().setID(id);
    return WireMessage.read(query.toWire()).orElseThrow();
  }

  private static byte[] answer(Message query, int rcode) {
    Message answer = query.clone();
    answer.getHeader().setFlag(Flags.QR);
    answer.getHeader().setRcode(rcode);
    if (rcode == Rcode.NOERROR) {
      Name name = query.getQuestion().getName();
      answer.addRecord(new TXTRecord(name, DClass.IN, 60, "yes"), Section.ANSWER);
    }
    return answer.toWire();
  }

  private static Forwarder.Outcome ask(Forwarder forwarder, WireMessage query) throws Exception {
    CompletableFuture<Forwarder.Outcome> outcome = new CompletableFuture<>();
    forwarder.forward(query, false, outcome::complete);
    return outcome.get(30, TimeUnit.SECONDS);
  }

  private static WireMessage answered(Forwarder.Outcome outcome) {
    assertThat(outcome).isInstanceOf(Forwarder.Outcome.Answered.class);
    return ((Forwarder.Outcome.Answered) outcome).message();
  }

  @Test
  void idAndCaseAreNewForEveryQuestionAndTheClientsOwnInTheAnswer() throws Exception {
    FakeDnsServer server = server((query, _) -> List.of(answer(query, Rcode.NOERROR)));
    Forwarder forwarder = forwarder(Duration.ofSeconds(10), server);

    for (int i = 0; i < 20; i++) {
      WireMessage answer = answered(ask(forwarder, question(7)));
      assertThat(answer.id()).isEqualTo(7);
      assertThat(answer.name()).isEqualTo(NAME);
      assertThat(answer.answers()).isEqualTo(1);
    }

    Set<Integer> ids = new HashSet<>();
    Set<String> spellings = new HashSet<>();
    for (Message seen : server.questions) {
      ids.add(seen.getHeader().getID());
      spellings.add(seen.getQuestion().getName().toString(true));
    }
    assertThat(ids).hasSizeGreaterThan(15);
    assertThat(spellings)
        .hasSizeGreaterThan(15)
        .allMatch(spelling -> spelling.toLowerCase(Locale.ROOT).equals(NAME));
  }

  @Test
  void anAnswerThatHasLostTheCaseIsAskedForOverTcp() throws Exception {
    Queue<Boolean> overTcp = new ConcurrentLinkedQueue<>();
    FakeDnsServer server =
        server((query, tcp) -> {
          overTcp.add(tcp);
          byte[] bytes = answer(query, Rcode.NOERROR);
          for (int i = WireMessage.HEADER; i < WireMessage.HEADER + NAME.length() && !tcp; i++) {
            bytes[i] = (byte) Character.toUpperCase(bytes[i]);
          }
          return List.of(bytes);
        });

    WireMessage answer = answered(ask(forwarder(Duration.ofSeconds(10), server), question(7)));

    assertThat(answer.name()).isEqualTo(NAME);
    assertThat(overTcp).containsExactly(false, true);
  }

  @Test
  void aServerThatRefusesIsLeftForTheNextOne() throws Exception {
    FakeDnsServer refusing = server((query, _) -> List.of(answer(query, Rcode.REFUSED)));
    FakeDnsServer answering = server((query, _) -> List.of(answer(query, Rcode.NOERROR)));
    Forwarder forwarder = forwarder(Duration.ofSeconds(10), refusing, answering);

    for (int i = 0; i < 4; i++) {
      assertThat(answered(ask(forwarder, question(i))).rcode()).isEqualTo(WireMessage.NOERROR);
    }
  }

  @Test
  void whatTheLastServerRefusesIsTheAnswer() throws Exception {
    FakeDnsServer refusing = server((query, _) -> List.of(answer(query, Rcode.REFUSED)));

    WireMessage answer = answered(ask(forwarder(Duration.ofSeconds(10), refusing), question(7)));

    assertThat(answer.rcode()).isEqualTo(WireMessage.REFUSED);
    assertThat(refusing.questions).hasSize(1);
  }

  @Test
  void aSilentServerIsLeftForTheNextOne() throws Exception {
    FakeDnsServer silent = server((_, _) -> List.of());
    FakeDnsServer answering = server((query, _) -> List.of(answer(query, Rcode.NOERROR)));
    Forwarder forwarder = forwarder(Duration.ofSeconds(3), silent, answering);

    assertThat(answered(ask(forwarder, question(1))).answers()).isEqualTo(1);
    assertThat(answered(ask(forwarder, question(2))).answers()).isEqualTo(1);
  }

  @Test
  void aServerThatIsSlowerThanEveryTryIsHeardAllTheSame() throws Exception {
    // The last of three tries has four ninths of the time.
    FakeDnsServer slow =
        server((query, _) -> {
          LockSupport.parkNanos(Duration.ofMillis(3300).toNanos());
          return List.of(answer(query, Rcode.NOERROR));
        });
    Queue<Forwarder.Outcome> outcomes = new ConcurrentLinkedQueue<>();
    CompletableFuture<Void> first = new CompletableFuture<>();

    forwarder(Duration.ofSeconds(6), slow)
        .forward(
            question(7),
            false,
            outcome -> {
              outcomes.add(outcome);
              first.complete(null);
            });
    first.get(30, TimeUnit.SECONDS);

    assertThat(answered(outcomes.element()).answers()).isEqualTo(1);
    closeAll(); // until all that is under way has come
    open.clear();
    assertThat(outcomes).hasSize(1);
  }

  @Test
  void anAnswerToSomethingElseIsNone() throws Exception {
    FakeDnsServer lying =
        server((query, _) -> {
          Message other =
              Message.newQuery(
                  Record.newRecord(Name.fromString("other.example."), Type.TXT, DClass.IN));
          other.getHeader().setID(query.getHeader().getID());
          return List.of(answer(other, Rcode.NOERROR));
        });

    assertThat(ask(forwarder(Duration.ofSeconds(2), lying), question(7)))
        .isInstanceOf(Forwarder.Outcome.Unanswered.class);
  }
}
