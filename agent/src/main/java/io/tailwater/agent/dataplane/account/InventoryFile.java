package io.tailwater.agent.dataplane.account;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import io.tailwater.agent.traffic.PodRef;
import java.io.IOException;
import java.io.InputStream;
import java.nio.channels.FileChannel;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.DateTimeException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Keeps the inventory over restarts: `inventory.json` in the state folder, written anew every
/// minute and at exit, whole or not at all. Its own thread. When another agent takes over
/// ([#handOver]) the file is that agent's; what this one still sees goes to a file beside it, which
/// the other one takes in. A file that cannot be read is put aside and said; the inventory then
/// starts empty.
public final class InventoryFile implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(InventoryFile.class);
  private static final JsonFactory JSON =
      JsonFactory.builder()
          .streamReadConstraints(
              StreamReadConstraints.builder().maxStringLength(1024).maxNestingDepth(8).build())
          .build();

  /// What another agent leaves: its number follows.
  private static final String BESIDE = "inventory.json.of-";

  private final Inventory inventory;
  private final Path file;
  private final Thread thread;
  private volatile boolean closing;

  /// What the other agent has read; null while there is none.
  private @Nullable List<Inventory.Called> handedOver;

  private boolean failing;

  /// Reads what is there and starts to write every minute.
  public InventoryFile(Inventory inventory, Path stateDir) {
    this.inventory = inventory;
    this.file = stateDir.resolve("inventory.json");
    load();
    this.thread = Thread.ofPlatform().name("inventory").daemon(true).unstarted(this::run);
    thread.start();
  }

  private void run() {
    while (!closing) {
      try {
        TimeUnit.MINUTES.sleep(1);
      } catch (InterruptedException _) {
        // Only close() interrupts.
      }
      if (!closing) {
        save();
      }
    }
  }

  /// Writes everything, and from now on nothing: another agent reads the file and goes on with it.
  public synchronized void handOver() {
    save();
    handedOver = inventory.all();
  }

  /// The other agent went away: as before.
  public synchronized void takeBack() {
    handedOver = null;
  }

  /// Writes a last time.
  @Override
  public void close() {
    closing = true;
    thread.interrupt();
    try {
      thread.join(2000);
    } catch (InterruptedException _) {
      Thread.currentThread().interrupt();
    }
    save();
  }

  private synchronized void save() {
    try {
      Files.createDirectories(file.getParent());
      List<Inventory.Called> others = handedOver;
      if (others == null) {
        List<Path> takenIn = takeIn();
        write(inventory.all(), file);
        for (Path taken : takenIn) {
          Files.deleteIfExists(taken);
        }
      } else if (closing) {
        List<Inventory.Called> rest = inventory.since(others);
        if (!rest.isEmpty()) {
          write(rest, file.resolveSibling(BESIDE + ProcessHandle.current().pid()));
        }
      }
      failing = false;
    } catch (IOException e) {
      if (!failing) {
        LOG.warn("stateDir: the inventory cannot be kept in {}: {}", file, e.toString());
      }
      failing = true;
    }
  }

  /// What agents before this one have seen at their end.
  private List<Path> takeIn() throws IOException {
    List<Path> found = new ArrayList<>();
    try (DirectoryStream<Path> files = Files.newDirectoryStream(file.getParent(), BESIDE + "*")) {
      files.forEach(found::add);
    }
    for (Path beside : found) {
      try {
        read(Files.newInputStream(beside)).forEach(inventory::restore);
      } catch (IOException e) {
        LOG.error("stateDir: {} cannot be read ({}); removed", beside, e.toString());
      }
    }
    return found;
  }

  private static void write(List<Inventory.Called> all, Path to) throws IOException {
    Path next = to.resolveSibling(to.getFileName() + ".next");
    try (JsonGenerator json = JSON.createGenerator(Files.newOutputStream(next))) {
      json.writeStartArray();
      for (Inventory.Called called : all) {
        write(json, called);
      }
      json.writeEndArray();
    }
    try (FileChannel channel = FileChannel.open(next, StandardOpenOption.WRITE)) {
      channel.force(true);
    }
    Files.move(next, to, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
  }

  private static void write(JsonGenerator json, Inventory.Called called) throws IOException {
    json.writeStartObject();
    json.writeStringField("namespace", called.pod().namespace());
    json.writeStringField("pod", called.pod().name());
    json.writeStringField("name", called.name());
    json.writeNumberField("port", called.port());
    json.writeStringField("protocol", called.protocol().name());
    json.writeNumberField("count", called.count());
    json.writeNumberField("refused", called.refused());
    json.writeStringField("first", called.first().toString());
    json.writeStringField("last", called.last().toString());
    json.writeEndObject();
    json.writeRaw('\n');
  }

  private void load() {
    try {
      read(Files.newInputStream(file)).forEach(inventory::restore);
    } catch (NoSuchFileException _) {
      // The first start.
    } catch (IOException e) {
      Path aside = file.resolveSibling("inventory.json.unreadable");
      LOG.error("stateDir: {} cannot be read ({}); put aside as {}", file, e.toString(), aside);
      try {
        Files.move(file, aside, StandardCopyOption.REPLACE_EXISTING);
      } catch (IOException _) {
        // Then it is overwritten.
      }
    }
  }

  /// What a file or the page `/inventory?format=json` holds; closes it.
  ///
  /// @throws IOException with what is wrong with it
  public static List<Inventory.Called> read(InputStream from) throws IOException {
    List<Inventory.Called> out = new ArrayList<>();
    try (JsonParser json = JSON.createParser(from)) {
      if (json.nextToken() != JsonToken.START_ARRAY) {
        throw new IOException("is not a list");
      }
      JsonToken token = json.nextToken();
      for (; token == JsonToken.START_OBJECT; token = json.nextToken()) {
        out.add(read(json));
      }
      if (token != JsonToken.END_ARRAY) {
        throw new IOException("the list has no end");
      }
    } catch (IllegalArgumentException | DateTimeException e) {
      throw new IOException(e.toString(), e);
    }
    return out;
  }

  private static Inventory.Called read(JsonParser json) throws IOException {
    Map<String, String> texts = new HashMap<>();
    while (json.nextToken() == JsonToken.FIELD_NAME) {
      String name = json.currentName();
      json.nextToken();
      texts.put(name, json.getText());
    }
    return new Inventory.Called(
        new PodRef(text(texts, "namespace"), text(texts, "pod")),
        text(texts, "name"),
        Integer.parseInt(text(texts, "port")),
        Inventory.Protocol.valueOf(text(texts, "protocol").toUpperCase(Locale.ROOT)),
        Long.parseLong(text(texts, "count")),
        Long.parseLong(text(texts, "refused")),
        Instant.parse(text(texts, "first")),
        Instant.parse(text(texts, "last")));
  }

  private static String text(Map<String, String> texts, String name) throws IOException {
    String value = texts.get(name);
    if (value == null) {
      throw new IOException(name + " is missing");
    }
    return value;
  }
}
