package io.tailwater.agent.cli;

import io.netty.channel.epoll.Epoll;
import io.tailwater.agent.admin.BuildInfo;
import io.tailwater.agent.dataplane.transport.IoUringTransport;
import io.tailwater.iptables.apply.Processes;
import io.tailwater.iptables.apply.RulePrograms;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/// `version`: which build this is and what it finds here. Needs no privilege.
@Command(
    name = "version",
    description = "Version, commit, Java, and the kernel's features.",
    footer = "%nExample: tailwater version -o json",
    mixinStandardHelpOptions = true)
final class VersionCommand implements Callable<Integer> {
  @Spec private @Nullable CommandSpec spec;

  @Mixin private OutputOption output = new OutputOption();

  @Override
  public Integer call() {
    SequencedMap<String, String> facts = facts();
    PrintWriter out = Optional.ofNullable(spec).orElseThrow().commandLine().getOut();
    if (output.isJson()) {
      out.println(
          Printed.json(json -> {
            json.writeStartObject();
            for (Map.Entry<String, String> fact : facts.entrySet()) {
              json.writeStringField(fact.getKey(), fact.getValue());
            }
            json.writeEndObject();
          }));
    } else {
      facts.forEach((name, value) -> out.printf("%-10s%s%n", name, value));
    }
    out.flush();
    return 0;
  }

  private static SequencedMap<String, String> facts() {
    BuildInfo build = BuildInfo.read();
    SequencedMap<String, String> out = new LinkedHashMap<>();
    out.put("version", build.version());
    out.put("commit", build.commit().isEmpty() ? "unknown" : build.commit());
    out.put("java", System.getProperty("java.vendor") + " " + Runtime.version());
    out.put(
        "kernel",
        System.getProperty("os.name")
            + " "
            + System.getProperty("os.version")
            + " "
            + System.getProperty("os.arch"));
    out.put(
        "epoll", Epoll.isAvailable() ? "yes" : "no: " + Epoll.unavailabilityCause().getMessage());
    out.put("io_uring", IoUringTransport.unavailable().map(why -> "no: " + why).orElse("yes"));
    out.put("rules", RulePrograms.describe(new Processes()));
    out.put("ipv6", Files.exists(Path.of("/proc/net/if_inet6")) ? "yes" : "no");
    return out;
  }
}
