package io.tailwater.iptables.rule;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.iptables.rule.StandingPods.StandingPod;
import java.net.InetAddress;
import java.util.List;
import org.junit.jupiter.api.Test;

/// Whose the rules on a node are, by what `iptables-save` says of them.
class StandingPodsTest {
  private static final String RAW =
      """
      *raw
      :PREROUTING ACCEPT [0:0]
      :TAILWATER_FROM_veth1 - [0:0]
      :TAILWATER_FROM_0-0badcafe - [0:0]
      :TAILWATER_PRERT - [0:0]
      :TAILWATER_STRANGER - [0:0]
      -A PREROUTING -j TAILWATER_PRERT
      -A TAILWATER_FROM_veth1 -s 10.244.0.2/32 -p tcp -m socket --transparent -j CT --zone-orig 133
      -A TAILWATER_FROM_veth1 -s 10.244.0.2/32 -j RETURN
      -A TAILWATER_FROM_veth1 -j DROP
      -A TAILWATER_FROM_0-0badcafe -m set ! --match-set tailwater-alive-v4 dst -j RETURN
      -A TAILWATER_FROM_0-0badcafe -s 10.244.0.3/32 -j RETURN
      -A TAILWATER_FROM_0-0badcafe -j DROP
      -A TAILWATER_PRERT -i veth1 -g TAILWATER_FROM_veth1
      -A TAILWATER_PRERT -i cali0123456789a -j TAILWATER_FROM_0-0badcafe
      -A TAILWATER_PRERT -i cali+ -j TAILWATER_STRANGER
      COMMIT
      """;

  private static final String MANGLE =
      """
      *mangle
      :PREROUTING ACCEPT [0:0]
      :TAILWATER_POD_veth1 - [0:0]
      :TAILWATER_POD_veth7 - [0:0]
      :TAILWATER_PRERT - [0:0]
      -A PREROUTING -j TAILWATER_PRERT
      -A TAILWATER_POD_veth1 -p tcp -m connmark --mark 0x0/0x3 -j TAILWATER_GATE_veth1
      -A TAILWATER_POD_veth7 -p tcp -j TPROXY --on-port 15001
      -A TAILWATER_PRERT -i veth1 -j TAILWATER_POD_veth1
      -A TAILWATER_PRERT -i veth7 -j TAILWATER_POD_veth7
      COMMIT
      """;

  private static StandingPod pod(String name, boolean open, boolean pass, String... addresses) {
    return new StandingPod(
        name, List.of(addresses).stream().map(InetAddress::ofLiteral).toList(), open, pass);
  }

  @Test
  void interfacesAddressesAndWhetherTheyPassAreReadFromBothTables() {
    assertThat(StandingPods.in(SavedRules.parse(RAW + MANGLE)))
        .containsExactly(
            pod("veth1", false, true, "10.244.0.2"),
            pod("cali0123456789a", true, false, "10.244.0.3"),
            pod("veth7", false, false));
  }

  @Test
  void addressesOfTheLinkAreNobodys() {
    String six =
        """
        *raw
        :TAILWATER_FROM_veth1 - [0:0]
        :TAILWATER_PRERT - [0:0]
        -A TAILWATER_FROM_veth1 -s fd00::2/128 -j RETURN
        -A TAILWATER_FROM_veth1 -s fe80::/10 -p ipv6-icmp -j RETURN
        -A TAILWATER_FROM_veth1 -s ::/128 -p ipv6-icmp -j RETURN
        -A TAILWATER_FROM_veth1 ! -s fd00::7/128 -j RETURN
        -A TAILWATER_PRERT -i veth1 -j TAILWATER_FROM_veth1
        COMMIT
        """;
    assertThat(StandingPods.in(SavedRules.parse(six)))
        .containsExactly(pod("veth1", false, false, "fd00::2"));
  }

  @Test
  void rulesOfOthersAreNoPods() {
    String others =
        """
        *raw
        :cali-PREROUTING - [0:0]
        -A cali-PREROUTING -i cali+ -j MARK --set-xmark 0x40000/0x40000
        -A cali-PREROUTING -i veth1 -j cali-from
        COMMIT
        """;
    assertThat(StandingPods.in(SavedRules.parse(others))).isEmpty();
    assertThat(StandingPods.in(NftTable.ABSENT)).isEmpty();
  }
}
