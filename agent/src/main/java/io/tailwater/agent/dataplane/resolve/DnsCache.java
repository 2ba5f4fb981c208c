package io.tailwater.agent.dataplane.resolve;

import io.tailwater.agent.dataplane.resolve.Lookup.Family;
import io.tailwater.agent.dataplane.resolve.Lookup.LookupResult;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.PodRef;
import java.net.InetAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executor;
import java.util.concurrent.RejectedExecutionException;
import java.util.function.Consumer;
import java.util.random.RandomGenerator;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// The names that pods asked for, with Envoy's dynamic-forward-proxy semantics where they are
/// sound.
///
/// Threads: present answers are read on any thread without a lock, out of immutable `Answer`s that
/// the resolver thread publishes. Everything else (misses, rounds, refreshes, limits, timers)
/// belongs to the resolver thread; answers go back to the asker's loop as tasks.
///
/// ```
/// absent ──miss──▶ asked ──addresses──▶ fresh ──80-95 % of the TTL, if used──▶ asked again
///                    │                    │ expired                               │ server fails
///                    └─failure──▶ failed  └─▶ asked by the next user    stale ◀───┘ (at most maxStale)
/// ```
///
/// Where it departs from Envoy, and why:
/// - A definite "no such name" or "no address" ends the old addresses at once (RFC 8767 section 4);
///   only a server that fails or is silent lets them live on, and at most `maxStale` after expiry.
/// - A present answer is given before any limit is looked at; rounds in flight and waiters are
///   bounded separately, in all and per pod.
/// - A name is charged to the pod whose miss brought it in. Others use it for free, and a pod at
///   its bound is refused new names only.
/// - A failure is kept for the failure interval and asked again by the next user, not by a timer: a
///   pod that asks for random names leaves no work behind. For the same reason only a name that was
///   used since its last answer is refreshed ahead of its expiry.
/// - The key is the name alone, not name and port.
public final class DnsCache implements Resolver, AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(DnsCache.class);

  /// RFC 8305 section 3, Resolution Delay.
  private static final long RESOLUTION_DELAY = Duration.ofMillis(50).toNanos();

  /// RFC 8767 section 5, client response timer: whoever could be served an expired answer waits no
  /// longer than this for a fresh one.
  private static final long STALE_PATIENCE = Duration.ofMillis(1800).toNanos();

  /// A use is written down once in so many nanoseconds: readers on several loops should not fight
  /// for the cache line.
  private static final long USE_GRAIN = 1_000_000;

  /// Making room costs a walk over all names.
  private static final long ROOM_PAUSE = Duration.ofSeconds(1).toNanos();

  /// How many users of a name are remembered for admin.
  private static final int USERS = 16;

  /// Bounds on what is under way. Envoy has 1024 waiters in all; here a stalled name must not use
  /// up what other pods need.
  ///
  /// @param rounds names being asked for at the same time
  /// @param roundsPerPod of which a single pod may have started so many
  /// @param waiters connections waiting for a name
  /// @param waitersPerPod of which a single pod may have so many
  record Bounds(int rounds, int roundsPerPod, int waiters, int waitersPerPod) {
    static final Bounds DEFAULT = new Bounds(1024, 256, 16_384, 4_096);
  }

  private final ResolveConfig config;
  private final Lookup lookup;
  private final ResolverThread thread;
  private final ResolveStats stats;
  private final Bounds bounds;
  private final RandomGenerator random;
  private final long maxStale;
  private final ConcurrentHashMap<HostName, Entry> entries = new ConcurrentHashMap<>();

  /// Set by whoever closes; what is in the queue then is refused on the resolver thread.
  private volatile boolean closed;

  // Resolver thread only.
  private final Map<PodRef, Load> loads = new HashMap<>();
  private int rounds;
  private int waiters;
  private boolean roomMade;
  private long roomMadeAt;

  /// Owns the thread and the lookup: `close` ends both.
  DnsCache(
      ResolveConfig config,
      Lookup lookup,
      ResolverThread thread,
      ResolveStats stats,
      Bounds bounds,
      RandomGenerator random) {
    this.config = config;
    this.lookup = lookup;
    this.thread = thread;
    this.stats = stats;
    this.bounds = bounds;
    this.random = random;
    this.maxStale = config.maxStale().toNanos();
    scheduleSweep();
  }

  /// Starts the resolver thread, in the network namespace of the caller, and warms the lookup up.
  /// `close` also closes the lookup.
  public static DnsCache start(ResolveConfig config, Lookup lookup, ResolveStats stats) {
    lookup.warmUp();
    return new DnsCache(
        config,
        lookup,
        new PlatformResolverThread(),
        stats,
        Bounds.DEFAULT,
        new SplittableRandom());
  }

  /// The same over the servers of the configuration.
  public static DnsCache start(ResolveConfig config, ResolveStats stats) {
    return start(config, DnsjavaLookup.of(config), stats);
  }

  @Override
  public @Nullable Addresses ifPresent(PodRef tenant, HostName name) {
    Entry entry = entries.get(name);
    return entry == null ? null : entry.present(tenant, thread.nanoTime());
  }

  @Override
  public long secondsLeft(HostName name) {
    Entry entry = entries.get(name);
    Answer known = entry == null ? null : entry.answer;
    return known == null || !(known.fresh instanceof Addresses.Found)
        ? 0
        : Math.max(0, (known.expires - thread.nanoTime() + 999_999_999) / 1_000_000_000);
  }

  @Override
  public void resolve(PodRef tenant, HostName name, Executor loop, Consumer<Addresses> answer) {
    var waiter = new Waiter(tenant, loop, answer);
    Addresses present = ifPresent(tenant, name);
    if (present != null) {
      waiter.deliver(present);
      return;
    }
    try {
      thread.execute(() -> onMiss(name, waiter));
    } catch (RejectedExecutionException _) {
      waiter.deliver(closing());
    }
  }

  /// What the cache holds, for admin. Any thread; each line is consistent in itself.
  public List<CachedName> entries() {
    long now = thread.nanoTime();
    var all = new ArrayList<CachedName>(entries.size());
    for (Entry entry : entries.values()) {
      all.add(entry.shown(now));
    }
    all.sort((a, b) -> a.name().compareTo(b.name()));
    return all;
  }

  public ResolveStats stats() {
    return stats;
  }

  /// Answers everybody who still waits, ends the thread and closes the lookup. Asking afterwards is
  /// answered with a failure.
  @Override
  public void close() {
    closed = true;
    try {
      thread.execute(this::onClose);
    } catch (RejectedExecutionException _) {
      return;
    }
    thread.close();
    lookup.close();
  }

  /// Pods that are charged for something. Resolver thread; for tests.
  int tenants() {
    return loads.size();
  }

  private void onClose() {
    for (Entry entry : entries.values()) {
      Round round = entry.round;
      if (round != null) {
        round.end();
        round.release(closing());
      }
    }
  }

  private static Addresses closing() {
    return new Addresses.Failed(Addresses.Failure.SERVER, "the resolver is closed");
  }

  // ---- a miss ----

  private void onMiss(HostName name, Waiter waiter) {
    if (closed) {
      waiter.deliver(closing());
      return;
    }
    long now = thread.nanoTime();
    Entry entry = entries.get(name);
    if (entry != null) {
      Addresses present = entry.present(waiter.tenant, now);
      if (present != null) {
        waiter.deliver(present);
        return;
      }
    }
    Load load = loads.computeIfAbsent(waiter.tenant, _ -> new Load());
    Addresses.@Nullable Failed refusal = limit(entry, load, waiter.tenant, now);
    if (refusal != null) {
      forgetIfIdle(waiter.tenant, load);
      Addresses spare = entry == null ? null : entry.spare(now);
      waiter.deliver(spare == null ? refusal : spare);
      return;
    }
    // Making room may have given up the pod's count.
    load = loads.computeIfAbsent(waiter.tenant, _ -> new Load());
    if (entry == null) {
      entry = new Entry(name, waiter.tenant, now);
      entries.put(name, entry);
      load.hosts++;
      stats.added();
    }
    entry.use(waiter.tenant, now);
    Round round = entry.round;
    if (round == null) {
      round = new Round(entry, waiter.tenant);
      entry.round = round;
      round.add(waiter, load);
      round.start();
    } else {
      round.add(waiter, load);
    }
  }

  /// Which bound stands in the way, if any. `entry` is null for a new name.
  private Addresses.@Nullable Failed limit(
      @Nullable Entry entry, Load load, PodRef tenant, long now) {
    if (entry == null) {
      if (load.hosts >= config.maxHostsPerPod()
          && !(makeRoom(now) && load.hosts < config.maxHostsPerPod())) {
        stats.hostOverflowed();
        return overflow(
            "the pod "
                + tenant
                + " uses up its "
                + config.maxHostsPerPod()
                + " names (dns.maxHostsPerPod)");
      }
      if (entries.size() >= config.maxHosts() && !makeRoom(now)) {
        stats.hostOverflowed();
        return overflow("the cache is full at " + config.maxHosts() + " names (dns.maxHosts)");
      }
    }
    if (entry == null || entry.round == null) {
      if (load.rounds >= bounds.roundsPerPod) {
        stats.pendingOverflowed();
        return overflow("the pod " + tenant + " has " + load.rounds + " names being looked up");
      }
      if (rounds >= bounds.rounds) {
        stats.pendingOverflowed();
        return overflow(rounds + " names are being looked up");
      }
    }
    if (load.waiters >= bounds.waitersPerPod) {
      stats.pendingOverflowed();
      return overflow(
          "the pod " + tenant + " has " + load.waiters + " connections waiting for names");
    }
    if (waiters >= bounds.waiters) {
      stats.pendingOverflowed();
      return overflow(waiters + " connections are waiting for names");
    }
    return null;
  }

  private static Addresses.Failed overflow(String detail) {
    return new Addresses.Failed(Addresses.Failure.OVERFLOW, detail);
  }

  /// Drops names that hold no answer any more, at most once a second; whether the cache has room.
  private boolean makeRoom(long now) {
    if (!roomMade || now - roomMadeAt >= ROOM_PAUSE) {
      roomMade = true;
      roomMadeAt = now;
      for (Entry entry : entries.values()) {
        if (entry.round == null && entry.spare(now) == null && !entry.holds(now)) {
          remove(entry);
        }
      }
    }
    return entries.size() < config.maxHosts();
  }

  // ---- idle names ----

  private void scheduleSweep() {
    long tenth = config.hostTtl().toNanos() / 10;
    long pause =
        Math.clamp(tenth, Duration.ofSeconds(1).toNanos(), Duration.ofSeconds(30).toNanos());
    thread.schedule(pause, this::sweep);
  }

  private void sweep() {
    long now = thread.nanoTime();
    long hostTtl = config.hostTtl().toNanos();
    for (Entry entry : entries.values()) {
      if (entry.round == null && now - entry.lastUsed >= hostTtl) {
        remove(entry);
      }
    }
    scheduleSweep();
  }

  private void remove(Entry entry) {
    if (entries.remove(entry.name, entry)) {
      entry.cancelRefresh();
      Load load = loads.get(entry.owner);
      if (load != null) {
        load.hosts--;
        forgetIfIdle(entry.owner, load);
      }
      stats.removed();
    }
  }

  private void forgetIfIdle(PodRef tenant, Load load) {
    if (load.hosts == 0 && load.rounds == 0 && load.waiters == 0) {
      loads.remove(tenant, load);
    }
  }

  // ---- refresh ----

  private void onRefresh(Entry entry) {
    entry.refresh = null;
    if (closed || entry.round != null || entries.get(entry.name) != entry) {
      return;
    }
    if (entry.lastUsed - entry.answeredAt <= 0) {
      // Nobody needs it now. Whoever is next asks, and falls back to what is left.
      entry.serveExpired(false);
      return;
    }
    refreshNow(entry);
  }

  private void refreshNow(Entry entry) {
    if (rounds >= bounds.rounds) {
      entry.refresh = thread.schedule(pause(0), () -> onRefresh(entry));
      return;
    }
    // While the refresh is under way its users do not wait for it.
    entry.serveExpired(true);
    Round round = new Round(entry, null);
    entry.round = round;
    round.start();
  }

  /// Between half of and the whole exponential interval.
  private long pause(int failures) {
    long base = config.failureRefreshRate().baseInterval().toNanos();
    long most = config.failureRefreshRate().maxInterval().toNanos();
    long interval = base;
    for (int i = 0; i < failures && interval < most; i++) {
      interval *= 2;
    }
    return jittered(Math.min(interval, most), 0.5, 1.0);
  }

  private long jittered(long nanos, double from, double to) {
    return (long) (nanos * (from + random.nextDouble() * (to - from)));
  }

  // ---- the pieces ----

  /// What one pod has under way. Resolver thread.
  private static final class Load {
    int hosts;
    int rounds;
    int waiters;
  }

  /// Somebody who wants a name.
  private record Waiter(PodRef tenant, Executor loop, Consumer<Addresses> answer) {
    void deliver(Addresses addresses) {
      try {
        loop.execute(() -> answer.accept(addresses));
      } catch (RejectedExecutionException _) {
        log.debug("a loop ended before its answer came");
      } catch (RuntimeException e) {
        log.error("an answer could not be handed over", e);
      }
    }
  }

  /// An immutable answer with its times.
  ///
  /// @param fresh what is said before `expires`
  /// @param expired the same addresses, said to be stale; null for a failure
  /// @param askAgain from here on a user sets off a refresh; before `expires` where a family is
  ///   missing
  /// @param expires the TTL of the first record that runs out
  /// @param usableUntil the end of `maxStale`
  /// @param serveExpired whether a refresh is under way or will be retried, so that users need not
  ///   wait for it
  private record Answer(
      Addresses fresh,
      Addresses.@Nullable Found expired,
      long askAgain,
      long expires,
      long usableUntil,
      boolean serveExpired) {

    /// What a user gets now without waiting.
    @Nullable Addresses at(long now) {
      return now - expires < 0 ? fresh : serveExpired ? spare(now) : null;
    }

    /// Whether somebody has to ask in the background, and nobody does.
    boolean wanting(long now) {
      return !serveExpired && now - askAgain >= 0;
    }

    /// The addresses that may still be used when nothing better is to be had.
    @Nullable Addresses spare(long now) {
      if (expired == null || now - usableUntil >= 0) {
        return null;
      }
      return now - expires < 0 ? fresh : expired;
    }

    Answer serving(boolean on) {
      return new Answer(fresh, expired, askAgain, expires, usableUntil, on);
    }
  }

  /// What one family of a name came to. Resolver thread.
  private static final class Slot {
    List<InetAddress> addresses = List.of();
    long expires;

    /// How the last question ended, unless with addresses.
    LookupResult.@Nullable Failed failure;

    boolean undecided() {
      return failure != null
          && switch (failure.failure()) {
            case SERVER, TIMEOUT, OVERFLOW -> true;
            case NO_SUCH_NAME, NO_ADDRESS -> false;
          };
    }
  }

  /// A name.
  private final class Entry {
    final HostName name;

    /// The pod that is charged for it.
    final PodRef owner;

    /// Written by any user; read by the resolver thread.
    volatile long lastUsed;

    /// Published by the resolver thread to the readers; null before the first round has ended.
    volatile @Nullable Answer answer;

    /// A user has set off a refresh that has not begun.
    private volatile boolean poked;

    /// Copied on write, under the entry's monitor; read by admin.
    private volatile PodRef[] users;

    // Resolver thread only.
    final EnumMap<Family, Slot> slots = new EnumMap<>(Family.class);
    @Nullable Round round;
    ResolverThread.@Nullable Timer refresh;
    long answeredAt;
    int failures;

    Entry(HostName name, PodRef owner, long now) {
      this.name = name;
      this.owner = owner;
      this.lastUsed = now;
      this.users = new PodRef[] {owner};
      for (Family family : config.lookupFamily().families()) {
        slots.put(family, new Slot());
      }
    }

    @Nullable Addresses present(PodRef tenant, long now) {
      Answer known = answer;
      Addresses present = known == null ? null : known.at(now);
      if (present != null) {
        use(tenant, now);
        if (known.wanting(now)) {
          poke();
        }
      }
      return present;
    }

    /// Any thread. Poked twice is no harm.
    private void poke() {
      if (poked) {
        return;
      }
      poked = true;
      try {
        thread.execute(() -> {
          poked = false;
          cancelRefresh();
          if (round == null && entries.get(name) == this && !closed) {
            refreshNow(this);
          }
        });
      } catch (RejectedExecutionException _) {
        log.debug("used after the end");
      }
    }

    @Nullable Addresses spare(long now) {
      Answer known = answer;
      return known == null ? null : known.spare(now);
    }

    boolean holds(long now) {
      Answer known = answer;
      return known != null && known.at(now) != null;
    }

    void use(PodRef tenant, long now) {
      if (now - lastUsed >= USE_GRAIN) {
        lastUsed = now;
      }
      PodRef[] known = users;
      for (PodRef user : known) {
        if (user.equals(tenant)) {
          return;
        }
      }
      if (known.length < USERS) {
        addUser(tenant);
      }
    }

    private synchronized void addUser(PodRef tenant) {
      PodRef[] known = users;
      if (known.length < USERS && !Arrays.asList(known).contains(tenant)) {
        PodRef[] more = Arrays.copyOf(known, known.length + 1);
        more[known.length] = tenant;
        users = more;
      }
    }

    void serveExpired(boolean on) {
      Answer known = answer;
      if (known != null) {
        answer = known.serving(on);
      }
    }

    void cancelRefresh() {
      if (refresh != null) {
        refresh.cancel();
        refresh = null;
      }
    }

    /// Puts together what the families came to.
    void publish(long now, boolean last) {
      var found = new EnumMap<Family, List<InetAddress>>(Family.class);
      long expires = Long.MAX_VALUE;
      boolean undecided = false;
      for (Map.Entry<Family, Slot> e : slots.entrySet()) {
        Slot slot = e.getValue();
        undecided |= slot.undecided();
        if (!slot.addresses.isEmpty() && now - slot.expires < maxStale) {
          found.put(e.getKey(), slot.addresses);
          // Differences, as nanoTime may wrap.
          expires = found.size() == 1 || slot.expires - expires < 0 ? slot.expires : expires;
        } else if (!slot.addresses.isEmpty() && now - slot.expires >= 0) {
          slot.addresses = List.of();
        }
      }
      List<InetAddress> addresses =
          AddressOrder.alternating(
              found.getOrDefault(Family.V6, List.of()), found.getOrDefault(Family.V4, List.of()));
      List<InetAddress> before = addressesOf(answer);
      if (addresses.isEmpty()) {
        answer = failure(now);
      } else {
        long askAgain = expires;
        if (last) {
          askAgain = planRefresh(now, expires, undecided);
        }
        answer =
            new Answer(
                new Addresses.Found(addresses, false),
                new Addresses.Found(addresses, true),
                askAgain,
                expires,
                expires + maxStale,
                undecided || !last || now - expires >= 0);
        if (!new HashSet<>(before).equals(new HashSet<>(addresses))) {
          stats.addressChanged();
        }
      }
      if (last) {
        answeredAt = now;
      }
    }

    /// When to ask again: ahead of the expiry, or after a pause where a family has not been
    /// answered.
    private long planRefresh(long now, long expires, boolean undecided) {
      cancelRefresh();
      long wait;
      long askAgain = expires;
      if (undecided) {
        wait = pause(failures++);
        if (now + wait - expires < 0) {
          askAgain = now + wait;
        }
      } else {
        failures = 0;
        wait = jittered(expires - now, 0.80, 0.95);
      }
      refresh = thread.schedule(wait, () -> onRefresh(this));
      return askAgain;
    }

    private Answer failure(long now) {
      cancelRefresh();
      LookupResult.Failed worst = null;
      for (Slot slot : slots.values()) {
        LookupResult.Failed failed = slot.failure;
        if (failed != null && (worst == null || rank(failed) > rank(worst))) {
          worst = failed;
        }
      }
      var said =
          worst == null
              ? new Addresses.Failed(Addresses.Failure.TIMEOUT, "no answer")
              : new Addresses.Failed(worst.failure(), worst.detail());
      long until = now + pause(failures++);
      return new Answer(said, null, until, until, until, false);
    }

    CachedName shown(long now) {
      Answer known = answer;
      List<PodRef> pods = List.of(users);
      Duration idle = Duration.ofNanos(Math.max(0, now - lastUsed));
      if (known == null) {
        return new CachedName(name, List.of(), Duration.ZERO, false, Optional.empty(), pods, idle);
      }
      Duration left = Duration.ofNanos(Math.max(0, known.expires - now));
      return switch (known.fresh) {
        case Addresses.Found(List<InetAddress> addresses, _) ->
            new CachedName(
                name,
                known.spare(now) == null && left.isZero() ? List.of() : addresses,
                left,
                left.isZero(),
                Optional.empty(),
                pods,
                idle);
        case Addresses.Failed failed ->
            new CachedName(name, List.of(), left, false, Optional.of(failed), pods, idle);
      };
    }
  }

  /// Which of two families' failures tells more: one that may pass, then the weaker claim.
  private static int rank(LookupResult.Failed failed) {
    return switch (failed.failure()) {
      case SERVER -> 4;
      case TIMEOUT, OVERFLOW -> 3;
      case NO_ADDRESS -> 2;
      case NO_SUCH_NAME -> 1;
    };
  }

  private static List<InetAddress> addressesOf(@Nullable Answer answer) {
    return answer != null && answer.fresh instanceof Addresses.Found(List<InetAddress> all, _)
        ? all
        : List.of();
  }

  /// One question about a name, in all families at once. Resolver thread.
  private final class Round {
    private final Entry entry;

    /// The pod that it is charged to; null for a refresh.
    private final @Nullable PodRef payer;

    private final EnumSet<Family> open = EnumSet.copyOf(config.lookupFamily().families());
    private List<Waiter> waiting = new ArrayList<>();
    private ResolverThread.@Nullable Timer deadline;
    private ResolverThread.@Nullable Timer delay;
    private ResolverThread.@Nullable Timer patience;
    private boolean ended;
    private boolean answered;
    private boolean timedOut;

    Round(Entry entry, @Nullable PodRef payer) {
      this.entry = entry;
      this.payer = payer;
      rounds++;
      if (payer != null) {
        loads.computeIfAbsent(payer, _ -> new Load()).rounds++;
      }
    }

    void add(Waiter waiter, Load load) {
      waiting.add(waiter);
      waiters++;
      load.waiters++;
      if (patience == null && entry.spare(thread.nanoTime()) != null) {
        patience = thread.schedule(STALE_PATIENCE, this::onPatience);
      }
    }

    private void onPatience() {
      Addresses spare = ended ? null : entry.spare(thread.nanoTime());
      if (spare != null) {
        entry.serveExpired(true);
        release(spare);
      }
    }

    void start() {
      stats.attempted();
      entry.cancelRefresh();
      deadline = thread.schedule(config.queryTimeout().toNanos(), this::onDeadline);
      for (Family family : config.lookupFamily().families()) {
        try {
          lookup.lookup(entry.name, family, result -> comesIn(family, result));
        } catch (RuntimeException e) {
          log.error("the lookup failed; this is a defect", e);
          comesIn(
              family, new LookupResult.Failed(Addresses.Failure.SERVER, "the lookup failed: " + e));
        }
      }
    }

    /// Any thread.
    private void comesIn(Family family, LookupResult result) {
      try {
        thread.execute(() -> onResult(family, result));
      } catch (RejectedExecutionException _) {
        log.debug("an answer came after the end");
      }
    }

    private void onResult(Family family, LookupResult result) {
      if (ended || !open.remove(family)) {
        return;
      }
      long now = thread.nanoTime();
      take(family, result, now);
      if (open.isEmpty()) {
        finish(now);
      } else if (result instanceof LookupResult.Found && delay == null) {
        delay = thread.schedule(RESOLUTION_DELAY, this::onDelay);
      }
    }

    private void take(Family family, LookupResult result, long now) {
      Slot slot = entry.slots.get(family);
      if (slot == null) {
        return;
      }
      switch (result) {
        case LookupResult.Found(List<InetAddress> addresses, Duration ttl) -> {
          slot.addresses = addresses;
          slot.expires = now + bounded(ttl);
          slot.failure = null;
          answered = true;
        }
        case LookupResult.Failed failed -> {
          slot.failure = failed;
          if (!slot.undecided()) {
            slot.addresses = List.of();
            answered = true;
          } else if (failed.failure() == Addresses.Failure.TIMEOUT) {
            timedOut = true;
          }
        }
      }
    }

    private long bounded(Duration ttl) {
      Duration least = config.minRefreshRate();
      Duration most = config.maxTtl();
      return (ttl.compareTo(least) < 0 ? least : ttl.compareTo(most) > 0 ? most : ttl).toNanos();
    }

    /// The second family is late: those who wait go on with the first.
    private void onDelay() {
      if (!ended) {
        long now = thread.nanoTime();
        entry.publish(now, false);
        release(answerNow(now));
      }
    }

    private void onDeadline() {
      if (ended) {
        return;
      }
      long now = thread.nanoTime();
      var silence =
          new LookupResult.Failed(
              Addresses.Failure.TIMEOUT,
              "no answer in " + config.queryTimeout().toMillis() + " ms (dns.queryTimeout)");
      for (Family family : EnumSet.copyOf(open)) {
        take(family, silence, now);
      }
      open.clear();
      finish(now);
    }

    private void finish(long now) {
      end();
      if (answered) {
        stats.succeeded();
      } else {
        stats.failed(timedOut);
      }
      Addresses said = new Addresses.Failed(Addresses.Failure.SERVER, "the resolver failed");
      try {
        entry.publish(now, true);
        said = answerNow(now);
      } finally {
        release(said); // whoever waits must not wait for ever
      }
    }

    private Addresses answerNow(long now) {
      Answer answer = entry.answer;
      Addresses said = answer == null ? null : answer.at(now);
      return said != null
          ? said
          : new Addresses.Failed(Addresses.Failure.SERVER, "the answer expired as it came");
    }

    /// Gives back what the round holds. The entry may be asked again.
    void end() {
      ended = true;
      if (deadline != null) {
        deadline.cancel();
      }
      if (delay != null) {
        delay.cancel();
      }
      if (patience != null) {
        patience.cancel();
      }
      entry.round = null;
      rounds--;
      if (payer != null) {
        Load load = loads.get(payer);
        if (load != null) {
          load.rounds--;
          forgetIfIdle(payer, load);
        }
      }
    }

    /// Detaches those who wait first: an answer may make its taker ask again at once.
    void release(Addresses addresses) {
      List<Waiter> all = waiting;
      waiting = new ArrayList<>();
      waiters -= all.size();
      for (Waiter waiter : all) {
        Load load = loads.get(waiter.tenant);
        if (load != null) {
          load.waiters--;
          forgetIfIdle(waiter.tenant, load);
        }
      }
      for (Waiter waiter : all) {
        waiter.deliver(addresses);
      }
    }
  }
}
