package io.tailwater.agent.dataplane.account;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.json.JsonWriteFeature;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.Direction;
import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.util.Locale;
import java.util.Optional;

/// One record as one line. ztunnel's fields in its order, then ours. Nothing that a client sent can
/// end the line or fake a field: quotes, backslashes and everything that is not printable ASCII are
/// escaped.
///
/// Text, with tabs between the five parts: `TIME info access connection complete src.addr=...
/// src.workload="..." ... reason="..."`
final class AccessLine {
  private static final JsonFactory JSON =
      JsonFactory.builder().configure(JsonWriteFeature.ESCAPE_NON_ASCII, true).build();

  /// Longest text of one field; a line stays well below a page.
  private static final int LONGEST = 512;

  private AccessLine() {}

  /// Takes the fields, in their order.
  private interface Fields {
    /// An address, or a word of ours: bare in text.
    void bare(String name, String text);

    void yes(String name);

    void amount(String name, long number);

    /// Anything, quoted in text.
    void quoted(String name, String text);

    default void quoted(String name, Optional<String> text) {
      if (text.isPresent()) {
        String t = text.get();
        quoted(name, t.length() > LONGEST ? t.substring(0, LONGEST) + "..." : t);
      }
    }
  }

  private static void tell(AccessRecord r, Fields out) {
    ConnectionRecord c = r.connection();
    out.bare("src.addr", c.client().toString());
    boolean outbound = c.direction() == Direction.OUTBOUND;
    if (outbound) {
      out.quoted("src.workload", c.pod().ref().name());
      out.quoted("src.namespace", c.pod().namespace());
    }
    String original = c.dst().toString();
    String upstream = r.upstream(original);
    out.bare("dst.addr", upstream.isEmpty() ? original : upstream);
    out.quoted("dst.service", r.service());
    if (!outbound) {
      out.quoted("dst.workload", c.pod().ref().name());
      out.quoted("dst.namespace", c.pod().namespace());
    }
    out.quoted("direction", c.direction().text());
    out.amount("bytes_sent", c.bytesSent());
    out.amount("bytes_recv", c.bytesReceived());
    if (c.byteCount() != ByteCount.EXACT) {
      out.bare("bytes", c.byteCount().name().toLowerCase(Locale.ROOT));
    }
    out.quoted("duration", r.duration().toMillis() + "ms");
    out.quoted("error", r.error());
    out.bare("original_dst", original);
    switch (c.preface()) {
      case Preface.Tls tls -> {
        out.quoted("sni", tls.sni().text());
        if (tls.ech()) {
          out.yes("ech");
        }
      }
      case Preface.MalformedTls malformed -> out.quoted("sni", malformed.shownName());
      case Preface.Http http -> out.quoted("host", http.host().map(h -> h.text()));
      case Preface.TlsWithoutName _, Preface.Opaque _, Preface.Silent _ -> {}
    }
    if (!c.told().isEmpty()) {
      out.quoted("dns_name", Optional.of(c.told().getFirst().text()));
    }
    if (c.mismatched()) {
      out.yes("dns_mismatch");
    }
    if (c.exchange().isPresent()) {
      HttpExchange http = c.exchange().get();
      out.quoted("method", Optional.of(http.method()).filter(m -> !m.isEmpty()));
      out.quoted("path", Optional.of(http.path()).filter(p -> !p.isEmpty()));
      out.quoted("protocol", http.protocol());
      out.amount("response_code", http.status());
    }
    out.quoted("cluster", r.cluster());
    if (!upstream.isEmpty()) {
      out.bare("resolved_addr", upstream);
    }
    out.quoted("grade", c.grade().map(g -> g.text()));
    if (outbound) {
      out.quoted("mode", r.modeText());
    }
    out.quoted("reason", r.reason());
    if (r.wouldBlock()) {
      out.yes("would_block");
    }
  }

  /// Appends the line in the wanted format, without its end.
  static void append(StringBuilder out, AccessRecord r, AccessLogConfig.Format format) {
    switch (format) {
      case TEXT -> text(out, r);
      case JSON -> out.append(json(r));
    }
  }

  private static void text(StringBuilder out, AccessRecord r) {
    time(out, r.at());
    out.append('\t').append(r.level()).append("\taccess\t");
    out.append(r.message()).append('\t');
    tell(r, new Text(out));
  }

  /// `name=value`, a space between them.
  private record Text(StringBuilder out) implements Fields {
    private StringBuilder field(String name) {
      if (out.charAt(out.length() - 1) != '\t') {
        out.append(' ');
      }
      return out.append(name).append('=');
    }

    @Override
    public void bare(String name, String text) {
      field(name).append(text);
    }

    @Override
    public void yes(String name) {
      field(name).append(true);
    }

    @Override
    public void amount(String name, long number) {
      field(name).append(number);
    }

    @Override
    public void quoted(String name, String text) {
      field(name).append('"');
      int from = 0; // what needs no escape goes in one piece
      for (int i = 0; i < text.length(); i++) {
        char c = text.charAt(i);
        if (c < ' ' || c > '~' || c == '"' || c == '\\') {
          out.append(text, from, i);
          escape(c);
          from = i + 1;
        }
      }
      out.append(text, from, text.length()).append('"');
    }

    private void escape(char c) {
      if (c == '"' || c == '\\') {
        out.append('\\').append(c);
      } else {
        out.append(String.format("\\u%04x", (int) c));
      }
    }
  }

  private static String json(AccessRecord r) {
    StringWriter out = new StringWriter(512);
    try (JsonGenerator json = JSON.createGenerator(out)) {
      json.writeStartObject();
      json.writeStringField("level", r.level());
      StringBuilder at = new StringBuilder(27);
      time(at, r.at());
      json.writeStringField("time", at.toString());
      json.writeStringField("scope", "access");
      json.writeStringField("message", r.message());
      tell(r, new Json(json));
      json.writeEndObject();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return out.toString();
  }

  /// Members of the object that is being written.
  private record Json(JsonGenerator json) implements Fields {
    @Override
    public void bare(String name, String text) {
      quoted(name, text);
    }

    @Override
    public void yes(String name) {
      try {
        json.writeBooleanField(name, true);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    @Override
    public void amount(String name, long number) {
      try {
        json.writeNumberField(name, number);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    @Override
    public void quoted(String name, String text) {
      try {
        json.writeStringField(name, text);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  private static void time(StringBuilder out, Instant at) {
    // By hand: this is done for every connection, and the formatter costs as much as the rest of
    // the line.
    LocalDateTime t =
        LocalDateTime.ofEpochSecond(at.getEpochSecond(), at.getNano(), ZoneOffset.UTC);
    digits(out, t.getYear(), 4).append('-');
    digits(out, t.getMonthValue(), 2).append('-');
    digits(out, t.getDayOfMonth(), 2).append('T');
    digits(out, t.getHour(), 2).append(':');
    digits(out, t.getMinute(), 2).append(':');
    digits(out, t.getSecond(), 2).append('.');
    digits(out, t.getNano() / 1000, 6).append('Z');
  }

  private static StringBuilder digits(StringBuilder out, int number, int width) {
    int end = out.length() + width;
    out.setLength(end);
    int rest = number;
    for (int at = end - 1; at >= end - width; at--) {
      out.setCharAt(at, (char) ('0' + rest % 10));
      rest /= 10;
    }
    return out;
  }
}
