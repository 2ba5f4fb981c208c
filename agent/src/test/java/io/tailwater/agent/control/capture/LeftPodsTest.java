package io.tailwater.agent.control.capture;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.traffic.PodRef;
import io.tailwater.iptables.netlink.Link;
import io.tailwater.iptables.netns.NetnsId;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.EarlierConnections;
import io.tailwater.iptables.rule.NodePlan;
import io.tailwater.iptables.rule.Strictness;
import io.tailwater.iptables.rule.UdpPolicy;
import java.io.IOException;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// The pods that an agent has left on the node, by the file that says so.
class LeftPodsTest {
  private static final NetnsId NODE = new NetnsId(4, 4026531840L);
  private static final List<Link> LINKS = List.of(link(7, "veth1"), link(9, "veth2"));
  private static final LeftPods.Left RATINGS = left("ratings", "veth1", "10.244.0.2");
  private static final LeftPods.Left REVIEWS = left("reviews", "veth2", "fd00::3");

  @TempDir Path folder;

  private static Link link(int number, String name) {
    return new Link(number, name, 2, 0, 0, "veth");
  }

  private static LeftPods.Left left(String name, String interfaceName, String address) {
    CapturePlan plan =
        CapturePlan.egress().toBuilder()
            .udp(UdpPolicy.QUIC)
            .earlier(EarlierConnections.CUT)
            .strictness(Strictness.NONE.withClosed(true).withLog(3))
            .build();
    return new LeftPods.Left(
        new PodRef("default", name),
        new NodePlan.Pod(List.of(interfaceName), List.of(InetAddress.ofLiteral(address)), plan));
  }

  @BeforeEach
  void save() {
    new LeftPods(folder, NODE).save(List.of(RATINGS, REVIEWS), LINKS);
  }

  private List<LeftPods.Left> loaded(List<Link> links) {
    return new LeftPods(folder, NODE).load(links);
  }

  private void change(int line, String text) throws IOException {
    Path file = folder.resolve("node-pods");
    List<String> lines = new ArrayList<>(Files.readAllLines(file));
    lines.set(line, text);
    Files.write(file, lines);
  }

  @Test
  void whatWasWrittenIsReadAgain() {
    assertThat(loaded(LINKS)).containsExactly(RATINGS, REVIEWS);
  }

  @Test
  void interfaceThatIsAnotherOneByNowIsNoPodsAnyMore() {
    assertThat(loaded(List.of(link(8, "veth1"), link(9, "veth2")))).containsExactly(REVIEWS);
  }

  @Test
  void anotherNodesPodsAreNone() {
    assertThat(new LeftPods(folder, new NetnsId(4, 5)).load(LINKS)).isEmpty();
  }

  @Test
  void lineThatCannotBeReadCostsItsOwnPodOnly() throws IOException {
    String whole = Files.readAllLines(folder.resolve("node-pods")).get(1);
    for (String bad :
        List.of(
            "",
            "pod",
            whole.replace("veth1=7", "veth1"),
            whole.replace("veth1=7", "veth1=7,veth1=7"),
            whole.replace("10.244.0.2", "nowhere"),
            whole.replace("QUIC", "SOME"),
            whole + " more")) {
      change(1, bad);
      assertThat(loaded(LINKS)).as(bad).containsExactly(REVIEWS);
    }
  }

  @Test
  void interfaceBelongsToOnePodOnly() throws IOException {
    String whole = Files.readAllLines(folder.resolve("node-pods")).get(1);
    change(2, whole.replace("ratings", "reviews"));
    assertThat(loaded(LINKS)).containsExactly(RATINGS);
  }

  @Test
  void fileOfSomethingElseIsNotBelieved() throws IOException {
    change(0, "something else");
    assertThat(loaded(LINKS)).isEmpty();
  }
}
