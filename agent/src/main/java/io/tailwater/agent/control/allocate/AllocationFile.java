package io.tailwater.agent.control.allocate;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.CidrBlock;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Keeps allocated addresses over restarts: `addresses.json` in the state folder, written whole or
/// not at all, before the table that has the addresses is published. It may be deleted at any time
/// and is written again at the next change of policy. A file that cannot be read is put aside and
/// said. One thread at a time.
public final class AllocationFile implements AddressAllocator.Store {
  private static final Logger LOG = LoggerFactory.getLogger(AllocationFile.class);
  private static final JsonFactory JSON =
      JsonFactory.builder()
          .streamReadConstraints(
              StreamReadConstraints.builder().maxStringLength(1024).maxNestingDepth(8).build())
          .build();

  private final Path file;
  private Map<AddressAllocator.Host, Integer> written = Map.of();
  private boolean failing;
  private volatile boolean handedOver;

  public AllocationFile(Path stateDir) {
    this.file = stateDir.resolve("addresses.json");
  }

  @Override
  public Map<AddressAllocator.Host, Integer> load() {
    Map<AddressAllocator.Host, Integer> out = new LinkedHashMap<>();
    try (JsonParser json = JSON.createParser(Files.newInputStream(file))) {
      if (json.nextToken() != JsonToken.START_ARRAY) {
        throw new IOException("is not a list");
      }
      JsonToken token = json.nextToken();
      for (; token == JsonToken.START_OBJECT; token = json.nextToken()) {
        read(json, out);
      }
      if (token != JsonToken.END_ARRAY) {
        throw new IOException("the list has no end");
      }
    } catch (NoSuchFileException _) {
      // The first start.
    } catch (IOException e) {
      out.clear();
      Path aside = file.resolveSibling("addresses.json.unreadable");
      LOG.error(
          "stateDir: {} cannot be read ({}); put aside as {}, addresses are allocated anew",
          file,
          e.toString(),
          aside);
      try {
        Files.move(file, aside, StandardCopyOption.REPLACE_EXISTING);
      } catch (IOException _) {
        // Then it is overwritten.
      }
    }
    return out;
  }

  private static void read(JsonParser json, Map<AddressAllocator.Host, Integer> out)
      throws IOException {
    Map<String, String> texts = new HashMap<>();
    while (json.nextToken() == JsonToken.FIELD_NAME) {
      String name = json.currentName();
      json.nextToken();
      texts.put(name, json.getText());
    }
    String namespace = texts.getOrDefault("namespace", "");
    String host = texts.getOrDefault("host", "");
    int number =
        CidrBlock.parseAddress(texts.getOrDefault("v4", ""))
            .map(address -> AddressBlocks.number(address).orElse(0))
            .orElse(0);
    if (namespace.isEmpty() || host.isEmpty() || number == 0) {
      throw new IOException("an item has no namespace, host or address of " + AddressBlocks.V4);
    }
    out.put(new AddressAllocator.Host(namespace, host), number);
  }

  /// Whether the file is another agent's now: nothing is written then.
  public void handOver(boolean toAnother) {
    handedOver = toAnother;
  }

  @Override
  public void save(Map<AddressAllocator.Host, Integer> numbers) {
    if (handedOver) {
      return;
    }
    // Equal maps may differ in who is gone longest, which is not worth a write.
    if (numbers.equals(written) && (numbers.isEmpty() || Files.exists(file))) {
      return;
    }
    Path next = file.resolveSibling("addresses.json.next");
    try {
      Files.createDirectories(file.getParent());
      try (JsonGenerator json = JSON.createGenerator(Files.newOutputStream(next))) {
        json.writeStartArray();
        for (Map.Entry<AddressAllocator.Host, Integer> one : numbers.entrySet()) {
          json.writeStartObject();
          json.writeStringField("namespace", one.getKey().namespace());
          json.writeStringField("host", one.getKey().host());
          json.writeStringField("v4", AddressText.of(AddressBlocks.v4(one.getValue())));
          json.writeStringField("v6", AddressText.of(AddressBlocks.v6(one.getValue())));
          json.writeEndObject();
          json.writeRaw('\n');
        }
        json.writeEndArray();
      }
      try (FileChannel channel = FileChannel.open(next, StandardOpenOption.WRITE)) {
        channel.force(true);
      }
      Files.move(next, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      written = Map.copyOf(numbers);
      failing = false;
    } catch (IOException e) {
      if (!failing) {
        LOG.warn("stateDir: allocated addresses cannot be kept in {}: {}", file, e.toString());
      }
      failing = true;
    }
  }
}
