package io.tailwater.agent.dataplane.flow;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.account.Outcome;
import io.tailwater.agent.dataplane.flow.FlowRig.Way;
import io.tailwater.agent.dataplane.resolve.Addresses;
import io.tailwater.agent.dataplane.sniff.ClientHelloBytes;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Refusal;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// Clients that go away in the middle.
@Timeout(60)
class FlowGoneTest {
  private static final HostName EN = HostName.of("en.example.com");
  private static final byte[] HELLO = ClientHelloBytes.named("en.example.com").record();

  @ParameterizedTest
  @EnumSource(Way.class)
  void aClientThatClosesWithoutAWordIsNoRefusal(Way way) throws Exception {
    try (FlowRig rig = FlowRig.of(way, FlowRig.byName(1))) {
      rig.connect().close();
      assertThat(rig.ended().outcome).isEqualTo(new Outcome.ClientGone());
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void aResetInTheMiddleOfTheHelloEndsIt(Way way) throws Exception {
    try (FlowRig rig = FlowRig.of(way, FlowRig.byName(1))) {
      SocketChannel client = rig.connect();
      FlowRig.write(client, Arrays.copyOf(HELLO, 20));
      FlowRig.await("sniffing", () -> rig.admission.handshakes() == 1);
      FlowRig.reset(client);
      assertThat(rig.ended().outcome).isEqualTo(new Outcome.ClientGone());
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void aResetWhileARefusalAwaitsTheNameStaysARefusal(Way way) throws Exception {
    try (FlowRig rig = FlowRig.of(way, FlowRig.atOnce(FlowRig.refuse(Refusal.CONNECTION_CLOSED)))) {
      SocketChannel client = rig.connect();
      FlowRig.reset(client);
      rig.refusedWith(Refusal.CONNECTION_CLOSED);
    }
  }

  @ParameterizedTest
  @EnumSource(value = Way.class, names = "EPOLL") // NIO tells nothing of a socket that is not read
  void aResetWhileTheNameIsLookedUpEndsItAndTheAnswerComesTooLate(Way way) throws Exception {
    try (FlowRig rig = FlowRig.of(way, FlowRig.byName(1))) {
      rig.dns.put(EN, new Addresses.Found(List.of(FlowRig.LOOPBACK), false));
      rig.dnsIsSlow = true;
      SocketChannel client = rig.connect();
      FlowRig.write(client, HELLO);
      FlowRig.await("a question", () -> rig.laterAnswers.size() == 1);
      FlowRig.reset(client);
      assertThat(rig.ended().outcome).isEqualTo(new Outcome.ClientGone());
      rig.laterAnswers.getFirst().run();
      rig.assertNothingIsLeft();
      assertThat(rig.only().events).containsExactly("accepted", "ended");
    }
  }

  @ParameterizedTest
  @EnumSource(value = Way.class, names = "EPOLL")
  void aResetWhileTheUpstreamIsDialledGivesUpTheDial(Way way) throws Exception {
    try (FlowRefusalTest.BlackHole hole = new FlowRefusalTest.BlackHole();
        FlowRig rig = FlowRig.of(way, FlowRig.atOnce(FlowRig.passthrough()))) {
      rig.dialled = new OriginalDst(FlowRig.LOOPBACK, hole.port());
      SocketChannel client = rig.connect();
      FlowRig.await("dialling", () -> rig.told.size() == 1);
      FlowRig.reset(client);
      assertThat(rig.ended().outcome).isEqualTo(new Outcome.ClientGone());
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void aResetWhileRelayingReachesTheServer(Way way) throws Exception {
    try (ServerSocketChannel upstream = FlowRig.upstream();
        FlowRig rig = FlowRig.of(way, FlowRig.atOnce(FlowRig.passthrough()))) {
      rig.dialled = new OriginalDst(FlowRig.LOOPBACK, FlowRig.port(upstream));
      SocketChannel client = rig.connect();
      SocketChannel server = upstream.accept();
      rig.awaitRelaying();
      FlowRig.reset(client);
      FlowRefusalTest.assertReset(server);
      assertThat(rig.ended().outcome).isEqualTo(new Outcome.Reset(true));
    }
  }
}
