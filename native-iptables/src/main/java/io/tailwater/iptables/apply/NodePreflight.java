package io.tailwater.iptables.apply;

import io.tailwater.iptables.apply.Preflight.Finding;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netlink.Routing;
import io.tailwater.iptables.netlink.Routing.PolicyRule;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.NodePlan;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/// What the node lacks, or has in the way, for capture on the node. Asks sysctls and routing rules
/// of the namespace that the process is in; starts no program and changes nothing. A platform
/// thread.
final class NodePreflight {
  /// `linux/rtnetlink.h`, RT_TABLE_LOCAL: everybody's first rule leads there.
  private static final int LOCAL_TABLE = 255;

  private final Path sysctls;

  /// @param sysctls `/proc/sys/net`
  NodePreflight(Path sysctls) {
    this.sysctls = sysctls;
  }

  /// All findings, the good ones too, in a fixed order.
  List<Finding> run() {
    List<Finding> findings = new ArrayList<>(settings());
    try (NetworkNamespace node = NetworkNamespace.current();
        Routing routing = Routing.open(node)) {
      for (IpFamily family : IpFamily.values()) {
        if (family == IpFamily.V4 || hasIpv6()) {
          findings.add(routes(family, routing.policyRules(family == IpFamily.V6)));
        }
      }
    } catch (SyscallException e) {
      findings.add(
          Finding.missing(
              "policy routing",
              e.getMessage(),
              "The kernel needs policy routing (CONFIG_IP_MULTIPLE_TABLES,"
                  + " CONFIG_IPV6_MULTIPLE_TABLES)"));
    }
    return List.copyOf(findings);
  }

  /// What sysctls say.
  List<Finding> settings() {
    List<Finding> findings = new ArrayList<>();
    findings.add(sourceByMark());
    findings.add(reversePath());
    findings.add(forwarding("forwarding of IPv4", "ipv4/ip_forward", "net.ipv4.ip_forward"));
    if (hasIpv6()) {
      findings.add(
          forwarding(
              "forwarding of IPv6", "ipv6/conf/all/forwarding", "net.ipv6.conf.all.forwarding"));
    }
    return findings;
  }

  private boolean hasIpv6() {
    return Files.isDirectory(sysctls.resolve("ipv6"));
  }

  /// With it the kernel looks up the source of a packet by the packet's mark: in the table where
  /// every address is the node's own, which no source may be.
  private Finding sourceByMark() {
    String what = "source check by mark";
    List<String> set = interfacesWith("src_valid_mark", "1");
    return set.isEmpty()
        ? Finding.ok(what, "off")
        : Finding.missing(
            what,
            "on: " + sysctl(set.getFirst(), "src_valid_mark") + "=1",
            "Everything that is captured would be dropped as from a false source. Set "
                + String.join(" and ", set.stream().map(i -> sysctl(i, "src_valid_mark")).toList())
                + " to 0 (wg-quick sets it: give that interface a policy route of its own), or use"
                + " capture.mode in-pod");
  }

  /// Strict checking does no harm where packets come back the way that they went.
  private Finding reversePath() {
    String what = "reverse path filter";
    List<String> strict = interfacesWith("rp_filter", "1");
    return strict.isEmpty()
        ? Finding.ok(what, "not strict")
        : Finding.warning(
            what,
            "strict: " + sysctl(strict.getFirst(), "rp_filter") + "=1",
            "Where the node has several ways out, answers of servers that come in by another"
                + " interface than the one that leads to them are dropped: set it to 2 (loose)"
                + " there");
  }

  private Finding forwarding(String what, String file, String name) {
    Optional<String> value = value(file);
    if (value.isEmpty()) {
      return Finding.warning(what, name + " cannot be read", "Mount /proc/sys");
    }
    return value.get().equals("0")
        ? Finding.warning(
            what,
            "off: " + name + "=0",
            "The pods reach nothing but what is captured, and nobody reaches them: set "
                + name
                + " to 1")
        : Finding.ok(what, "on");
  }

  /// What a rule that is asked before ours would do with packets of ours.
  static Finding routes(IpFamily family, List<PolicyRule> rules) {
    String what = "policy route of " + family;
    int mark = NodePlan.LOCAL.value();
    String ours =
        "rule "
            + NodePlan.RULE_PREFERENCE
            + " (fwmark "
            + NodePlan.LOCAL
            + " lookup "
            + NodePlan.ROUTE_TABLE
            + ")";
    for (PolicyRule rule : rules) {
      boolean before =
          rule.preference() <= NodePlan.RULE_PREFERENCE
              && rule.table() != LOCAL_TABLE
              && rule.takes(mark);
      if (isOurs(rule) || !(before || rule.table() == NodePlan.ROUTE_TABLE)) {
        continue;
      }
      if (rule.table() == NodePlan.ROUTE_TABLE) {
        return inTheWay(
            family,
            what,
            "table " + rule.table() + " is used by " + text(rule),
            "Capture on the node fills that table with a route that delivers everything here: let"
                + " the other user take another table, or use capture.mode in-pod");
      }
      String todo =
          "Captured packets carry the mark 0x%x and have to meet %s first: let the other user take"
                  .formatted(mark, ours)
              + " another mark or a higher preference, or use capture.mode in-pod";
      String found = text(rule) + " comes first";
      return rule.narrow()
          ? Finding.warning(what, found + " for some packets", todo)
          : inTheWay(family, what, found, todo);
    }
    return Finding.ok(what, "free, or ours: " + ours);
  }

  /// Without IPv6 capture goes on, see [NodeIpv6Block].
  private static Finding inTheWay(IpFamily family, String what, String found, String todo) {
    return switch (family) {
      case V4 -> Finding.missing(what, found, todo);
      case V6 ->
          Finding.warning(
              what,
              found,
              "IPv6 is not captured: closed pods and unknown interfaces have it blocked by policy"
                  + " rules, what open pods send over it passes. "
                  + todo);
    };
  }

  private static boolean isOurs(PolicyRule rule) {
    return rule.madeBy() == NodeIpv6Block.MADE_BY || isDelivery(rule);
  }

  private static boolean isDelivery(PolicyRule rule) {
    return rule.preference() == NodePlan.RULE_PREFERENCE
        && rule.table() == NodePlan.ROUTE_TABLE
        && rule.mark() == NodePlan.LOCAL.value()
        && rule.mask() == NodePlan.LOCAL.mask();
  }

  private static String text(PolicyRule rule) {
    return "rule "
        + rule.preference()
        + (rule.mask() == 0 ? "" : " (fwmark 0x%x/0x%x)".formatted(rule.mark(), rule.mask()))
        + " to table "
        + Integer.toUnsignedString(rule.table());
  }

  private static String sysctl(String name, String setting) {
    return "net.ipv4.conf." + name + "." + setting;
  }

  /// `all` first. The kernel takes the greater of `all` and an interface's own; `default` is what
  /// new interfaces begin with.
  private List<String> interfacesWith(String setting, String value) {
    try (Stream<Path> all = Files.list(sysctls.resolve("ipv4/conf"))) {
      return all.map(path -> path.getFileName().toString())
          .filter(name -> !name.equals("lo"))
          .filter(
              name -> value("ipv4/conf/" + name + "/" + setting).filter(value::equals).isPresent())
          .sorted((a, b) -> a.equals("all") ? -1 : b.equals("all") ? 1 : a.compareTo(b))
          .toList();
    } catch (IOException e) {
      return List.of();
    }
  }

  private Optional<String> value(String file) {
    try {
      return Optional.of(Files.readString(sysctls.resolve(file)).strip());
    } catch (IOException e) {
      return Optional.empty();
    }
  }
}
