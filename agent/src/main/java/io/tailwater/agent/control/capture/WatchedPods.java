package io.tailwater.agent.control.capture;

import io.tailwater.agent.traffic.PodRef;
import io.tailwater.iptables.netns.NetnsException;
import io.tailwater.iptables.netns.NetnsId;
import io.tailwater.iptables.netns.NetworkNamespace;
import java.io.IOException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Every network namespace of a folder is a pod, named as its file. The folder is looked at every
/// second: a file becomes a namespace some time after it appears, and of that nothing tells. What
/// is no namespace yet is left alone until it is. The agent's own namespace is never a pod, nor is
/// one that the configuration lists by itself.
///
/// A namespace that is made anew under the same name is the same pod; [CaptureLoop] follows it. One
/// virtual thread, which enters nothing.
public final class WatchedPods implements PodSource {
  private static final Logger LOG = LoggerFactory.getLogger(WatchedPods.class);
  private static final Duration USUAL = Duration.ofSeconds(1);

  /// File names that a pod's name may consist of: it comes to logs, metrics and pages.
  private static final Pattern NAME = Pattern.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,252}");

  private final PodFolder watched;
  private final Set<String> listed = new HashSet<>();
  private final Duration every;
  private final NetnsId own;

  /// By file name. The watch's thread only, after [#start].
  private final Map<String, NetnsId> known = new TreeMap<>();

  private final Set<String> refused = new HashSet<>();
  private boolean unreadable;
  private @Nullable Thread thread;

  /// @param listed pods that the configuration lists: theirs are not taken twice
  public WatchedPods(PodFolder watched, List<PodSpec> listed) {
    this(watched, listed, USUAL);
  }

  WatchedPods(PodFolder watched, List<PodSpec> listed, Duration every) {
    this.watched = watched;
    this.every = every;
    listed.forEach(pod -> {
      this.listed.add(pod.netns());
      if (pod.ref().namespace().equals(watched.namespace())) {
        this.listed.add(path(pod.ref().name()));
      }
    });
    try (NetworkNamespace here = NetworkNamespace.current()) {
      this.own = here.id();
    }
  }

  @Override
  public void start(Consumer<PodEvent> events) {
    look(events);
    thread = Thread.ofVirtual().name("tailwater-pod-watch").start(() -> watch(events));
  }

  private void watch(Consumer<PodEvent> events) {
    while (true) {
      try {
        TimeUnit.NANOSECONDS.sleep(every.toNanos());
      } catch (InterruptedException _) {
        return; // only close() interrupts
      }
      look(events);
    }
  }

  private void look(Consumer<PodEvent> events) {
    Map<String, NetnsId> found;
    try {
      found = found();
    } catch (IOException e) {
      if (!unreadable) {
        LOG.error(
            "pods.watch: {} cannot be read ({}); the pods known stay",
            watched.folder(),
            e.toString());
      }
      unreadable = true;
      return;
    }
    unreadable = false;
    for (String name : List.copyOf(known.keySet())) {
      if (!found.containsKey(name)) {
        known.remove(name);
        events.accept(new PodEvent.Unwanted(new PodRef(watched.namespace(), name)));
      }
    }
    found.forEach((name, id) -> {
      if (known.put(name, id) == null) {
        PodRef ref = new PodRef(watched.namespace(), name);
        events.accept(
            new PodEvent.Wanted(new PodSpec(ref, "default", Map.of(), path(name), List.of())));
      }
    });
  }

  private Map<String, NetnsId> found() throws IOException {
    Map<String, NetnsId> found = new TreeMap<>();
    try (DirectoryStream<Path> files = Files.newDirectoryStream(watched.folder())) {
      for (Path file : files) {
        String name = String.valueOf(file.getFileName());
        NetnsId id = listed.contains(path(name)) ? null : identity(file, known.get(name));
        if (id != null && !id.equals(own) && isName(name)) {
          found.put(name, id);
        }
      }
    } catch (NoSuchFileException e) {
      return found; // made by the first who needs it
    } catch (DirectoryIteratorException e) {
      throw e.getCause();
    }
    return found;
  }

  /// The namespace of a file, or null where there is none. Opened only when it is not the known
  /// one.
  private static @Nullable NetnsId identity(Path file, @Nullable NetnsId known) {
    try {
      Map<String, Object> now = Files.readAttributes(file, "unix:dev,ino");
      NetnsId id = new NetnsId((Long) now.get("dev"), (Long) now.get("ino"));
      if (id.equals(known)) {
        return id;
      }
      try (NetworkNamespace namespace = NetworkNamespace.open(file)) {
        return namespace.id();
      }
    } catch (IOException | NetnsException e) {
      return null; // half made, or just removed
    }
  }

  private boolean isName(String name) {
    boolean fine = NAME.matcher(name).matches();
    if (!fine && refused.add(name)) {
      LOG.error(
          "pods.watch: a namespace in {} has a name that no pod can have; it is not captured. Use"
              + " letters, digits, '.', '_' and '-'",
          watched.folder());
    }
    return fine;
  }

  private String path(String name) {
    return watched.folder().resolve(name).toString();
  }

  @Override
  public void close() {
    Thread running = thread;
    if (running != null) {
      running.interrupt();
    }
  }
}
