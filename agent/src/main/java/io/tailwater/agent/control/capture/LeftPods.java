package io.tailwater.agent.control.capture;

import io.tailwater.agent.traffic.PodRef;
import io.tailwater.iptables.netlink.Link;
import io.tailwater.iptables.netns.NetnsId;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.EarlierConnections;
import io.tailwater.iptables.rule.Ipv6;
import io.tailwater.iptables.rule.KernelPass;
import io.tailwater.iptables.rule.NodePlan;
import io.tailwater.iptables.rule.Strictness;
import io.tailwater.iptables.rule.UdpPolicy;
import java.io.IOException;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// The closed pods whose rules stand on the node, in a file of the state folder: the next agent
/// keeps these rules until it has the pods itself, so that none is open meanwhile. One line for
/// each:
///
/// ```
/// node 3d2a...boot-id net:[4026531840]
/// pod default/ratings veth1=7,veth2=9 10.244.0.2,fd00::2 CAPTURE QUIC 15053 true 133 false
/// ```
///
/// Which is: who, interfaces with their numbers, addresses, IPv6, UDP, the port of DNS or `-`,
/// whether other protocols are refused, the group of the log or `-`, whether connections take the
/// kernel pass. Where the file is lost the rules in the kernel tell, but not whose they are. After
/// a restart of the machine it says nothing any more. Capture thread only.
final class LeftPods {
  private static final Logger LOG = LoggerFactory.getLogger(LeftPods.class);
  private static final Path BOOT = Path.of("/proc/sys/kernel/random/boot_id");
  private static final String NONE = "-";

  private final Path file;
  private final String node;
  private List<String> saved = List.of();

  /// One pod and what its rules are.
  record Left(PodRef pod, NodePlan.Pod rules) {}

  LeftPods(Path stateDir, NetnsId node) {
    this.file = stateDir.resolve("node-pods");
    this.node = "node " + boot() + " " + node;
  }

  private static String boot() {
    try {
      return Files.readString(BOOT).strip();
    } catch (IOException e) {
      return NONE;
    }
  }

  /// What an agent before has left, as far as the interfaces are still the same. A line that cannot
  /// be read is said, and costs its own pod only.
  List<Left> load(List<Link> links) {
    List<Left> left = new ArrayList<>();
    try {
      List<String> lines = Files.readAllLines(file, StandardCharsets.US_ASCII);
      if (lines.isEmpty() || !lines.getFirst().startsWith("node ")) {
        throw new IOException("it does not begin with the node");
      }
      if (!lines.getFirst().equals(node)) {
        return List.of(); // another node, or before it was started anew
      }
      Set<String> taken = new HashSet<>();
      for (int i = 1; i < lines.size(); i++) {
        try {
          Left one = parse(lines.get(i), links);
          for (String name : one.rules().interfaces()) {
            if (!taken.add(name)) {
              throw new IOException(name + " stands there twice");
            }
          }
          if (!one.rules().interfaces().isEmpty()) {
            left.add(one);
          }
        } catch (IOException | RuntimeException e) {
          unreadable(file + ", line " + (i + 1), e);
        }
      }
    } catch (NoSuchFileException _) {
      // Nobody was here before.
    } catch (IOException e) {
      unreadable(file.toString(), e);
    }
    return left;
  }

  private static void unreadable(String where, Exception e) {
    LOG.error(
        "stateDir: {} cannot be read ({}): which pods are closed is told by the rules that stand on"
            + " the node",
        where,
        e.toString());
  }

  /// Writes down the closed ones, if they are not the same as last time.
  void save(List<Left> pods, List<Link> links) {
    List<String> lines = new ArrayList<>(List.of(node));
    pods.stream()
        .filter(pod -> !pod.rules().plan().failsOpen())
        .map(pod -> line(pod, links))
        .sorted()
        .forEach(lines::add);
    if (lines.equals(saved)) {
      return;
    }
    try {
      Files.createDirectories(file.getParent());
      Path written = file.resolveSibling(file.getFileName() + ".new");
      Files.write(written, lines, StandardCharsets.US_ASCII);
      Files.move(
          written, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      saved = lines;
    } catch (IOException e) {
      LOG.warn("stateDir: {} cannot be written: {}", file, e.toString());
    }
  }

  private static String line(Left left, List<Link> links) {
    NodePlan.Pod rules = left.rules();
    CapturePlan plan = rules.plan();
    return String.join(
        " ",
        "pod",
        left.pod().toString(),
        String.join(
            ",",
            rules.interfaces().stream().map(name -> name + "=" + number(name, links)).toList()),
        rules.addresses().isEmpty()
            ? NONE
            : String.join(
                ",", rules.addresses().stream().map(InetAddress::getHostAddress).toList()),
        plan.ipv6().name(),
        plan.udp().name(),
        plan.dnsPort().map(String::valueOf).orElse(NONE),
        Boolean.toString(plan.strictness().knownProtocolsOnly()),
        plan.strictness().log().map(String::valueOf).orElse(NONE),
        Boolean.toString(plan.kernelPass().isPresent()));
  }

  private static int number(String name, List<Link> links) {
    return links.stream()
        .filter(link -> link.name().equals(name))
        .map(Link::index)
        .findFirst()
        .orElse(0);
  }

  private static Left parse(String line, List<Link> links) throws IOException {
    String[] words = line.split(" ", -1);
    String[] names = words.length == 10 ? words[1].split("/", -1) : new String[0];
    if (names.length != 2) {
      throw new IOException("this is no pod: " + line);
    }
    List<String> interfaces =
        Stream.of(words[2].split(",", -1))
            .map(one -> one.split("=", -1))
            .filter(one -> number(one[0], links) == Integer.parseInt(one[1]))
            .map(one -> one[0])
            .toList();
    List<InetAddress> addresses =
        words[3].equals(NONE)
            ? List.of()
            : Stream.of(words[3].split(",", -1)).map(InetAddress::ofLiteral).toList();
    Strictness strictness =
        Strictness.NONE.withClosed(true).withKnownProtocolsOnly(Boolean.parseBoolean(words[7]));
    CapturePlan plan =
        CapturePlan.egress().toBuilder()
            .ipv6(Ipv6.valueOf(words[4]))
            .udp(UdpPolicy.valueOf(words[5]))
            .earlier(EarlierConnections.CUT)
            .dnsPort(number(words[6]))
            .kernelPass(
                Boolean.parseBoolean(words[9])
                    ? Optional.of(KernelPass.STANDARD)
                    : Optional.empty())
            .strictness(number(words[8]).map(strictness::withLog).orElse(strictness))
            .build();
    return new Left(new PodRef(names[0], names[1]), new NodePlan.Pod(interfaces, addresses, plan));
  }

  private static Optional<Integer> number(String word) {
    return word.equals(NONE) ? Optional.empty() : Optional.of(Integer.parseInt(word));
  }
}
