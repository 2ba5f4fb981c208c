package io.tailwater.agent.dataplane.resolve;

import static io.tailwater.agent.dataplane.resolve.ScriptedLookup.addresses;
import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.resolve.Addresses.Failure;
import io.tailwater.agent.dataplane.resolve.Lookup.Family;
import io.tailwater.agent.dataplane.resolve.Lookup.LookupResult;
import io.tailwater.agent.dataplane.resolve.ResolveConfig.LookupFamily;
import io.tailwater.agent.traffic.HostName;
import java.io.IOException;
import java.net.DatagramSocket;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.xbill.DNS.AAAARecord;
import org.xbill.DNS.ARecord;
import org.xbill.DNS.CNAMERecord;
import org.xbill.DNS.DClass;
import org.xbill.DNS.Flags;
import org.xbill.DNS.Message;
import org.xbill.DNS.NSRecord;
import org.xbill.DNS.Name;
import org.xbill.DNS.Rcode;
import org.xbill.DNS.Record;
import org.xbill.DNS.Section;
import org.xbill.DNS.Type;

/// Against servers on the loopback that answer well, badly or not at all.
@Timeout(60)
class DnsjavaLookupTest {
  private static final String EN = "en.wikipedia.org";
  private static final Duration LONG = Duration.ofSeconds(20);
  private static final Duration SHORT = Duration.ofMillis(400);

  private final List<AutoCloseable> open = new ArrayList<>();

  @AfterEach
  void closeAll() throws Exception {
    for (AutoCloseable each : open) {
      each.close();
    }
    assertThat(resolverThreads()).isEmpty();
  }

  private static List<String> resolverThreads() {
    return Thread.getAllStackTraces().keySet().stream()
        .map(Thread::getName)
        .filter(name -> name.startsWith("tailwater-resolve") || name.startsWith("dnsjava"))
        .toList();
  }

  // ---- the scene ----

  private FakeDnsServer server(FakeDnsServer.Script script) throws IOException {
    var server = new FakeDnsServer(script);
    open.addLast(server);
    return server;
  }

  private DnsjavaLookup lookup(Duration timeout, InetSocketAddress... servers) {
    ResolveConfig d = ResolveConfig.defaults();
    var lookup =
        DnsjavaLookup.of(
            new ResolveConfig(
                List.of(servers),
                LookupFamily.ALL,
                d.hostTtl(),
                d.maxHosts(),
                d.maxHostsPerPod(),
                d.minRefreshRate(),
                d.maxTtl(),
                d.maxStale(),
                d.failureRefreshRate(),
                timeout));
    lookup.warmUp();
    open.addFirst(lookup);
    return lookup;
  }

  private static LookupResult ask(Lookup lookup, String name, Family family) throws Exception {
    return asking(lookup, name, family).get(30, TimeUnit.SECONDS);
  }

  private static CompletableFuture<LookupResult> asking(Lookup lookup, String name, Family family) {
    var result = new CompletableFuture<LookupResult>();
    lookup.lookup(HostName.of(name), family, result::complete);
    return result;
  }

  private LookupResult askA(FakeDnsServer.Script script) throws Exception {
    return ask(lookup(LONG, server(script).address()), EN, Family.V4);
  }

  private static Name name(String text) throws IOException {
    return Name.fromString(text + ".");
  }

  private static Record a(String owner, long ttl, String address) throws IOException {
    return new ARecord(name(owner), DClass.IN, ttl, addresses(address).getFirst());
  }

  private static Record cname(String owner, long ttl, String target) throws IOException {
    return new CNAMERecord(name(owner), DClass.IN, ttl, name(target));
  }

  private static Message reply(Message query, int rcode, Record... answers) {
    var reply = new Message(query.getHeader().getID());
    reply.getHeader().setFlag(Flags.QR);
    reply.getHeader().setFlag(Flags.RA);
    reply.getHeader().setRcode(rcode);
    reply.addRecord(query.getQuestion(), Section.QUESTION);
    for (Record record : answers) {
      reply.addRecord(record, Section.ANSWER);
    }
    return reply;
  }

  private static List<byte[]> say(Message query, Record... answers) {
    return List.of(reply(query, Rcode.NOERROR, answers).toWire());
  }

  private static List<byte[]> refuse(Message query, int rcode) {
    return List.of(reply(query, rcode).toWire());
  }

  private static LookupResult.Found found(long ttl, String... addresses) {
    return new LookupResult.Found(addresses(addresses), Duration.ofSeconds(ttl));
  }

  private static void assertFailed(LookupResult result, Failure failure, String... detail) {
    assertThat(result)
        .isInstanceOfSatisfying(
            LookupResult.Failed.class,
            failed -> {
              assertThat(failed.failure()).as(failed.detail()).isEqualTo(failure);
              for (String part : detail) {
                assertThat(failed.detail()).contains(part);
              }
            });
  }

  // ---- good answers ----

  @Test
  void bothFamiliesAreAskedForByTheAbsoluteName() throws Exception {
    FakeDnsServer server =
        server((query, _) ->
            query.getQuestion().getType() == Type.A
                ? say(query, a(EN, 60, "198.51.100.10"))
                : say(
                    query,
                    new AAAARecord(name(EN), DClass.IN, 30, addresses("2001:db8::1").getFirst())));
    DnsjavaLookup lookup = lookup(LONG, server.address());

    assertThat(ask(lookup, EN, Family.V4)).isEqualTo(found(60, "198.51.100.10"));
    assertThat(ask(lookup, EN, Family.V6)).isEqualTo(found(30, "2001:db8::1"));
    assertThat(server.questions)
        .allSatisfy(q -> assertThat(q.getQuestion().getName()).isEqualTo(name(EN)))
        .hasSize(2);
  }

  @Test
  void aMappedAddressInAnAaaaRecordStaysAnIpv6Address() throws Exception {
    byte[] mapped = new byte[16];
    mapped[10] = -1;
    mapped[11] = -1;
    mapped[12] = (byte) 169;
    mapped[13] = (byte) 254;
    InetAddress address = Inet6Address.getByAddress(null, mapped, -1);
    FakeDnsServer server =
        server((query, _) -> say(query, new AAAARecord(name(EN), DClass.IN, 30, address)));

    assertThat(ask(lookup(LONG, server.address()), EN, Family.V6))
        .isInstanceOfSatisfying(
            LookupResult.Found.class,
            f -> assertThat(f.addresses()).first().isInstanceOf(Inet6Address.class));
  }

  @Test
  void anAliasIsFollowedAndTheLeastTtlCounts() throws Exception {
    assertThat(
            askA((query, _) ->
                say(
                    query,
                    a("text-lb.example.net", 300, "198.51.100.10"),
                    cname("dyna.example.net", 20, "text-lb.example.net"),
                    a("unrelated.example.net", 1, "203.0.113.66"),
                    cname(EN, 3600, "dyna.example.net"))))
        .isEqualTo(found(20, "198.51.100.10"));
  }

  @Test
  void addressesOfOtherNamesAreNotTaken() throws Exception {
    assertFailed(
        askA((query, _) -> say(query, a("evil.example.com", 60, "203.0.113.66"))),
        Failure.NO_ADDRESS,
        EN + " has no A record");
  }

  @Test
  void recordsOfTheOtherFamilyAreNotTaken() throws Exception {
    assertFailed(
        askA((query, _) ->
            say(
                query,
                new AAAARecord(name(EN), DClass.IN, 30, addresses("2001:db8::1").getFirst()))),
        Failure.NO_ADDRESS);
  }

  @Test
  void aNameThatDoesNotExistIsNotAskedForTwice() throws Exception {
    FakeDnsServer server = server((query, _) -> refuse(query, Rcode.NXDOMAIN));
    assertFailed(
        ask(lookup(LONG, server.address()), EN, Family.V4),
        Failure.NO_SUCH_NAME,
        EN + " does not exist (NXDOMAIN)");
    assertThat(server.questions).hasSize(1);
  }

  @Test
  void anAliasOfNothingSaysSo() throws Exception {
    assertFailed(
        askA((query, _) ->
            List.of(reply(query, Rcode.NXDOMAIN, cname(EN, 60, "gone.example.net")).toWire())),
        Failure.NO_SUCH_NAME,
        EN + " is an alias of gone.example.net, which does not exist");
  }

  @Test
  void sixtyFourAddressesAreKeptOfAHundred() throws Exception {
    LookupResult result =
        askA((query, tcp) -> {
          var many = new Record[100];
          for (int i = 0; i < many.length; i++) {
            many[i] = a(EN, 60, "198.51.100." + i);
          }
          Message reply = reply(query, Rcode.NOERROR, many);
          return List.of(tcp ? reply.toWire() : reply.toWire(1280));
        });
    assertThat(((LookupResult.Found) result).addresses())
        .hasSize(64)
        .startsWith(addresses("198.51.100.0", "198.51.100.1").toArray(InetAddress[]::new));
  }

  @Test
  void theTtlIsReadAsWrittenAndWithItsTopBitSetAsZero() throws Exception {
    assertThat(askA((query, _) -> say(query, a(EN, Integer.MAX_VALUE, "198.51.100.10"))))
        .isEqualTo(found(Integer.MAX_VALUE, "198.51.100.10"));
    assertThat(
            askA((query, _) -> {
              // The library does not write such a TTL itself.
              byte[] wire = say(query, a(EN, Integer.MAX_VALUE, "198.51.100.10")).getFirst();
              int ttl = wire.length - 10;
              assertThat(wire[ttl]).isEqualTo((byte) 0x7f);
              wire[ttl] = (byte) 0xff;
              return List.of(wire);
            }))
        .isEqualTo(found(0, "198.51.100.10"));
    assertThat(askA((query, _) -> say(query, a(EN, 0, "198.51.100.10"))))
        .isEqualTo(found(0, "198.51.100.10"));
  }

  @Test
  void aTruncatedAnswerIsAskedForAgainOverTcp() throws Exception {
    FakeDnsServer server =
        server((query, tcp) -> {
          if (tcp) {
            return say(query, a(EN, 60, "198.51.100.10"), a(EN, 60, "198.51.100.11"));
          }
          Message cut = reply(query, Rcode.NOERROR, a(EN, 60, "198.51.100.10"));
          cut.getHeader().setFlag(Flags.TC);
          return List.of(cut.toWire());
        });
    assertThat(ask(lookup(LONG, server.address()), EN, Family.V4))
        .isEqualTo(found(60, "198.51.100.10", "198.51.100.11"));
    assertThat(server.questions).hasSize(2);
  }

  @Test
  void withoutServersThoseOfTheSystemAreTaken() throws Exception {
    var lookup = DnsjavaLookup.of(ResolveConfig.defaults());
    open.add(lookup);
    lookup.warmUp();

    Path file = Path.of("/etc/resolv.conf");
    List<String> named =
        !Files.isReadable(file)
            ? List.of()
            : Files.readAllLines(file).stream()
                .filter(line -> line.startsWith("nameserver "))
                .map(line -> line.substring("nameserver ".length()).strip())
                .toList();
    assertThat(lookup.servers())
        .hasSize(Math.max(1, named.size()))
        .allSatisfy(server -> assertThat(server.getPort()).isEqualTo(53));
    if (!named.isEmpty()) {
      assertThat(lookup.servers().getFirst().getAddress())
          .isEqualTo(InetAddress.getByName(named.getFirst()));
    }
  }

  // ---- bad servers ----

  @Test
  void anAnswerWithAnotherIdIsPassedOver() throws Exception {
    assertThat(
            askA((query, _) -> {
              Message forged = reply(query, Rcode.NOERROR, a(EN, 60, "203.0.113.66"));
              forged.getHeader().setID(query.getHeader().getID() ^ 1);
              return List.of(
                  forged.toWire(),
                  new byte[] {1},
                  forged.toWire(),
                  reply(query, Rcode.NOERROR, a(EN, 60, "198.51.100.10")).toWire());
            }))
        .isEqualTo(found(60, "198.51.100.10"));
  }

  @Test
  void aServerThatOnlySendsOtherIdsIsSilent() throws Exception {
    FakeDnsServer server =
        server((query, _) -> {
          Message forged = reply(query, Rcode.NOERROR, a(EN, 60, "203.0.113.66"));
          forged.getHeader().setID(query.getHeader().getID() ^ 1);
          return List.of(forged.toWire());
        });
    assertFailed(ask(lookup(SHORT, server.address()), EN, Family.V4), Failure.TIMEOUT);
  }

  @ParameterizedTest
  @ValueSource(strings = {"name", "type", "class", "none"})
  void anAnswerToAnotherQuestionIsRefused(String what) throws Exception {
    assertFailed(
        askA((query, _) -> {
          Record asked = query.getQuestion();
          var reply = new Message(query.getHeader().getID());
          reply.getHeader().setFlag(Flags.QR);
          switch (what) {
            case "name" ->
                reply.addRecord(
                    Record.newRecord(name("evil.example.com"), asked.getType(), DClass.IN),
                    Section.QUESTION);
            case "type" ->
                reply.addRecord(
                    Record.newRecord(asked.getName(), Type.TXT, DClass.IN), Section.QUESTION);
            case "class" ->
                reply.addRecord(
                    Record.newRecord(asked.getName(), asked.getType(), DClass.CHAOS),
                    Section.QUESTION);
            default -> {}
          }
          reply.addRecord(a(EN, 60, "203.0.113.66"), Section.ANSWER);
          return List.of(reply.toWire());
        }),
        Failure.SERVER,
        "DNS server 127.0.0.1:");
  }

  @Test
  void aServerThatSendsTheQuestionBackIsRefused() throws Exception {
    assertFailed(
        askA((query, _) -> List.of(query.toWire())), Failure.SERVER, "sent the question back");
  }

  @Test
  void bytesThatAreNoMessageAreRefused() throws Exception {
    assertFailed(
        askA((query, _) -> {
          byte[] whole = reply(query, Rcode.NOERROR, a(EN, 60, "198.51.100.10")).toWire();
          byte[] cut = new byte[whole.length - 3];
          System.arraycopy(whole, 0, cut, 0, cut.length);
          return List.of(cut);
        }),
        Failure.SERVER);
  }

  @ParameterizedTest
  @ValueSource(ints = {Rcode.SERVFAIL, Rcode.REFUSED})
  void aFailingServerIsLeftForTheNextOne(int rcode) throws Exception {
    FakeDnsServer bad = server((query, _) -> refuse(query, rcode));
    FakeDnsServer good = server((query, _) -> say(query, a(EN, 60, "198.51.100.10")));
    DnsjavaLookup lookup = lookup(LONG, bad.address(), good.address());

    for (int i = 0; i < 4; i++) {
      assertThat(ask(lookup, EN, Family.V4)).isEqualTo(found(60, "198.51.100.10"));
    }
    // They take turns.
    assertThat(bad.questions).hasSize(2);
  }

  @Test
  void aSilentServerIsLeftForTheNextOne() throws Exception {
    FakeDnsServer silent = server((_, _) -> List.of());
    FakeDnsServer good = server((query, _) -> say(query, a(EN, 60, "198.51.100.10")));
    DnsjavaLookup lookup = lookup(Duration.ofSeconds(2), silent.address(), good.address());

    assertThat(ask(lookup, EN, Family.V4)).isEqualTo(found(60, "198.51.100.10"));
    assertThat(ask(lookup, EN, Family.V4)).isEqualTo(found(60, "198.51.100.10"));
  }

  @Test
  void aServerThatIsSlowerThanEveryTryIsHeardAllTheSame() throws Exception {
    // The last of three tries has four ninths of the time.
    FakeDnsServer slow =
        server((query, _) -> {
          LockSupport.parkNanos(Duration.ofMillis(3300).toNanos());
          return say(query, a(EN, 60, "198.51.100.10"));
        });

    assertThat(ask(lookup(Duration.ofSeconds(6), slow.address()), EN, Family.V4))
        .isEqualTo(found(60, "198.51.100.10"));
  }

  @Test
  void aSlowServerIsHeardWhileAnotherFails() throws Exception {
    FakeDnsServer slow =
        server((query, _) -> {
          LockSupport.parkNanos(Duration.ofMillis(3300).toNanos());
          return say(query, a(EN, 60, "198.51.100.10"));
        });
    FakeDnsServer bad = server((query, _) -> refuse(query, Rcode.SERVFAIL));

    assertThat(ask(lookup(Duration.ofSeconds(6), slow.address(), bad.address()), EN, Family.V4))
        .isEqualTo(found(60, "198.51.100.10"));
    assertThat(bad.questions).hasSize(1);
  }

  @Test
  void serversThatAllFailAreNamed() throws Exception {
    FakeDnsServer bad = server((query, _) -> refuse(query, Rcode.SERVFAIL));
    assertFailed(
        ask(lookup(LONG, bad.address()), EN, Family.V4),
        Failure.SERVER,
        "DNS server 127.0.0.1:" + bad.address().getPort() + " answered SERVFAIL");
  }

  @Test
  void silenceIsATimeoutThatNamesTheServer() throws Exception {
    FakeDnsServer silent = server((_, _) -> List.of());
    assertFailed(
        ask(lookup(SHORT, silent.address()), EN, Family.V4),
        Failure.TIMEOUT,
        "DNS server 127.0.0.1:" + silent.address().getPort() + " did not answer in");
    // The question was tried more than once.
    assertThat(silent.questions).hasSize(3);
  }

  @Test
  void aPortWhereNobodyListensIsAFailureOfTheServer() throws Exception {
    int port;
    try (var gone = new DatagramSocket(0, InetAddress.getByAddress(new byte[] {127, 0, 0, 1}))) {
      port = gone.getLocalPort();
    }
    var nowhere = new InetSocketAddress(addresses("127.0.0.1").getFirst(), port);
    assertFailed(
        ask(lookup(LONG, nowhere), EN, Family.V4), Failure.SERVER, port + " is not listening");
  }

  @Test
  void aTcpAnswerThatBreaksOffIsAFailure() throws Exception {
    assertFailed(
        askA((query, tcp) -> {
          if (tcp) {
            return List.of();
          }
          Message cut = reply(query, Rcode.NOERROR);
          cut.getHeader().setFlag(Flags.TC);
          return List.of(cut.toWire());
        }),
        Failure.SERVER,
        "closed the connection");
  }

  @Test
  void aServerFromBeforeEdnsIsAskedWithoutIt() throws Exception {
    assertThat(
            askA((query, _) ->
                query.getOPT() != null
                    ? refuse(query, Rcode.FORMERR)
                    : say(query, a(EN, 60, "198.51.100.10"))))
        .isEqualTo(found(60, "198.51.100.10"));
  }

  @Test
  void aServerThatDoesNotRecurseIsAFailureAndNotAnEmptyAnswer() throws Exception {
    assertFailed(
        askA((query, _) -> {
          Message referral = reply(query, Rcode.NOERROR);
          referral.getHeader().unsetFlag(Flags.RA);
          referral.addRecord(
              new NSRecord(name("org"), DClass.IN, 60, name("ns.example.net")), Section.AUTHORITY);
          return List.of(referral.toWire());
        }),
        Failure.SERVER,
        "does not recurse");
  }

  @Test
  void aliasesThatLoopOrGoOnEndlesslyAreFailures() throws Exception {
    assertFailed(
        askA((query, _) ->
            say(query, cname(EN, 60, "b.example.net"), cname("b.example.net", 60, EN))),
        Failure.SERVER,
        "loops");
    assertFailed(
        askA((query, _) -> {
          var chain = new ArrayList<Record>();
          chain.add(cname(EN, 60, "n0.example.net"));
          for (int i = 0; i < 20; i++) {
            chain.add(cname("n" + i + ".example.net", 60, "n" + (i + 1) + ".example.net"));
          }
          return say(query, chain.toArray(Record[]::new));
        }),
        Failure.SERVER,
        "goes on too long");
  }

  // ---- leftovers ----

  @Test
  void manyUnansweredQuestionsLeaveNoSocketBehind() throws Exception {
    FakeDnsServer silent = server((_, _) -> List.of());
    DnsjavaLookup lookup = lookup(SHORT, silent.address());
    long before = sockets();

    var all = new ArrayList<CompletableFuture<LookupResult>>();
    for (int i = 0; i < 300; i++) {
      all.add(asking(lookup, "n" + i + ".example.com", i % 2 == 0 ? Family.V4 : Family.V6));
    }
    for (CompletableFuture<LookupResult> each : all) {
      assertFailed(each.get(30, TimeUnit.SECONDS), Failure.TIMEOUT);
    }
    // A selector closes the descriptor of a closed channel when it selects again.
    while (sockets() > before) {
      Thread.onSpinWait();
    }
    assertThat(sockets()).isEqualTo(before);
  }

  @Test
  void closingEndsQuestionsThreadsAndSockets() throws Exception {
    FakeDnsServer silent = server((_, _) -> List.of());
    long before = sockets();
    DnsjavaLookup lookup = lookup(LONG, silent.address());
    assertThat(resolverThreads()).containsExactly("tailwater-resolve-io");
    var answers = new AtomicInteger();
    var waiting = new ArrayList<CompletableFuture<LookupResult>>();
    for (int i = 0; i < 10; i++) {
      CompletableFuture<LookupResult> one = asking(lookup, "n" + i + ".example.com", Family.V4);
      waiting.add(one);
      var _ = one.thenRun(answers::incrementAndGet);
    }

    lookup.close();

    assertThat(resolverThreads()).isEmpty();
    assertThat(sockets()).isEqualTo(before);
    assertThat(waiting).allSatisfy(w -> assertThat(w).isDone());
    assertThat(answers).hasValue(10);
    assertFailed(ask(lookup, EN, Family.V4), Failure.SERVER);
    lookup.close();
  }

  /// The sockets of this process.
  private static long sockets() throws IOException {
    try (Stream<Path> all = Files.list(Path.of("/proc/self/fd"))) {
      return all.filter(
              fd -> {
                try {
                  return Files.readSymbolicLink(fd).toString().startsWith("socket:");
                } catch (IOException _) {
                  // The descriptor of the listing itself.
                  return false;
                }
              })
          .count();
    }
  }
}
