package io.tailwater.agent.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;

class AskCommandsTest {
  private final List<String> asked = new CopyOnWriteArrayList<>();
  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();
  private HttpServer agent;

  @BeforeEach
  void start() throws IOException {
    agent = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    agent.createContext(
        "/",
        exchange -> {
          asked.add(exchange.getRequestMethod() + " " + exchange.getRequestURI());
          int status =
              exchange.getRequestURI().getPath().equals("/logging")
                      && exchange.getRequestURI().toString().contains("loud")
                  ? 400
                  : 200;
          byte[] body = "the page\n".getBytes(StandardCharsets.UTF_8);
          exchange.sendResponseHeaders(status, body.length);
          exchange.getResponseBody().write(body);
          exchange.close();
        });
    agent.start();
  }

  @AfterEach
  void stop() {
    agent.stop(0);
  }

  private int run(String... arguments) {
    CommandLine line = new CommandLine(new Tailwater());
    line.setOut(new PrintWriter(out, true));
    line.setErr(new PrintWriter(err, true));
    return line.execute(arguments);
  }

  private String address() {
    return "127.0.0.1:" + agent.getAddress().getPort();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {
        "clusters; GET /clusters",
        "connections -o json; GET /connections?format=json",
        "pods --namespace default; GET /pods?namespace=default",
        "inventory --pod a&b; GET /inventory?pod=a%26b",
        "denials -n default --pod x -o json; GET /denials?namespace=default&pod=x&format=json",
        "log-level; POST /logging",
        "log-level debug; POST /logging?level=debug",
        "log-level agent.dataplane.flow debug; POST /logging?paths=agent.dataplane.flow%3Adebug",
        "drain; POST /drain_listeners",
        "drain --uninstall; POST /drain_listeners?uninstall=true"
      })
  void eachCommandAsksItsPage(String command, String request) {
    int code = run((command + " --admin " + address()).split(" "));

    assertThat(asked).containsExactly(request);
    assertThat(out.toString()).isEqualTo("the page\n");
    assertThat(code).isZero();
  }

  @Test
  void aRefusedQuestionIsExitCode2WithTheReason() {
    assertThat(run("log-level", "loud", "--admin", address())).isEqualTo(2);
    assertThat(err.toString()).isEqualTo("tailwater log-level: the page\n");
  }

  @Test
  void whereNoAgentIsItSaysWhatToDo() throws IOException {
    int free;
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      free = socket.getLocalPort();
    }

    assertThat(run("clusters", "--admin", "127.0.0.1:" + free)).isEqualTo(1);
    assertThat(err.toString())
        .contains("no agent answers at 127.0.0.1:" + free)
        .contains("tailwater run --config FILE")
        .contains("--admin");
    assertThat(run("clusters", "--admin", "unix:/nonexistent/admin.sock")).isEqualTo(1);
  }

  @Test
  void anAddressThatIsNoneIsBadUsage() {
    assertThat(run("clusters", "--admin", "15000")).isEqualTo(2);
    assertThat(err.toString()).contains("must be an address like");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "clusters",
        "connections",
        "pods",
        "inventory",
        "denials",
        "log-level",
        "drain",
        "version",
        "preflight",
        "rules"
      })
  void everyCommandHasHelpWithAnExample(String command) {
    assertThat(run(command, "--help")).isZero();
    assertThat(out.toString()).contains("Example: tailwater " + command);
  }

  @Test
  void versionNeedsNothing() {
    assertThat(run("version", "-o", "json")).isZero();
    assertThat(out.toString()).contains("\"version\" : \"").contains("\"io_uring\"");
    assertThat(out.toString()).doesNotContain("${");
  }

  @Test
  void rulesAreShownWithoutAPrivilege() {
    assertThat(run("rules", "show")).isZero();
    assertThat(out.toString()).contains("*nat", "15001", "table netdev tailwater-guard");
  }

  @Test
  void rulesAreShownInTheLanguageOfTheBackend() {
    assertThat(run("rules", "show", "--backend", "nft")).isZero();
    assertThat(out.toString()).contains("add table inet tailwater").contains("redirect to :15001");
  }

  @Test
  void refusingIpv6IsShown() {
    assertThat(run("rules", "show", "--no-ipv6", "-o", "json")).isZero();
    assertThat(out.toString()).contains("REJECT");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "rules show --mode nodes",
        "rules show --backend pf",
        "rules apply",
        "rules apply --inbound --netns /run/netns/x",
        "rules paint",
        "preflight --backend pf"
      })
  void wrongUsageIsExitCode2(String command) {
    assertThat(run(command.split(" "))).isEqualTo(2);
    assertThat(err.toString()).isNotEmpty();
  }

  @Test
  void preflightLooksAtThisMachine() {
    assertThat(run("preflight", "-o", "json")).isIn(0, 3);
    assertThat(out.toString()).contains("\"what\" : \"CAP_NET_ADMIN\"");
  }

  @Test
  void aNamespaceThatIsNotThereIsNamed() {
    assertThat(run("rules", "verify", "--netns", "/run/netns/not-there")).isIn(1, 3);
    assertThat(err.toString()).startsWith("tailwater rules: ");
  }
}
