package io.tailwater.agent.dataplane.upstream;

import java.net.InetSocketAddress;

/// One address that a destination offers for a connection.
///
/// @param weight its share among others of its priority, at least 1
/// @param priority 0 comes first; higher numbers only as far as those before are out
/// @param spare whether it is another way to an endpoint that is among the candidates already (the
///   other address family of a name): it is tried when that fails and takes no share
public record Candidate(InetSocketAddress address, int weight, int priority, boolean spare) {
  public Candidate {
    if (weight < 1 || priority < 0) {
      throw new IllegalArgumentException("weight " + weight + ", priority " + priority);
    }
  }

  public Candidate(InetSocketAddress address) {
    this(address, 1, 0, false);
  }
}
