package io.tailwater.agent.control.allocate;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class AllocationFileTest {
  private static final Map<AddressAllocator.Host, Integer> TWO =
      Map.of(
          new AddressAllocator.Host("shop", "db.example"), 1,
          new AddressAllocator.Host("shop", "*.wide.example"), 300);

  @TempDir private Path folder;

  @Test
  void whatWasSavedIsLoaded() throws IOException {
    new AllocationFile(folder).save(TWO);

    assertThat(new AllocationFile(folder).load()).isEqualTo(TWO);
    assertThat(Files.readString(folder.resolve("addresses.json")))
        .contains("\"v4\":\"240.240.1.44\"")
        .contains("\"v6\":\"2001:2::12c\"");
    assertThat(folder).isDirectoryNotContaining("glob:**.next");
  }

  @Test
  void theFirstStartFindsNothing() {
    assertThat(new AllocationFile(folder.resolve("absent")).load()).isEmpty();
  }

  @Test
  void aDeletedFolderIsMadeAgainThoughNothingChanged() throws IOException {
    Path state = folder.resolve("state");
    AllocationFile file = new AllocationFile(state);
    file.save(TWO);
    Files.delete(state.resolve("addresses.json"));
    Files.delete(state);

    file.save(TWO);

    assertThat(new AllocationFile(state).load()).isEqualTo(TWO);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "{}",
        "[{\"namespace\":\"shop\"",
        "[{\"namespace\":\"shop\",\"host\":\"a.example\",\"v4\":\"240.240.0.1\"}",
        "[{\"namespace\":\"shop\",\"host\":\"a.example\",\"v4\":\"10.0.0.1\"}]",
        "[{\"namespace\":\"shop\",\"host\":\"a.example\",\"v4\":{\"v4\":\"240.240.0.1\"}}]",
        "[{\"host\":\"a.example\",\"v4\":\"240.240.0.1\"}]",
      })
  void whatCannotBeReadIsPutAside(String text) throws IOException {
    Path path = folder.resolve("addresses.json");
    Files.writeString(path, text);

    assertThat(new AllocationFile(folder).load()).isEmpty();

    assertThat(path).doesNotExist();
    assertThat(folder.resolve("addresses.json.unreadable")).hasContent(text);
  }

  @Test
  void aFolderThatCannotBeMadeLeavesTheAddressesInForce() throws IOException {
    Path taken = folder.resolve("file");
    Files.writeString(taken, "");

    new AllocationFile(taken.resolve("below")).save(TWO);

    assertThat(taken).hasContent("");
  }
}
