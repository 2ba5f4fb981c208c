package io.tailwater.agent.cli;

import io.tailwater.agent.control.compile.PolicyCompiler;
import io.tailwater.agent.control.compile.Prediction;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.control.source.ResourceSet;
import io.tailwater.agent.control.source.SourceSnapshot;
import io.tailwater.agent.dataplane.resolve.AddressFilter;
import io.tailwater.agent.dataplane.resolve.Addresses;
import io.tailwater.agent.dataplane.resolve.StandardAddressFilter;
import io.tailwater.agent.dataplane.route.Explanation;
import io.tailwater.agent.dataplane.route.KnownName;
import io.tailwater.agent.dataplane.route.RouteTable;
import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.HostName;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Function;

/// Runs one policy test through the compiler, the decision and the address filter that the data
/// path uses. No network, no root.
final class PolicyTestRun {
  private static final AddressFilter FILTER = new StandardAddressFilter(Set::of);

  /// One expectation that did not hold. `probe` is empty where the whole file is meant.
  record Failure(String probe, int line, String key, String expected, String actual) {
    String text() {
      StringBuilder out = new StringBuilder();
      if (!probe.isEmpty()) {
        out.append("line ").append(line).append(", ").append(probe).append(": ");
      }
      if (key.isEmpty()) {
        return out.append(actual).toString();
      }
      return out.append(key)
          .append(": expected ")
          .append(expected)
          .append(", actual ")
          .append(actual)
          .toString();
    }
  }

  private PolicyTestRun() {}

  /// Every expectation of the file that did not hold.
  static List<Failure> run(Path file) {
    PolicyTest.Loaded loaded = PolicyTest.read(file);
    if (loaded.test().isEmpty()) {
      return loaded.problems().stream()
          .filter(Problem::isError)
          .map(p -> new Failure("", p.line(), "", "", p.text()))
          .toList();
    }
    PolicyTest test = loaded.test().get();
    PolicyCompiler.Compiled compiled =
        new PolicyCompiler(test.mesh(), test.egress(), test.dnsCapture())
            .compile(
                ResourceSet.of(
                    List.of(
                        new SourceSnapshot(
                            file.toString(), test.config(), loaded.configProblems()))));
    if (test.invalid()) {
      return compiled.hasErrors()
          ? List.of()
          : List.of(new Failure("", 0, "invalid", "a validation error", "the config is valid"));
    }
    List<Failure> failures = new ArrayList<>();
    for (Problem problem : compiled.problems()) {
      if (problem.isError()) {
        failures.add(new Failure("", problem.line(), "", "", problem.text()));
      }
    }
    if (failures.isEmpty()) {
      for (PolicyTest.Probe probe : test.probes()) {
        probe(test, compiled.table(), probe, failures);
      }
    }
    return failures;
  }

  private static void probe(
      PolicyTest test, RouteTable table, PolicyTest.Probe probe, List<Failure> failures) {
    if (!probe.notBuilt().isEmpty()) {
      failures.add(
          new Failure(probe.title(), probe.line(), "", "", String.join("; ", probe.notBuilt())));
      return;
    }
    if (probe.query().isPresent()) {
      dns(test, table, probe.query().get(), probe, failures);
      return;
    }
    Explanation explanation =
        table.explain(test.workload(), probe.dst(), probe.preface(), probe.request());
    Prediction prediction =
        Prediction.of(
            explanation,
            new Prediction.Asked(
                test.workload().namespace(), probe.dst(), true, probe.preface(), probe.request()),
            name -> Optional.of(answer(test.dns(), name)),
            FILTER);
    compare(
        probe,
        key -> PolicyTest.actual(key, prediction),
        prediction.error().map(e -> " (" + e.code() + ")").orElse(""),
        failures);
  }

  /// A question for an IPv4 address.
  private static void dns(
      PolicyTest test,
      RouteTable table,
      HostName name,
      PolicyTest.Probe probe,
      List<Failure> failures) {
    Optional<List<InetAddress>> answer =
        table.view(test.workload()).known(name).orElse(null) instanceof KnownName.Given(var given)
            ? Optional.of(given)
            : Optional.empty();
    Set<String> addresses = new TreeSet<>();
    answer
        .orElse(List.of())
        .forEach(a -> {
          if (a instanceof Inet4Address) {
            addresses.add(AddressText.of(a));
          }
        });
    compare(
        probe,
        key ->
            switch (key) {
              case "action" -> Set.of(answer.isPresent() ? "answer" : "upstream");
              case "answers" -> addresses;
              default -> Set.of();
            },
        "",
        failures);
  }

  /// @param why what is added to an action that was not expected
  private static void compare(
      PolicyTest.Probe probe,
      Function<String, Set<String>> actualOf,
      String why,
      List<Failure> failures) {
    for (Map.Entry<String, Set<String>> expected : probe.expected().entrySet()) {
      Set<String> actual = actualOf.apply(expected.getKey());
      if (!actual.equals(expected.getValue())) {
        failures.add(
            new Failure(
                probe.title(),
                probe.line(),
                expected.getKey(),
                show(expected.getValue()),
                show(actual) + (expected.getKey().equals("action") ? why : "")));
      }
    }
  }

  private static Addresses answer(Map<HostName, List<InetAddress>> dns, HostName name) {
    List<InetAddress> found = dns.getOrDefault(name, List.of());
    return found.isEmpty()
        ? new Addresses.Failed(
            dns.containsKey(name) ? Addresses.Failure.NO_ADDRESS : Addresses.Failure.NO_SUCH_NAME,
            "the test's dns has no answer for it")
        : new Addresses.Found(found, false);
  }

  private static String show(Set<String> values) {
    return switch (values.size()) {
      case 0 -> "nothing";
      case 1 -> values.iterator().next();
      default -> values.toString();
    };
  }
}
