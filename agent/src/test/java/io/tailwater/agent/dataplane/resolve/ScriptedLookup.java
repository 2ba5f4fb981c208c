package io.tailwater.agent.dataplane.resolve;

import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostName;
import java.net.InetAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/// A DNS that says what the test wrote. What is not written stays open until the test answers it.
final class ScriptedLookup implements Lookup {
  /// A question that was asked.
  record Question(HostName name, Family family, Consumer<LookupResult> result) {
    void answer(LookupResult with) {
      result.accept(with);
    }
  }

  private record Key(HostName name, Family family) {}

  private final Map<Key, LookupResult> script = new HashMap<>();
  final List<Question> asked = new ArrayList<>();
  final List<Question> open = new ArrayList<>();
  boolean closed;

  /// Both families, at once when asked.
  ScriptedLookup says(String name, LookupResult v4, LookupResult v6) {
    script.put(new Key(HostName.of(name), Family.V4), v4);
    script.put(new Key(HostName.of(name), Family.V6), v6);
    return this;
  }

  /// From now on the name is left unanswered.
  void silent(String name) {
    script.remove(new Key(HostName.of(name), Family.V4));
    script.remove(new Key(HostName.of(name), Family.V6));
  }

  @Override
  public void lookup(HostName absolute, Family family, Consumer<LookupResult> result) {
    var question = new Question(absolute, family, result);
    asked.add(question);
    LookupResult said = script.get(new Key(absolute, family));
    if (said != null) {
      result.accept(said);
    } else {
      open.add(question);
    }
  }

  /// The open question for the family; it is then no longer open.
  Question take(Family family) {
    for (Question question : open) {
      if (question.family() == family) {
        open.remove(question);
        return question;
      }
    }
    throw new AssertionError("no open question for " + family + " in " + open);
  }

  long rounds() {
    return asked.stream().filter(q -> q.family() == Family.V4).count();
  }

  @Override
  public void close() {
    closed = true;
  }

  static LookupResult found(int ttlSeconds, String... addresses) {
    return new LookupResult.Found(addresses(addresses), Duration.ofSeconds(ttlSeconds));
  }

  static LookupResult failed(Addresses.Failure failure) {
    return new LookupResult.Failed(failure, "scripted " + failure);
  }

  static List<InetAddress> addresses(String... addresses) {
    return Arrays.stream(addresses).map(a -> CidrBlock.parseAddress(a).orElseThrow()).toList();
  }
}
