package io.tailwater.agent;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.classfile.ClassFile;
import java.lang.classfile.ClassModel;
import java.lang.classfile.constantpool.ClassEntry;
import java.lang.classfile.constantpool.PoolEntry;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/// The direction of imports, read from the compiled classes. A room may use the rooms that stand
/// before it in [#ROOMS], and no other.
class LayersTest {
  private static final Path CLASSES = Path.of("target/classes");
  private static final String ROOT = "io.tailwater.agent.";

  /// Bottom to top.
  private static final List<String> ROOMS =
      List.of(
          "traffic",
          "dataplane.transport",
          "dataplane.sniff",
          "dataplane.route",
          "dataplane.resolve",
          "dataplane.upstream",
          "dataplane.tls",
          "dataplane.accept",
          "dataplane.connect",
          "dataplane.relay",
          "dataplane.http",
          "dataplane.account",
          "dataplane.dns",
          "dataplane.flow",
          "dataplane.gate",
          "control.source",
          "control.istio",
          "control.allocate",
          "control.compile",
          "control.capture",
          "config",
          "admin",
          "node",
          "cli");

  @Test
  void importsPointOnlyDown() throws IOException {
    Set<String> uphill = new TreeSet<>();
    for (ClassModel type : classes()) {
      String from = name(type);
      for (String to : references(type)) {
        if (to.startsWith(ROOT) && from.startsWith(ROOT) && room(to) > room(from)) {
          uphill.add(from + " uses " + to);
        }
      }
    }
    assertThat(uphill).as("a room uses one above it").isEmpty();
  }

  @Test
  void everyClassStandsInARoomThatTheOrderKnows() throws IOException {
    Set<String> homeless = new TreeSet<>();
    for (ClassModel type : classes()) {
      String name = name(type);
      if (name.startsWith(ROOT) && room(name) < 0) {
        homeless.add(name);
      }
    }
    assertThat(homeless).isEmpty();
  }

  @Test
  void policyDecidesWithoutNetty() throws IOException {
    Set<String> users = new TreeSet<>();
    for (ClassModel type : classes()) {
      String name = name(type);
      boolean pure =
          name.startsWith(ROOT + "traffic.") || name.startsWith(ROOT + "dataplane.route.");
      if (pure && references(type).stream().anyMatch(to -> to.startsWith("io.netty."))) {
        users.add(name);
      }
    }
    assertThat(users).as("traffic and route are values and pure decisions").isEmpty();
  }

  @Test
  void onlyTransportRelayGateAndCaptureAskTheKernel() throws IOException {
    Set<String> users = new TreeSet<>();
    for (ClassModel type : classes()) {
      boolean asks =
          references(type).stream().anyMatch(to -> to.startsWith("io.tailwater.iptables."));
      String name = name(type);
      if (asks && name.startsWith(ROOT)) {
        users.add(ROOMS.get(room(name)));
      }
    }
    assertThat(users)
        .isSubsetOf(
            "dataplane.transport",
            "dataplane.relay",
            "dataplane.gate",
            "control.capture",
            "node",
            "cli");
  }

  private static int room(String type) {
    String inside = type.substring(ROOT.length());
    for (int i = 0; i < ROOMS.size(); i++) {
      if (inside.startsWith(ROOMS.get(i) + ".")) {
        return i;
      }
    }
    return -1;
  }

  private static String name(ClassModel type) {
    return type.thisClass().asInternalName().replace('/', '.');
  }

  private static List<ClassModel> classes() throws IOException {
    try (Stream<Path> files = Files.walk(CLASSES)) {
      List<ClassModel> models =
          files.filter(f -> f.toString().endsWith(".class")).map(LayersTest::parse).toList();
      assertThat(models)
          .as("compiled classes in " + CLASSES.toAbsolutePath())
          .hasSizeGreaterThan(50);
      return models;
    }
  }

  private static ClassModel parse(Path file) {
    try {
      return ClassFile.of().parse(file);
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  /// Every class named in the constant pool, and those in descriptors.
  private static Set<String> references(ClassModel type) {
    Set<String> found = new TreeSet<>();
    for (PoolEntry entry : type.constantPool()) {
      if (entry instanceof ClassEntry used) {
        found.add(
            used.asInternalName().replace('/', '.').replaceFirst("^\\[+L?", "").replace(";", ""));
      } else if (entry instanceof java.lang.classfile.constantpool.Utf8Entry text
          && text.stringValue().contains("Lio/")) {
        for (String part : text.stringValue().split("[();<>]")) {
          int at = part.indexOf("Lio/");
          if (at >= 0) {
            found.add(part.substring(at + 1).replace('/', '.'));
          }
        }
      }
    }
    return found;
  }
}
