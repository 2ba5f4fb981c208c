package io.tailwater.perf.peer;

import io.tailwater.lab.Place;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;

/// Who may take part, by name: the connections without a proxy, Tailwater once for each grade and
/// transport, the peers, and commands that were given.
///
/// @param envoyHome where Envoy's Python environment is or will be
/// @param tailwater the command line of the agent's image, empty if it is not known
/// @param given further proxies: name to command line, in which `{port}`, `{dns}` and `{domain}`
///   stand for the port to listen on, the DNS server to ask and the domain to allow
public record Entrants(Path envoyHome, List<String> tailwater, Map<String, String> given) {
  private static final String KERNEL = "kernel";

  /// What distinguishes the agents: the lines of their configuration.
  private static final Map<String, String> AGENTS = agents();

  private static final int GIVEN_PORT = 16_010;

  public Entrants {
    tailwater = List.copyOf(tailwater);
    given = new LinkedHashMap<>(given);
  }

  private static Map<String, String> agents() {
    Map<String, String> all = new LinkedHashMap<>();
    all.put(KERNEL, "relay: kernel\ntransport: epoll\n");
    all.put("splice", "relay: splice\ntransport: epoll\n");
    all.put("copy", "relay: copy\ntransport: epoll\n");
    all.put("io_uring", "relay: copy\ntransport: io_uring\n");
    return all;
  }

  /// Every name, in the order of the tables.
  public List<String> names() {
    List<String> all = new ArrayList<>(List.of(Contestant.DIRECT, "tracked"));
    all.addAll(AGENTS.keySet());
    all.addAll(List.of("nginx", "haproxy", "envoy"));
    all.addAll(given.keySet());
    return all;
  }

  /// Whether it is one of ours, which needs the agent's command line.
  public static boolean isAgent(String name) {
    return AGENTS.containsKey(name);
  }

  /// Sets up one of ours with further pods and so many ServiceEntries.
  public Contestant agent(String name, Setting setting, List<Place> further, int entries) {
    String lines = AGENTS.get(name);
    if (lines == null) {
      throw new BenchException("no agent is called '" + name + "'");
    }
    return new Peers(setting).tailwater(name, tailwater, way(name), lines, further, entries);
  }

  private static Contestant.Way way(String agent) {
    return agent.equals(KERNEL) ? Contestant.Way.RELEASE : Contestant.Way.CAPTURE;
  }

  /// Sets one up in its pod.
  public Contestant make(String name, Setting setting) {
    Peers peers = new Peers(setting);
    String command = given.get(name);
    if (command != null) {
      return new Contestant(
          name,
          name,
          Contestant.Way.PROXY,
          OptionalInt.of(GIVEN_PORT),
          List.of(
              command
                  .replace("{port}", Integer.toString(GIVEN_PORT))
                  .replace("{dns}", setting.dnsServer())
                  .replace("{domain}", setting.domain())
                  .strip()
                  .split("\\s+", -1)));
    }
    String lines = AGENTS.get(name);
    if (lines != null) {
      return peers.tailwater(name, tailwater, way(name), lines);
    }
    return switch (name) {
      case Contestant.DIRECT -> Contestant.direct();
      case "tracked" -> Contestant.tracked();
      case "nginx" -> peers.nginx();
      case "haproxy" -> peers.haproxy();
      case "envoy" -> peers.envoy(envoyHome);
      default -> throw new BenchException("nobody is called '" + name + "'");
    };
  }
}
