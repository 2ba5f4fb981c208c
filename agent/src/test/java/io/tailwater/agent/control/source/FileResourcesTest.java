package io.tailwater.agent.control.source;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FileResourcesTest {
  @TempDir private Path folder = Path.of("");

  private static String entry(String name) {
    return "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: "
        + name
        + "}\nspec: {}\n";
  }

  private void write(String name, String text) throws IOException {
    Files.createDirectories(folder.resolve(name).getParent());
    Files.writeString(folder.resolve(name), text);
  }

  private static List<String> names(SourceSnapshot snapshot) {
    return snapshot.objects().stream().map(KubeObject::name).toList();
  }

  private static List<String> problems(SourceSnapshot snapshot) {
    return snapshot.problems().stream().map(Problem::toString).toList();
  }

  @Test
  void readsAllBelowAFolderInOrderAndLeavesHiddenNamesOut() throws IOException {
    write("b.yml", entry("b"));
    write("a/x.yaml", entry("a1") + "---\n" + entry("a2"));
    write(
        "c.json",
        "{\n\t\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"c\"}\n}");
    write("note.txt", "no");
    write(".hidden.yaml", "no");
    write("..data/d.yaml", entry("d"));
    SourceSnapshot snapshot = new FileResources(folder).read();
    assertThat(names(snapshot)).containsExactly("a1", "a2", "b", "c");
    assertThat(problems(snapshot)).isEmpty();
  }

  @Test
  void badDocumentIsReportedAndTheOthersGoOn() throws IOException {
    write("a.yaml", entry("good") + "---\nkind: {\n---\nkind: Pod\n---\n[]\n---\n" + entry("also"));
    SourceSnapshot snapshot = new FileResources(folder).read();
    assertThat(names(snapshot)).containsExactly("good", "also");
    assertThat(problems(snapshot))
        .anyMatch(p -> p.contains("a.yaml:") && p.contains("not YAML"))
        .anyMatch(p -> p.contains("apiVersion: is missing"))
        .anyMatch(p -> p.contains("not a list"));
  }

  @Test
  void lastGoodVersionOfABadFileStays() throws IOException {
    FileResources source = new FileResources(folder);
    write("a.yaml", entry("one") + "---\n" + entry("two"));
    write("b.yaml", entry("three"));
    List<KubeObject> before = source.read().objects();
    write("a.yaml", entry("one") + "---\nspec: [\n");
    write("b.yaml", entry("four"));
    SourceSnapshot after = source.read();
    assertThat(names(after)).containsExactlyInAnyOrder("one", "two", "four");
    assertThat(after.objects()).contains(before.get(1));
    assertThat(problems(after))
        .anyMatch(p -> p.startsWith("warning") && p.contains("ServiceEntry/default/two"));
    write("a.yaml", entry("one"));
    assertThat(names(source.read())).containsExactly("one", "four");
  }

  @Test
  void folderThatVanishesKeepsWhatItHeld() throws IOException {
    FileResources source = new FileResources(folder.resolve("p"));
    write("p/a.yaml", entry("one"));
    source.read();
    Files.move(folder.resolve("p"), folder.resolve("q"));
    SourceSnapshot gone = source.read();
    assertThat(names(gone)).containsExactly("one");
    assertThat(problems(gone)).anyMatch(p -> p.contains("no such file or folder"));
  }

  @Test
  void deletedFileTakesItsResourcesWithIt() throws IOException {
    FileResources source = new FileResources(folder);
    write("a.yaml", entry("one"));
    write("b.yaml", entry("two"));
    source.read();
    Files.delete(folder.resolve("a.yaml"));
    assertThat(names(source.read())).containsExactly("two");
  }

  @Test
  void unchangedContentKeepsTheObjects() throws IOException {
    FileResources source = new FileResources(folder);
    write("a.yaml", entry("one"));
    KubeObject first = source.read().objects().getFirst();
    write("a.yaml", entry("one"));
    assertThat(source.read().objects().getFirst()).isSameAs(first);
  }

  @Test
  void notUtf8IsReported() throws IOException {
    Files.write(folder.resolve("a.yaml"), "a: \u00e9".getBytes(StandardCharsets.ISO_8859_1));
    assertThat(problems(new FileResources(folder).read()))
        .singleElement()
        .asString()
        .contains("is not UTF-8");
  }

  @Test
  void listsAreTakenApart() throws IOException {
    write(
        "a.yaml",
        """
        apiVersion: v1
        kind: List
        items:
        - {apiVersion: v1, kind: Namespace, metadata: {name: x}}
        - {apiVersion: v1, kind: Pod, metadata: {name: y}}
        """);
    assertThat(new FileResources(folder).read().objects())
        .extracting(o -> o.key().toString())
        .containsExactly("Namespace/x", "Pod/default/y");
  }

  @Test
  void metadataIsChecked() throws IOException {
    write(
        "a.yaml",
        "apiVersion: v1\n"
            + "kind: Pod\n"
            + "metadata: {name: x, lables: {a: b}, creationTimestamp: yesterday, annotations: {n:"
            + " 1}}\n"
            + "---\n"
            + "apiVersion: v1\n"
            + "kind: Pod\n"
            + "metadata: {name: Not_Valid}\n");
    assertThat(problems(new FileResources(folder).read()))
        .anyMatch(p -> p.contains("metadata.lables: unknown key; did you mean \"labels\"?"))
        .anyMatch(p -> p.contains("metadata.creationTimestamp"))
        .anyMatch(p -> p.contains("metadata.annotations.n: must be a text"))
        .anyMatch(p -> p.contains("Not_Valid"));
  }

  private static SourceSnapshot next(BlockingQueue<SourceSnapshot> queue)
      throws InterruptedException {
    SourceSnapshot snapshot = queue.poll(20, TimeUnit.SECONDS);
    assertThat(snapshot).as("a snapshot in time").isNotNull();
    return snapshot;
  }

  @Test
  void followsWritesAndSymlinkSwaps() throws Exception {
    // The layout of a mounted ConfigMap: file -> ..data/file, ..data -> a folder with a time stamp.
    write("..2026_1/p.yaml", entry("one"));
    write("..2026_2/p.yaml", entry("two"));
    Files.createSymbolicLink(folder.resolve("..data"), Path.of("..2026_1"));
    Files.createSymbolicLink(folder.resolve("p.yaml"), Path.of("..data/p.yaml"));
    BlockingQueue<SourceSnapshot> queue = new ArrayBlockingQueue<>(16);
    try (FileResources source = new FileResources(folder)) {
      source.start(queue::add);
      assertThat(names(next(queue))).containsExactly("one");
      Files.createSymbolicLink(folder.resolve("..tmp"), Path.of("..2026_2"));
      Files.move(
          folder.resolve("..tmp"),
          folder.resolve("..data"),
          java.nio.file.StandardCopyOption.ATOMIC_MOVE);
      assertThat(names(next(queue))).containsExactly("two");
      write("q.yaml", entry("three"));
      assertThat(names(next(queue))).containsExactly("two", "three");
    }
  }

  @Test
  void watchingOutlivesAListenerThatThrowsAndTellsItAgain() throws Exception {
    write("p.yaml", entry("one"));
    BlockingQueue<SourceSnapshot> queue = new ArrayBlockingQueue<>(16);
    AtomicInteger heard = new AtomicInteger();
    try (FileResources source = new FileResources(folder)) {
      source.start(snapshot -> {
        if (heard.incrementAndGet() == 2) {
          throw new IllegalStateException("cannot compile");
        }
        queue.add(snapshot);
      });
      assertThat(names(next(queue))).containsExactly("one");
      write("p.yaml", entry("two"));
      assertThat(names(next(queue))).containsExactly("two");
      assertThat(heard).hasValue(3);
      write("p.yaml", entry("three"));
      assertThat(names(next(queue))).containsExactly("three");
    }
  }

  @Test
  void laterSourceWinsWholeAndSaysSo() throws IOException {
    write("a/x.yaml", entry("one"));
    write("b/x.yaml", entry("one"));
    SourceSnapshot a = new FileResources(folder.resolve("a")).read();
    SourceSnapshot b = new FileResources(folder.resolve("b")).read();
    ResourceSet set = ResourceSet.of(List.of(a, b));
    assertThat(set.all()).containsExactly(b.objects().getFirst());
    assertThat(set.problems())
        .extracting(Problem::toString)
        .singleElement()
        .asString()
        .startsWith("warning")
        .contains("because its source comes later");
  }
}
