package io.tailwater.agent.dataplane.account;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.json.JsonWriteFeature;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.Direction;
import io.tailwater.agent.traffic.Pod;
import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
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

  /// A value with how it is written in text: addresses and numbers bare, strings quoted.
  private sealed interface Value {
    record Bare(String text) implements Value {}

    record Amount(long number) implements Value {}

    record Quoted(String text) implements Value {}
  }

  private static Map<String, Value> fields(AccessRecord r) {
    ConnectionRecord c = r.connection();
    Map<String, Value> out = new LinkedHashMap<>();
    out.put("src.addr", new Value.Bare(c.client().toString()));
    boolean outbound = c.direction() == Direction.OUTBOUND;
    if (outbound) {
      workload(out, "src", c.pod());
    }
    out.put("dst.addr", new Value.Bare(r.dst()));
    quoted(out, "dst.service", r.service());
    if (!outbound) {
      workload(out, "dst", c.pod());
    }
    out.put("direction", new Value.Quoted(c.direction().text()));
    out.put("bytes_sent", new Value.Amount(c.bytesSent()));
    out.put("bytes_recv", new Value.Amount(c.bytesReceived()));
    if (c.byteCount() != ByteCount.EXACT) {
      out.put("bytes", new Value.Bare(c.byteCount().name().toLowerCase(Locale.ROOT)));
    }
    out.put("duration", new Value.Quoted(r.duration().toMillis() + "ms"));
    quoted(out, "error", r.error());
    out.put("original_dst", new Value.Bare(c.dst().toString()));
    switch (c.preface()) {
      case Preface.Tls tls -> {
        out.put("sni", new Value.Quoted(tls.sni().text()));
        if (tls.ech()) {
          out.put("ech", new Value.Bare("true"));
        }
      }
      case Preface.MalformedTls malformed -> quoted(out, "sni", malformed.shownName());
      case Preface.Http http -> quoted(out, "host", http.host().map(h -> h.text()));
      case Preface.TlsWithoutName _, Preface.Opaque _, Preface.Silent _ -> {}
    }
    if (!c.told().isEmpty()) {
      quoted(out, "dns_name", Optional.of(c.told().getFirst().text()));
    }
    if (c.mismatched()) {
      out.put("dns_mismatch", new Value.Bare("true"));
    }
    c.exchange()
        .ifPresent(http -> {
          quoted(out, "method", Optional.of(http.method()).filter(m -> !m.isEmpty()));
          quoted(out, "path", Optional.of(http.path()).filter(p -> !p.isEmpty()));
          out.put("protocol", new Value.Quoted(http.protocol()));
          out.put("response_code", new Value.Amount(http.status()));
        });
    quoted(out, "cluster", r.cluster());
    c.upstream().ifPresent(a -> out.put("resolved_addr", new Value.Bare(AccessRecord.text(a))));
    quoted(out, "grade", c.grade().map(g -> g.text()));
    if (outbound) {
      out.put("mode", new Value.Quoted(r.modeText()));
    }
    quoted(out, "reason", r.reason());
    if (r.wouldBlock()) {
      out.put("would_block", new Value.Bare("true"));
    }
    return out;
  }

  private static void workload(Map<String, Value> out, String side, Pod pod) {
    out.put(side + ".workload", new Value.Quoted(pod.ref().name()));
    out.put(side + ".namespace", new Value.Quoted(pod.namespace()));
  }

  private static void quoted(Map<String, Value> out, String name, Optional<String> value) {
    value.ifPresent(v ->
        out.put(
            name, new Value.Quoted(v.length() > LONGEST ? v.substring(0, LONGEST) + "..." : v)));
  }

  /// The line in the wanted format, without its end.
  static String of(AccessRecord r, AccessLogConfig.Format format) {
    return switch (format) {
      case TEXT -> text(r);
      case JSON -> json(r);
    };
  }

  private static String text(AccessRecord r) {
    StringBuilder out = new StringBuilder(512);
    out.append(time(r.at())).append('\t').append(r.level()).append("\taccess\t");
    out.append(r.message()).append('\t');
    boolean first = true;
    for (Map.Entry<String, Value> field : fields(r).entrySet()) {
      if (!first) {
        out.append(' ');
      }
      first = false;
      out.append(field.getKey()).append('=');
      switch (field.getValue()) {
        case Value.Bare(String text) -> out.append(text);
        case Value.Amount(long number) -> out.append(number);
        case Value.Quoted(String text) -> quote(out, text);
      }
    }
    return out.toString();
  }

  private static void quote(StringBuilder out, String text) {
    out.append('"');
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (c == '"' || c == '\\') {
        out.append('\\').append(c);
      } else if (c < ' ' || c > '~') {
        out.append(String.format("\\u%04x", (int) c));
      } else {
        out.append(c);
      }
    }
    out.append('"');
  }

  private static String json(AccessRecord r) {
    StringWriter out = new StringWriter(512);
    try (JsonGenerator json = JSON.createGenerator(out)) {
      json.writeStartObject();
      json.writeStringField("level", r.level());
      json.writeStringField("time", time(r.at()));
      json.writeStringField("scope", "access");
      json.writeStringField("message", r.message());
      for (Map.Entry<String, Value> field : fields(r).entrySet()) {
        switch (field.getValue()) {
          case Value.Bare(String text) when text.equals("true") ->
              json.writeBooleanField(field.getKey(), true);
          case Value.Bare(String text) -> json.writeStringField(field.getKey(), text);
          case Value.Amount(long number) -> json.writeNumberField(field.getKey(), number);
          case Value.Quoted(String text) -> json.writeStringField(field.getKey(), text);
        }
      }
      json.writeEndObject();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return out.toString();
  }

  private static String time(Instant at) {
    // By hand: this is done for every connection, and the formatter costs as much as the rest of
    // the line.
    LocalDateTime t =
        LocalDateTime.ofEpochSecond(at.getEpochSecond(), at.getNano(), ZoneOffset.UTC);
    StringBuilder out = new StringBuilder(27);
    digits(out, t.getYear(), 4).append('-');
    digits(out, t.getMonthValue(), 2).append('-');
    digits(out, t.getDayOfMonth(), 2).append('T');
    digits(out, t.getHour(), 2).append(':');
    digits(out, t.getMinute(), 2).append(':');
    digits(out, t.getSecond(), 2).append('.');
    return digits(out, t.getNano() / 1000, 6).append('Z').toString();
  }

  private static StringBuilder digits(StringBuilder out, int number, int width) {
    for (int unit = (int) Math.pow(10, width - 1); unit > 0; unit /= 10) {
      out.append((char) ('0' + number / unit % 10));
    }
    return out;
  }
}
