package io.tailwater.agent.dataplane.http;

import io.netty.handler.codec.http.DefaultHttpHeadersFactory;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaders;
import io.netty.util.AsciiString;
import io.tailwater.agent.dataplane.route.RequestPolicy;
import java.nio.charset.StandardCharsets;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/// The fields of messages: which belong to one connection and which travel on.
final class Fields {
  /// RFC 9110 section 7.6.1: about one connection only, whether or not Connection names them.
  private static final Set<String> HOP_BY_HOP =
      Set.of(
          "connection",
          "keep-alive",
          "proxy-connection",
          "transfer-encoding",
          "te",
          "upgrade",
          "http2-settings");

  /// What a Connection field may not take away from the message that it stands in: a server further
  /// on would read another message than we did.
  private static final Set<String> NEVER_NAMED =
      Set.of("host", "content-length", "transfer-encoding", "expect", "trailer", "connection");

  /// RFC 9110 section 6.5.1, and what routes.
  private static final Set<String> NOT_IN_TRAILERS =
      Set.of(
          "host",
          "content-length",
          "trailer",
          "expect",
          "authorization",
          "set-cookie",
          "content-encoding",
          "content-type",
          "content-range");

  private Fields() {}

  /// The names that Connection lists, in lower case.
  static Set<String> namedByConnection(HttpHeaders fields) throws BadRequest {
    List<String> lines = fields.getAll(HttpHeaderNames.CONNECTION);
    if (lines.isEmpty()) {
      return Set.of();
    }
    Set<String> named = new HashSet<>();
    for (String line : lines) {
      for (String part : line.split(",", -1)) {
        String name = part.strip().toLowerCase(Locale.ROOT);
        if (name.isEmpty()) {
          continue;
        }
        if (!name.chars().allMatch(HeadScanner::isToken)) {
          throw new BadRequest("Connection lists what is no name");
        }
        if (NEVER_NAMED.contains(name)) {
          throw new BadRequest("Connection names " + name + ", which is not its to take away");
        }
        named.add(name);
      }
    }
    return named;
  }

  /// Copies the fields that travel on.
  static void endToEnd(HttpHeaders from, Set<String> named, HttpHeaders to) {
    for (Iterator<Map.Entry<CharSequence, CharSequence>> all = from.iteratorCharSequence();
        all.hasNext(); ) {
      Map.Entry<CharSequence, CharSequence> field = all.next();
      String name = field.getKey().toString().toLowerCase(Locale.ROOT);
      if (!HOP_BY_HOP.contains(name) && !named.contains(name)) {
        to.add(field.getKey(), bytes(field.getValue()));
      }
    }
  }

  /// Trailers that may stand there.
  static void trailers(HttpHeaders from, HttpHeaders to) {
    for (Iterator<Map.Entry<CharSequence, CharSequence>> all = from.iteratorCharSequence();
        all.hasNext(); ) {
      Map.Entry<CharSequence, CharSequence> field = all.next();
      String name = field.getKey().toString().toLowerCase(Locale.ROOT);
      if (!HOP_BY_HOP.contains(name) && !NOT_IN_TRAILERS.contains(name)) {
        to.add(field.getKey(), bytes(field.getValue()));
      }
    }
  }

  /// What a route does to the fields. Those that frame and route a message are not a route's.
  static void edit(HttpHeaders fields, RequestPolicy.Headers how) {
    how.remove().stream().filter(Fields::editable).forEach(fields::remove);
    how.set()
        .forEach((name, value) -> {
          if (editable(name)) {
            fields.set(name, value);
          }
        });
    how.add()
        .forEach((name, value) -> {
          if (editable(name)) {
            fields.add(name, value);
          }
        });
  }

  private static boolean editable(String name) {
    return !name.startsWith(":") && !HOP_BY_HOP.contains(name) && !NEVER_NAMED.contains(name);
  }

  /// Not checked again: what comes in has been.
  static HttpHeaders empty() {
    return DefaultHttpHeadersFactory.headersFactory().withValidation(false).newHeaders();
  }

  /// Netty's encoder replaces characters of a string that are not ASCII, but not those of an
  /// `AsciiString`: as bytes they arrive as they came.
  private static CharSequence bytes(CharSequence value) {
    if (value instanceof AsciiString) {
      return value;
    }
    for (int i = 0; i < value.length(); i++) {
      if (value.charAt(i) > 0x7f) {
        return new AsciiString(value.toString().getBytes(StandardCharsets.ISO_8859_1), false);
      }
    }
    return value;
  }
}
