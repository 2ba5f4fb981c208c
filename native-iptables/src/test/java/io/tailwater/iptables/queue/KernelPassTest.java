package io.tailwater.iptables.queue;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.tailwater.iptables.TestSockets;
import io.tailwater.iptables.apply.RuleBackend;
import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.libc.Syscalls;
import io.tailwater.iptables.queue.HeldPackets.Held;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.KernelPass;
import io.tailwater.lab.NeedsRoot;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/// Connections of a pod to a server past the agent: held, released, refused, revoked.
@NeedsRoot
class KernelPassTest extends KernelPassFixture {

  @ParameterizedTest
  @MethodSource("everywhere")
  void whatIsSaidFirstIsHeldAndOnceReleasedNothingIsHeldAnyMore(Where where) throws Exception {
    build(where);
    Connected connection = connect();
    assertThat(connection.syn().flow().destination()).isEqualTo(server);

    write(connection.client(), "hello");
    Held hello = held.next();
    assertThat(hello.payload()).isEqualTo("hello");
    assertThat(hello.sequence()).isEqualTo(connection.syn().sequence() + 1);
    assertThat(hello.partial()).as("made by a TCP socket").isTrue();
    write(connection.server(), "banner");
    assertThat(read(connection.client(), 100)).isEqualTo("banner");
    assertThat(where.inPod() ? held.isQuiet() : held.isQuietBut(hello)).isTrue();
    assertThat(entry(connection).mark()).isEqualTo(0x4);

    assertThat(queue.release(hello.id(), hello.flow())).isZero();
    assertThat(read(connection.server(), 100)).isEqualTo("hello");
    assertThat(entry(connection).mark()).isEqualTo(0x6);
    String much = "x".repeat(100_000);
    for (int i = 0; i < 10; i++) {
      write(connection.client(), much);
      assertThat(readAll(connection.server(), much.length())).isEqualTo(much);
      write(connection.server(), much);
      assertThat(readAll(connection.client(), much.length())).isEqualTo(much);
    }
    assertThat(held.isQuietBut(hello)).isTrue();
    if (where.inPod()) {
      assertThat(queue.counters()).isEqualTo(new PacketQueue.Counters(1, 0, 0, 0, 0));
    }
  }

  @ParameterizedTest
  @MethodSource("everywhere")
  void whoIsRefusedLearnsItAtOnceAndSoDoesTheServer(Where where) throws Exception {
    build(where);
    Connected connection = connect();
    write(connection.client(), "secret");
    Held hello = held.next();

    assertThat(queue.refuse(hello.id(), hello.flow())).isZero();
    assertThat(read(connection.client(), 100)).startsWith("ECONNRESET");
    assertThat(entry(connection).mark()).isEqualTo(0x24);
    try (RawPackets raw = RawPackets.open(home, agent)) {
      assertThat(raw.reset(hello.flow(), hello.sequence(), hello.acknowledged())).isZero();
    }
    assertThat(read(connection.server(), 100)).startsWith("ECONNRESET");
    assertThat(held.isQuietBut(hello)).isTrue();
  }

  @ParameterizedTest
  @MethodSource("everywhere")
  void aRevokedConnectionEndsAtItsNextPacketOfEitherSide(Where where) throws Exception {
    build(where);
    Connected speaks = released();
    Connected listens = released();
    List<FlowTuple> flows = new ArrayList<>();
    conntrack.list(KernelPass.RELEASED, entry -> flows.add(entry.flow()));
    assertThat(flows).containsExactlyInAnyOrder(speaks.syn().flow(), listens.syn().flow());

    flows.forEach(flow -> assertThat(conntrack.mark(flow, KernelPass.REVOKED)).isTrue());
    write(speaks.client(), "more");
    assertThat(read(speaks.client(), 1)).startsWith("ECONNRESET");
    write(listens.server(), "more");
    assertThat(read(listens.server(), 1)).startsWith("ECONNRESET");
    flows.clear();
    conntrack.list(KernelPass.RELEASED, entry -> flows.add(entry.flow()));
    assertThat(flows).isEmpty();
  }

  @ParameterizedTest
  @MethodSource("families")
  void aQueueHasOneReaderAndWhatItHeldComesAgainToTheNext(Where where) throws Exception {
    build(where);
    assertThatThrownBy(this::reader)
        .isInstanceOfSatisfying(
            SyscallException.class, e -> assertThat(e.errno()).isEqualTo(Errno.EBUSY))
        .hasMessageContaining("Another process");
    Connected old = released();
    Connected connection = connect();
    write(connection.client(), "hello");
    Held first = held.next();
    assertThat(QueueStatistics.of(home, queue.number()).orElseThrow().waiting()).isEqualTo(1);

    queue.close();
    assertThat(queue.accept(first.id())).isEqualTo(Errno.EBADF);
    assertThat(QueueStatistics.of(home, queue.number())).isEmpty();
    write(old.client(), "goes on");
    assertThat(read(old.server(), 100)).isEqualTo("goes on");
    queue = reader();
    Held again = held.next();
    assertThat(again.flow()).isEqualTo(first.flow());
    assertThat(again.sequence()).isEqualTo(first.sequence());
    assertThat(queue.release(again.id(), again.flow())).isZero();
    assertThat(read(connection.server(), 100)).isEqualTo("hello");
  }

  @ParameterizedTest
  @MethodSource("families")
  void aHelloLargerThanThePacketSizeIsHeldAsOne(Where where) throws Exception {
    build(where);
    Connected connection = connect();
    String large = "h".repeat(5000);
    write(connection.client(), large);
    Held hello = held.next();

    assertThat(hello.gso()).isTrue();
    assertThat(hello.payload()).isEqualTo(large);
    assertThat(queue.release(hello.id(), hello.flow())).isZero();
    assertThat(readAll(connection.server(), 5000)).isEqualTo(large);
    assertThat(held.isQuietBut(hello)).isTrue();
  }

  @ParameterizedTest
  @MethodSource("families")
  void segmentsThatWereCopiedAndDroppedGoOutByHandInOrder(Where where) throws Exception {
    build(where);
    Connected connection = connect();
    Held first = said(connection, "first,");
    Held second = said(connection, "second");
    assertThat(queue.drop(first.id())).isZero();

    try (RawPackets raw = RawPackets.open(home, agent)) {
      ByteBuffer copy = first.packet().duplicate();
      Checksums.set(copy);
      assertThat(raw.send(copy)).isZero();
      assertThat(queue.release(second.id(), second.flow())).isZero();
      assertThat(readAll(connection.server(), 12)).isEqualTo("first,second");
    }
    write(connection.client(), "third");
    assertThat(read(connection.server(), 100)).isEqualTo("third");
    assertThat(held.isQuiet()).isTrue();
  }

  @ParameterizedTest
  @MethodSource("families")
  void aPacketMayBeReplacedByOneThatCarriesMore(Where where) throws Exception {
    build(where);
    Connected connection = connect();
    Held first = said(connection, "first,");
    Held second = said(connection, "second");
    assertThat(queue.dropUpTo(first.id())).isZero();
    byte[] more = "second".getBytes(StandardCharsets.ISO_8859_1);
    ByteBuffer whole = ByteBuffer.allocate(first.packet().limit() + more.length);
    whole.put(first.packet().duplicate()).put(more).flip();
    if (where.four()) {
      whole.putShort(2, (short) whole.limit());
    } else {
      whole.putShort(4, (short) (whole.limit() - 40));
    }
    Checksums.set(whole);

    assertThat(queue.release(second.id(), second.flow(), whole)).isZero();
    assertThat(readAll(connection.server(), 12)).isEqualTo("first,second");
    write(connection.client(), "third");
    assertThat(read(connection.server(), 100)).isEqualTo("third");
  }

  @ParameterizedTest
  @MethodSource("families")
  void aNewBeginningOnALivingEntryIsHeldAgain(Where where) throws Exception {
    build(where);
    Connected connection = released();
    ByteBuffer syn = ByteBuffer.allocate(connection.syn().packet().limit());
    syn.put(connection.syn().packet().duplicate()).flip();
    Checksums.set(syn);
    // As a pod's program with CAP_NET_RAW would: without the agent's mark.
    try (RawPackets raw = RawPackets.open(pod, Optional.empty())) {
      assertThat(raw.send(syn)).isZero();
      Held again = held.next();
      assertThat(again.isSyn()).isTrue();
      assertThat(again.partial()).as("written by hand").isFalse();
      assertThat(entry(connection).mark()).isEqualTo(0x4);
      if (!where.inPod()) {
        queue.drop(again.id());
      }
    }
    write(connection.client(), "more");
    assertThat(held.next().payload()).isEqualTo("more");
  }

  @ParameterizedTest
  @MethodSource("inPods")
  void nobodyElseReleasesByAMark(Where where) throws Exception {
    build(where);
    Connected connection = connect();
    for (int mark : List.of(0x7a110600, 0x7a110400, 0x2)) {
      Syscalls.setsockopt(connection.client(), Syscalls.SOL_SOCKET, Syscalls.SO_MARK, mark);
      write(connection.client(), "secret");
      assertThat(read(connection.server(), 1)).startsWith("EAGAIN");
      assertThat(entry(connection).mark()).isEqualTo(0x4);
    }
  }

  @ParameterizedTest
  @MethodSource("inPods")
  void whatIsLetGoReleasesItsOwnConnectionAndNotOneThatHasItsEndsNow(Where where) throws Exception {
    build(where);
    Connected first = connect();
    write(first.client(), "hello");
    Held hello = held.next();
    reset(first.client());
    Connected second = connect(client(hello.flow().source()));
    assertThat(second.syn().flow()).isEqualTo(hello.flow());
    assertThat(second.syn().sequence()).isNotEqualTo(first.syn().sequence());

    assertThat(queue.release(hello.id(), hello.flow())).isZero();
    assertThat(entry(second).mark()).isEqualTo(0x4);
    write(second.client(), "other");
    assertThat(held.next().payload()).isEqualTo("other");
    assertThat(read(second.server(), 1)).startsWith("EAGAIN");
  }

  @ParameterizedTest
  @MethodSource("inPods")
  void aSocketTellsWhatItHasSentWhetherItArrivesOrNot(Where where) throws Exception {
    build(where);
    Connected connection = connect();
    Held first = said(connection, "first,");
    write(connection.client(), "second");
    assertThat(queue.drop(first.id())).isZero();
    Held second = held.next();
    Held again = held.next();
    assertThat(again.sequence()).as("sent again").isEqualTo(first.sequence());

    try (SocketDiag sockets = SocketDiag.open(pod)) {
      assertThat(sockets.sent(first.flow())).isEqualTo(new SocketDiag.Sent(12, true));
      assertThat(sockets.sent(first.flow().reversed()).bytes()).isEqualTo(SocketBytes.UNKNOWN);
      queue.release(again.id(), again.flow());
      queue.accept(second.id());
      assertThat(readAll(connection.server(), 12)).isEqualTo("first,second");
      assertThat(sockets.bytes(first.flow()).orElseThrow().sent()).isEqualTo(12);
    }
  }

  @Test
  void aSocketOfBothFamiliesTellsToo() throws Exception {
    build(new Where(RuleBackend.IPTABLES_NFT, IpFamily.V4, PacketQueue.Place.POD));
    byte[] mapped = new byte[16];
    mapped[10] = mapped[11] = (byte) 0xff;
    System.arraycopy(server.getAddress().getAddress(), 0, mapped, 12, 4);
    InetAddress six = Inet6Address.getByAddress(null, mapped, -1);
    int client = pod.call(() -> TestSockets.socket(six, Syscalls.SOCK_STREAM));
    sockets.add(client);
    assertThat(TestSockets.connect(client, new InetSocketAddress(six, server.getPort()))).isZero();
    assertThat(held.next().flow().six()).isFalse();
    write(client, "hello");

    try (SocketDiag diag = SocketDiag.open(pod)) {
      assertThat(diag.sent(held.next().flow())).isEqualTo(new SocketDiag.Sent(5, false));
    }
  }

  @ParameterizedTest
  @MethodSource("inPods")
  void aPacketThatWouldNotReachTheServerDoesWhenItWasJudged(Where where) throws Exception {
    build(where);
    Connected connection = connect();
    int level = where.four() ? Syscalls.IPPROTO_IP : Syscalls.IPPROTO_IPV6;
    Syscalls.setsockopt(connection.client(), level, where.four() ? 2 : 16, 1);
    String seen =
        "table inet seen { chain in { type filter hook prerouting priority -300;"
            + " tcp dport 443 ip ttl 64 counter name four;"
            + " tcp dport 443 ip6 hoplimit 64 counter name six; };"
            + " counter four {}; counter six {}; }";
    inside(outside, "nft '" + seen + "'");
    write(connection.client(), "hello");
    Held hello = held.next();
    assertThat(hello.hops()).isEqualTo(1);

    assertThat(queue.release(hello.id(), hello.flow())).isZero();
    assertThat(read(connection.server(), 100)).isEqualTo("hello");
    assertThat(inside(outside, "nft list counters")).containsPattern("packets 1 ");
  }

  @ParameterizedTest
  @MethodSource("inPods")
  void whatIsDialledElsewhereGoesToTheAgentAsBefore(Where where) throws Exception {
    build(where);
    InetSocketAddress agent = new InetSocketAddress(server.getAddress(), 15001);
    InetSocketAddress local =
        new InetSocketAddress(
            InetAddress.ofLiteral(where.four() ? "127.0.0.1" : "::1"), agent.getPort());
    int relay = pod.call(() -> TestSockets.listen(local));
    sockets.add(relay);
    int client = client();
    assertThat(TestSockets.connect(client, new InetSocketAddress(server.getAddress(), 80)))
        .isZero();
    int taken = TestSockets.accept(relay);
    sockets.add(taken);
    assertThat(TestSockets.originalDestination(taken, server.getAddress()).getPort()).isEqualTo(80);
    assertThat(held.size()).isZero();

    set.flush();
    int second = client();
    assertThat(TestSockets.connect(second, server)).isZero();
    int also = TestSockets.accept(relay);
    sockets.add(also);
    assertThat(TestSockets.originalDestination(also, server.getAddress())).isEqualTo(server);
    assertThat(held.size()).isZero();
  }

  @ParameterizedTest
  @MethodSource("families")
  void withBypassPacketsPassWhileNobodyReads(Where where) throws Exception {
    build(where, PLAN.withKernelPass(KernelPass.STANDARD.withBypass(true)));
    queue.close();
    int client = client();
    assertThat(TestSockets.connect(client, server)).isZero();
    int accepted = TestSockets.accept(listener);
    sockets.add(accepted);
    write(client, "undecided");
    assertThat(read(accepted, 100)).isEqualTo("undecided");
  }

  @ParameterizedTest
  @MethodSource("families")
  void withoutBypassNothingPassesWhileNobodyReads(Where where) throws Exception {
    build(where);
    Connected connection = connect();
    queue.close();
    write(connection.client(), "undecided");
    assertThat(read(connection.server(), 100)).startsWith("EAGAIN");
  }

  @ParameterizedTest
  @MethodSource("families")
  void aSecondSmallSegmentDoesNotComeWhileTheFirstIsHeld(Where where) throws Exception {
    build(where);
    Connected connection = connect();
    write(connection.client(), "first,");
    Held first = held.next();
    write(connection.client(), "second");
    Thread.sleep(100);
    boolean alone = held.size() == 0;

    assertThat(alone).isTrue();
    assertThat(queue.drop(first.id())).isZero();
    for (int end = 0; end < 12; ) {
      Held again = held.next(); // the first once more, the second, or both in one
      end = again.sequence() - first.sequence() + again.payload().length();
      queue.drop(again.id());
    }
    assertThat(queue.release(first.flow())).isZero();
    assertThat(readAll(connection.server(), 12)).isEqualTo("first,second");
  }

  /// The client's hello with other flags, 40 bytes of options, and other data behind them.
  private static ByteBuffer byHand(Held like, int flags, String payload) {
    boolean six = like.flow().six();
    int tcp = six ? 40 : 20;
    ByteBuffer packet = ByteBuffer.allocate(tcp + 60 + payload.length());
    packet.put(0, like.packet(), 0, tcp + 20);
    if (six) {
      packet.putShort(4, (short) (packet.limit() - 40)).put(7, (byte) 64);
    } else {
      packet.put(0, (byte) 0x45).putShort(2, (short) packet.limit());
    }
    packet.put(tcp + 12, (byte) 0xf0).put(tcp + 13, (byte) flags);
    for (int i = 0; i < 40; i++) {
      packet.put(tcp + 20 + i, (byte) 1); // no operation
    }
    packet.put(tcp + 60, payload.getBytes(StandardCharsets.ISO_8859_1));
    Checksums.set(packet);
    return packet;
  }

  @ParameterizedTest
  @MethodSource("everywhere")
  void emptySegmentsNeverWaitHoweverManyOptionsTheyHaveAndResetsCarryNothing(Where where)
      throws Exception {
    build(where);
    Connected connection = connect();
    write(connection.client(), "hello");
    Held hello = held.next();
    try (RawPackets raw = RawPackets.open(pod, Optional.empty())) {
      assertThat(raw.send(byHand(hello, 0x10, ""))).as("ACK").isZero();
      assertThat(raw.send(byHand(hello, 0x14, "secret")))
          .as("RST with data")
          .isEqualTo(where.inPod() ? Errno.EPERM : 0);
      assertThat(held.isQuietBut(hello)).isTrue();

      assertThat(raw.send(byHand(hello, 0x18, "!"))).as("one byte").isZero();
      Held one = held.next();
      while (one.payload().equals("hello")) {
        one = held.next(); // sent again meanwhile
      }
      assertThat(one.payload()).isEqualTo("!");
      assertThat(one.partial()).as("made by a socket").isFalse();
      queue.drop(one.id());
    }
    assertThat(queue.release(hello.id(), hello.flow())).isZero();
    assertThat(read(connection.server(), 100)).isEqualTo("hello");
  }

  @ParameterizedTest
  @MethodSource("families")
  void whatDoesNotFitIsDroppedAndServedLater(Where where) throws Exception {
    build(where);
    queue.close();
    queue = keep(PacketQueue.open(home, KernelPass.STANDARD, 3, place).start(poller, held));
    List<Connected> all = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      all.add(connect());
    }
    for (Connected one : all) {
      write(one.client(), "hello");
    }
    List<Held> waiting = List.of(held.next(), held.next(), held.next());
    assertThat(held.isQuiet()).isTrue();
    QueueStatistics full = QueueStatistics.of(home, queue.number()).orElseThrow();
    assertThat(full.waiting()).isEqualTo(3);
    assertThat(full.droppedFull()).isGreaterThanOrEqualTo(5);

    waiting.forEach(one -> queue.release(one.id(), one.flow()));
    while (all.stream().anyMatch(one -> entry(one).mark() != 0x6)) {
      Held next = held.next();
      queue.release(next.id(), next.flow());
    }
    for (Connected one : all) {
      assertThat(read(one.server(), 100)).isEqualTo("hello");
    }
  }
}
