package io.tailwater.agent.config;

import io.tailwater.agent.control.capture.CaptureConfig;
import io.tailwater.agent.control.istio.EgressSettings;
import io.tailwater.agent.control.istio.MeshSettings;
import io.tailwater.agent.control.istio.ServiceEntryVisibility;
import io.tailwater.agent.control.source.Nearest;
import io.tailwater.agent.control.source.YamlDocument;
import io.tailwater.agent.control.source.YamlValue;
import io.tailwater.agent.dataplane.account.AccessLogConfig;
import io.tailwater.agent.dataplane.dns.DnsProxyConfig;
import io.tailwater.agent.dataplane.flow.FlowLimits;
import io.tailwater.agent.dataplane.resolve.ResolveConfig;
import java.io.IOException;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/// Reads the configuration file and the `TAILWATER_*` variables over it. Blocking; at start only.
///
/// Every problem is reported at once. A key that this version does not honour is accepted only with
/// the value that means off.
public final class AgentConfigReader {
  /// What our environment variables begin with.
  static final String PREFIX = "TAILWATER_";

  /// What Kubernetes injects for a Service that is called `tailwater` or `tailwater-...`: not meant
  /// for us.
  private static final Pattern SERVICE_VARIABLE =
      Pattern.compile(".*(_SERVICE_HOST|_SERVICE_PORT.*|_PORT|_PORT_.*)");

  private static final String MESH = "mesh.";
  private static final String OUTBOUND = "mesh.outboundTrafficPolicy";

  /// What reading came to: a configuration, unless a problem stops it.
  public record Loaded(Optional<AgentConfig> config, List<ConfigProblem> problems) {}

  private final Path base;
  private final List<ConfigProblem> problems = new ArrayList<>();
  private final Map<ConfigKey<?>, Object> values = new HashMap<>();

  /// Where a key was set, for problems between keys.
  private final Map<ConfigKey<?>, String> places = new HashMap<>();

  private boolean outboundPolicy;

  private AgentConfigReader(Path base) {
    this.base = base;
  }

  /// Reads a file. Relative paths in it start at its folder.
  public static Loaded read(Path file, Map<String, String> environment) {
    Path base = Optional.ofNullable(file.toAbsolutePath().getParent()).orElse(Path.of("/"));
    AgentConfigReader reader = new AgentConfigReader(base);
    Optional<String> text = reader.content(file, At.file(file.toString(), reader.problems));
    return text.isEmpty()
        ? new Loaded(Optional.empty(), List.copyOf(reader.problems))
        : reader.load(file.toString(), text.get(), environment);
  }

  /// Reads text as if it stood in a file of that name in the folder `base`.
  public static Loaded parse(
      String fileName, String text, Path base, Map<String, String> environment) {
    return new AgentConfigReader(base.toAbsolutePath()).load(fileName, text, environment);
  }

  private Optional<String> content(Path file, At at) {
    try {
      return Optional.of(Files.readString(file));
    } catch (NoSuchFileException _) {
      at.error(0, "there is no such file");
    } catch (CharacterCodingException _) {
      at.error(0, "is not UTF-8");
    } catch (IOException e) {
      at.error(0, "cannot be read: " + e.getMessage());
    }
    return Optional.empty();
  }

  private Loaded load(String fileName, String text, Map<String, String> environment) {
    At at = At.file(fileName, problems);
    root(text, at).ifPresent(map -> walk(map, "", at));
    environment(new TreeMap<>(environment));
    meshConfigFile();
    emptyOutboundPolicy();
    fallbacks();
    if (problems.stream().noneMatch(ConfigProblem::stops)) {
      between(at);
    }
    boolean stops = problems.stream().anyMatch(ConfigProblem::stops);
    return new Loaded(stops ? Optional.empty() : Optional.of(build()), List.copyOf(problems));
  }

  private static Optional<YamlValue.Mapping> root(String text, At at) {
    List<YamlDocument> documents = YamlDocument.readAll(text);
    Optional<YamlValue.Mapping> first = Optional.empty();
    for (int i = 0; i < documents.size(); i++) {
      boolean extra = i > 0;
      switch (documents.get(i)) {
        case YamlDocument.Broken(int line, String why) -> at.error(line, why);
        case YamlDocument.Parsed(YamlValue value) when extra ->
            at.error(value.line(), "a second document; a configuration is one");
        case YamlDocument.Parsed(YamlValue.Mapping map) -> first = Optional.of(map);
        case YamlDocument.Parsed(YamlValue value) when value.isNull() -> {}
        case YamlDocument.Parsed(YamlValue value) ->
            at.error(value.line(), "must be a mapping, not " + At.noun(value));
      }
    }
    return first;
  }

  private void walk(YamlValue.Mapping map, String section, At at) {
    for (YamlValue.Field field : map.fields().values()) {
      String path = section + field.key();
      Optional<ConfigKey<?>> key = keyOf(path);
      At here = at.key(At.shown(path));
      if (key.isPresent()) {
        set(key.get(), field.value(), field.line(), here);
      } else if (!isSection(path)) {
        here.error(field.line(), "unknown key" + suggestion(section, field.key()));
      } else if (field.value() instanceof YamlValue.Mapping below) {
        outboundPolicy |= path.equals(OUTBOUND);
        walk(below, path + ".", at);
      } else if (!field.value().isNull()) {
        here.error(field.line(), "must be a mapping, not " + At.noun(field.value()));
      }
    }
  }

  private static Optional<ConfigKey<?>> keyOf(String path) {
    for (ConfigKey<?> key : ConfigKeys.all()) {
      if (key.path().equals(path)) {
        return Optional.of(key);
      }
    }
    return Optional.empty();
  }

  private static boolean isSection(String path) {
    return ConfigKeys.all().stream().anyMatch(k -> k.path().startsWith(path + "."));
  }

  /// The nearest key of the same section, else a key of that name in another one.
  private static String suggestion(String section, String written) {
    Set<String> siblings = new TreeSet<>();
    for (ConfigKey<?> key : ConfigKeys.all()) {
      if (key.path().startsWith(section)) {
        siblings.add(key.path().substring(section.length()).split("\\.", 2)[0]);
      }
    }
    Optional<String> near = Nearest.of(written, siblings);
    if (near.isPresent()) {
      return "; did you mean \"" + section + near.get() + "\"?";
    }
    return ConfigKeys.all().stream()
        .map(ConfigKey::path)
        .filter(p -> p.endsWith("." + written) || p.equals(written))
        .findFirst()
        .map(p -> "; did you mean \"" + p + "\"?")
        .orElse("; known here are " + String.join(", ", siblings));
  }

  private <T> void set(ConfigKey<T> key, YamlValue value, int line, At at) {
    if (value.isNull()) {
      return;
    }
    places.put(key, at.where(line));
    key.shape().read(value, at).ifPresent(v -> values.put(key, v));
  }

  private void environment(Map<String, String> environment) {
    Map<String, ConfigKey<?>> known =
        ConfigKeys.all().stream().collect(Collectors.toMap(ConfigKey::variable, k -> k));
    environment.forEach((name, text) -> {
      if (!name.startsWith(PREFIX)) {
        return;
      }
      At at = At.variable(At.shown(name), problems);
      Optional<ConfigKey<?>> key = Optional.ofNullable(known.get(name));
      if (key.isEmpty()) {
        if (!SERVICE_VARIABLE.matcher(name).matches()) {
          at.warning(0, "no key has this name; it is ignored" + Nearest.hint(name, known.keySet()));
        }
      } else if (key.get().equals(ConfigKeys.PODS)) {
        at.key("pods").warning(0, "pods cannot be listed in the environment; it is ignored");
      } else {
        set(
            key.get(),
            new YamlValue.Scalar(0, text, YamlValue.Scalar.Kind.STRING),
            0,
            at.key(key.get().path()));
      }
    });
  }

  /// What a whole MeshConfig says, for those of its keys that are honoured and not set already.
  private void meshConfigFile() {
    Optional<Path> named = Optional.ofNullable((Path) values.get(ConfigKeys.MESH_CONFIG_FILE));
    if (named.isEmpty()) {
      return;
    }
    Path file = base.resolve(named.get());
    At at = At.file(file.toString(), problems);
    Optional<YamlValue.Mapping> mesh = content(file, at).flatMap(text -> root(text, at));
    if (mesh.isEmpty()) {
      return;
    }
    outboundPolicy |= mesh.get().mapping(OUTBOUND.substring(MESH.length())).isPresent();
    for (ConfigKey<?> key : ConfigKeys.all()) {
      if (key.path().startsWith(MESH) && !places.containsKey(key)) {
        find(mesh.get(), key.path().substring(MESH.length()))
            .ifPresent(value ->
                set(key, value, value.line(), at.key(key.path().substring(MESH.length()))));
      }
    }
  }

  /// A section without mode means what the mode's zero value means to Istio; only where the whole
  /// section is absent unknown destinations pass.
  private void emptyOutboundPolicy() {
    if (outboundPolicy && !places.containsKey(ConfigKeys.OUTBOUND_TRAFFIC_POLICY)) {
      values.put(
          ConfigKeys.OUTBOUND_TRAFFIC_POLICY, MeshSettings.OutboundTrafficPolicy.REGISTRY_ONLY);
    }
  }

  private static Optional<YamlValue> find(YamlValue.Mapping map, String path) {
    int dot = path.indexOf('.');
    return dot < 0
        ? map.get(path)
        : map.mapping(path.substring(0, dot)).flatMap(m -> find(m, path.substring(dot + 1)));
  }

  private void fallbacks() {
    for (ConfigKey<?> key : ConfigKeys.all()) {
      if (!values.containsKey(key) && !places.containsKey(key)) {
        fallback(key);
      }
    }
  }

  /// Defaults are read as if they were written, lists as in the environment.
  private <T> void fallback(ConfigKey<T> key) {
    At at = At.variable("default", problems).key(key.path());
    key.fallback()
        .map(text -> new YamlValue.Scalar(0, text, YamlValue.Scalar.Kind.STRING))
        .flatMap(value -> key.shape().read(value, at))
        .ifPresent(v -> values.put(key, v));
  }

  /// What no single key can tell.
  private void between(At file) {
    if (get(ConfigKeys.RELAY) == AgentConfig.Relay.SPLICE
        && get(ConfigKeys.TRANSPORT) == AgentConfig.Transport.IO_URING) {
      error(
          ConfigKeys.RELAY,
          file,
          "splice does not work with transport io_uring; write `relay: auto` or `transport:"
              + " epoll`");
    }
    if (get(ConfigKeys.DNS_MAX_TTL).compareTo(get(ConfigKeys.DNS_MIN_REFRESH_RATE)) < 0) {
      error(ConfigKeys.DNS_MAX_TTL, file, "must not be below dns.minRefreshRate");
    }
    if (get(ConfigKeys.DNS_FAILURE_MAX).compareTo(get(ConfigKeys.DNS_FAILURE_BASE)) < 0) {
      error(
          ConfigKeys.DNS_FAILURE_MAX,
          file,
          "must not be below dns.failureRefreshRate.baseInterval");
    }
    if (get(ConfigKeys.ADMIN) instanceof ListenAddress.Tcp(InetAddress address, _)
        && !address.isLoopbackAddress()) {
      problems.add(
          new ConfigProblem(
              ConfigProblem.Kind.WARNING,
              Optional.ofNullable(places.get(ConfigKeys.ADMIN)).orElse(file.where(0)),
              ConfigKeys.ADMIN.path(),
              "is not a loopback address, and the admin pages have no password"));
    }
    samePorts(file);
    onNode(file);
  }

  /// What is only for one of the capture modes.
  private void onNode(At file) {
    boolean onNode = get(ConfigKeys.CAPTURE_MODE) == CaptureConfig.Mode.NODE;
    if (onNode && get(ConfigKeys.CAPTURE_INBOUND)) {
      error(
          ConfigKeys.CAPTURE_INBOUND,
          file,
          "is for capture.mode in-pod: in mode node inbound connections are not captured; write"
              + " `inbound: false`, or `mode: in-pod`");
    }
    if (!onNode && !get(ConfigKeys.CAPTURE_INTERFACES).isEmpty()) {
      problems.add(
          new ConfigProblem(
              ConfigProblem.Kind.WARNING,
              Optional.ofNullable(places.get(ConfigKeys.CAPTURE_INTERFACES)).orElse(file.where(0)),
              ConfigKeys.CAPTURE_INTERFACES.path(),
              "is for capture.mode node and does nothing in mode in-pod"));
    }
  }

  private void samePorts(At file) {
    Map<Integer, ConfigKey<?>> taken = new HashMap<>();
    if (get(ConfigKeys.CAPTURE_MODE) == CaptureConfig.Mode.NODE) {
      CaptureConfig.NODE_PORTS.forEach(port -> taken.put(port, ConfigKeys.CAPTURE_MODE));
    }
    if (get(ConfigKeys.ADMIN) instanceof ListenAddress.Tcp(_, int port) && port != 0) {
      taken.put(port, ConfigKeys.ADMIN);
    }
    for (ConfigKey<ListenAddress.Tcp> key : List.of(ConfigKeys.METRICS, ConfigKeys.READINESS)) {
      int port = get(key).port();
      Optional<ConfigKey<?>> other = Optional.ofNullable(port == 0 ? null : taken.put(port, key));
      if (other.isPresent()) {
        error(key, file, "has the port " + port + ", which " + other.get().path() + " has too");
      }
    }
  }

  private void error(ConfigKey<?> key, At file, String message) {
    String where = Optional.ofNullable(places.get(key)).orElse(file.where(0));
    problems.add(new ConfigProblem(ConfigProblem.Kind.ERROR, where, key.path(), message));
  }

  @SuppressWarnings("unchecked")
  private <T> T get(ConfigKey<T> key) {
    return (T) values.get(key);
  }

  private AgentConfig build() {
    return new AgentConfig(
        Optional.ofNullable(get(ConfigKeys.NODE)).orElseGet(AgentConfigReader::hostName),
        get(ConfigKeys.ADMIN),
        get(ConfigKeys.METRICS),
        get(ConfigKeys.READINESS),
        resolve(get(ConfigKeys.STATE_DIR)),
        Optional.ofNullable(get(ConfigKeys.MESH_CONFIG_FILE)).map(this::resolve),
        new MeshSettings(
            get(ConfigKeys.ROOT_NAMESPACE),
            get(ConfigKeys.TRUST_DOMAIN),
            get(ConfigKeys.OUTBOUND_TRAFFIC_POLICY),
            Optional.ofNullable(get(ConfigKeys.OUTBOUND_TLS)),
            get(ConfigKeys.DEFAULT_SERVICE_EXPORT_TO),
            Optional.ofNullable(get(ConfigKeys.SERVICE_ENTRY_VISIBILITY))
                .orElse(ServiceEntryVisibility.PUBLIC)),
        new EgressSettings(
            get(ConfigKeys.EGRESS_MODE),
            get(ConfigKeys.EGRESS_NAMESPACES),
            get(ConfigKeys.ADDRESS_FILTER_ALLOW)),
        get(ConfigKeys.SOURCES).stream().map(this::resolve).toList(),
        get(ConfigKeys.PODS),
        new CaptureConfig(
            get(ConfigKeys.CAPTURE_MODE),
            get(ConfigKeys.CAPTURE_BACKEND),
            get(ConfigKeys.CAPTURE_INTERFACES),
            get(ConfigKeys.CAPTURE_DNS),
            get(ConfigKeys.CAPTURE_UDP),
            get(ConfigKeys.CAPTURE_INBOUND),
            get(ConfigKeys.CAPTURE_ON_FAILURE),
            get(ConfigKeys.CAPTURE_ON_POLICY_CHANGE)),
        new ResolveConfig(
            get(ConfigKeys.DNS_SERVERS),
            get(ConfigKeys.DNS_LOOKUP_FAMILY),
            get(ConfigKeys.DNS_HOST_TTL),
            get(ConfigKeys.DNS_MAX_HOSTS),
            get(ConfigKeys.DNS_MAX_HOSTS_PER_POD),
            get(ConfigKeys.DNS_MIN_REFRESH_RATE),
            get(ConfigKeys.DNS_MAX_TTL),
            get(ConfigKeys.DNS_MAX_STALE),
            new ResolveConfig.FailureRefreshRate(
                get(ConfigKeys.DNS_FAILURE_BASE), get(ConfigKeys.DNS_FAILURE_MAX)),
            get(ConfigKeys.DNS_QUERY_TIMEOUT)),
        new DnsProxyConfig(
            get(ConfigKeys.DNS_ANSWERS),
            get(ConfigKeys.DNS_UNKNOWN_NAMES),
            get(ConfigKeys.LIMIT_DNS_QUERIES)),
        get(ConfigKeys.TRANSPORT),
        get(ConfigKeys.RELAY),
        new FlowLimits(
            get(ConfigKeys.LIMIT_CONNECTIONS),
            get(ConfigKeys.LIMIT_PER_POD),
            get(ConfigKeys.LIMIT_HANDSHAKES),
            get(ConfigKeys.LIMIT_HELLO_BYTES),
            get(ConfigKeys.LIMIT_HELLO_TIME),
            get(ConfigKeys.LIMIT_CONNECT),
            get(ConfigKeys.LIMIT_IDLE)),
        new AccessLogConfig(
            get(ConfigKeys.ACCESS_LOG_FORMAT), resolve(get(ConfigKeys.ACCESS_LOG_PATH))));
  }

  private Path resolve(Path path) {
    return base.resolve(path).normalize();
  }

  private AgentConfig.Source resolve(AgentConfig.Source source) {
    return switch (source) {
      case AgentConfig.Source.Files(Path path) -> new AgentConfig.Source.Files(resolve(path));
    };
  }

  /// The node's name as Java finds it, without asking DNS where the system knows it.
  private static String hostName() {
    try {
      String kernel = Files.readString(Path.of("/proc/sys/kernel/hostname")).strip();
      if (!kernel.isEmpty()) {
        return kernel;
      }
    } catch (IOException _) {
      // Not Linux: ask Java.
    }
    try {
      return InetAddress.getLocalHost().getHostName();
    } catch (UnknownHostException _) {
      return "localhost";
    }
  }
}
