package io.tailwater.perf.report;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import io.tailwater.perf.bench.Plan;
import io.tailwater.perf.bench.Sample;
import io.tailwater.perf.peer.Contestant;
import java.io.IOException;
import java.io.StringWriter;
import java.util.List;

/// The raw data of a run as JSON: every sample of every round, so that others can sum up
/// differently.
final class ResultJson {
  private ResultJson() {}

  static String write(
      Machine machine, Plan plan, List<Contestant> contestants, List<Sample> samples)
      throws IOException {
    StringWriter text = new StringWriter();
    try (JsonGenerator json = new JsonFactory().createGenerator(text).useDefaultPrettyPrinter()) {
      json.writeStartObject();
      json.writeObjectFieldStart("machine");
      json.writeStringField("cpu", machine.cpu());
      json.writeNumberField("cores", machine.cores());
      json.writeNumberField("memoryMb", machine.memoryMb());
      json.writeStringField("kernel", machine.kernel());
      json.writeStringField("java", machine.java());
      json.writeStringField("commit", machine.commit());
      json.writeStringField("when", machine.when().toString());
      json.writeNumberField("loadAverageBefore", machine.load());
      json.writeEndObject();
      json.writeObjectFieldStart("plan");
      json.writeNumberField("rounds", plan.rounds());
      json.writeNumberField("millis", plan.millis());
      json.writeNumberField("bulkBytes", plan.bulkBytes());
      json.writeNumberField("connections", plan.connections());
      json.writeNumberField("held", plan.held());
      json.writeNumberField("messageBytes", Plan.MESSAGE);
      json.writeNumberField("streams", Plan.STREAMS);
      json.writeEndObject();
      json.writeArrayFieldStart("contestants");
      for (Contestant contestant : contestants) {
        json.writeStartObject();
        json.writeStringField("name", contestant.name());
        json.writeStringField("version", contestant.version());
        json.writeEndObject();
      }
      json.writeEndArray();
      json.writeArrayFieldStart("samples");
      for (Sample sample : samples) {
        json.writeStartObject();
        json.writeNumberField("round", sample.round());
        json.writeStringField("contestant", sample.contestant());
        json.writeStringField(
            "measure", sample.measure().name().toLowerCase(java.util.Locale.ROOT));
        json.writeNumberField("value", sample.value());
        json.writeEndObject();
      }
      json.writeEndArray();
      json.writeEndObject();
    }
    return text.append('\n').toString();
  }
}
