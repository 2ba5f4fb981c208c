package io.tailwater.iptables.apply;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.tailwater.iptables.TwoNamespaces;
import io.tailwater.iptables.apply.ReleasableSet.Element;
import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.KernelPass;
import io.tailwater.lab.NeedsRoot;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// Sets of the kernel, of both kinds, changed without a program and looked at with one.
@NeedsRoot
class ReleasableSetTest {
  private static final InetAddress POD_V4 = InetAddress.ofLiteral("10.244.0.2");
  private static final InetAddress POD_V6 = InetAddress.ofLiteral("fd00::2");

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

  private ReleasableSet set(RuleBackend backend, boolean onNode) {
    if (backend == RuleBackend.NFT) {
      net.inPod("nft", "add table inet tailwater");
      for (IpFamily family : IpFamily.values()) {
        String key = family == IpFamily.V4 ? "ipv4_addr" : "ipv6_addr";
        String triple = key + " . inet_service . " + key;
        net.inPod(
            "nft",
            "add set inet tailwater %s { type %s ; flags timeout ; timeout 300s ; }"
                .formatted(
                    onNode
                        ? KernelPass.releasableOnNode(family).name()
                        : KernelPass.releasable(family).name(),
                    onNode ? triple : key + " . inet_service"));
      }
    }
    return onNode
        ? ReleasableSet.onNode(net.pod(), backend)
        : ReleasableSet.inPod(net.pod(), backend);
  }

  private static InetSocketAddress at(String address, int port) {
    return new InetSocketAddress(InetAddress.ofLiteral(address), port);
  }

  private static List<InetSocketAddress> destinations(ReleasableSet set) {
    return set.list().stream().map(Element::destination).toList();
  }

  @ParameterizedTest
  @EnumSource(
      value = RuleBackend.class,
      names = {"IPTABLES_NFT", "NFT"})
  void addressesComeWithATimeAreRenewedAndGo(RuleBackend backend) {
    try (ReleasableSet set = set(backend, false)) {
      assertThat(set.list()).isEmpty();
      InetSocketAddress four = at("192.0.2.1", 443);
      InetSocketAddress six = at("2001:db8::1", 8443);

      assertThat(set.add(List.of(Element.of(four, 100), Element.of(six, 1000)))).isZero();
      assertThat(destinations(set)).containsExactlyInAnyOrder(four, six);
      assertThat(set.list())
          .allSatisfy(element -> {
            assertThat(element.pod()).isEmpty();
            int whole = element.destination().equals(four) ? 100 : 1000;
            assertThat(element.seconds()).isBetween(whole - 20, whole);
          });

      assertThat(set.add(List.of(Element.of(four, 5000)))).isZero();
      assertThat(set.list().stream().filter(one -> one.destination().equals(four)))
          .singleElement()
          .satisfies(element -> assertThat(element.seconds()).isBetween(4900, 5000));

      assertThat(set.remove(List.of(Element.of(four, 1)))).isZero();
      assertThat(destinations(set)).containsExactly(six);
      assertThat(set.flush()).isZero();
      assertThat(set.list()).isEmpty();
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = RuleBackend.class,
      names = {"IPTABLES_NFT", "NFT"})
  void onTheNodeAnAddressIsOnePods(RuleBackend backend) {
    try (ReleasableSet set = set(backend, true)) {
      Element four = Element.of(POD_V4, at("192.0.2.1", 443), 100);
      Element six = Element.of(POD_V6, at("2001:db8::1", 443), 100);
      assertThat(set.add(List.of(four, six))).isZero();

      assertThat(set.list())
          .extracting(element -> element.pod().orElseThrow(), Element::destination)
          .containsExactlyInAnyOrder(
              org.assertj.core.groups.Tuple.tuple(POD_V4, four.destination()),
              org.assertj.core.groups.Tuple.tuple(POD_V6, six.destination()));
      assertThatIllegalArgumentException()
          .isThrownBy(() -> set.add(List.of(Element.of(four.destination(), 1))));
      assertThat(set.remove(List.of(four))).isZero();
      assertThat(destinations(set)).containsExactly(six.destination());
    }
  }

  @Test
  void manyAddressesFitAndTheProgramSeesThemToo() {
    try (ReleasableSet set = set(RuleBackend.IPTABLES_NFT, false)) {
      List<Element> many = new ArrayList<>();
      for (int i = 0; i < 1000; i++) {
        many.add(Element.of(at("198.51." + i / 250 + "." + i % 250, 443), 60));
        many.add(Element.of(at("2001:db8::" + Integer.toHexString(i), 443), 60));
      }
      assertThat(set.add(many)).isZero();
      assertThat(set.list()).hasSize(2000);
      assertThat(net.inPod("ipset", "test", "tailwater-pass-v4", "198.51.3.249,tcp:443"))
          .contains("is in set");
      try (ReleasableSet node = set(RuleBackend.IPTABLES_NFT, true)) {
        assertThat(node.add(List.of(Element.of(POD_V4, at("192.0.2.1", 443), 60)))).isZero();
        assertThat(net.inPod("ipset", "list", "tailwater-node-pass-v4"))
            .contains("192.0.2.1,tcp:443,10.244.0.2 timeout");
      }
      assertThat(set.remove(many)).isZero();
      assertThat(set.list()).isEmpty();
    }
  }

  @Test
  void aSetThatIsMissingIsSaidAndMadeAgain() {
    try (ReleasableSet set = set(RuleBackend.IPTABLES_NFT, false)) {
      net.inPod("ipset", "destroy", "tailwater-pass-v4");
      List<Element> one = List.of(Element.of(at("192.0.2.1", 443), 60));
      assertThat(set.add(one)).isEqualTo(Errno.ENOENT);
      set.make();
      set.make();
      assertThat(set.add(one)).isZero();
      assertThat(set.list()).hasSize(1);
    }
  }

  @Test
  void whatCannotBeInASetIsRefused() {
    assertThatIllegalArgumentException().isThrownBy(() -> Element.of(at("192.0.2.1", 443), 0));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> Element.of(InetSocketAddress.createUnresolved("a.example", 443), 1));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> Element.of(POD_V6, at("192.0.2.1", 443), 1));
  }
}
