package io.tailwater.iptables.netns;

import java.io.IOException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;

/// The named namespaces of a folder, as `ip netns` and container runtimes keep them. Any thread.
public final class Namespaces {
  /// Where `ip netns add` puts them.
  public static final Path RUN_NETNS = Path.of("/run/netns");

  private Namespaces() {}

  /// The network namespaces in a folder by file name. Files that are something else, or vanish
  /// meanwhile, are left out: they are what a namespace looks like while it is made or removed. An
  /// absent folder has none.
  public static SortedMap<String, NetnsId> in(Path folder) throws IOException {
    SortedMap<String, NetnsId> found = new TreeMap<>();
    try (DirectoryStream<Path> files = Files.newDirectoryStream(folder)) {
      for (Path file : files) {
        identity(file).ifPresent(id -> found.put(file.getFileName().toString(), id));
      }
    } catch (NoSuchFileException e) {
      return found;
    } catch (NotDirectoryException e) {
      throw new IOException(folder + " is not a folder", e);
    } catch (DirectoryIteratorException e) {
      throw e.getCause();
    }
    return found;
  }

  private static Optional<NetnsId> identity(Path file) {
    try (NetworkNamespace namespace = NetworkNamespace.open(file)) {
      return Optional.of(namespace.id());
    } catch (NetnsException e) {
      return Optional.empty();
    }
  }
}
