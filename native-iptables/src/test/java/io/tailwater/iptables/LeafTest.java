package io.tailwater.iptables;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.classfile.ClassFile;
import java.lang.classfile.ClassModel;
import java.lang.classfile.constantpool.ClassEntry;
import java.lang.constant.ClassDesc;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;

/// Reads the compiled classes: this module is a leaf, and inside it imports point one way.
class LeafTest {
  private static final String ROOT = "io.tailwater.iptables.";

  /// Bottom to top.
  private static final List<String> ROOMS =
      List.of("libc", "netns", "netlink", "tproxy", "rule", "queue", "apply");

  @Test
  void moduleKnowsNeitherNettyNorTheAgent() throws IOException {
    uses()
        .forEach((type, used) ->
            assertThat(used)
                .as(type)
                .noneMatch(name -> name.startsWith("io.netty."))
                .noneMatch(name -> name.startsWith("io.tailwater.") && !name.startsWith(ROOT)));
  }

  @Test
  void roomsKnowOnlyTheRoomsBelow() throws IOException {
    Map<String, Set<String>> uses = uses();

    assertThat(uses).hasSizeGreaterThan(30);
    uses.forEach((type, used) -> {
      int own = ROOMS.indexOf(room(type));
      assertThat(own).as(type + " is in a known room").isNotNegative();
      assertThat(used.stream().filter(name -> name.startsWith(ROOT)))
          .as(type)
          .allMatch(name -> ROOMS.indexOf(room(name)) <= own);
    });
  }

  @Test
  void rulesArePure() throws IOException {
    uses()
        .forEach((type, used) -> {
          if (room(type).equals("rule")) {
            assertThat(used)
                .as(type)
                .noneMatch(name -> name.startsWith("java.io.") || name.startsWith("java.nio.file."))
                .noneMatch(name -> name.startsWith(ROOT) && !room(name).equals("rule"))
                .doesNotContain(
                    "java.lang.Process", "java.lang.ProcessBuilder", "java.lang.Thread");
          }
        });
  }

  private static String room(String type) {
    String rest = type.substring(ROOT.length());
    int dot = rest.indexOf('.');
    return dot < 0 ? "" : rest.substring(0, dot);
  }

  private static Map<String, Set<String>> uses() throws IOException {
    Map<String, Set<String>> uses = new TreeMap<>();
    try (Stream<Path> files = Files.walk(Path.of("target/classes"))) {
      for (Path file : files.filter(path -> path.toString().endsWith(".class")).toList()) {
        ClassModel model = ClassFile.of().parse(file);
        Set<String> used = new TreeSet<>();
        StreamSupport.stream(model.constantPool().spliterator(), false)
            .filter(ClassEntry.class::isInstance)
            .map(entry -> elementName(((ClassEntry) entry).asSymbol()))
            .forEach(used::add);
        uses.put(elementName(model.thisClass().asSymbol()), used);
      }
    }
    return uses;
  }

  private static String elementName(ClassDesc type) {
    ClassDesc element = type;
    while (element.isArray()) {
      element = element.componentType();
    }
    return element.isPrimitive()
        ? element.displayName()
        : element.packageName() + "." + element.displayName();
  }
}
