package io.tailwater.agent.config;

import io.tailwater.agent.control.capture.CaptureConfig;
import io.tailwater.agent.control.capture.PodEntry;
import io.tailwater.agent.control.istio.DestinationRule;
import io.tailwater.agent.control.istio.MeshSettings.OutboundTrafficPolicy;
import io.tailwater.agent.control.istio.ServiceEntryVisibility;
import io.tailwater.agent.control.istio.SettingsReader;
import io.tailwater.agent.dataplane.account.AccessLogConfig;
import io.tailwater.agent.dataplane.dns.DnsProxyConfig;
import io.tailwater.agent.dataplane.resolve.ResolveConfig.LookupFamily;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.EgressMode;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.function.Function;

/// Every key there is, in the order of the reference.
final class ConfigKeys {
  private static final Duration MS = Duration.ofMillis(1);
  private static final Duration SECOND = Duration.ofSeconds(1);
  private static final Duration DAY = Duration.ofDays(1);
  private static final Duration YEAR = Duration.ofDays(365);

  /// In the order of declaration; a key adds itself.
  private static final List<ConfigKey<?>> ALL = new ArrayList<>();

  private static final Shape<EgressMode> MODES =
      Shape.oneOf(
          words("enforce", EgressMode.ENFORCE, "audit", EgressMode.AUDIT, "off", EgressMode.OFF));

  static final ConfigKey<String> NODE =
      computed(
          "node", Shape.text("a name"), "the host name", "Name of this node.", c -> some(c.node()));
  static final ConfigKey<ListenAddress> ADMIN =
      key(
          "admin",
          Shape.adminAddress(),
          "127.0.0.1:15000",
          "Where the admin pages are served. They have no password: a loopback address or a unix"
              + " socket.",
          AgentConfig::admin);
  static final ConfigKey<ListenAddress.Tcp> METRICS =
      key(
          "metrics",
          Shape.address(),
          "0.0.0.0:15020",
          "Where `/metrics` and `/stats/prometheus` are served.",
          AgentConfig::metrics);
  static final ConfigKey<ListenAddress.Tcp> READINESS =
      key(
          "readiness",
          Shape.address(),
          "0.0.0.0:15021",
          "Where `/healthz/ready` is served.",
          AgentConfig::readiness);
  static final ConfigKey<Path> STATE_DIR =
      key(
          "stateDir",
          Shape.path(),
          "/var/lib/tailwater",
          "The inventory and what must outlive a crash. All of it may be deleted and is then"
              + " rebuilt.",
          AgentConfig::stateDir);
  static final ConfigKey<Path> MESH_CONFIG_FILE =
      computed(
          "meshConfigFile",
          Shape.path(),
          "none",
          "A whole MeshConfig of Istio; what `mesh` says wins over it, what it says beyond `mesh`"
              + " is not read.",
          AgentConfig::meshConfigFile);
  static final ConfigKey<String> ROOT_NAMESPACE =
      key(
          "mesh.rootNamespace",
          Shape.text("a namespace"),
          "istio-system",
          "The namespace whose resources hold for the whole mesh.",
          c -> c.mesh().rootNamespace());
  static final ConfigKey<String> TRUST_DOMAIN =
      key(
          "mesh.trustDomain",
          Shape.text("a name"),
          "cluster.local",
          "The trust domain of SPIFFE identities.",
          c -> c.mesh().trustDomain());
  static final ConfigKey<OutboundTrafficPolicy> OUTBOUND_TRAFFIC_POLICY =
      key(
          "mesh.outboundTrafficPolicy.mode",
          Shape.oneOf(
              words(
                  "ALLOW_ANY",
                  OutboundTrafficPolicy.ALLOW_ANY,
                  "REGISTRY_ONLY",
                  OutboundTrafficPolicy.REGISTRY_ONLY,
                  "ALLOW_ANY_DYNAMIC_DNS",
                  OutboundTrafficPolicy.ALLOW_ANY_DYNAMIC_DNS)),
          "ALLOW_ANY",
          "Whether destinations that no resource knows pass or are refused. With"
              + " ALLOW_ANY_DYNAMIC_DNS plaintext HTTP goes to what its Host resolves to, and the"
              + " rest passes. A section without mode means REGISTRY_ONLY, as in Istio.",
          c -> c.mesh().outboundTrafficPolicy());
  static final ConfigKey<DestinationRule.Tls> OUTBOUND_TLS =
      computed(
          "mesh.outboundTrafficPolicy.tls",
          Shape.section(
              "a mapping like `{mode: SIMPLE}`, as a DestinationRule has it",
              SettingsReader::outboundTls,
              t -> t.mode().name()),
          "none",
          "TLS that is originated for unknown HTTP, with ALLOW_ANY_DYNAMIC_DNS.",
          c -> c.mesh().outboundTls());
  static final ConfigKey<List<String>> DEFAULT_SERVICE_EXPORT_TO =
      key(
          "mesh.defaultServiceExportTo",
          Shape.listOf(Shape.text("`*`, `.`, `~` or a namespace")),
          "*",
          "Who sees an entry that has no `exportTo`.",
          c -> c.mesh().defaultServiceExportTo());
  static final ConfigKey<ServiceEntryVisibility> SERVICE_ENTRY_VISIBILITY =
      computed(
          "mesh.serviceEntryVisibility",
          Shape.section(
              "a mapping with `defaultVisibility`, `policies` and `applyToSidecars`",
              reader -> Optional.of(SettingsReader.serviceEntryVisibility(reader)),
              v -> v.defaultVisibility().name()),
          "none",
          "How far entries of a namespace are seen at most (PUBLIC, NAMESPACE, NONE); it acts with"
              + " `applyToSidecars: true`, as in Istio.",
          c -> some(c.mesh().serviceEntryVisibility()));
  static final ConfigKey<EgressMode> EGRESS_MODE =
      key(
          "egress.mode",
          MODES,
          "enforce",
          "`enforce` applies policy, `audit` lets pass what it would refuse and records it, `off`"
              + " only counts.",
          c -> c.egress().mode());
  static final ConfigKey<Map<String, EgressMode>> EGRESS_NAMESPACES =
      key(
          "egress.namespaces",
          Shape.mapOf(MODES),
          "",
          "The mode of single namespaces. The label `tailwater.io/egress-mode` on a Namespace may"
              + " only tighten it.",
          c -> c.egress().namespaces());
  static final ConfigKey<List<CidrBlock>> ADDRESS_FILTER_ALLOW =
      key(
          "egress.addressFilter.allow",
          Shape.listOf(Shape.cidr()),
          "",
          "Exceptions to the address filter.",
          c -> c.egress().allowedAddresses());
  static final ConfigKey<List<AgentConfig.Source>> SOURCES =
      key(
          "sources",
          Shape.listOf(new SourceShape()),
          "",
          "Where policy comes from. The same kind, namespace and name in two of them: the later one"
              + " wins whole.",
          AgentConfig::sources);
  static final ConfigKey<List<PodEntry>> PODS =
      key(
          "pods",
          new PodsShape(),
          "",
          "Which pods to capture. `ips` are found out where the namespace can be entered. With"
              + " `watch` every network namespace in a folder is a pod, named as its file.",
          AgentConfig::podEntries);
  static final ConfigKey<CaptureConfig.Mode> CAPTURE_MODE =
      key(
          "capture.mode",
          Shape.oneOf(words("in-pod", CaptureConfig.Mode.IN_POD, "node", CaptureConfig.Mode.NODE)),
          "in-pod",
          "Where the rules stand: in the pod's namespace, or in the node's, where no pod can touch"
              + " them (`docs/capture-modes.md`).",
          c -> c.capture().mode());
  static final ConfigKey<CaptureConfig.Backend> CAPTURE_BACKEND =
      key(
          "capture.backend",
          Shape.oneOf(
              words(
                  "auto",
                  CaptureConfig.Backend.AUTO,
                  "iptables-nft",
                  CaptureConfig.Backend.IPTABLES_NFT,
                  "iptables-legacy",
                  CaptureConfig.Backend.IPTABLES_LEGACY,
                  "nft",
                  CaptureConfig.Backend.NFT)),
          "auto",
          "Who keeps the rules. `auto`: iptables-legacy where it has rules, else iptables-nft, else"
              + " nf_tables itself.",
          c -> c.capture().backend());
  static final ConfigKey<List<String>> CAPTURE_INTERFACES =
      key(
          "capture.interfaces",
          Shape.autoOr(Shape.listOf(Shape.interfacePattern())),
          "auto",
          "Node mode: `auto`, the node's ends of the pods' interfaces, or patterns like `cali+`:"
              + " what comes from any other interface that matches is refused.",
          c -> c.capture().interfaces());
  static final ConfigKey<Boolean> CAPTURE_DNS =
      key(
          "capture.dns",
          Shape.oneOf(words("true", true, "false", false)),
          "true",
          "Capture DNS on port 53 and answer it.",
          c -> c.capture().dns());
  static final ConfigKey<CaptureConfig.Udp> CAPTURE_UDP =
      key(
          "capture.udp",
          Shape.oneOf(
              words(
                  "auto",
                  CaptureConfig.Udp.AUTO,
                  "all",
                  CaptureConfig.Udp.ALL,
                  "off",
                  CaptureConfig.Udp.OFF)),
          "auto",
          "`auto` refuses UDP 443 for pods that enforce REGISTRY_ONLY, `all` refuses all UDP but"
              + " DNS, `off` leaves UDP alone.",
          c -> c.capture().udp());
  static final ConfigKey<Boolean> CAPTURE_INBOUND =
      key(
          "capture.inbound",
          Shape.oneOf(words("false", false, "true", true)),
          "false",
          "Bring TCP connections to the pods through the agent too: their servers see the clients'"
              + " own addresses, and no policy applies yet. What programs of the node itself dial,"
              + " the kubelet's probes first, is left alone by rules in the node's namespace.",
          c -> c.capture().inbound());
  static final ConfigKey<CaptureConfig.OnFailure> CAPTURE_ON_FAILURE =
      key(
          "capture.onFailure",
          Shape.oneOf(
              words(
                  "closed",
                  CaptureConfig.OnFailure.CLOSED,
                  "open",
                  CaptureConfig.OnFailure.OPEN,
                  "auto",
                  CaptureConfig.OnFailure.AUTO)),
          "auto",
          "What new connections meet while no agent runs, also after a crash. `closed`: they are"
              + " refused. `open`: they pass, unseen, after 3s at most. `auto`: closed for pods"
              + " that enforce REGISTRY_ONLY, else open.",
          c -> c.capture().onFailure());
  static final ConfigKey<CaptureConfig.OnPolicyChange> CAPTURE_ON_POLICY_CHANGE =
      key(
          "capture.onPolicyChange",
          Shape.oneOf(
              words(
                  "end",
                  CaptureConfig.OnPolicyChange.END,
                  "keep",
                  CaptureConfig.OnPolicyChange.KEEP)),
          "end",
          "What becomes of connections of the kernel pass whose name policy allows no more. `end`:"
              + " they are ended at once, at both ends. `keep`: they go on to their end, like those"
              + " that are relayed.",
          c -> c.capture().onPolicyChange());
  static final ConfigKey<List<InetSocketAddress>> DNS_SERVERS =
      key(
          "dns.servers",
          Shape.listOf(Shape.dnsServer()),
          "",
          "The only servers ever asked; empty means those of the system's resolv.conf.",
          c -> c.dns().servers());
  static final ConfigKey<DnsProxyConfig.Answers> DNS_ANSWERS =
      key(
          "dns.answers",
          Shape.oneOf(
              words(
                  "auto", DnsProxyConfig.Answers.AUTO,
                  "allocated", DnsProxyConfig.Answers.ALLOCATED)),
          "auto",
          "What captured queries for hosts of policy are answered with. `auto`: real addresses,"
              + " after the address filter, where the client's bytes carry the name, allocated ones"
              + " otherwise; `allocated`: those that Istio would allocate, for every host that it"
              + " allocates for.",
          c -> c.dnsProxy().answers());
  static final ConfigKey<DnsProxyConfig.UnknownNames> DNS_UNKNOWN_NAMES =
      key(
          "dns.unknownNames",
          Shape.oneOf(
              words(
                  "forward", DnsProxyConfig.UnknownNames.FORWARD,
                  "refuse", DnsProxyConfig.UnknownNames.REFUSE)),
          "forward",
          "What becomes of captured queries for names that no resource knows: `forward` asks the"
              + " servers, `refuse` answers NXDOMAIN and records it, as a forwarded query is a way"
              + " out.",
          c -> c.dnsProxy().unknownNames());
  static final ConfigKey<LookupFamily> DNS_LOOKUP_FAMILY =
      key(
          "dns.lookupFamily",
          Shape.oneOf(words("all", LookupFamily.ALL, "v4", LookupFamily.V4, "v6", LookupFamily.V6)),
          "all",
          "Which addresses are asked for.",
          c -> c.dns().lookupFamily());
  static final ConfigKey<Duration> DNS_HOST_TTL =
      key(
          "dns.hostTtl",
          Shape.duration(SECOND, YEAR),
          "5m",
          "A name that nobody used for so long is dropped.",
          c -> c.dns().hostTtl());
  static final ConfigKey<Integer> DNS_MAX_HOSTS =
      key(
          "dns.maxHosts",
          Shape.integer(1, Integer.MAX_VALUE),
          "10000",
          "Names kept.",
          c -> c.dns().maxHosts());
  static final ConfigKey<Integer> DNS_MAX_HOSTS_PER_POD =
      key(
          "dns.maxHostsPerPod",
          Shape.integer(1, Integer.MAX_VALUE),
          "1000",
          "Names that one pod may bring in.",
          c -> c.dns().maxHostsPerPod());
  static final ConfigKey<Duration> DNS_MIN_REFRESH_RATE =
      key(
          "dns.minRefreshRate",
          Shape.duration(SECOND, YEAR),
          "5s",
          "Floor under a record's TTL.",
          c -> c.dns().minRefreshRate());
  static final ConfigKey<Duration> DNS_MAX_TTL =
      key(
          "dns.maxTtl",
          Shape.duration(SECOND, YEAR),
          "1h",
          "Ceiling over a record's TTL.",
          c -> c.dns().maxTtl());
  static final ConfigKey<Duration> DNS_MAX_STALE =
      key(
          "dns.maxStale",
          Shape.duration(Duration.ZERO, YEAR),
          "5m",
          "How long an expired answer may be used when it cannot be refreshed; 0s is never.",
          c -> c.dns().maxStale());
  static final ConfigKey<Duration> DNS_FAILURE_BASE =
      key(
          "dns.failureRefreshRate.baseInterval",
          Shape.duration(MS, YEAR),
          "1s",
          "How long the first failure is kept.",
          c -> c.dns().failureRefreshRate().baseInterval());
  static final ConfigKey<Duration> DNS_FAILURE_MAX =
      key(
          "dns.failureRefreshRate.maxInterval",
          Shape.duration(MS, YEAR),
          "30s",
          "How long a failure is kept at most.",
          c -> c.dns().failureRefreshRate().maxInterval());
  static final ConfigKey<Duration> DNS_QUERY_TIMEOUT =
      key(
          "dns.queryTimeout",
          Shape.duration(MS, Duration.ofMinutes(5)),
          "5s",
          "The longest that a connection waits for a name.",
          c -> c.dns().queryTimeout());
  static final ConfigKey<AgentConfig.Transport> TRANSPORT =
      key(
          "transport",
          Shape.oneOf(
              words(
                  "auto",
                  AgentConfig.Transport.AUTO,
                  "epoll",
                  AgentConfig.Transport.EPOLL,
                  "io_uring",
                  AgentConfig.Transport.IO_URING)),
          "auto",
          "How sockets are driven; `auto` is epoll.",
          AgentConfig::transport);
  static final ConfigKey<AgentConfig.Relay> RELAY =
      key(
          "relay",
          Shape.oneOf(
              words(
                  "auto",
                  AgentConfig.Relay.AUTO,
                  "kernel",
                  AgentConfig.Relay.KERNEL,
                  "splice",
                  AgentConfig.Relay.SPLICE,
                  "copy",
                  AgentConfig.Relay.COPY)),
          "auto",
          "The highest grade allowed: who moves the bytes. `kernel` lets TLS that is passed through"
              + " go out of the pod as itself, once its ClientHello is judged, wherever the agent"
              + " has looked the dialled address up (without `capture.dns` only after a first"
              + " connection there was relayed); `pods` tells where it cannot be had. `splice`"
              + " needs epoll. `auto` is `kernel` for pods with rules of their own by iptables and"
              + " with `capture.dns`, as they are by default, else `splice`.",
          AgentConfig::relay);
  static final ConfigKey<Integer> LIMIT_CONNECTIONS =
      key(
          "limits.connections",
          Shape.autoOrInteger(),
          "auto",
          "Connections of all pods; `auto` is what the process's descriptors allow.",
          c -> c.limits().connections());
  static final ConfigKey<Integer> LIMIT_PER_POD =
      key(
          "limits.connectionsPerPod",
          Shape.integer(1, Integer.MAX_VALUE),
          "5000",
          "Connections of one pod.",
          c -> c.limits().connectionsPerPod());
  static final ConfigKey<Integer> LIMIT_HANDSHAKES =
      key(
          "limits.pendingHandshakes",
          Shape.integer(1, Integer.MAX_VALUE),
          "1000",
          "Connections whose first bytes are awaited.",
          c -> c.limits().pendingHandshakes());
  static final ConfigKey<Integer> LIMIT_HELLO_BYTES =
      key(
          "limits.clientHelloBytes",
          Shape.integer(512, 16384),
          "16384",
          "Longest ClientHello.",
          c -> c.limits().clientHelloBytes());
  static final ConfigKey<Duration> LIMIT_HELLO_TIME =
      key(
          "limits.clientHelloTime",
          Shape.duration(MS, DAY),
          "10s",
          "How long a ClientHello may take.",
          c -> c.limits().clientHelloTime());
  static final ConfigKey<Duration> LIMIT_CONNECT =
      key(
          "limits.connectTimeout",
          Shape.duration(MS, DAY),
          "10s",
          "How long connecting may take, all addresses together.",
          c -> c.limits().connectTimeout());
  static final ConfigKey<Duration> LIMIT_IDLE =
      key(
          "limits.idleTimeout",
          Shape.duration(Duration.ZERO, YEAR),
          "1h",
          "A connection without a byte in either direction for so long is closed; 0s is never.",
          c -> c.limits().idleTimeout());
  static final ConfigKey<Integer> LIMIT_DNS_QUERIES =
      key(
          "limits.dnsQueriesPerPodPerSecond",
          Shape.integer(1, Integer.MAX_VALUE),
          "100",
          "Captured DNS queries of one pod; more are answered with SERVFAIL, more than twice as"
              + " many with nothing.",
          c -> c.dnsProxy().queriesPerPodPerSecond());
  static final ConfigKey<AccessLogConfig.Format> ACCESS_LOG_FORMAT =
      key(
          "accessLog.format",
          Shape.oneOf(
              words("text", AccessLogConfig.Format.TEXT, "json", AccessLogConfig.Format.JSON)),
          "text",
          "How records are written.",
          c -> c.accessLog().format());
  static final ConfigKey<Path> ACCESS_LOG_PATH =
      key(
          "accessLog.path",
          Shape.path(),
          "/dev/stdout",
          "Where records go. The agent's own log goes to stderr. A file that is moved away or"
              + " replaced (logrotate) is followed: the next record goes to the path anew, without"
              + " a signal.",
          c -> c.accessLog().path());

  private ConfigKeys() {}

  static List<ConfigKey<?>> all() {
    return List.copyOf(ALL);
  }

  private static <T> ConfigKey<T> key(
      String path, Shape<T> shape, String fallback, String meaning, Function<AgentConfig, T> from) {
    ConfigKey<T> key =
        new ConfigKey<>(
            path,
            shape,
            Optional.of(fallback),
            fallback.isEmpty() ? "none" : fallback,
            meaning,
            c -> Optional.of(from.apply(c)));
    ALL.add(key);
    return key;
  }

  private static <T> ConfigKey<T> computed(
      String path,
      Shape<T> shape,
      String shownDefault,
      String meaning,
      Function<AgentConfig, Optional<T>> from) {
    ConfigKey<T> key = new ConfigKey<>(path, shape, Optional.empty(), shownDefault, meaning, from);
    ALL.add(key);
    return key;
  }

  private static <T> Optional<T> some(T value) {
    return Optional.of(value);
  }

  private static <T> SequencedMap<String, T> words(String a, T first) {
    SequencedMap<String, T> out = new LinkedHashMap<>();
    out.put(a, first);
    return out;
  }

  private static <T> SequencedMap<String, T> words(String a, T first, String b, T second) {
    SequencedMap<String, T> out = words(a, first);
    out.put(b, second);
    return out;
  }

  private static <T> SequencedMap<String, T> words(
      String a, T first, String b, T second, String c, T third) {
    SequencedMap<String, T> out = words(a, first, b, second);
    out.put(c, third);
    return out;
  }

  private static <T> SequencedMap<String, T> words(
      String a, T first, String b, T second, String c, T third, String d, T fourth) {
    SequencedMap<String, T> out = words(a, first, b, second, c, third);
    out.put(d, fourth);
    return out;
  }
}
