package io.tailwater.lab.demo;

import io.tailwater.lab.LabException;
import io.tailwater.lab.NetLab;
import io.tailwater.lab.Place;
import io.tailwater.lab.Privileges;
import io.tailwater.lab.Result;
import io.tailwater.lab.Running;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// `./tailwater demo`: builds the [Scenario], runs curl in its pods and says of each expectation
/// whether it held. Exit codes: 0 all held, 1 one did not, 2 bad usage, 3 something is missing.
///
/// Two system properties, set by the launcher: `tailwater.agent`, the agent's program, and
/// `tailwater.examples`, the folder with the resources.
public final class Demo {
  /// The eight per-address lines of `/clusters` that Istio's users know.
  private static final List<String> CLUSTER_LINES =
      List.of(
          "cx_active",
          "cx_connect_fail",
          "cx_total",
          "rq_active",
          "rq_error",
          "rq_success",
          "rq_timeout",
          "rq_total");

  private static final Pattern SERVER = Pattern.compile("server=(\\S+) client=(\\S+)");
  private static final double GIGABIT = 1e9 / 8;

  private final Screen screen = new Screen();
  private final Scenario scenario;
  private final Path program;

  private Demo(Scenario scenario, Path program) {
    this.scenario = scenario;
    this.program = program;
  }

  /// Runs the demo and ends the JVM with its exit code.
  public static void main(String[] arguments) {
    System.exit(run(arguments));
  }

  private static int run(String[] arguments) {
    List<String> options = List.of(arguments);
    if (options.size() > 1 || !List.of("--keep", "--remove").containsAll(options)) {
      System.err.println("demo: unknown option, there are --keep and --remove");
      return 2;
    }
    boolean remove = options.contains("--remove");
    List<String> missing =
        remove ? Privileges.missing() : Privileges.missing("nginx", "dnsmasq", "openssl", "curl");
    if (!missing.isEmpty()) {
      System.err.println("demo: " + String.join(", ", missing));
      return 3;
    }
    try {
      if (remove) {
        int removed = NetLab.removeKept() + NetLab.sweep();
        System.out.println(removed == 0 ? "Nothing was left up." : "Taken down.");
        return 0;
      }
      return play(options.contains("--keep"));
    } catch (LabException e) {
      System.err.println("demo: " + e.getMessage());
      return 1;
    }
  }

  private static int play(boolean keep) {
    Path program =
        Path.of(System.getProperty("tailwater.agent", "agent/target/image/bin/tailwater"));
    if (!Files.isExecutable(program)) {
      System.err.println("demo: there is no agent at " + program + ", run it by ./tailwater demo");
      return 3;
    }
    Path examples = Path.of(System.getProperty("tailwater.examples", "examples"));
    try (Scenario scenario = Scenario.build(examples)) {
      Demo demo = new Demo(scenario, program);
      try {
        demo.show();
      } catch (LabException e) {
        demo.screen.expect(false, "the demo runs to its end", "");
        demo.screen.quote(e.getMessage());
      }
      demo.screen.sum();
      if (keep) {
        scenario.lab().keep();
        demo.howToEnter();
      }
      return demo.screen.allHeld() ? 0 : 1;
    }
  }

  private void show() {
    screen.title("A node, two pods, six sites, no way out but these");
    screen.line(
        "pod default/ratings-v1 and other/reviews-v1: their DNS server sends every name to the"
            + " decoy "
            + Scenario.DECOY);
    screen.line("the agent answers in its place, and takes no pod's word for an address");
    screen.line(
        "policy: REGISTRY_ONLY, edition.cnn.com for namespace default, *.wikipedia.org for all,"
            + " *.svc.cluster.local over HTTP");
    Running agent = scenario.startAgent(List.of(program.toString()));

    screen.title("Allowed: by name, whatever address the pod dials");
    Place ratings = scenario.ratings();
    Place reviews = scenario.reviews();
    allowed("ratings", ratings, "https://en.wikipedia.org/", false);
    allowed("ratings", ratings, "https://de.wikipedia.org/", false);
    allowed("ratings", ratings, "https://upload.wikipedia.org/", false);
    allowed("ratings", ratings, "https://edition.cnn.com/", false);
    allowed("reviews", reviews, "https://de.wikipedia.org/", false);
    if (scenario.lab().ipv6()) {
      allowed("ratings", ratings, "https://en.wikipedia.org/", true);
    }
    allowed("ratings", ratings, "https://en.wikipedia.org/", false, Scenario.DECOY);
    decoyWithoutTheAgent();

    screen.title("Refused: with a reset");
    refused("ratings", ratings, "example.org");
    refused("reviews", reviews, "edition.cnn.com");
    denials();

    screen.title("Plaintext HTTP: each request by its Host");
    allowed("ratings", ratings, "http://" + Scenario.INTERNAL + "/", false);
    refusedWith502("ratings", ratings, "http://example.org/");

    screen.title(
        "curl -s localhost:15000/clusters | grep \"outbound|443||\\*\\.wikipedia\\.org\" | grep -E"
            + " \"rq|cx\"");
    clusters();

    screen.title("Throughput, one download over TLS");
    throughput();

    if (!agent.isAlive()) {
      screen.expect(false, "the agent lives", "");
      screen.quote(agent.output());
    }
  }

  /// To the address that the agent's DNS told the pod.
  private void allowed(String who, Place pod, String url, boolean six) {
    String name = URI.create(url).getHost();
    String told =
        Scenario.SITES.get(name).stream()
            .filter(a -> a.indexOf(':') >= 0 == six)
            .findFirst()
            .orElse("none");
    report(who, pod, url, scenario.curl(pod, url, six ? "-6" : "-4"), told, six ? " (IPv6)" : "");
  }

  /// To an address that has nothing to do with the name.
  private void allowed(String who, Place pod, String url, boolean six, String dialled) {
    String name = URI.create(url).getHost();
    Result result =
        scenario.curl(pod, url, six ? "-6" : "-4", "--resolve", name + ":443:" + dialled);
    report(who, pod, url, result, dialled, " (decoy)");
  }

  private void report(
      String who, Place pod, String url, Result result, String dialled, String note) {
    String name = URI.create(url).getHost();
    String what = who + " → " + url.replaceAll("/$", "") + note;
    if (!result.ok()) {
      screen.expect(false, what, result.stderr().strip());
      return;
    }
    List<String> lines = result.stdout().strip().lines().toList();
    String[] last = lines.getLast().split(" ", -1);
    Matcher server = SERVER.matcher(result.stdout());
    boolean named = server.find();
    String reached = named ? server.group(1) : "?";
    String client = named ? server.group(2) : "?";
    List<String> right = Scenario.SITES.get(name);
    boolean held =
        last[0].equals("200")
            && last[1].equals(dialled)
            && right.contains(reached)
            && pod.addresses().contains(client);
    screen.expect(
        held, what, last[0] + ", dialled " + last[1] + ", reached " + reached + " as " + client);
  }

  private void refused(String who, Place pod, String name) {
    Result result = scenario.curl(pod, "https://" + name + "/", "-4");
    boolean reset = !result.ok() && result.stderr().toLowerCase(Locale.ROOT).contains("reset");
    screen.expect(
        reset, who + " → https://" + name, result.ok() ? "came through" : result.stderr().strip());
  }

  private void refusedWith502(String who, Place pod, String url) {
    Result result = scenario.curl(pod, url, "-4", "-o", "/dev/null");
    String status = result.stdout().strip().split(" ", 2)[0];
    screen.expect(
        result.ok() && status.equals("502"),
        who + " → " + url.replaceAll("/$", ""),
        result.ok() ? status : result.stderr().strip());
  }

  /// What the two pods would have met: the decoy, whose certificate nobody trusts.
  private void decoyWithoutTheAgent() {
    Result result = scenario.curl(scenario.bare(), "https://en.wikipedia.org/", "-4");
    boolean held = result.exit() == 60;
    screen.expect(
        held,
        "a pod without the agent meets the decoy",
        held
            ? "its certificate does not verify"
            : "exit " + result.exit() + " " + result.stderr().strip());
  }

  private void denials() {
    Result result = scenario.node(program.toString(), "denials");
    boolean held =
        result.ok()
            && result.stdout().contains("default/ratings-v1 to example.org")
            && result.stdout().contains("hosts: [\"example.org\"]")
            && result.stdout().contains("other/reviews-v1 to edition.cnn.com")
            && result.stdout().contains("hosts: [\"edition.cnn.com\"]");
    screen.expect(
        held, "denials shows both, and what would allow them", held ? "" : result.stderr().strip());
    screen.quote(result.stdout());
  }

  private void clusters() {
    Result result =
        scenario.node(
            "sh",
            "-c",
            "curl -s localhost:15000/clusters | grep 'outbound|443||\\*\\.wikipedia\\.org' | grep"
                + " -E 'rq|cx'");
    screen.quote(result.stdout());
    for (String name : List.of("en.wikipedia.org", "de.wikipedia.org", "upload.wikipedia.org")) {
      long best =
          Scenario.SITES.get(name).stream()
              .map(address -> (address.indexOf(':') < 0 ? address : "[" + address + "]") + ":443::")
              .mapToLong(address ->
                  CLUSTER_LINES.stream()
                      .filter(line -> result.stdout().contains(address + line + "::"))
                      .count())
              .max()
              .orElse(0);
      screen.expect(best == CLUSTER_LINES.size(), "eight lines for " + name, best + " of 8");
    }
  }

  private void throughput() {
    double direct = 0;
    double through = 0;
    // Alternating, so that a slow moment of the machine meets both.
    for (int round = 0; round < 2; round++) {
      direct =
          Math.max(
              direct,
              download(scenario.bare(), "-4", "--resolve", "en.wikipedia.org:443:198.51.100.10"));
      through = Math.max(through, download(scenario.ratings(), "-4"));
    }
    screen.expect(
        direct > 0 && through > 0,
        "through the agent next to direct",
        String.format(
            Locale.ROOT,
            "%.1f Gbit/s next to %.1f Gbit/s (%.0f %%)",
            through / GIGABIT,
            direct / GIGABIT,
            direct > 0 ? 100 * through / direct : 0));
  }

  /// Bytes per second of a download of at most [TlsUpstream#BIG_BYTES], cut off after three
  /// seconds; 0 if none.
  private double download(Place pod, String... more) {
    String[] options = new String[more.length + 4];
    System.arraycopy(more, 0, options, 0, more.length);
    System.arraycopy(new String[] {"-m", "3", "-o", "/dev/null"}, 0, options, more.length, 4);
    Result result = scenario.curl(pod, "https://en.wikipedia.org/big", options);
    // 28 is curl's "out of time": what it got until then counts.
    if (result.exit() != 0 && result.exit() != 28) {
      return 0;
    }
    String[] last = result.stdout().strip().lines().toList().getLast().split(" ", -1);
    return last[0].equals("200") ? Double.parseDouble(last[2]) : 0;
  }

  private void howToEnter() {
    String node = "sudo ip netns exec " + scenario.lab().node().namespace();
    String pod = "sudo ip netns exec " + scenario.ratings().namespace();
    screen.title("It stays up. To enter:");
    screen.line(node + " bash                # the node: here localhost:15000 answers");
    screen.line(node + " curl -s localhost:15000/clusters");
    screen.line(node + " " + program + " denials");
    screen.line(
        pod + " curl --cacert " + scenario.authority().authority() + " https://de.wikipedia.org");
    screen.line("configuration, logs: " + scenario.lab().folder());
    screen.line("take it down: sudo ./tailwater demo --remove");
  }
}
