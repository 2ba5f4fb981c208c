package io.tailwater.agent.dataplane.dns;

import io.tailwater.agent.dataplane.resolve.WireMessage;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.util.Arrays;
import java.util.List;
import org.xbill.DNS.AAAARecord;
import org.xbill.DNS.ARecord;
import org.xbill.DNS.DClass;
import org.xbill.DNS.ExtendedErrorCodeOption;
import org.xbill.DNS.ExtendedFlags;
import org.xbill.DNS.Flags;
import org.xbill.DNS.Header;
import org.xbill.DNS.Message;
import org.xbill.DNS.Name;
import org.xbill.DNS.OPTRecord;
import org.xbill.DNS.Rcode;
import org.xbill.DNS.Record;
import org.xbill.DNS.SOARecord;
import org.xbill.DNS.Section;
import org.xbill.DNS.Type;

/// Writes what the agent answers by itself: authoritative, with EDNS where the query had it (RFC
/// 6891), cut off where it does not fit. Pure.
final class LocalAnswer {
  /// How long clients may keep that there is nothing; policy may change.
  private static final long NOTHING_TTL = 5;

  /// An extended error (RFC 8914) for people: `dig` shows it.
  ///
  /// @param code out of `ExtendedErrorCodeOption`
  record Why(int code, String text) {
    static final Why BLOCKED =
        new Why(ExtendedErrorCodeOption.BLOCKED, "no resource knows this name (dns.unknownNames)");
    static final Why FILTERED =
        new Why(ExtendedErrorCodeOption.FILTERED, "the address filter refuses every address");
  }

  private LocalAnswer() {}

  /// Addresses of one family; none: the name exists and has none of it.
  static byte[] addresses(WireMessage query, List<InetAddress> addresses, long ttl, int limit) {
    Message message = begin(query, Rcode.NOERROR);
    Name name = message.getQuestion().getName();
    for (InetAddress address : addresses) {
      Record record =
          address instanceof Inet6Address
              ? new AAAARecord(name, DClass.IN, ttl, address)
              : new ARecord(name, DClass.IN, ttl, address);
      message.addRecord(record, Section.ANSWER);
    }
    if (addresses.isEmpty()) {
      message.addRecord(nothing(name), Section.AUTHORITY);
    }
    return finish(message, query, List.of(), limit);
  }

  /// There is nothing: NOERROR where the name exists, else NXDOMAIN.
  static byte[] nothing(WireMessage query, boolean exists, List<Why> why, int limit) {
    Message message = begin(query, exists ? Rcode.NOERROR : Rcode.NXDOMAIN);
    message.addRecord(nothing(message.getQuestion().getName()), Section.AUTHORITY);
    return finish(message, query, why, limit);
  }

  /// RFC 6891 section 6.1.3.
  static byte[] badVersion(WireMessage query) {
    Message message = begin(query, Rcode.NOERROR);
    message.addRecord(
        new OPTRecord(WireMessage.OUR_PAYLOAD, Rcode.BADVERS >> 4, 0), Section.ADDITIONAL);
    return message.toWire();
  }

  private static Message begin(WireMessage query, int rcode) {
    try {
      byte[] bytes = Arrays.copyOf(query.bytes(), query.questionEnd());
      Arrays.fill(bytes, 6, WireMessage.HEADER, (byte) 0);
      Message message = new Message(bytes);
      Header header = message.getHeader();
      header.setFlag(Flags.QR);
      header.setFlag(Flags.AA);
      header.setFlag(Flags.RA);
      header.unsetFlag(Flags.TC);
      header.unsetFlag(Flags.AD);
      header.setRcode(rcode);
      return message;
    } catch (IOException e) {
      throw new UncheckedIOException("a question that was read cannot be read", e);
    }
  }

  private static byte[] finish(Message message, WireMessage query, List<Why> why, int limit) {
    if (query.opt().isPresent()) {
      ExtendedErrorCodeOption[] options =
          why.stream()
              .map(w -> new ExtendedErrorCodeOption(w.code, w.text))
              .toArray(ExtendedErrorCodeOption[]::new);
      int flags = query.wantsDnssec() ? ExtendedFlags.DO : 0;
      message.addRecord(
          new OPTRecord(WireMessage.OUR_PAYLOAD, 0, 0, flags, options), Section.ADDITIONAL);
    }
    return message.toWire(limit);
  }

  /// RFC 2308: how long clients may keep it. We are no zone, so its apex is the parent.
  private static SOARecord nothing(Name name) {
    Name parent = name.labels() > 1 ? new Name(name, 1) : Name.root;
    return new SOARecord(
        parent, DClass.IN, NOTHING_TTL, SERVER, SERVER, 1, 3600, 600, 86_400, NOTHING_TTL);
  }

  private static final Name SERVER = Name.fromConstantString("tailwater.invalid.");

  /// A type as metrics name it, out of few.
  static String typeName(int type) {
    return switch (type) {
      case Type.A -> "a";
      case Type.AAAA -> "aaaa";
      case Type.ANY -> "any";
      case Type.CAA -> "caa";
      case Type.CNAME -> "cname";
      case Type.DNSKEY -> "dnskey";
      case Type.DS -> "ds";
      case Type.HTTPS -> "https";
      case Type.MX -> "mx";
      case Type.NAPTR -> "naptr";
      case Type.NS -> "ns";
      case Type.PTR -> "ptr";
      case Type.SOA -> "soa";
      case Type.SRV -> "srv";
      case Type.SVCB -> "svcb";
      case Type.TXT -> "txt";
      default -> "unknown";
    };
  }
}
