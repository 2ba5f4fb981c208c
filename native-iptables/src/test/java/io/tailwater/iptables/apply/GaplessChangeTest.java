package io.tailwater.iptables.apply;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.iptables.TestSockets;
import io.tailwater.iptables.TwoNamespaces;
import io.tailwater.iptables.libc.Syscalls;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.UdpPolicy;
import io.tailwater.lab.NeedsRoot;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.Optional;
import java.util.concurrent.FutureTask;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// A pod connects all the time while its rules change: every connection is captured, though the
/// destination would take it too.
@NeedsRoot
class GaplessChangeTest {
  private static final CapturePlan ONE = CapturePlan.egress().withUdp(UdpPolicy.QUIC);
  private static final CapturePlan OTHER = ONE.withDns(15053).withUdp(UdpPolicy.ALL);
  private static final InetSocketAddress DIALLED = at(TwoNamespaces.SERVER_V4, 8443);
  private static final int ROUNDS = 10;
  private static final int MOST = 200_000;

  private final CommandRunner processes = new Processes();
  private TwoNamespaces net;

  @BeforeAll
  static void warm() {
    NetworkNamespace.warmUp();
  }

  @BeforeEach
  void build() {
    net = new TwoNamespaces();
  }

  @AfterEach
  void tearDown() {
    net.close();
  }

  @ParameterizedTest
  @EnumSource(RuleBackend.class)
  void noConnectionPassesWhilePlansAreExchanged(RuleBackend backend) throws Exception {
    TrafficRules rules = rules(backend);
    rules.install(net.pod(), ONE);

    int captured =
        whileConnecting(() -> {
          for (int round = 0; round < ROUNDS; round++) {
            rules.install(net.pod(), OTHER);
            rules.install(net.pod(), ONE);
          }
        });

    assertThat(captured).isGreaterThan(ROUNDS);
  }

  @Test
  void noConnectionPassesWhileTheBackendChanges() throws Exception {
    rules(RuleBackend.NFT).install(net.pod(), ONE);

    int captured =
        whileConnecting(() -> {
          for (RuleBackend backend : RuleBackend.values()) {
            assertThat(rules(backend).install(net.pod(), ONE).alsoRemoved()).hasSize(1);
          }
        });

    assertThat(captured).isGreaterThan(ROUNDS);
  }

  /// How many connections were made and captured meanwhile.
  private int whileConnecting(Runnable changes) throws Exception {
    int server = net.server().call(() -> TestSockets.listen(DIALLED));
    int capture = net.pod().call(() -> TestSockets.listen(at("0.0.0.0", 15001)));
    AtomicBoolean done = new AtomicBoolean();
    FutureTask<Integer> connecting = new FutureTask<>(() -> connect(capture, done));
    Thread thread = Thread.ofPlatform().start(connecting);
    try {
      changes.run();
    } finally {
      done.set(true);
      thread.join();
      Syscalls.close(capture);
      Syscalls.close(server);
    }
    return connecting.get();
  }

  private int connect(int capture, AtomicBoolean done) {
    int count = 0;
    while (!done.get() && count < MOST) {
      int client =
          net.pod().call(() -> TestSockets.socket(DIALLED.getAddress(), Syscalls.SOCK_STREAM));
      assertThat(TestSockets.connect(client, DIALLED)).as("connection " + count).isZero();
      int accepted = TestSockets.accept(capture);
      assertThat(accepted).as("connection " + count + " is captured").isPositive();
      Syscalls.close(client);
      Syscalls.close(accepted);
      count++;
    }
    return count;
  }

  private TrafficRules rules(RuleBackend backend) {
    return new TrafficRules(RulePrograms.detect(Optional.of(backend), processes), processes);
  }

  private static InetSocketAddress at(String address, int port) {
    return new InetSocketAddress(InetAddress.ofLiteral(address), port);
  }
}
