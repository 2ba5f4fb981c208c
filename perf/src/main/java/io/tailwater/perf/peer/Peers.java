package io.tailwater.perf.peer;

import io.tailwater.lab.EnvoyInstall;
import io.tailwater.lab.Place;
import io.tailwater.lab.Privileges;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// The proxies that Tailwater is measured against, each set up for the same job with two threads or
/// processes and without an access log, otherwise as it comes. One thread.
public final class Peers {
  private static final int NGINX_PORT = 16_001;
  private static final int HAPROXY_PORT = 16_002;
  private static final int ENVOY_PORT = 16_003;

  /// Where Debian and other distributions put nginx's dynamic modules.
  private static final List<Path> STREAM_MODULES =
      List.of(
          Path.of("/usr/lib/nginx/modules/ngx_stream_module.so"),
          Path.of("/usr/lib64/nginx/modules/ngx_stream_module.so"));

  private final Setting setting;

  public Peers(Setting setting) {
    this.setting = setting;
  }

  /// nginx's stream module with ssl_preread.
  public Contestant nginx() {
    Path folder = folder("nginx");
    Path file =
        write(
            folder.resolve("nginx.conf"),
            """
            MODULE
            user root;
            daemon off;
            worker_processes 2;
            worker_rlimit_nofile 20000;
            pid FOLDER/nginx.pid;
            error_log stderr warn;
            events { worker_connections 16384; }
            stream {
              access_log off;
              resolver DNS valid=300s ipv6=off;
              map $ssl_preread_server_name $upstream {
                hostnames;
                *.DOMAIN $ssl_preread_server_name:443;
              }
              server {
                listen 0.0.0.0:PORT backlog=4096 reuseport;
                ssl_preread on;
                proxy_connect_timeout 5s;
                proxy_pass $upstream;
              }
            }
            """
                .replace(
                    "MODULE",
                    STREAM_MODULES.stream()
                        .filter(Files::exists)
                        .findFirst()
                        .map(module -> "load_module " + module + ";")
                        .orElse("")),
            NGINX_PORT);
    return new Contestant(
        "nginx",
        version("nginx", "nginx", "-v"),
        Contestant.Way.PROXY,
        OptionalInt.of(NGINX_PORT),
        List.of("nginx", "-p", folder.toString(), "-e", "stderr", "-c", file.toString()));
  }

  /// HAProxy in TCP mode; the name is resolved by do-resolve and becomes the destination.
  public Contestant haproxy() {
    Path file =
        write(
            folder("haproxy").resolve("haproxy.cfg"),
            """
            global
              nbthread 2
              maxconn 9000
            defaults
              mode tcp
              timeout connect 5s
              timeout client 1h
              timeout server 1h
            resolvers lab
              nameserver lab DNS:53
              hold valid 300s
            frontend egress
              bind 0.0.0.0:PORT backlog 4096
              tcp-request inspect-delay 5s
              tcp-request content reject unless { req_ssl_sni -m end .DOMAIN }
              tcp-request content do-resolve(txn.address,lab,ipv4) req_ssl_sni,lower
              tcp-request content reject unless { var(txn.address) -m found }
              tcp-request content set-dst var(txn.address)
              default_backend by_name
            backend by_name
              server name 0.0.0.0:443
            """,
            HAPROXY_PORT);
    return new Contestant(
        "haproxy",
        version("haproxy", "haproxy", "-v"),
        Contestant.Way.PROXY,
        OptionalInt.of(HAPROXY_PORT),
        List.of("haproxy", "-db", "-f", file.toString()));
  }

  /// Envoy with tls_inspector and the SNI dynamic forward proxy, which is how Istio reaches
  /// wildcard hosts.
  ///
  /// @param home where the Python environment with the binary is, or is made
  public Contestant envoy(Path home) {
    Path binary = EnvoyInstall.binary(home);
    String cache =
        """
        {name: bench, dns_lookup_family: V4_ONLY, typed_dns_resolver_config: {
          name: envoy.network.dns_resolver.cares, typed_config: {
            "@type": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig,
            resolvers: [{socket_address: {address: DNS, port_value: 53}}],
            dns_resolver_options: {no_default_search_domain: true}}}}\
        """
            .lines()
            .map(String::strip)
            .reduce("", (line, next) -> line + " " + next);
    Path file =
        write(
            folder("envoy").resolve("envoy.yaml"),
            """
            static_resources:
              listeners:
              - name: egress
                address: {socket_address: {address: 0.0.0.0, port_value: PORT}}
                tcp_backlog_size: 4096
                listener_filters:
                - name: envoy.filters.listener.tls_inspector
                  typed_config:
                    "@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector
                filter_chains:
                - filter_chain_match: {server_names: ["*.DOMAIN"]}
                  filters:
                  - name: envoy.filters.network.sni_dynamic_forward_proxy
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig
                      port_value: 443
                      dns_cache_config: CACHE
                  - name: envoy.filters.network.tcp_proxy
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
                      stat_prefix: egress
                      cluster: by_name
              clusters:
              - name: by_name
                lb_policy: CLUSTER_PROVIDED
                connect_timeout: 5s
                circuit_breakers: {thresholds: [{max_connections: 20000, max_pending_requests: 20000}]}
                cluster_type:
                  name: envoy.clusters.dynamic_forward_proxy
                  typed_config:
                    "@type": type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig
                    dns_cache_config: CACHE
            """
                .replace("CACHE", cache),
            ENVOY_PORT);
    return new Contestant(
        "envoy",
        version("envoy", binary.toString(), "--version"),
        Contestant.Way.PROXY,
        OptionalInt.of(ENVOY_PORT),
        List.of(
            binary.toString(),
            "--config-path",
            file.toString(),
            "--concurrency",
            "2",
            "--disable-hot-restart",
            "--log-level",
            "warn"));
  }

  /// Tailwater, as any other program: a command line that is given, with a configuration that lists
  /// the pod. Several run on the node at once, so each has ports and a state of its own.
  ///
  /// @param lines of its configuration that distinguish it
  public Contestant tailwater(String name, List<String> image, Contestant.Way way, String lines) {
    return tailwater(name, image, way, lines, List.of(), 1);
  }

  /// The same with more to do.
  ///
  /// @param further pods beside the first
  /// @param entries ServiceEntries in all
  public Contestant tailwater(
      String name,
      List<String> image,
      Contestant.Way way,
      String lines,
      List<Place> further,
      int entries) {
    Path folder = folder(name);
    Path policies = folder.resolve("policies");
    try {
      Files.createDirectories(policies);
      Files.createDirectories(folder.resolve("state"));
    } catch (IOException e) {
      throw new BenchException("cannot make " + policies, e);
    }
    write(
        policies.resolve("bench.yaml"),
        """
        apiVersion: networking.istio.io/v1
        kind: ServiceEntry
        metadata:
          name: bench
          namespace: default
        spec:
          hosts: ["*.DOMAIN"]
          location: MESH_EXTERNAL
          resolution: DYNAMIC_DNS
          ports:
          - {number: 443, name: tls, protocol: TLS}
        """,
        443);
    try {
      GeneratedPolicy.write(policies, entries - 1);
    } catch (IOException e) {
      throw new BenchException("cannot write " + policies, e);
    }
    Path file =
        write(
            folder.resolve("tailwater.yaml"),
            """
            node: perf
            admin: 127.0.0.1:PORT0
            metrics: 127.0.0.1:PORT1
            readiness: 127.0.0.1:PORT2
            stateDir: FOLDER/state
            mesh:
              outboundTrafficPolicy: {mode: REGISTRY_ONLY}
            sources:
            - files: FOLDER/policies
            pods:
            PODS
            dns:
              servers: [DNS]
            limits: {connectionsPerPod: 20000, pendingHandshakes: 4096}
            accessLog: {format: text, path: /dev/null}
            """
                    .replace("PODS", pods(further))
                + lines,
            1400 + setting.number());
    List<String> command = new ArrayList<>(List.of("env", "-u", "TAILWATER_COMMAND"));
    command.addAll(image);
    command.addAll(List.of("run", "--config", file.toString()));
    List<String> version = new ArrayList<>(image);
    version.add("version");
    return new Contestant(
        name,
        version("tailwater", version.toArray(String[]::new)) + " " + name,
        way,
        OptionalInt.empty(),
        command);
  }

  private String pods(List<Place> further) {
    return Stream.concat(Stream.of(setting.pod()), further.stream())
        .map(pod -> "- {namespace: default, name: %s, netns: %s}".formatted(pod.name(), pod.path()))
        .collect(Collectors.joining("\n"));
  }

  /// The Debian packages that would bring what is missing, empty when all is there.
  ///
  /// @param realTls whether the second table is wanted, too
  public static List<String> missingPackages(List<String> names, boolean realTls) {
    List<String> packages = new ArrayList<>();
    if (realTls) {
      TOOLS.forEach((program, bringing) -> need(packages, program, bringing));
    }
    need(packages, names, "nginx", "nginx", "nginx libnginx-mod-stream");
    need(packages, names, "haproxy", "haproxy", "haproxy");
    need(packages, names, "envoy", "python3", "python3-venv");
    need(packages, "iptables", "iptables");
    need(packages, "dnsmasq", "dnsmasq-base");
    return packages;
  }

  private static void need(
      List<String> packages, List<String> names, String name, String program, String bringing) {
    if (names.contains(name)) {
      need(packages, program, bringing);
    }
  }

  private static void need(List<String> packages, String program, String bringing) {
    if (Privileges.find(program).isEmpty() && !packages.contains(bringing)) {
      packages.add(bringing);
    }
  }

  private static final Map<String, String> TOOLS =
      Map.of(
          "wrk", "wrk",
          "h2load", "nghttp2-client",
          "iperf3", "iperf3",
          "openssl", "openssl",
          "nginx", "nginx libnginx-mod-stream");

  private Path folder(String name) {
    return setting.lab().folder("perf-" + name);
  }

  private Path write(Path file, String text, int port) {
    String filled =
        text.replace("PORT", Integer.toString(port))
            .replace("FOLDER", file.getParent().toString())
            .replaceAll("\\bDNS\\b", setting.dnsServer())
            .replace("DOMAIN", setting.domain());
    try {
      return Files.writeString(file, filled);
    } catch (IOException e) {
      throw new BenchException("cannot write " + file, e);
    }
  }

  private static final Pattern VERSION = Pattern.compile("\\d+\\.\\d+\\.\\d+[.\\w+-]*");

  /// The first thing in a program's own words that looks like a version, or `unknown`.
  private String version(String name, String... command) {
    var result = setting.lab().exec(setting.lab().node(), Duration.ofSeconds(20), List.of(command));
    Matcher matcher = VERSION.matcher(result.stdout() + result.stderr());
    return name + " " + (matcher.find() ? matcher.group() : "unknown");
  }
}
