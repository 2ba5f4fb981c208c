package io.tailwater.iptables.rule;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/// The scripts of all plans as files. `mvn -pl native-iptables -am test -Dtest=GoldenScriptsTest
/// -Dgoldens.update=true -Dsurefire.failIfNoSpecifiedTests=false` writes them anew; read the
/// difference before committing it.
class GoldenScriptsTest {
  private static final Path FOLDER = Path.of("src/test/resources/goldens");
  private static final CapturePlan EGRESS = CapturePlan.egress();

  private static final Map<String, CapturePlan> PLANS =
      new TreeMap<>(
          Map.of(
              "closed",
              EGRESS
                  .withAgent(new Mark(0x1a2b3c4d, -1))
                  .withEarlier(EarlierConnections.CUT)
                  .withUdp(UdpPolicy.QUIC)
                  .withStrictness(
                      Strictness.NONE
                          .withJoining(new Mark(0x5e6f7081, -1))
                          .withFormer(List.of(new Mark(0x92a3b4c5, -1)))
                          .withCgroup(
                              Optional.of(new ControlGroup("system.slice/tailwater.service", 4711)))
                          .withClosed(true)
                          .withKnownProtocolsOnly(true)
                          .withLog(1501)),
              "egress-earlier-cut",
              EGRESS.withEarlier(EarlierConnections.CUT),
              "egress",
              EGRESS,
              "egress-quic-refused",
              EGRESS.withUdp(UdpPolicy.QUIC),
              "egress-udp-refused",
              EGRESS.withUdp(UdpPolicy.ALL),
              "egress-udp-refused-dns-captured",
              EGRESS.withUdp(UdpPolicy.ALL).withDns(CapturePlan.DNS_PORT),
              "egress-ipv6-refused",
              EGRESS.withIpv6(Ipv6.REFUSE).withUdp(UdpPolicy.QUIC),
              "egress-ipv6-untouched",
              EGRESS.withIpv6(Ipv6.UNTOUCHED),
              "egress-other-mark-and-port",
              EGRESS.withAgent(new Mark(0x200, 0xf00)).withOutboundPort(25001),
              "inbound",
              EGRESS.withInbound(CapturePlan.Inbound.STANDARD)));

  static {
    PLANS.put(
        "kernel-pass",
        PLANS.get("closed").withDns(CapturePlan.DNS_PORT).withKernelPass(KernelPass.STANDARD));
    PLANS.put(
        "kernel-pass-fails-open",
        EGRESS.withFailsOpen(true).withKernelPass(KernelPass.STANDARD.withBypass(true)));
  }

  @TestFactory
  Stream<DynamicTest> scriptsAreAsRecorded() {
    return PLANS.entrySet().stream()
        .flatMap(plan -> {
          NamespaceRules rules = NamespaceRules.of(plan.getValue());
          return Stream.of(
              test(plan.getKey() + ".v4.rules", RestoreScript.fresh(rules.v4()).text()),
              test(plan.getKey() + ".v6.rules", RestoreScript.fresh(rules.v6()).text()),
              test(plan.getKey() + ".nft", NftScript.fresh(rules).text()));
        });
  }

  private static DynamicTest test(String file, String text) {
    return DynamicTest.dynamicTest(file, () -> check(file, text));
  }

  @Test
  void noGoldenIsLeftOver() throws IOException {
    try (Stream<Path> files = Files.list(FOLDER)) {
      assertThat(files.map(file -> file.getFileName().toString()))
          .containsExactlyInAnyOrderElementsOf(
              PLANS.keySet().stream()
                  .flatMap(name -> Stream.of(name + ".v4.rules", name + ".v6.rules", name + ".nft"))
                  .toList());
    }
  }

  private static void check(String file, String text) throws IOException {
    Path golden = FOLDER.resolve(file);
    if (Boolean.getBoolean("goldens.update")) {
      Files.createDirectories(FOLDER);
      Files.writeString(golden, text);
    }
    assertThat(golden).content().isEqualTo(text);
  }
}
