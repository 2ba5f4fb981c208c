package io.tailwater.iptables.apply;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.tailwater.iptables.TwoNamespaces;
import io.tailwater.iptables.netlink.Interfaces;
import io.tailwater.iptables.netlink.Interfaces.Interface;
import io.tailwater.iptables.netlink.LoggedPacket;
import io.tailwater.iptables.netlink.NetlinkPoller;
import io.tailwater.iptables.netlink.PacketLog;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.Logged;
import io.tailwater.iptables.rule.UdpPolicy;
import io.tailwater.lab.NeedsRoot;
import java.net.InetAddress;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/// Frames of real packet sockets. The foreign program is Python; what arrives is counted at the
/// other end of the wire.
@NeedsRoot
class EgressGuardTest {
  private static final CapturePlan PLAN = CapturePlan.egress();

  private TwoNamespaces net;
  private final EgressGuard guard = new EgressGuard(new Processes());

  @BeforeAll
  static void warm() {
    NetworkNamespace.warmUp();
  }

  @BeforeEach
  void build() {
    net = new TwoNamespaces();
    atServer(
        "nft 'table inet seen { chain every { type filter hook prerouting priority -300;"
            + " meta l4proto { tcp, udp } counter; }; }'");
  }

  @AfterEach
  void tearDown() {
    net.close();
  }

  /// `how` sends a frame, e.g. `tcp`; the answer is `sent` or `refused`.
  private String send(String how) {
    // ip looks for the peer's namespace among all, and complains when another test's has just gone.
    String mac =
        atServer("ip -o link show eth0 2>/dev/null | sed 's,.*ether \\([^ ]*\\).*,\\1,'").strip();
    return net.inPod(
            "python3",
            "src/test/python/frames.py",
            "eth0",
            mac,
            TwoNamespaces.POD_V4,
            TwoNamespaces.SERVER_V4,
            how)
        .strip();
  }

  /// Segments and datagrams that the other end has received, however they were dressed.
  private String arrived() {
    return atServer("nft list chain inet seen every | grep -o 'packets [0-9]*'");
  }

  private String atServer(String command) {
    return TwoNamespaces.run("nsenter", "--net=" + net.server().path(), "--", "sh", "-c", command);
  }

  @Test
  void framesOfTcpAreStoppedHoweverTheyAreDressed() {
    String before = arrived();
    assertThat(send("tcp")).isEqualTo("sent");
    assertThat(arrived()).isNotEqualTo(before);

    guard.install(net.pod(), PLAN);

    for (String how : List.of("tcp", "bypass", "marked", "vlan", "false-type", "ipv6", "options")) {
      String then = arrived();
      assertThat(send(how)).as(how).isEqualTo("refused");
      assertThat(arrived()).as(how).isEqualTo(then);
    }
  }

  @Test
  void framesOfUdpPassAsFarAsThePlanLetsThem() {
    guard.install(net.pod(), PLAN.withUdp(UdpPolicy.QUIC).withDns(CapturePlan.DNS_PORT));
    assertThat(send("udp-9")).isEqualTo("sent");
    assertThat(send("udp-443")).isEqualTo("refused");
    assertThat(send("udp-53")).isEqualTo("refused");
    assertThat(send("icmp")).isEqualTo("sent");

    guard.install(net.pod(), PLAN.withUdp(UdpPolicy.ALL));
    assertThat(send("udp-9")).isEqualTo("refused");
    assertThat(send("icmp")).isEqualTo("refused");
  }

  @Test
  void ordinarySocketsAreNotHindered() {
    guard.install(net.pod(), PLAN.withUdp(UdpPolicy.ALL));
    String echo =
        "import socket;s=socket.create_server(('%s',4000));"
            + "c=socket.create_connection(('%s',4000),5);a,_=s.accept();"
            + "c.sendall(b'x');print(a.recv(1))";
    assertThat(net.inPod("python3", "-c", echo.formatted("127.0.0.1", "127.0.0.1")))
        .contains("b'x'");
    assertThat(
            net.inPod("python3", "-c", echo.formatted(TwoNamespaces.POD_V4, TwoNamespaces.POD_V4)))
        .contains("b'x'");
    String before = arrived();
    net.inPod(
        "python3",
        "-c",
        "import socket;socket.socket(2,2).sendto(b'x',('" + TwoNamespaces.SERVER_V4 + "',9))");
    assertThat(arrived()).isNotEqualTo(before);
  }

  @Test
  void framesOnLoopbackAreStoppedToo() {
    guard.install(net.pod(), PLAN);
    assertThat(send("loopback")).isEqualTo("refused");
  }

  @Test
  void stoppedFrameIsLogged() throws Exception {
    guard.install(net.pod(), PLAN);
    BlockingQueue<LoggedPacket> logged = new LinkedBlockingQueue<>();
    try (NetlinkPoller poller = new NetlinkPoller("test-poller").start()) {
      poller.add(PacketLog.open(net.pod(), PacketLog.GROUP), new PacketLog(logged::add, () -> {}));
      assertThat(send("tcp")).isEqualTo("refused");

      LoggedPacket packet = logged.poll(10, TimeUnit.SECONDS);
      assertThat(packet).isNotNull();
      assertThat(Logged.of(packet.prefix())).contains(Logged.PACKET_SOCKET);
      assertThat(packet.protocol()).isEqualTo(LoggedPacket.TCP);
      assertThat(packet.destination()).contains(InetAddress.ofLiteral(TwoNamespaces.SERVER_V4));
      assertThat(packet.destinationPort()).isEqualTo(443);
      assertThat(packet.user()).isZero();
    }
  }

  @Test
  void changeOrNewInterfaceIsNoticed() {
    EgressGuard.Standing standing = guard.install(net.pod(), PLAN);
    assertThat(guard.stands(net.pod(), PLAN, standing)).isTrue();
    assertThat(guard.stands(net.pod(), PLAN.withUdp(UdpPolicy.ALL), standing)).isFalse();

    net.inPod("ip", "link", "add", "late", "type", "veth", "peer", "name", "later");
    assertThat(guard.stands(net.pod(), PLAN, standing)).isFalse();
    EgressGuard.Standing again = guard.install(net.pod(), PLAN);
    assertThat(again.interfaces()).extracting(Interface::name).contains("late", "later", "lo");
    assertThat(guard.stands(net.pod(), PLAN, again)).isTrue();

    net.inPod("nft", "flush", "chain", "netdev", EgressGuard.TABLE, "judge");
    assertThat(guard.stands(net.pod(), PLAN, again)).isFalse();
    again = guard.install(net.pod(), PLAN);
    assertThat(send("tcp")).isEqualTo("refused");
    assertThat(guard.stands(net.pod(), PLAN, again)).as("whatever it has refused").isTrue();

    net.inPod("nft", "add table netdev " + EgressGuard.TABLE + " { flags dormant; }");
    assertThat(guard.stands(net.pod(), PLAN, again)).isFalse();
    again = guard.install(net.pod(), PLAN);
    assertThat(send("tcp")).isEqualTo("refused");

    net.inPod("nft", "insert", "rule", "netdev", EgressGuard.TABLE, "judge", "accept");
    assertThat(guard.stands(net.pod(), PLAN, again)).isFalse();
    again = guard.install(net.pod(), PLAN);
    net.inPod("nft", "delete", "table", "netdev", EgressGuard.TABLE);
    assertThat(guard.stands(net.pod(), PLAN, again)).isFalse();
  }

  @Test
  void removedGuardLeavesNothingBehind() {
    guard.install(net.pod(), PLAN);
    guard.remove(net.pod());
    guard.remove(net.pod());
    assertThat(net.inPod("nft", "list", "ruleset")).doesNotContain("tailwater");
    assertThat(send("tcp")).isEqualTo("sent");
  }

  @Test
  void interfaceWhoseNameIsNotOnlyANameIsRefused() {
    assertThatThrownBy(
            () -> EgressGuard.script(List.of(new Interface(2, "a\"; flush ruleset", true)), PLAN))
        .isInstanceOf(RulesException.class)
        .hasMessageContaining("rename");
  }

  @Test
  void ringsOfAfXdpAreHeldWhileWeLive() throws Exception {
    assertThat(send("xdp")).isEqualTo("sent");
    List<Interface> interfaces = Interfaces.of(net.pod());
    try (XdpRings rings = held(interfaces)) {
      assertThat(rings.taken()).isEmpty();
      assertThat(send("xdp")).isEqualTo("refused");
      assertThat(send("xdp-loopback")).isEqualTo("refused");
      rings.hold(net.pod(), interfaces);
      assertThat(rings.taken()).as("held by itself").isEmpty();
      try (XdpRings second = new XdpRings()) {
        second.hold(net.pod(), interfaces);
        assertThat(second.taken()).contains("eth0 queue 0", "lo queue 0");
      }
    }
    for (int i = 0; i < 50 && !send("xdp").equals("sent"); i++) {
      Thread.sleep(100); // the kernel lets go of a closed ring a little later
    }
    assertThat(send("xdp")).isEqualTo("sent");
  }

  /// The rings of the program that has just ended may still be taken.
  private XdpRings held(List<Interface> interfaces) throws InterruptedException {
    for (int i = 0; ; i++) {
      XdpRings rings = new XdpRings();
      rings.hold(net.pod(), interfaces);
      if (rings.taken().isEmpty() || i == 50) {
        return rings;
      }
      rings.close();
      Thread.sleep(100);
    }
  }
}
