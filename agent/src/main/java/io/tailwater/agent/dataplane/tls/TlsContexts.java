package io.tailwater.agent.dataplane.tls;

import io.tailwater.agent.dataplane.route.UpstreamTls;
import io.tailwater.agent.traffic.PodRef;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/// TLS contexts by their settings, made once and again when a file or Secret of theirs changed.
///
/// Any thread may ask. Files are looked at on the given executor, at most once a second for one
/// context and only when a connection wants it; that connection waits for the look.
public final class TlsContexts {
  /// The least recently used go first; policy has fewer.
  private static final int MOST = 512;

  /// How long a context is used without a look at its files.
  static final long FRESH_NANOS = TimeUnit.SECONDS.toNanos(1);

  private final Credentials credentials;
  private final TlsMaterial material;
  private final Executor files;
  private final LongSupplier nanoTime;
  private final Map<Key, Slot> entries =
      new LinkedHashMap<>(16, 0.75f, true) {
        @Override
        protected boolean removeEldestEntry(Map.Entry<Key, Slot> eldest) {
          return size() > MOST;
        }
      };

  /// What came out.
  public sealed interface Prepared {
    /// Usable.
    record Ready(TlsContext context) implements Prepared {}

    /// Not usable: the connection is refused. `why` is a clause for people.
    record Unusable(String why) implements Prepared {}
  }

  /// `namespace` counts only where a Secret of it is named, `pod` where its certificate is shown.
  private record Key(UpstreamTls tls, String namespace, @Nullable PodRef pod) {}

  private record Made(Prepared prepared, Reading reading, long atNanos) {}

  /// Guarded by [#entries].
  private static final class Slot {
    CompletableFuture<Made> answer = new CompletableFuture<>();
    boolean working;
  }

  /// `files` runs what reads files; never a loop.
  public TlsContexts(Credentials credentials, Executor files, LongSupplier nanoTime) {
    this.credentials = credentials;
    this.material = new TlsMaterial();
    this.files = files;
    this.nanoTime = nanoTime;
  }

  /// Gets the context of a destination for a client. `then` is called at once where it is there and
  /// fresh, else on `loop`.
  public void prepare(UpstreamTls tls, PodRef client, Executor loop, Consumer<Prepared> then) {
    Key key =
        new Key(
            tls,
            tls.credentialName().isPresent() ? client.namespace() : "",
            tls.mode() == UpstreamTls.Mode.ISTIO_MUTUAL ? client : null);
    CompletableFuture<Made> answer;
    Made before = null;
    boolean work = false;
    Slot slot;
    synchronized (entries) {
      slot = entries.computeIfAbsent(key, _ -> new Slot());
      if (!slot.working) {
        before = slot.answer.isDone() ? slot.answer.join() : null;
        work = before == null || nanoTime.getAsLong() - before.atNanos() >= FRESH_NANOS;
        if (work) {
          slot.working = true;
          slot.answer = new CompletableFuture<>();
        }
      }
      answer = slot.answer;
    }
    if (work) {
      Made last = before;
      files.execute(() -> work(key, slot, answer, last));
    }
    if (answer.isDone()) {
      then.accept(answer.join().prepared());
    } else {
      answer.thenAcceptAsync(made -> then.accept(made.prepared()), loop);
    }
  }

  private void work(Key key, Slot slot, CompletableFuture<Made> answer, @Nullable Made before) {
    Made made;
    try {
      made =
          before != null && before.reading().isCurrent()
              ? new Made(before.prepared(), before.reading(), nanoTime.getAsLong())
              : make(key);
    } catch (RuntimeException e) {
      made =
          new Made(
              new Prepared.Unusable("its settings cannot be used: " + e),
              new Reading(credentials),
              nanoTime.getAsLong());
    }
    synchronized (entries) {
      slot.working = false;
    }
    answer.complete(made);
  }

  private Made make(Key key) {
    long now = nanoTime.getAsLong();
    Reading reading = new Reading(credentials);
    Prepared prepared;
    try {
      prepared =
          new Prepared.Ready(material.context(key.tls(), key.namespace(), key.pod(), reading));
    } catch (MaterialException e) {
      prepared = new Prepared.Unusable(String.valueOf(e.getMessage()));
    }
    return new Made(prepared, reading, now);
  }
}
