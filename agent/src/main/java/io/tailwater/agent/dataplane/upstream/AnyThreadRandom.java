package io.tailwater.agent.dataplane.upstream;

import java.util.concurrent.ThreadLocalRandom;
import java.util.random.RandomGenerator;

/// Random numbers for balancing, from any thread without sharing.
public final class AnyThreadRandom implements RandomGenerator {
  @Override
  public long nextLong() {
    return ThreadLocalRandom.current().nextLong();
  }
}
