package io.tailwater.agent.dataplane.tls;

import io.tailwater.agent.traffic.PodRef;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// What was read to make one context, so that it can be told whether it would be the same again.
/// Used by one thread at a time; blocks on files.
final class Reading {
  /// Debian's bundle of all authorities has 220 KB.
  private static final long LARGEST = 4L << 20;

  private final Credentials credentials;
  private final Map<Path, Optional<Stamp>> files = new LinkedHashMap<>();
  private final Map<Asked, Credentials.Found> secrets = new HashMap<>();
  private final Map<PodRef, Credentials.Found> workloads = new HashMap<>();

  /// What tells one version of a file from the next. The key is the inode: a rotation by symlinks
  /// may keep size and time.
  private record Stamp(long modified, long size, @Nullable Object key, boolean regular) {}

  private record Asked(String namespace, String name) {}

  Reading(Credentials credentials) {
    this.credentials = credentials;
  }

  /// Reads a file that is configured. `what` names the setting.
  String file(String what, String name) throws MaterialException {
    Path path;
    try {
      path = Path.of(name);
    } catch (InvalidPathException e) {
      throw new MaterialException(what + ": \"" + name + "\" is no path", e);
    }
    if (!path.isAbsolute()) {
      throw new MaterialException(what + ": " + name + " is not an absolute path");
    }
    Optional<Stamp> stamp = stamp(path);
    files.put(path, stamp);
    if (stamp.isEmpty()) {
      throw new MaterialException(
          what + ": there is no file " + name + " where the agent runs, or it may not read it");
    }
    if (!stamp.get().regular()) {
      throw new MaterialException(what + ": " + name + " is no regular file");
    }
    if (stamp.get().size() > LARGEST) {
      throw new MaterialException(what + ": " + name + " is larger than 4 MiB");
    }
    try {
      return new String(Files.readAllBytes(path), StandardCharsets.ISO_8859_1);
    } catch (NoSuchFileException | AccessDeniedException e) {
      throw new MaterialException(what + ": " + name + " cannot be read by the agent", e);
    } catch (IOException e) {
      throw new MaterialException(what + ": " + name + " cannot be read: " + e.getMessage(), e);
    }
  }

  /// Whether there is such a file; remembered like one that was read.
  boolean exists(Path path) {
    Optional<Stamp> stamp = stamp(path);
    files.put(path, stamp);
    return stamp.isPresent();
  }

  /// Looks a Secret up.
  Credentials.Found secret(String namespace, String name) {
    return secrets.computeIfAbsent(
        new Asked(namespace, name), asked -> credentials.secret(asked.namespace(), asked.name()));
  }

  /// Looks the certificate of a workload up.
  Credentials.Found workload(PodRef pod) {
    return workloads.computeIfAbsent(pod, credentials::workload);
  }

  /// Whether reading it all again would read the same.
  boolean isCurrent() {
    return files.entrySet().stream().allMatch(e -> stamp(e.getKey()).equals(e.getValue()))
        && workloads.entrySet().stream()
            .allMatch(e -> credentials.workload(e.getKey()).equals(e.getValue()))
        && secrets.entrySet().stream()
            .allMatch(e ->
                credentials.secret(e.getKey().namespace(), e.getKey().name()).equals(e.getValue()));
  }

  private static Optional<Stamp> stamp(Path path) {
    try {
      BasicFileAttributes attributes = Files.readAttributes(path, BasicFileAttributes.class);
      return Optional.of(
          new Stamp(
              attributes.lastModifiedTime().toMillis(),
              attributes.size(),
              attributes.fileKey(),
              attributes.isRegularFile()));
    } catch (IOException _) {
      return Optional.empty();
    }
  }
}
