package io.tailwater.agent.admin;

import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.nio.NioIoHandler;
import io.netty.util.concurrent.DefaultThreadFactory;
import io.tailwater.agent.dataplane.account.Metrics;
import java.net.SocketAddress;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/// The three servers: admin, metrics, readiness. One small NIO loop reads for all of them; it never
/// enters a pod's namespace and carries no traffic of pods.
public final class AdminServer implements AutoCloseable {
  private static final int ADMIN_CONNECTIONS = 64;

  /// Scrapers, a probe and some to spare.
  private static final int OPEN_CONNECTIONS = 128;

  private record Page(String help, boolean post, Function<Request, Response> maker) {}

  private final AdminInputs in;
  private final boolean sharing;
  private final SortedMap<String, Page> pages = new TreeMap<>();
  private final MultiThreadIoEventLoopGroup loop =
      new MultiThreadIoEventLoopGroup(
          1, new DefaultThreadFactory("tailwater-admin", true), NioIoHandler.newFactory());
  private final HttpServer admin;
  private final HttpServer metrics;
  private final HttpServer readiness;

  private AdminServer(AdminInputs in, boolean sharing) {
    this.sharing = sharing;
    this.in = in;
    count(in);
    Instant started = Instant.now();
    EnvoyPages envoy = new EnvoyPages(in, started);
    ClustersPage clusters = new ClustersPage(in.clusters(), in.routes());
    StatsPage stats =
        new StatsPage(in.clusters(), in.dns(), in.live(), envoy::listenerCount, started);
    OwnPages own = new OwnPages(in);
    get("/clusters", "upstream cluster status", clusters::page);
    get("/config_dump", "dump what is in force", envoy::configDump);
    get("/connections", "connections that live now", own::connections);
    get("/denials", "what was refused, with the YAML that would allow it", own::denials);
    post("/drain_listeners", "let go of the pods", this::drain);
    get("/explain", "what would happen to a connection", r -> in.explain().explain(r));
    get("/help", "print out list of admin commands", _ -> Response.text(help()));
    get("/inventory", "what pods really called", own::inventory);
    get("/listeners", "print listener info", envoy::listeners);
    post("/logging", "query/change logging levels", LoggingPage::page);
    get("/pods", "captured pods", own::pods);
    get("/ready", "print server state, return 200 if LIVE, otherwise return 503", envoy::ready);
    get("/server_info", "print server version/status information", envoy::serverInfo);
    get("/stats", "print server stats", stats::page);
    get("/stats/prometheus", "print server stats in prometheus format", stats::prometheusPage);
    get("/", "this agent in a browser", _ -> Response.html(home()));
    try {
      this.admin = open("admin", ADMIN_CONNECTIONS);
      this.metrics = open("metrics", OPEN_CONNECTIONS);
      this.readiness = open("readiness", OPEN_CONNECTIONS);
    } catch (AdminException e) {
      loop.shutdownGracefully(0, 2, TimeUnit.SECONDS);
      throw e;
    }
  }

  /// What the rooms count themselves, on the metrics page.
  private static void count(AdminInputs in) {
    Metrics metrics = in.accounts().metrics();
    metrics.gauge(
        "tailwater_connections_open", "Captured connections that are open.", in.live()::count);
    metrics.gauge(
        "tailwater_policy_generation",
        "How often policy was compiled; grows with each change.",
        () -> in.routes().get().generation());
    metrics.gauges(
        "tailwater_pods",
        "Pods by how far their capture is.",
        "state",
        () -> {
          Map<String, Long> states = new TreeMap<>();
          in.pods().status().forEach(s -> states.merge(s.state(), 1L, Long::sum));
          return states;
        });
    metrics.gauge("tailwater_dns_hosts", "Names in the cache.", in.dns()::numHosts);
    metrics.counters(
        "tailwater_dns_events",
        "What the cache of names did, under Envoy's names.",
        "event",
        in.dns()::counters);
  }

  private HttpServer open(String key, int connections) {
    return switch (key) {
      case "admin" ->
          HttpServer.start(
              new HttpServer.Options(key, in.config().admin(), true, connections, sharing),
              loop,
              this::adminPage);
      case "metrics" ->
          HttpServer.start(
              new HttpServer.Options(key, in.config().metrics(), false, connections, sharing),
              loop,
              this::metricsPage);
      default ->
          HttpServer.start(
              new HttpServer.Options(key, in.config().readiness(), false, connections, sharing),
              loop,
              this::readinessPage);
    };
  }

  /// Listens on the three addresses of the configuration.
  ///
  /// @throws AdminException naming the key whose address cannot be had
  public static AdminServer start(AdminInputs in) {
    return new AdminServer(in, false);
  }

  /// Listens beside another agent that shares its addresses and is about to go.
  public static AdminServer startBeside(AdminInputs in) {
    return new AdminServer(in, true);
  }

  /// Lets another agent listen on the same addresses, or nobody any more.
  public void share(boolean withAnother) {
    servers().forEach(server -> server.share(withAnother));
  }

  /// Ends, and leaves the addresses to the agent that shares them.
  public void give() {
    servers().forEach(HttpServer::give);
    close();
  }

  private List<HttpServer> servers() {
    return List.of(admin, metrics, readiness);
  }

  /// Where it really listens.
  public SocketAddress adminAddress() {
    return admin.address();
  }

  public SocketAddress metricsAddress() {
    return metrics.address();
  }

  public SocketAddress readinessAddress() {
    return readiness.address();
  }

  private void get(String path, String help, Function<Request, Response> maker) {
    pages.put(path, new Page(help, false, maker));
  }

  private void post(String path, String help, Function<Request, Response> maker) {
    pages.put(path, new Page(help, true, maker));
  }

  private Response adminPage(Request request) {
    Optional<Page> page = Optional.ofNullable(pages.get(request.path()));
    if (page.isEmpty()) {
      return Response.text(404, "invalid path. " + help());
    }
    if (page.get().post() != request.method().equals("POST") && !reads(request, page.get())) {
      return notAllowed(request.method(), page.get().post() ? "POST" : "GET");
    }
    return page.get().maker().apply(request);
  }

  private static boolean reads(Request request, Page page) {
    return !page.post() && reads(request);
  }

  private static boolean reads(Request request) {
    return request.method().equals("GET") || request.method().equals("HEAD");
  }

  private static Response notAllowed(String method, String wanted) {
    return Response.text(
        405, "Method " + TextTable.clean(method) + " not allowed, " + wanted + " required.");
  }

  private Response metricsPage(Request request) {
    if (!request.path().equals("/metrics") && !request.path().equals("/stats/prometheus")) {
      return Response.text(404, "");
    }
    if (!reads(request)) {
      return notAllowed(request.method(), "GET");
    }
    Metrics.Page page = in.accounts().metrics().page(request.accept());
    return new Response(200, page.contentType(), page.body());
  }

  private Response readinessPage(Request request) {
    if (!request.path().equals("/healthz/ready")) {
      return Response.text(404, "");
    }
    if (!reads(request)) {
      return notAllowed(request.method(), "GET");
    }
    SortedSet<String> pending = in.pending().get();
    return pending.isEmpty()
        ? Response.text("ready\n")
        : Response.text(500, "not ready, pending: " + String.join(", ", pending) + "\n");
  }

  private Response drain(Request request) {
    in.drain().begin(request.parameter("uninstall").filter(v -> !v.equals("false")).isPresent());
    return Response.text("OK\n");
  }

  private String help() {
    StringBuilder out = new StringBuilder("admin commands are:\n");
    pages.forEach((path, page) -> {
      out.append("  ").append(path);
      out.append(page.post() ? " (POST)" : "").append(": ").append(page.help()).append('\n');
    });
    return out.toString();
  }

  private String home() {
    StringBuilder out = new StringBuilder();
    out.append(
        """
        <!doctype html>
        <html lang="en"><head><meta charset="utf-8"><title>Tailwater</title>
        <style>
        body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 50rem; color: #222; }
        code { background: #eee; padding: 0 .3em; } td { padding: .1em 1em .1em 0; }
        </style></head><body>
        """);
    out.append("<h1>Tailwater on ").append(html(in.config().node())).append("</h1>\n<p>");
    SortedSet<String> pending = in.pending().get();
    out.append(
        pending.isEmpty() ? "Ready" : "Not ready, pending: " + html(String.join(", ", pending)));
    out.append(". Version ").append(html(in.build().version())).append(", policy generation ");
    out.append(in.routes().get().generation()).append(", ");
    out.append(in.pods().status().size()).append(" pods, ");
    out.append(in.live().count()).append(" connections.</p>\n<table>\n");
    pages.forEach((path, page) -> {
      String shown =
          page.post()
              ? "<code>POST " + html(path) + "</code>"
              : "<a href=\"" + html(path) + "\">" + html(path) + "</a>";
      out.append("<tr><td>").append(shown).append("</td><td>");
      out.append(html(page.help())).append("</td></tr>\n");
    });
    return out.append("</table>\n</body></html>\n").toString();
  }

  static String html(String text) {
    return text.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace("\"", "&quot;")
        .replace("'", "&#39;");
  }

  @Override
  public void close() {
    admin.close();
    metrics.close();
    readiness.close();
    loop.shutdownGracefully(0, 2, TimeUnit.SECONDS).awaitUninterruptibly(3, TimeUnit.SECONDS);
  }
}
