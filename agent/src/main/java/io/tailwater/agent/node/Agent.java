package io.tailwater.agent.node;

import io.netty.channel.EventLoop;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.util.concurrent.DefaultThreadFactory;
import io.tailwater.agent.admin.AdminException;
import io.tailwater.agent.admin.AdminInputs;
import io.tailwater.agent.admin.AdminServer;
import io.tailwater.agent.admin.BuildInfo;
import io.tailwater.agent.config.AgentConfig;
import io.tailwater.agent.control.allocate.AllocationFile;
import io.tailwater.agent.control.capture.AgentGroup;
import io.tailwater.agent.control.capture.CaptureConfig;
import io.tailwater.agent.control.capture.CaptureLoop;
import io.tailwater.agent.control.capture.KernelPasses;
import io.tailwater.agent.control.capture.ListedPods;
import io.tailwater.agent.control.capture.PassPermit;
import io.tailwater.agent.control.capture.PodGuards;
import io.tailwater.agent.control.capture.PodSource;
import io.tailwater.agent.control.capture.QueuedConnections;
import io.tailwater.agent.control.capture.WatchedPods;
import io.tailwater.agent.control.compile.DnsAnswers;
import io.tailwater.agent.control.compile.PolicyCompiler;
import io.tailwater.agent.control.compile.PolicyFeed;
import io.tailwater.agent.control.compile.Secrets;
import io.tailwater.agent.control.source.FileResources;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.control.source.ResourceSet;
import io.tailwater.agent.control.source.ResourceSource;
import io.tailwater.agent.dataplane.account.AccessLog;
import io.tailwater.agent.dataplane.account.Accounts;
import io.tailwater.agent.dataplane.account.ConnectionRecord;
import io.tailwater.agent.dataplane.account.InventoryFile;
import io.tailwater.agent.dataplane.account.Metrics;
import io.tailwater.agent.dataplane.connect.Candidates;
import io.tailwater.agent.dataplane.connect.Connector;
import io.tailwater.agent.dataplane.connect.TlsOrigination;
import io.tailwater.agent.dataplane.dns.DnsProxy;
import io.tailwater.agent.dataplane.dns.DnsProxyConfig;
import io.tailwater.agent.dataplane.dns.ToldListener;
import io.tailwater.agent.dataplane.flow.Admission;
import io.tailwater.agent.dataplane.flow.LiveConnections;
import io.tailwater.agent.dataplane.flow.Stages;
import io.tailwater.agent.dataplane.flow.Worker;
import io.tailwater.agent.dataplane.flow.Workers;
import io.tailwater.agent.dataplane.resolve.AddressFilter;
import io.tailwater.agent.dataplane.resolve.CountingFilter;
import io.tailwater.agent.dataplane.resolve.DnsCache;
import io.tailwater.agent.dataplane.resolve.DnsjavaLookup;
import io.tailwater.agent.dataplane.resolve.ResolveStats;
import io.tailwater.agent.dataplane.resolve.StandardAddressFilter;
import io.tailwater.agent.dataplane.route.CurrentRoutes;
import io.tailwater.agent.dataplane.tls.TlsContexts;
import io.tailwater.agent.dataplane.transport.EpollTransport;
import io.tailwater.agent.dataplane.transport.IoUringTransport;
import io.tailwater.agent.dataplane.transport.SocketMaker;
import io.tailwater.agent.dataplane.transport.Transport;
import io.tailwater.agent.dataplane.upstream.AnyThreadRandom;
import io.tailwater.agent.dataplane.upstream.Clusters;
import io.tailwater.agent.dataplane.upstream.EndpointPicker;
import io.tailwater.agent.traffic.Grade;
import io.tailwater.iptables.apply.EgressGuard;
import io.tailwater.iptables.apply.OwnControlGroup;
import io.tailwater.iptables.apply.Preflight;
import io.tailwater.iptables.apply.Processes;
import io.tailwater.iptables.apply.RuleBackend;
import io.tailwater.iptables.apply.RulePrograms;
import io.tailwater.iptables.apply.RulesException;
import io.tailwater.iptables.apply.TrafficRules;
import io.tailwater.iptables.netlink.NetlinkPoller;
import io.tailwater.iptables.netns.NetworkNamespace;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// The agent put together: what `run` starts and stops. The order of starting matters: everything
/// that makes threads is warmed up before the first pod is entered, policy is compiled before the
/// first connection is taken, and pods are captured last.
public final class Agent implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(Agent.class);
  private static final Duration HOUSEKEEPING = Duration.ofSeconds(15);

  private final AgentConfig config;
  private final Succession succession;
  private final CountDownLatch ended = new CountDownLatch(1);
  private final Readiness readiness = new Readiness();
  private final Readiness.Task capturing = readiness.hold("capture");
  private final AccessLog accessLog;
  private final Accounts accounts;
  private final InventoryFile inventoryFile;
  private final Clusters clusters = new Clusters();
  private final Secrets secrets = new Secrets();

  /// Reads certificates and computes handshakes.
  private final ExecutorService tlsWork =
      Executors.newThreadPerTaskExecutor(Thread.ofVirtual().name("tailwater-tls-", 0).factory());

  private final OwnAddresses ownAddresses = new OwnAddresses();
  private final MultiThreadIoEventLoopGroup loops;
  private final Transport transport;
  private final DnsCache resolver;
  private final CurrentRoutes routes;
  private final PolicyFeed policy;
  private final Workers workers;
  private final NetlinkPoller netlink;
  private final Optional<DnsProxy> dns;
  private final AgentGroup agentGroup;
  private final PassPermit permit;
  private final Optional<KernelPasses> passes;
  private final CaptureLoop capture;
  private final List<PodSource> pods;
  private final Thread housekeeper;
  private final AllocationFile allocations;
  private final AdminInputs pages;
  private volatile @Nullable AdminServer admin;
  private final PolicyStats policyStats = new PolicyStats();
  private volatile boolean closed;

  private Agent(AgentConfig config) {
    this.config = config;
    requireEssentials(config);
    // Netty would read every interface of the node to make ids unique that nobody reads.
    System.setProperty("io.netty.machineId", "02:00:00:00:00:00:00:01");
    NetworkNamespace.warmUp();
    this.succession = Succession.claim(config.stateDir());
    this.allocations = new AllocationFile(config.stateDir());
    ownAddresses.refresh();
    this.transport = transport(config);
    int cores = Runtime.getRuntime().availableProcessors();
    this.loops =
        new MultiThreadIoEventLoopGroup(
            cores, new DefaultThreadFactory("tailwater-loop"), transport.ioHandlers());
    warmUp(loops, cores);
    DnsjavaLookup lookUp = DnsjavaLookup.of(config.dns());
    this.resolver = DnsCache.start(config.dns(), lookUp, new ResolveStats());
    PolicyCompiler compiler =
        new PolicyCompiler(config.mesh(), config.egress(), dnsAnswers(config, allocations));
    this.routes = new CurrentRoutes(compiler.compile(ResourceSet.EMPTY).table());
    this.accessLog = openLog(config);
    this.accounts = new Accounts(new Metrics(BuildInfo.read().version()), accessLog, routes);
    this.inventoryFile = new InventoryFile(accounts.inventory(), config.stateDir());
    AddressFilter filter = new StandardAddressFilter(ownAddresses);
    Admission admission = new Admission(config.limits(), descriptorLimit());
    Stages stages =
        new Stages(
            config.limits(),
            admission,
            routes,
            connector(config, new CountingFilter(filter, resolver.stats())),
            clusters,
            accounts,
            highestGrade(config, transport));
    RulePrograms programs = programs(config);
    this.permit = config.kernelPass().keptBy(programs.backend());
    this.passes = passes(stages, filter, programs.backend());
    this.workers = workers(stages);
    this.netlink = new NetlinkPoller("tailwater-netlink");
    this.agentGroup = agentGroup(config, programs);
    PodGuards.Numbers numbers = new PodGuards.Numbers();
    PodGuards guards =
        new PodGuards(
            config.stateDir(),
            new EgressGuard(new Processes()),
            netlink,
            accounts,
            workers,
            agentGroup,
            numbers);
    numbers.register(accounts.metrics());
    this.dns = dnsProxy(filter, lookUp);
    this.capture =
        new CaptureLoop(
            config.capture(),
            new TrafficRules(programs, new Processes()),
            transport,
            workers,
            routes,
            netlink,
            dns,
            guards,
            passes,
            relayed(stages.highest()));
    netlink.start();
    accounts
        .metrics()
        .counters(
            "tailwater_rule_repairs",
            "How often rules that somebody had changed or removed were put back.",
            "noticed",
            capture::repairs);
    policyStats.register(accounts.metrics());
    this.policy = new PolicyFeed(sources(config), compiler, routes, secrets, this::published);
    this.pods = podSources(config);
    this.housekeeper = Thread.ofVirtual().name("tailwater-housekeeping").unstarted(this::keepHouse);
    this.pages =
        new AdminInputs(
            config,
            BuildInfo.read(),
            clusters,
            live(),
            capture,
            accounts,
            routes,
            resolver.stats(),
            this::pending,
            new Draining(),
            new ExplainPage(capture, permit, routes, resolver, filter));
    if (!succession.hasPredecessor()) {
      this.admin = listen(pages, false);
    }
  }

  private LiveConnections live() {
    return passes.<LiveConnections>map(all -> new RelayedAndReleased(workers, all)).orElse(workers);
  }

  /// Starts everything; returns when every listed pod has been tried once.
  ///
  /// @throws StartException with what is missing and what to do
  public static Agent start(AgentConfig config) {
    Agent agent = prepare(config);
    agent.begin();
    return agent;
  }

  /// Makes everything and touches no pod yet. What is to end the agent can be set up before
  /// [#begin], so that no pod is left with rules and without a listener.
  ///
  /// @throws StartException with what is missing and what to do
  public static Agent prepare(AgentConfig config) {
    return new Agent(config);
  }

  /// Takes the pods; returns when every listed one has been tried once.
  public void begin() {
    sayWhatIsNotCaptured();
    policy.start();
    passes.ifPresent(KernelPasses::start);
    capture.start();
    pods.forEach(source -> source.start(capture::accept));
    capture.settled().join();
    capturing.close();
    if (succession.hasPredecessor()) {
      admin = listen(pages, true);
      succession.takeOver();
      capture.tookOver();
      passes.ifPresent(all -> all.share(false));
      LOG.info("took over from the agent before");
    }
    succession.serve(new Reigning());
    housekeeper.start();
  }

  /// Returns when there is nothing left to do: another agent has taken over, and the connections
  /// have ended.
  public void awaitEnd() throws InterruptedException {
    ended.await();
  }

  private void sayWhatIsNotCaptured() {
    if (config.podEntries().isEmpty()) {
      LOG.warn("no pods are listed: nothing is captured; list them under pods:");
    }
    if (config.sources().isEmpty()) {
      LOG.warn(
          "no sources of policy: every destination is unknown ({})",
          config.mesh().outboundTrafficPolicy());
    }
    if (config.relay() == AgentConfig.Relay.AUTO) {
      permit.relayed().ifPresent(why -> LOG.info("relay: auto is no kernel pass here: {}", why));
    }
    LOG.info(
        "DNS: {}; inbound: {}",
        config.capture().dns()
            ? "captured, "
                + (config.dnsProxy().unknownNames() == DnsProxyConfig.UnknownNames.REFUSE
                    ? "unknown names are refused"
                    : "unknown names are forwarded")
            : "not captured",
        config.capture().inbound() && config.capture().mode() == CaptureConfig.Mode.IN_POD
            ? "captured, no policy applies to it"
            : "not captured");
  }

  /// Without these no pod could be captured, and each would fail with an error of its own.
  private static void requireEssentials(AgentConfig config) {
    if (!config.podEntries().isEmpty()) {
      require(preflight(config).essentials());
    }
  }

  private static Preflight preflight(AgentConfig config) {
    return new Preflight(new Processes(), config.capture().backend().forced(), isOnNode(config));
  }

  private static boolean isOnNode(AgentConfig config) {
    return config.capture().mode() == CaptureConfig.Mode.NODE;
  }

  private static void require(List<Preflight.Finding> findings) {
    List<String> missing = new ArrayList<>();
    for (Preflight.Finding f : findings) {
      String text = f.what() + ": " + f.found() + ". " + f.whatToDo();
      switch (f.state()) {
        case OK -> {} // nothing to say
        case WARNING -> LOG.warn("{}", text);
        case MISSING -> missing.add(text);
      }
    }
    if (!missing.isEmpty()) {
      throw new StartException(StartException.Kind.MISSING, String.join("\n", missing));
    }
  }

  private static RulePrograms programs(AgentConfig config) {
    try {
      RulePrograms programs =
          RulePrograms.detect(config.capture().backend().forced(), new Processes());
      LOG.info("rules are kept by {}", programs);
      if (isOnNode(config) && !config.podEntries().isEmpty()) {
        require(preflight(config).onNode(programs));
      }
      return programs;
    } catch (RulesException e) {
      throw new StartException(StartException.Kind.MISSING, String.valueOf(e.getMessage()));
    }
  }

  /// How rules in pods know this agent. Where one before it has still connections, by its mark
  /// alone until those have ended.
  private AgentGroup agentGroup(AgentConfig config, RulePrograms programs) {
    if (config.podEntries().isEmpty() || isOnNode(config)) {
      return AgentGroup.NONE;
    }
    OwnControlGroup own = new OwnControlGroup(new Processes());
    OwnControlGroup.Found found = own.find(programs);
    return found
        .group()
        .map(group -> {
          LOG.info("rules know the agent by its mark and its control group {}", group);
          return new AgentGroup(own, group, succession.othersServe());
        })
        .orElseGet(() -> {
          LOG.info("rules know the agent by its secret mark alone: {}", found.why());
          return AgentGroup.NONE;
        });
  }

  private static List<PodSource> podSources(AgentConfig config) {
    List<PodSource> sources = new ArrayList<>();
    sources.add(new ListedPods(config.pods()));
    config.podFolders().forEach(folder -> sources.add(new WatchedPods(folder, config.pods())));
    return sources;
  }

  private static DnsAnswers dnsAnswers(AgentConfig config, AllocationFile kept) {
    return config.capture().dns()
        ? DnsAnswers.of(config.dnsProxy().answers(), kept)
        : new DnsAnswers.NotCaptured();
  }

  private Optional<DnsProxy> dnsProxy(AddressFilter filter, DnsjavaLookup lookUp) {
    return config.capture().dns()
        ? Optional.of(
            new DnsProxy(
                config.dnsProxy(),
                config.dns(),
                resolver,
                filter,
                lookUp.forwarder(),
                accounts,
                passes.<ToldListener>map(all -> all).orElse(ToldListener.NONE)))
        : Optional.empty();
  }

  private Optional<KernelPasses> passes(Stages stages, AddressFilter filter, RuleBackend backend) {
    if (permit.relayed().isPresent() || config.podEntries().isEmpty()) {
      return Optional.empty();
    }
    KernelPasses all =
        new KernelPasses(
            stages,
            new Candidates(resolver, new CountingFilter(filter, resolver.stats())),
            resolver,
            filter,
            backend,
            permit.asked(),
            config.capture().onPolicyChange(),
            config.stateDir());
    all.register(accounts.metrics());
    all.share(succession.hasPredecessor());
    return Optional.of(all);
  }

  /// What pods show where `auto` does not let them have the kernel pass.
  private String relayed(Grade grade) {
    return config.relay() == AgentConfig.Relay.AUTO
        ? permit.relayed().map(why -> grade.text() + ": " + why).orElse("")
        : "";
  }

  private static AdminServer listen(AdminInputs inputs, boolean beside) {
    try {
      return beside ? AdminServer.startBeside(inputs) : AdminServer.start(inputs);
    } catch (AdminException e) {
      throw new StartException(StartException.Kind.FAILED, String.valueOf(e.getMessage()));
    }
  }

  private static AccessLog openLog(AgentConfig config) {
    try {
      return AccessLog.open(config.accessLog());
    } catch (IOException e) {
      throw new StartException(
          StartException.Kind.FAILED,
          "accessLog.path: cannot be opened: "
              + e.getMessage()
              + "; name a file that can be written");
    }
  }

  private static Transport transport(AgentConfig config) {
    return switch (config.transport()) {
      case AUTO, EPOLL -> new EpollTransport();
      case IO_URING -> {
        IoUringTransport.unavailable()
            .ifPresent(why -> {
              throw new StartException(
                  StartException.Kind.MISSING,
                  "transport: io_uring cannot be used here ("
                      + why
                      + "); set transport: epoll or auto");
            });
        yield new IoUringTransport();
      }
    };
  }

  /// A loop's thread is born when its first task comes: give each one now, from our own namespace.
  private static void warmUp(MultiThreadIoEventLoopGroup loops, int count) {
    for (int i = 0; i < count; i++) {
      loops.next().submit(() -> {}).syncUninterruptibly();
    }
  }

  private static Grade highestGrade(AgentConfig config, Transport transport) {
    return switch (config.relay()) {
      case AUTO, KERNEL, SPLICE -> transport.splices() ? Grade.SPLICE : Grade.COPY;
      case COPY -> Grade.COPY;
    };
  }

  private Workers workers(Stages stages) {
    List<Worker> all = new ArrayList<>();
    int number = 0;
    for (var executor : loops) {
      EventLoop loop = (EventLoop) executor;
      SocketMaker maker = new SocketMaker(loop, "tailwater-sockets-" + number);
      maker.start();
      all.add(new Worker(number++, loop, maker, stages));
    }
    return new Workers(all, stages.admission());
  }

  private Connector connector(AgentConfig config, AddressFilter filter) {
    return new Connector(
        new Candidates(resolver, filter),
        clusters,
        new EndpointPicker(new AnyThreadRandom()),
        new TlsOrigination(new TlsContexts(secrets, tlsWork, System::nanoTime), tlsWork),
        config.limits().connectTimeout());
  }

  private static List<ResourceSource> sources(AgentConfig config) {
    List<ResourceSource> sources = new ArrayList<>();
    for (AgentConfig.Source source : config.sources()) {
      switch (source) {
        case AgentConfig.Source.Files(Path path) -> sources.add(new FileResources(path));
      }
    }
    return sources;
  }

  private void published(PolicyCompiler.Compiled compiled, List<Problem> fresh) {
    policyStats.published(compiled);
    for (Problem problem : fresh) {
      LOG.warn("{}", problem);
    }
    LOG.info("policy generation {} in force", compiled.table().generation());
    passes.ifPresent(KernelPasses::policyChanged);
    capture.policyChanged();
  }

  private static long descriptorLimit() {
    try {
      for (String line : Files.readAllLines(Path.of("/proc/self/limits"))) {
        if (line.startsWith("Max open files")) {
          String soft = line.substring("Max open files".length()).trim().split("\\s+")[0];
          return soft.equals("unlimited") ? 1_000_000 : Long.parseLong(soft);
        }
      }
    } catch (IOException | NumberFormatException e) {
      LOG.warn("cannot read the limit of descriptors: {}", e.getMessage());
    }
    return 1024;
  }

  private void keepHouse() {
    HeapReturn heap = new HeapReturn(Runtime.getRuntime()::totalMemory, System::gc);
    while (!closed) {
      try {
        TimeUnit.NANOSECONDS.sleep(HOUSEKEEPING.toNanos());
      } catch (InterruptedException _) {
        return; // only close() interrupts
      }
      takeOwnGroup();
      ownAddresses.refresh();
      clusters.forgetIdle(System.nanoTime() - config.dns().hostTtl().toNanos());
      accounts.keepOnly(
          capture.status().stream().map(s -> s.pod().ref()).collect(Collectors.toSet()));
      heap.look();
    }
  }

  /// When the agents before have ended, nobody but this one dials from the pods.
  private void takeOwnGroup() {
    if (agentGroup.isShared() && !succession.othersServe() && agentGroup.belongsToOne()) {
      LOG.info("the agents before have ended: rules ask for the control group of this one again");
      capture.policyChanged();
    }
  }

  /// Lets go of the pods (rules stay where `onFailure` is closed) and ends every connection.
  @Override
  public void close() {
    stop(CaptureLoop.Leave.AS_CONFIGURED);
  }

  /// What readiness waits for: start-up, and every pod whose capture fails. A pod that is not there
  /// yet holds nothing up.
  private SortedSet<String> pending() {
    SortedSet<String> pending = new TreeSet<>(readiness.pending());
    capture.status().stream()
        .filter(status -> status.state().equals("failing"))
        .forEach(status -> pending.add("capture of " + status.pod().ref()));
    return pending;
  }

  /// Stops, and with `UNINSTALL` removes every rule.
  public void stop(CaptureLoop.Leave how) {
    synchronized (this) {
      if (closed) {
        return;
      }
      closed = true;
    }
    succession.leave();
    housekeeper.interrupt();
    pods.forEach(PodSource::close);
    capture.leave(succession.hasPredecessor() ? CaptureLoop.Leave.TO_ANOTHER : how);
    netlink.close();
    passes.ifPresent(KernelPasses::close);
    AdminServer serving = admin;
    if (serving != null) {
      serving.close();
    }
    workers.endAll();
    capture.finish();
    policy.close();
    workers.all().forEach(Worker::close);
    loops.shutdownGracefully(0, 2, TimeUnit.SECONDS).syncUninterruptibly();
    tlsWork.shutdownNow();
    resolver.close();
    inventoryFile.close();
    accessLog.close();
    succession.close();
  }

  /// All connections, whoever moves their bytes.
  private record RelayedAndReleased(Workers relayed, KernelPasses released)
      implements LiveConnections {
    @Override
    public int count() {
      return relayed.count() + released.count();
    }

    @Override
    public CompletableFuture<List<ConnectionRecord>> snapshot() {
      return relayed
          .snapshot()
          .thenCombine(
              released.snapshot(),
              (some, others) ->
                  Stream.concat(some.stream(), others.stream())
                      .sorted(Comparator.comparing(ConnectionRecord::openedAt))
                      .toList());
    }
  }

  /// What this agent does for the one that comes after it.
  private final class Reigning implements Succession.Reign {
    private CaptureLoop.@Nullable Pause pause;

    @Override
    public void pause() {
      doWithoutGroup();
      pause = capture.pause();
      inventoryFile.handOver();
      allocations.handOver(true);
      passes.ifPresent(all -> all.share(true));
      share(true);
    }

    @Override
    public void resume() {
      agentGroup.suspend(false);
      share(false);
      passes.ifPresent(all -> all.share(false));
      allocations.handOver(false);
      inventoryFile.takeBack();
      CaptureLoop.Pause paused = pause;
      if (paused != null) {
        paused.resume();
      }
    }

    @Override
    public void give() {
      pods.forEach(PodSource::close);
      CaptureLoop.Pause paused = pause;
      if (paused != null) {
        paused.leave();
      }
      policy.close();
      AdminServer serving = admin;
      admin = null;
      if (serving != null) {
        QueuedConnections.migrateDuring(serving::give);
      }
      LOG.info("another agent has taken over; {} connections go on here", workers.count());
      Thread.ofVirtual().name("tailwater-drain").start(this::drain);
    }

    /// The other agent may be in another group, and is about to dial from the pods too.
    private void doWithoutGroup() {
      if (agentGroup.suspend(true)) {
        capture.policyChanged();
        capture.settled().join();
      }
    }

    private void share(boolean withAnother) {
      AdminServer serving = admin;
      if (serving != null) {
        serving.share(withAnother);
      }
    }

    private void drain() {
      long deadline = System.nanoTime() + Succession.LONGEST_DRAIN.toNanos();
      try {
        while ((workers.count() > 0 || dns.map(DnsProxy::open).orElse(0) > 0)
            && System.nanoTime() - deadline < 0) {
          TimeUnit.MILLISECONDS.sleep(200);
        }
      } catch (InterruptedException _) {
        // then it ends now
      }
      LOG.info("ending; {} connections are left", workers.count());
      ended.countDown();
    }
  }

  /// `drain`: pods are let go of, and what they have open goes on until it ends by itself.
  private final class Draining implements AdminInputs.Drain {
    private boolean begun;

    @Override
    public synchronized void begin(boolean uninstall) {
      if (begun) {
        return;
      }
      begun = true;
      LOG.info("draining{}", uninstall ? ", and removing every rule" : "");
      var _ = readiness.hold("drained");
      Thread.ofPlatform() // it may have to go into a namespace
          .name("tailwater-drain")
          .daemon(true)
          .start(() -> {
            pods.forEach(PodSource::close);
            capture.leave(
                uninstall ? CaptureLoop.Leave.UNINSTALL : CaptureLoop.Leave.AS_CONFIGURED);
            finishEnded();
          });
    }

    private void finishEnded() {
      try {
        while (!capture.finishEnded()) {
          TimeUnit.MILLISECONDS.sleep(500);
        }
      } catch (InterruptedException _) {
        Thread.currentThread().interrupt(); // nobody does
      }
    }

    @Override
    public synchronized boolean draining() {
      return begun;
    }
  }

  /// The agent cannot start.
  public static final class StartException extends RuntimeException {
    /// Why it cannot.
    public enum Kind {
      /// A privilege, program or kernel feature is missing.
      MISSING,
      /// Something is in the way: an address that is taken, a file that cannot be written.
      FAILED
    }

    private final Kind kind;

    /// @param message what, and what to do, a line for each thing
    public StartException(Kind kind, String message) {
      super(message);
      this.kind = kind;
    }

    public Kind kind() {
      return kind;
    }
  }
}
