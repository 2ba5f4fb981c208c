package io.tailwater.agent.dataplane.account;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// What logrotate and people do with a log file while it is written to.
class FollowedFileTest {
  @TempDir private Path folder;
  private Path path;
  private FollowedFile file;

  @BeforeEach
  void open() throws IOException {
    path = Files.writeString(folder.resolve("access.log"), "earlier\n");
    file = new FollowedFile(path);
  }

  @AfterEach
  void close() throws IOException {
    file.close();
  }

  private void write(String line) throws IOException {
    file.write((line + "\n").getBytes(StandardCharsets.US_ASCII));
  }

  private static List<String> in(Path file) throws IOException {
    return Files.readAllLines(file);
  }

  @Test
  void aFileIsAppendedTo() throws IOException {
    write("one");
    write("two");

    assertThat(in(path)).containsExactly("earlier", "one", "two");
  }

  @Test
  void aFileThatIsMovedAwayIsMadeAnew() throws IOException {
    write("one");
    Path moved = Files.move(path, folder.resolve("access.log.1"));
    write("two");

    assertThat(in(moved)).containsExactly("earlier", "one");
    assertThat(in(path)).containsExactly("two");
  }

  @Test
  void aFileThatAnotherWasPutInThePlaceOfIsLeftForThatOne() throws IOException {
    Path moved = Files.move(path, folder.resolve("access.log.1"));
    Files.writeString(path, "of logrotate\n");
    write("one");
    Files.delete(path);
    Files.writeString(path, "");
    write("two");

    assertThat(in(moved)).containsExactly("earlier");
    assertThat(in(path)).containsExactly("two");
  }

  @Test
  void aFileThatIsCutIsAppendedToFromItsBeginning() throws IOException {
    write("one");
    Files.writeString(path, ""); // copytruncate
    write("two");

    assertThat(in(path)).containsExactly("two");
  }

  @Test
  void whileThePathCannotBeOpenedTheOldFileIsWrittenOn() throws IOException {
    Path moved = Files.move(path, folder.resolve("access.log.1"));
    Files.createDirectory(path);
    write("one");
    Files.delete(path);
    write("two");

    assertThat(in(moved)).containsExactly("earlier", "one");
    assertThat(in(path)).containsExactly("two");
  }

  @Test
  void aLinkIsFollowedToWhereItLeads() throws IOException {
    Path other = folder.resolve("other.log");
    Files.delete(path);
    Files.createSymbolicLink(path, other);
    write("one");
    assertThat(in(other)).containsExactly("one");
  }

  @Test
  void manyRotationsLeaveOneFileOpenAndAnIdleOneIsLetGo() throws IOException {
    for (int i = 0; i < 20; i++) {
      Files.move(path, folder.resolve("access.log." + i));
      write("line " + i);
    }
    assertThat(openFiles()).containsExactly(path.toString());

    Files.delete(path);
    file.flush();
    assertThat(openFiles()).containsExactly(path.toString());
  }

  @Test
  void aFileThatCannotBeOpenedAtFirstIsAnError() {
    assertThatThrownBy(() -> new FollowedFile(folder.resolve("missing/access.log")))
        .isInstanceOf(IOException.class);
  }

  /// Of this process, in the folder; removed ones carry a remark.
  private List<String> openFiles() throws IOException {
    try (Stream<Path> all = Files.list(Path.of("/proc/self/fd"))) {
      return all.map(FollowedFileTest::target)
          .filter(target -> target.startsWith(folder.toString()))
          .toList();
    }
  }

  private static String target(Path descriptor) {
    try {
      return Files.readSymbolicLink(descriptor).toString();
    } catch (IOException _) {
      return ""; // that of the listing itself
    }
  }
}
