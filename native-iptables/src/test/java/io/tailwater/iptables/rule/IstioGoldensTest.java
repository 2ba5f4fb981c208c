package io.tailwater.iptables.rule;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import java.io.IOException;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/// The rules of istio-cni as files of our own, and as Istio's golden files where those are at hand:
/// rule for rule, in the same order, in the same chains. Written anew as those of
/// [GoldenScriptsTest].
class IstioGoldensTest {
  private static final Path FOLDER = Path.of("src/test/resources/istio");

  /// Istio's files use a made-up source of probes for IPv6, but for one.
  private static final InetAddress SOME_PROBE =
      InetAddress.ofLiteral("e9ac:1e77:90ca:399f:4d6d:ece2:2f9b:3164");

  private static final int KUBELET = 1000;
  private static final List<String> INTERFACES = List.of("fake1s0f0", "fake1s0f1");

  /// By the names of Istio's files; without IPv6, which `_ipv6` adds.
  private static final Map<String, IstioPlan> IN_POD = new TreeMap<>(inPod());

  private static Map<String, IstioPlan> inPod() {
    IstioPlan dns = IstioPlan.DEFAULT.withProbes(IstioPlan.PROBE, SOME_PROBE);
    IstioPlan none = dns.withDns(false);
    return Map.of(
        "default",
        dns,
        "dns_pod_enabled_and_off_globally",
        dns,
        "dns_pod_disabled_and_on_globally",
        none,
        "ingress",
        none.withInbound(false),
        "virtual_interfaces",
        none.withVirtualInterfaces(INTERFACES),
        "ingress_and_virtual_interfaces",
        none.withInbound(false).withVirtualInterfaces(INTERFACES));
  }

  /// A script and the name of Istio's file.
  private record Script(String folder, String name, String text) {
    Path own() {
      return FOLDER.resolve(name + (folder.equals("nftables") ? ".nft" : ".rules"));
    }
  }

  private static List<Script> scripts() {
    List<Script> scripts = new ArrayList<>();
    for (boolean ipv6 : List.of(false, true)) {
      String suffix = ipv6 ? "_ipv6" : "";
      IN_POD.forEach((name, both) -> {
        IstioPlan plan = both.withIpv6(ipv6);
        scripts.add(
            new Script(
                "iptables",
                name + suffix,
                IstioRules.restoreScript(plan, IpFamily.V4)
                    + IstioRules.restoreScript(plan, IpFamily.V6)));
        scripts.add(new Script("nftables", name + suffix, IstioRules.nftScript(plan)));
      });
      IstioPlan real = IstioPlan.DEFAULT.withIpv6(ipv6);
      scripts.add(
          new Script(
              "iptables",
              "hostprobe" + suffix,
              IstioRules.hostRestoreScript(real, IpFamily.V4)
                  + IstioRules.hostRestoreScript(real, IpFamily.V6)));
      scripts.add(
          new Script(
              "nftables",
              "hostprobe" + suffix,
              IstioRules.hostNftScript(real.withProbes(IstioPlan.PROBE, SOME_PROBE), KUBELET)));
    }
    return scripts;
  }

  @TestFactory
  Stream<DynamicTest> scriptsAreAsRecorded() {
    return scripts().stream()
        .map(script ->
            DynamicTest.dynamicTest(
                script.own().getFileName().toString(),
                () -> {
                  if (Boolean.getBoolean("goldens.update")) {
                    Files.createDirectories(FOLDER);
                    Files.writeString(script.own(), script.text());
                  }
                  assertThat(script.own()).content().isEqualTo(script.text());
                }));
  }

  @TestFactory
  Stream<DynamicTest> scriptsAreIstios() {
    Optional<Path> goldens = goldens();
    return goldens.stream()
        .flatMap(folder ->
            scripts().stream()
                .map(script ->
                    DynamicTest.dynamicTest(
                        script.folder() + "/" + script.name(), () -> assertSame(folder, script))));
  }

  @Test
  void everyFileOfIstiosIsReproduced() throws IOException {
    for (String kind : List.of("iptables", "nftables")) {
      List<String> names =
          scripts().stream()
              .filter(script -> script.folder().equals(kind))
              .map(script -> script.name() + ".golden")
              .toList();
      assertThat(names).hasSize(14).doesNotHaveDuplicates();
      Optional<Path> goldens = goldens();
      if (goldens.isPresent()) {
        try (Stream<Path> files = Files.list(goldens.get().resolve(kind))) {
          assertThat(files.map(file -> file.getFileName().toString()))
              .containsExactlyInAnyOrderElementsOf(names);
        }
      }
    }
  }

  @Test
  void interfaceNameThatCouldCarryARuleIsRefused() {
    for (String name :
        List.of("eth0 -j ACCEPT", "eth0\n-A OUTPUT", "eth+", "", "..", "x".repeat(16))) {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> IstioPlan.DEFAULT.withVirtualInterfaces(List.of(name)));
    }
    assertThatIllegalArgumentException()
        .isThrownBy(() -> IstioPlan.DEFAULT.withProbes(SOME_PROBE, SOME_PROBE))
        .withMessageContaining("one address of each family");
  }

  private static void assertSame(Path folder, Script script) throws IOException {
    List<String> golden =
        Files.readString(folder.resolve(script.folder()).resolve(script.name() + ".golden"))
            .lines()
            .filter(line -> !line.endsWith("tables-save")) // what was run before
            .toList();
    List<String> ours = script.text().lines().toList();
    boolean nft = script.folder().equals("nftables");
    assertThat(ours.stream().map(line -> nft ? nft(line) : iptables(line)))
        .containsExactlyElementsOf(
            golden.stream().map(line -> nft ? nft(line) : iptables(line)).toList());
  }

  /// The chain and the options of a rule; other lines as they are.
  private static String iptables(String line) {
    String[] words = line.split(" ", 3);
    return words[0].equals("-A") ? words[1] + " " + RuleText.options(words[2]) : line;
  }

  /// Without what goes without saying, and with one spelling of what has two.
  private static String nft(String line) {
    String text =
        line.replaceAll(" +", " ")
            .replace("\"", "")
            .replace("mark and ", "mark & ")
            .replace("meta mark", "mark")
            .replace("meta skuid", "skuid")
            .replaceAll("snat ip6? to", "snat to")
            .replaceAll("([0-9.]+)/32\\b", "$1")
            .replaceAll("([0-9a-f:]+)/128\\b", "$1");
    return text.replaceAll("meta l4proto (tcp|udp) (?=.*\\1 [ds]port)", "");
  }

  /// Beside the repository, or nowhere.
  private static Optional<Path> goldens() {
    return Stream.iterate(Path.of("").toAbsolutePath(), folder -> folder != null, Path::getParent)
        .map(folder -> folder.resolve("shared/goldens"))
        .filter(Files::isDirectory)
        .findFirst();
  }
}
