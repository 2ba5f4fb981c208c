package io.tailwater.agent.dataplane.resolve;

import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.HostName;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.PortUnreachableException;
import java.net.SocketTimeoutException;
import java.net.UnknownHostException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletionException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.xbill.DNS.AAAARecord;
import org.xbill.DNS.ARecord;
import org.xbill.DNS.CNAMERecord;
import org.xbill.DNS.DClass;
import org.xbill.DNS.Flags;
import org.xbill.DNS.Message;
import org.xbill.DNS.Name;
import org.xbill.DNS.Rcode;
import org.xbill.DNS.Record;
import org.xbill.DNS.Section;
import org.xbill.DNS.SimpleResolver;
import org.xbill.DNS.TextParseException;
import org.xbill.DNS.Type;
import org.xbill.DNS.config.ResolvConfResolverConfigProvider;

/// Asks recursive servers over UDP, and over TCP where the answer was cut off. dnsjava knows the
/// wire format, `DnsSockets` the wire; neither the JDK's resolver nor a search domain takes part.
/// Answers are worked on by the socket thread.
///
/// The servers take turns from question to question. A question is tried at least three times in
/// all within `queryTimeout`: a silent, failing or mangling server is left for the next one, and a
/// silent one listened to on ([Tries]).
public final class DnsjavaLookup implements Lookup {
  private static final Logger log = LoggerFactory.getLogger(DnsjavaLookup.class);

  /// Aliases followed within an answer.
  private static final int ALIASES = 16;

  /// Addresses kept of one answer.
  private static final int ADDRESSES = 64;

  /// RFC 2181 section 8: a TTL with the top bit set is read as zero.
  private static final long LARGEST_TTL = Integer.MAX_VALUE;

  private final List<InetSocketAddress> servers;
  private final Duration timeout;
  private final DnsSockets sockets = new DnsSockets();
  private final AtomicInteger turn = new AtomicInteger();

  private DnsjavaLookup(List<InetSocketAddress> servers, Duration timeout) {
    this.servers = servers;
    this.timeout = timeout;
  }

  /// Over the configured servers, else those that resolv.conf names now. Starts the socket thread.
  public static DnsjavaLookup of(ResolveConfig config) {
    List<InetSocketAddress> servers =
        config.servers().isEmpty() ? systemServers() : config.servers();
    // A little less than the cache's own deadline: what is said here names the servers.
    return new DnsjavaLookup(servers, config.queryTimeout().multipliedBy(95).dividedBy(100));
  }

  /// As resolv.conf(5) has it: without a file, or a server in it, the one on this machine.
  private static List<InetSocketAddress> systemServers() {
    var file = new ResolvConfResolverConfigProvider();
    file.initialize();
    List<InetSocketAddress> servers =
        file.servers().stream().filter(s -> !s.isUnresolved()).toList();
    if (servers.isEmpty()) {
      log.warn("resolv.conf names no DNS server; asking 127.0.0.1:53");
      return List.of(new InetSocketAddress(InetAddress.getLoopbackAddress(), 53));
    }
    return servers;
  }

  /// The servers that are asked.
  public List<InetSocketAddress> servers() {
    return servers;
  }

  /// Passes questions of pods on, over the same servers and sockets; good as long as this is open.
  public Forwarder forwarder() {
    return new Forwarder(servers, timeout, sockets);
  }

  @Override
  public void warmUp() {
    try {
      Name name = Name.fromString("warm-up.invalid.");
      Message query = Message.newQuery(Record.newRecord(name, Type.AAAA, DClass.IN));
      var answer = new Message(query.toWire());
      answer.addRecord(new CNAMERecord(name, DClass.IN, 1, name), Section.ANSWER);
      read(new Message(answer.toWire()), name, Family.V6);
      new SimpleResolver(servers.getFirst()).setIoClientFactory(sockets.inquiry(timeout));
    } catch (IOException e) {
      throw new UncheckedIOException("the DNS library does not work: " + e.getMessage(), e);
    }
  }

  @Override
  public void lookup(HostName absolute, Family family, Consumer<LookupResult> result) {
    Name name;
    try {
      name = Name.fromString(absolute.text() + ".");
    } catch (TextParseException e) {
      result.accept(new LookupResult.Failed(Addresses.Failure.SERVER, "not a DNS name: " + e));
      return;
    }
    new Question(name, family, result).tries.begin();
  }

  @Override
  public void close() {
    sockets.close();
  }

  /// One name and family, over all its tries. Socket thread only, once it has begun.
  private final class Question implements Tries.Asker {
    private final Name name;
    private final Family family;
    private final Consumer<LookupResult> result;
    private final Tries tries =
        Tries.of(servers, turn.getAndIncrement(), sockets.inquiry(timeout), this);
    private LookupResult.@Nullable Failed silence;
    private LookupResult.@Nullable Failed trouble;

    Question(Name name, Family family, Consumer<LookupResult> result) {
      this.name = name;
      this.family = family;
      this.result = result;
    }

    /// Tells what tells most.
    @Override
    public void unanswered() {
      LookupResult.Failed worst = trouble != null ? trouble : silence;
      result.accept(
          worst != null
              ? worst
              : new LookupResult.Failed(Addresses.Failure.TIMEOUT, "no time to ask"));
    }

    @Override
    public void ask(Tries.Try one) {
      ask(one, true);
    }

    private void ask(Tries.Try one, boolean edns) {
      var resolver = new SimpleResolver(one.server());
      resolver.setIoClientFactory(tries.sockets());
      if (!edns) {
        resolver.setEDNS(-1, 0, 0, List.of());
      }
      Message query = Message.newQuery(Record.newRecord(name, type(family), DClass.IN));
      // Completed by the socket thread, and worked on there.
      var _ =
          resolver
              .sendAsync(query, Runnable::run)
              .whenComplete((answer, error) -> {
                try {
                  if (error != null) {
                    failed(one, error);
                  } else {
                    answered(one, edns, answer);
                  }
                } catch (RuntimeException e) {
                  log.error("an answer could not be worked on; this is a defect", e);
                  tries.over();
                  result.accept(trouble(one.server(), "sent what cannot be read: " + e));
                }
              });
    }

    private void answered(Tries.Try one, boolean edns, Message answer) {
      InetSocketAddress server = one.server();
      int rcode = answer.getHeader().getRcode();
      if (!answer.getHeader().getFlag(Flags.QR)) {
        trouble = trouble(server, "sent the question back");
      } else if (rcode == Rcode.NXDOMAIN || (rcode == Rcode.NOERROR && !isReferral(answer))) {
        tries.over();
        result.accept(read(answer, name, family));
        return;
      } else if (edns && (rcode == Rcode.FORMERR || rcode == Rcode.NOTIMP)) {
        // RFC 6891 section 7: a server from before EDNS.
        ask(one, false);
        return;
      } else if (rcode == Rcode.NOERROR) {
        trouble = trouble(server, "refers to other servers: it does not recurse");
      } else {
        trouble = trouble(server, "answered " + Rcode.string(rcode));
      }
      tries.failed(one);
    }

    private void failed(Tries.Try one, Throwable error) {
      InetSocketAddress server = one.server();
      Throwable cause =
          error instanceof CompletionException && error.getCause() != null
              ? error.getCause()
              : error;
      switch (cause) {
        case SocketTimeoutException _ ->
            silence =
                new LookupResult.Failed(
                    Addresses.Failure.TIMEOUT,
                    text(server) + " did not answer in " + one.waitedMillis() + " ms");
        case PortUnreachableException _ -> trouble = trouble(server, "is not listening");
        default -> trouble = trouble(server, "failed: " + cause.getMessage());
      }
      tries.failed(one);
    }
  }

  private static LookupResult.Failed trouble(InetSocketAddress server, String what) {
    return new LookupResult.Failed(Addresses.Failure.SERVER, text(server) + " " + what);
  }

  private static String text(InetSocketAddress server) {
    return "DNS server " + AddressText.of(server.getAddress(), server.getPort());
  }

  private static int type(Family family) {
    return switch (family) {
      case V4 -> Type.A;
      case V6 -> Type.AAAA;
    };
  }

  /// Neither an answer nor "there is none": a server that is no recursive one.
  private static boolean isReferral(Message answer) {
    return answer.getSection(Section.ANSWER).isEmpty()
        && !answer.getHeader().getFlag(Flags.AA)
        && !answer.getHeader().getFlag(Flags.RA)
        && answer.getSection(Section.AUTHORITY).stream().anyMatch(r -> r.getType() == Type.NS);
  }

  /// Follows the aliases from the name to its addresses, within the answer section alone.
  static LookupResult read(Message answer, Name name, Family family) {
    List<Record> records = answer.getSection(Section.ANSWER);
    Name at = name;
    long ttl = LARGEST_TTL;
    Set<Name> seen = new HashSet<>();
    while (seen.add(at) && seen.size() <= ALIASES + 1) {
      var addresses = new ArrayList<InetAddress>();
      CNAMERecord alias = null;
      for (Record record : records) {
        if (record.getDClass() != DClass.IN || !record.getName().equals(at)) {
          continue;
        }
        InetAddress address = address(record, family);
        if (address != null) {
          ttl = Math.min(ttl, ttl(record));
          if (addresses.size() < ADDRESSES && !addresses.contains(address)) {
            addresses.add(address);
          }
        } else if (record instanceof CNAMERecord cname) {
          alias = cname;
        }
      }
      if (!addresses.isEmpty()) {
        return new LookupResult.Found(addresses, Duration.ofSeconds(ttl));
      }
      if (alias == null) {
        return none(answer, name, at, family);
      }
      ttl = Math.min(ttl, ttl(alias));
      at = alias.getTarget();
    }
    return new LookupResult.Failed(
        Addresses.Failure.SERVER,
        text(name) + " is an alias that " + (seen.size() > ALIASES ? "goes on too long" : "loops"));
  }

  private static LookupResult.Failed none(Message answer, Name name, Name at, Family family) {
    String what =
        at.equals(name) ? text(name) : text(name) + " is an alias of " + text(at) + ", which";
    return answer.getHeader().getRcode() == Rcode.NXDOMAIN
        ? new LookupResult.Failed(
            Addresses.Failure.NO_SUCH_NAME, what + " does not exist (NXDOMAIN)")
        : new LookupResult.Failed(
            Addresses.Failure.NO_ADDRESS,
            what + " has no " + Type.string(type(family)) + " record");
  }

  private static String text(Name name) {
    return name.toString(true);
  }

  private static long ttl(Record record) {
    return record.getTTL() > LARGEST_TTL ? 0 : Math.max(0, record.getTTL());
  }

  /// The bare address of a record of the family's type, without the name that the library ties to
  /// it, and an AAAA record always as an IPv6 address, a mapped one too.
  private static @Nullable InetAddress address(Record record, Family family) {
    try {
      return switch (record) {
        case ARecord a when family == Family.V4 ->
            InetAddress.getByAddress(a.getAddress().getAddress());
        case AAAARecord aaaa when family == Family.V6 -> {
          byte[] bytes = aaaa.rdataToWireCanonical();
          yield Inet6Address.getByAddress(null, bytes, -1);
        }
        default -> null;
      };
    } catch (UnknownHostException _) {
      return null;
    }
  }
}
