package io.tailwater.agent.dataplane.dns;

import io.tailwater.agent.dataplane.account.Accounts;
import io.tailwater.agent.dataplane.account.DnsMetrics;
import io.tailwater.agent.dataplane.account.DnsMetrics.Answer;
import io.tailwater.agent.dataplane.resolve.AddressFilter;
import io.tailwater.agent.dataplane.resolve.Addresses;
import io.tailwater.agent.dataplane.resolve.Forwarder;
import io.tailwater.agent.dataplane.resolve.ResolveConfig;
import io.tailwater.agent.dataplane.resolve.Resolver;
import io.tailwater.agent.dataplane.resolve.WireMessage;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.KnownName;
import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.Refusal;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Answers what pods ask. For names that policy knows it answers itself; everything else goes to
/// the configured servers byte for byte, or is refused. Each query runs on its pod's loop and never
/// waits there.
///
/// | mode | known name | unknown name |
/// |---|---|---|
/// | enforce | answered, filtered | forwarded, or refused (`dns.unknownNames`) |
/// | audit | answered, unfiltered; recorded where enforce would filter | forwarded; recorded where enforce would refuse |
/// | off | forwarded | forwarded |
public final class DnsProxy {
  private static final Logger LOG = LoggerFactory.getLogger(DnsProxy.class);

  /// What clients may keep of addresses that policy gave: it may change.
  private static final long GIVEN_TTL = 30;

  /// RFC 8767 section 5: who could be served an expired answer waits no longer for a fresh one.
  private static final Duration STALE_PATIENCE = Duration.ofMillis(1800);

  private static final int CLASS_IN = 1;
  private static final int LONGEST_TOLD = 3600;

  private final DnsProxyConfig config;
  private final ResolveConfig lookUps;
  private final Resolver resolver;
  private final AddressFilter filter;
  private final Forwarder forwarder;
  private final Accounts accounts;
  private final DnsMetrics metrics;
  private final ToldListener listener;
  private final AnswerCache cache;
  private final AtomicInteger open = new AtomicInteger();

  /// @param listener hears what pods are told
  public DnsProxy(
      DnsProxyConfig config,
      ResolveConfig lookUps,
      Resolver resolver,
      AddressFilter filter,
      Forwarder forwarder,
      Accounts accounts,
      ToldListener listener) {
    this.config = config;
    this.lookUps = lookUps;
    this.resolver = resolver;
    this.filter = filter;
    this.forwarder = forwarder;
    this.accounts = accounts;
    this.metrics = accounts.dnsMetrics();
    this.listener = listener;
    this.cache =
        new AnswerCache(
            lookUps.maxHosts(), lookUps.maxTtl().toSeconds(), lookUps.maxStale().toNanos());
    metrics.cached(cache::size);
  }

  public DnsProxyConfig config() {
    return config;
  }

  /// Questions that are not answered yet. Any thread.
  public int open() {
    return open.get();
  }

  /// Where an answer goes.
  interface Reply {
    void send(byte[] answer);

    /// The query is not answered at all.
    default void nothing() {}

    /// Whether the query came over TCP.
    boolean tcp();

    /// How many bytes the client takes.
    default int room(WireMessage query) {
      return tcp() ? 65_535 : query.payload();
    }
  }

  /// One packet or message of a pod; on the pod's loop. The bytes are the proxy's now, and it
  /// replies exactly once, perhaps before this returns.
  void query(DnsClient client, byte[] bytes, Reply reply) {
    DnsClient.Admission admission = client.admit(System.nanoTime());
    if (admission != DnsClient.Admission.ADMITTED) {
      metrics.limited(client.pod().namespace());
    }
    if (admission == DnsClient.Admission.DROPPED) {
      reply.nothing();
      return;
    }
    Optional<WireMessage> read = WireMessage.read(bytes);
    boolean sound =
        read.isPresent()
            && (read.get().hasQuestion() || read.get().opcode() != WireMessage.OPCODE_QUERY);
    if (!sound) {
      metrics.answered(Answer.MALFORMED);
      WireMessage.formatError(bytes).ifPresentOrElse(reply::send, reply::nothing);
      return;
    }
    WireMessage query = read.get();
    if (query.isResponse()) {
      metrics.answered(Answer.MALFORMED);
      reply.nothing();
      return; // answering answers would go on for ever
    }
    String type = query.hasQuestion() ? LocalAnswer.typeName(query.type()) : "unknown";
    Asked asked = new Asked(client, query, type, reply);
    metrics.requested(client.pod(), type, reply.tcp());
    if (admission == DnsClient.Admission.REFUSED) {
      asked.fail(Answer.LIMITED);
    } else {
      asked.answer();
    }
  }

  /// One query on its way.
  private final class Asked {
    private final DnsClient client;
    private final WireMessage query;
    private final String type;
    private final Reply reply;
    private final ClientView view;
    private boolean answered;

    Asked(DnsClient client, WireMessage query, String type, Reply reply) {
      this.client = client;
      this.query = query;
      this.type = type;
      this.reply = reply;
      this.view = client.view();
      open.incrementAndGet();
    }

    void answer() {
      if (query.opcode() != WireMessage.OPCODE_QUERY) {
        other();
        return;
      }
      if (query.type() == WireMessage.AXFR || query.type() == WireMessage.IXFR) {
        refuse(); // a zone is many messages, and recursive servers have none
        return;
      }
      Optional<HostName> name = name();
      Optional<KnownName> known =
          view.mode() == EgressMode.OFF ? Optional.empty() : name.flatMap(view::known);
      switch (known.orElse(null)) {
        case null -> unknown(name);
        case KnownName _ when query.ednsVersion() > 0 -> send(LocalAnswer.badVersion(query));
        case KnownName.Given given -> given(name.orElseThrow(), given);
        case KnownName.Real real -> real(name.orElseThrow(), real);
      }
    }

    /// The question as a name of a host; empty for all other names.
    private Optional<HostName> name() {
      return query.questionClass() == CLASS_IN
              && !query.hasDotInLabel()
              && HostName.parse(query.name()) instanceof HostName.Parsed.Valid(HostName name, _)
          ? Optional.of(name)
          : Optional.empty();
    }

    /// NOTIFY, UPDATE and what else there is.
    private void other() {
      if (refusesUnknown() && view.mode() == EgressMode.ENFORCE) {
        record(query.hasQuestion() ? query.name() : "", EgressMode.ENFORCE);
        refuse();
      } else {
        forward(Optional.empty(), false);
      }
    }

    private boolean isAddress() {
      return query.type() == WireMessage.A || query.type() == WireMessage.AAAA;
    }

    // ---- names that policy knows

    private void given(HostName name, KnownName.Given given) {
      if (isAddress()) {
        boolean six = query.type() == WireMessage.AAAA;
        tell(
            Answer.GIVEN,
            name,
            client.speaks(six) ? family(given.addresses()) : List.of(),
            GIVEN_TTL);
      } else if (query.type() == WireMessage.HTTPS || query.type() == WireMessage.SVCB) {
        // Its hints would lead past the addresses that tell the destination.
        metrics.answered(Answer.GIVEN);
        send(LocalAnswer.nothing(query, true, List.of(), reply.room(query)));
      } else {
        forward(Optional.of(name), true);
      }
    }

    private void real(HostName name, KnownName.Real real) {
      if (!isAddress()) {
        forward(Optional.of(name), false);
        return;
      }
      RealAddresses.find(
          resolver,
          client.pod().ref(),
          real,
          client.loop(),
          found -> guarded(() -> real(name, real, found)));
    }

    private void real(HostName name, KnownName.Real real, RealAddresses.Found found) {
      if (found.addresses().isEmpty()) {
        switch (found.failure()) {
          case NO_SUCH_NAME, NO_ADDRESS -> {
            metrics.answered(Answer.REAL);
            boolean exists = found.failure() == Addresses.Failure.NO_ADDRESS;
            send(LocalAnswer.nothing(query, exists, List.of(), reply.room(query)));
          }
          case SERVER, TIMEOUT, OVERFLOW -> fail(Answer.FAILED);
        }
        return;
      }
      List<InetAddress> ofFamily = family(found.addresses());
      List<InetAddress> admitted =
          ofFamily.stream().filter(a -> filter.admits(a, real.rule())).toList();
      if (admitted.size() < ofFamily.size()) {
        InetAddress refused =
            ofFamily.stream().filter(a -> !admitted.contains(a)).findFirst().orElseThrow();
        filtered(name, AddressText.of(refused) + " " + filter.reason(refused, real.rule()));
      }
      if (view.mode() == EgressMode.AUDIT) {
        tell(Answer.REAL, name, ofFamily, found.ttlSeconds());
      } else if (admitted.isEmpty() && !ofFamily.isEmpty()) {
        metrics.answered(Answer.FILTERED);
        List<LocalAnswer.Why> why = List.of(LocalAnswer.Why.FILTERED);
        send(LocalAnswer.nothing(query, true, why, reply.room(query)));
      } else {
        tell(Answer.REAL, name, admitted, found.ttlSeconds());
      }
    }

    private void filtered(HostName name, String detail) {
      accounts.nameRefused(
          client.pod(), name.text(), Refusal.ADDRESS_FILTERED, view.mode(), detail);
    }

    /// The addresses of the family that was asked for, in an order of their own for each answer.
    private List<InetAddress> family(List<InetAddress> all) {
      boolean six = query.type() == WireMessage.AAAA;
      boolean wanted =
          switch (lookUps.lookupFamily()) {
            case ALL -> true;
            case V4 -> !six;
            case V6 -> six;
          };
      if (!wanted) {
        return List.of();
      }
      List<InetAddress> out = new ArrayList<>(all.size());
      for (InetAddress address : all) {
        if (address instanceof Inet6Address == six) {
          out.add(address);
        }
      }
      if (out.size() > 1) {
        Collections.rotate(out, ThreadLocalRandom.current().nextInt(out.size()));
      }
      return out;
    }

    private void tell(Answer what, HostName name, List<InetAddress> addresses, long ttl) {
      metrics.answered(what);
      told(name, addresses, ttl, what == Answer.REAL);
      send(LocalAnswer.addresses(query, addresses, ttl, reply.room(query)));
    }

    /// @param found whether somebody is at home there: allocated addresses are nobody's
    private void told(HostName name, List<InetAddress> addresses, long ttl, boolean found) {
      if (addresses.isEmpty()) {
        return;
      }
      long bounded = Math.min(ttl, LONGEST_TOLD);
      client.told().add(name, addresses, bounded, System.nanoTime());
      if (found) {
        listener.told(client.pod(), name, addresses, Duration.ofSeconds(bounded));
      }
    }

    // ---- all other names

    private boolean refusesUnknown() {
      return config.unknownNames() == DnsProxyConfig.UnknownNames.REFUSE;
    }

    private void unknown(Optional<HostName> name) {
      if (!refusesUnknown() || view.mode() == EgressMode.OFF) {
        forward(name, false);
        return;
      }
      if (!isSearched(name)) {
        record(query.name(), view.mode());
      }
      if (view.mode() == EgressMode.AUDIT) {
        forward(name, false);
        return;
      }
      metrics.answered(Answer.REFUSED);
      List<LocalAnswer.Why> why = List.of(LocalAnswer.Why.BLOCKED);
      send(LocalAnswer.nothing(query, false, why, reply.room(query)));
    }

    /// Whether it is a known name with one of Kubernetes' search domains behind it, which the
    /// client's resolver tries first: nobody meant it.
    private boolean isSearched(Optional<HostName> name) {
      if (name.isEmpty()) {
        return false;
      }
      String text = name.get().text();
      String own = "." + client.pod().namespace();
      for (String domain :
          List.of(own + ".svc.cluster.local", ".svc.cluster.local", ".cluster.local")) {
        if (text.endsWith(domain)
            && HostName.parse(text.substring(0, text.length() - domain.length()))
                instanceof HostName.Parsed.Valid(HostName meant, _)
            && view.known(meant).isPresent()) {
          return true;
        }
      }
      return false;
    }

    private void record(String name, EgressMode mode) {
      accounts.nameRefused(
          client.pod(), name, Refusal.NAME_REFUSED, mode, "type " + type.toUpperCase(Locale.ROOT));
    }

    // ---- passing on

    /// @param exists whether policy has other records of the name, so that NXDOMAIN would be wrong
    private void forward(Optional<HostName> name, boolean exists) {
      long now = System.nanoTime();
      Optional<WireMessage> kept = cache.find(query, now, false);
      if (kept.isPresent()) {
        metrics.answered(Answer.CACHED);
        passOn(kept.get(), name, exists);
        return;
      }
      if (!client.beginQuestion()) {
        fail(Answer.LIMITED);
        return;
      }
      DnsMetrics.Upstream upstream = metrics.upstream(client.pod(), type, reply.tcp());
      forwarder.forward(
          query,
          reply.tcp(),
          outcome -> onLoop(() -> arrived(outcome, upstream, now, name, exists)));
      if (cache.find(query, now, true).isPresent()) {
        var _ =
            client
                .loop()
                .schedule(
                    () -> guarded(() -> stale(name, exists)),
                    STALE_PATIENCE.toMillis(),
                    TimeUnit.MILLISECONDS);
      }
    }

    private void onLoop(Runnable step) {
      try {
        client.loop().execute(() -> guarded(step));
      } catch (RejectedExecutionException _) {
        LOG.debug("a loop ended before an answer came");
      }
    }

    private void arrived(
        Forwarder.Outcome outcome,
        DnsMetrics.Upstream upstream,
        long began,
        Optional<HostName> name,
        boolean exists) {
      client.endQuestion();
      long now = System.nanoTime();
      switch (outcome) {
        case Forwarder.Outcome.Answered(WireMessage answer) -> {
          upstream.ended(
              now - began, answer.rcode() == WireMessage.NOERROR && answer.answers() > 0);
          cache.keep(query, answer, now);
          boolean failed =
              answer.rcode() == WireMessage.SERVFAIL || answer.rcode() == WireMessage.REFUSED;
          if (failed && stale(name, exists)) {
            return;
          }
          if (!answered) {
            metrics.answered(Answer.FORWARDED);
          }
          passOn(answer, name, exists);
        }
        case Forwarder.Outcome.Unanswered(String detail, _) -> {
          upstream.ended(now - began, false);
          LOG.debug("{}: {} {}: {}", client.pod().ref(), type, query.name(), detail);
          if (!stale(name, exists)) {
            fail(Answer.FAILED);
          }
        }
      }
    }

    /// Answers with what has expired, if there is something; true when an answer was sent.
    private boolean stale(Optional<HostName> name, boolean exists) {
      if (answered) {
        return true;
      }
      Optional<WireMessage> kept = cache.find(query, System.nanoTime(), true);
      if (kept.isEmpty()) {
        return false;
      }
      metrics.answered(Answer.STALE);
      passOn(kept.get(), name, exists);
      return true;
    }

    private void passOn(WireMessage answer, Optional<HostName> name, boolean exists) {
      if (answered) {
        return;
      }
      byte[] bytes = answer.bytes();
      if (exists && answer.rcode() == WireMessage.NXDOMAIN) {
        bytes[3] &= ~0xf;
      }
      if (isAddress() && name.isPresent()) {
        learn(name.get(), answer);
      }
      send(bytes.length > reply.room(query) ? query.reply(answer.rcode(), true) : bytes);
    }

    private void learn(HostName name, WireMessage answer) {
      List<InetAddress> addresses = new ArrayList<>();
      long[] ttl = {LONGEST_TOLD};
      byte[] bytes = answer.bytes();
      answer.records(rr -> {
        int length = rr.end() - rr.data();
        boolean address =
            (rr.type() == WireMessage.A && length == 4)
                || (rr.type() == WireMessage.AAAA && length == 16);
        if (rr.section() == 0 && address) {
          addresses.add(address(bytes, rr));
          ttl[0] = Math.min(ttl[0], answer.ttl(rr));
        }
      });
      told(name, addresses, ttl[0], true);
    }

    private static InetAddress address(byte[] bytes, WireMessage.Rr rr) {
      try {
        byte[] raw = Arrays.copyOfRange(bytes, rr.data(), rr.end());
        return raw.length == 4
            ? InetAddress.getByAddress(raw)
            : Inet6Address.getByAddress(null, raw, -1);
      } catch (UnknownHostException e) {
        throw new IllegalStateException("4 or 16 bytes are an address", e);
      }
    }

    // ---- the end

    private void refuse() {
      metrics.answered(Answer.REFUSED);
      send(query.reply(WireMessage.REFUSED, false));
    }

    /// SERVFAIL: try again later. What REFUSED means differs from one resolver library to another.
    void fail(Answer why) {
      if (!answered) {
        metrics.answered(why);
        send(query.reply(WireMessage.SERVFAIL, false));
      }
    }

    private void send(byte[] answer) {
      if (!answered) {
        answered = true;
        open.decrementAndGet();
        reply.send(answer);
      }
    }

    private void guarded(Runnable step) {
      try {
        step.run();
      } catch (RuntimeException e) {
        LOG.error("a query of {} failed; this is a defect", client.pod().ref(), e);
        fail(Answer.FAILED);
      }
    }
  }
}
