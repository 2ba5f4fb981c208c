package io.tailwater.iptables.apply;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.iptables.TwoNamespaces;
import io.tailwater.iptables.apply.Preflight.Finding;
import io.tailwater.iptables.apply.Preflight.Finding.State;
import io.tailwater.iptables.netlink.Routing;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.lab.NeedsRoot;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// What is in the way of capture on the node, with what to do about it.
class NodePreflightTest {
  @TempDir Path proc;

  @Test
  void nodeAsPluginsSetItUpHasNoComplaint() throws IOException {
    node("1", "1", "2", "0");

    List<Finding> findings = new NodePreflight(proc).settings();

    assertThat(findings).hasSize(4);
    assertThat(findings).extracting(Finding::state).containsOnly(State.OK);
  }

  @Test
  void whatDropsOrDoesNotForwardIsNamedWithTheSysctl() throws IOException {
    node("0", "0", "1", "1");

    List<Finding> findings = new NodePreflight(proc).settings();

    Finding mark = of(findings, "source check by mark");
    assertThat(mark.state()).isEqualTo(State.MISSING);
    assertThat(mark.whatToDo()).contains("Set net.ipv4.conf.all.src_valid_mark to 0");
    assertThat(of(findings, "reverse path filter"))
        .extracting(Finding::state, Finding::found)
        .containsExactly(State.WARNING, "strict: net.ipv4.conf.eth0.rp_filter=1");
    assertThat(of(findings, "forwarding of IPv4").whatToDo()).contains("net.ipv4.ip_forward to 1");
    assertThat(of(findings, "forwarding of IPv6"))
        .extracting(Finding::state, Finding::found)
        .containsExactly(State.WARNING, "off: net.ipv6.conf.all.forwarding=0");
  }

  @NeedsRoot
  @Test
  void rulesOfOthersThatComeFirstOrUseTheTableAreNamed() {
    NetworkNamespace.warmUp();
    try (TwoNamespaces net = new TwoNamespaces()) {
      assertThat(routes(net).state()).isEqualTo(State.OK);
      PolicyRoutes.NODE.install(net.pod());
      assertThat(routes(net).found()).contains("free, or ours");

      // As Cilium's proxy has it.
      net.inPod("ip", "rule", "add", "pref", "9", "fwmark", "0x200/0xf00", "lookup", "2004");
      assertThat(routes(net))
          .extracting(Finding::state, Finding::found)
          .containsExactly(State.MISSING, "rule 9 (fwmark 0x200/0xf00) to table 2004 comes first");
      assertThat(routes(net).whatToDo()).contains("capture.mode in-pod");
      net.inPod("ip", "rule", "del", "pref", "9");

      net.inPod("ip", "rule", "add", "pref", "10", "iif", "lo", "lookup", "7");
      assertThat(routes(net).state()).isEqualTo(State.WARNING);
      net.inPod("ip", "rule", "del", "pref", "10");

      net.inPod("ip", "rule", "add", "pref", "500", "fwmark", "0x1/0x1", "lookup", "133");
      assertThat(routes(net))
          .extracting(Finding::state, Finding::found)
          .containsExactly(
              State.MISSING, "table 133 is used by rule 500 (fwmark 0x1/0x1) to table 133");
      net.inPod("ip", "rule", "del", "pref", "500");

      net.inPod("ip", "rule", "add", "pref", "20", "fwmark", "0x1/0x1", "lookup", "5");
      assertThat(routes(net).state()).as("another mark").isEqualTo(State.OK);
    }
  }

  @NeedsRoot
  @Test
  void thisMachineCanCaptureOnTheNode() {
    List<Finding> findings = new Preflight(new Processes(), Optional.empty(), true).run();

    assertThat(of(findings, "capture on the node, IPv4").found()).isEqualTo("works");
    assertThat(of(findings, "capture on the node, IPv6").found()).isEqualTo("works");
    assertThat(of(findings, "policy route of IPv4").state()).isEqualTo(State.OK);
    assertThat(of(findings, "policy route of IPv6").state()).isEqualTo(State.OK);
  }

  private static Finding routes(TwoNamespaces net) {
    try (Routing routing = Routing.open(net.pod())) {
      return NodePreflight.routes(IpFamily.V4, routing.policyRules(false));
    }
  }

  private static Finding of(List<Finding> findings, String what) {
    return findings.stream().filter(f -> f.what().equals(what)).findFirst().orElseThrow();
  }

  private void node(String forward, String forward6, String reversePath, String byMark)
      throws IOException {
    write("ipv4/ip_forward", forward);
    write("ipv6/conf/all/forwarding", forward6);
    write("ipv4/conf/all/rp_filter", "0");
    write("ipv4/conf/eth0/rp_filter", reversePath);
    write("ipv4/conf/all/src_valid_mark", byMark);
    write("ipv4/conf/lo/src_valid_mark", "1");
  }

  private void write(String file, String text) throws IOException {
    Files.createDirectories(proc.resolve(file).getParent());
    Files.writeString(proc.resolve(file), text + "\n");
  }
}
