package io.tailwater.agent.cli;

import io.tailwater.agent.control.compile.Prediction;
import io.tailwater.agent.dataplane.resolve.Addresses;
import io.tailwater.agent.dataplane.resolve.DnsjavaLookup;
import io.tailwater.agent.dataplane.resolve.Lookup;
import io.tailwater.agent.dataplane.resolve.ResolveConfig;
import io.tailwater.agent.traffic.HostName;
import java.net.InetAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/// Asks the DNS servers of the configuration, each name once, and waits. For commands; one thread.
final class NetworkLookUp implements Prediction.LookUp, AutoCloseable {
  private final Lookup lookup;
  private final List<Lookup.Family> families;
  private final Duration timeout;
  private final Map<HostName, Addresses> known = new HashMap<>();

  private NetworkLookUp(Lookup lookup, List<Lookup.Family> families, Duration timeout) {
    this.lookup = lookup;
    this.families = families;
    this.timeout = timeout;
  }

  static NetworkLookUp of(ResolveConfig config) {
    return new NetworkLookUp(
        DnsjavaLookup.of(config), config.lookupFamily().families(), config.queryTimeout());
  }

  @Override
  public Optional<Addresses> of(HostName name) {
    return Optional.of(known.computeIfAbsent(name, this::ask));
  }

  private Addresses ask(HostName name) {
    List<CompletableFuture<Lookup.LookupResult>> answers = new ArrayList<>();
    for (Lookup.Family family : families) {
      CompletableFuture<Lookup.LookupResult> answer = new CompletableFuture<>();
      lookup.lookup(name, family, answer::complete);
      answers.add(answer);
    }
    List<InetAddress> found = new ArrayList<>();
    Addresses.Failed failed =
        new Addresses.Failed(Addresses.Failure.TIMEOUT, "no server answered in time");
    for (CompletableFuture<Lookup.LookupResult> answer : answers) {
      switch (await(answer).orElse(null)) {
        case null -> {}
        case Lookup.LookupResult.Found(List<InetAddress> addresses, _) -> found.addAll(addresses);
        case Lookup.LookupResult.Failed(var failure, String detail) ->
            failed = new Addresses.Failed(failure, detail);
      }
    }
    return found.isEmpty() ? failed : new Addresses.Found(found, false);
  }

  private Optional<Lookup.LookupResult> await(CompletableFuture<Lookup.LookupResult> answer) {
    try {
      return Optional.of(answer.get(timeout.toMillis(), TimeUnit.MILLISECONDS));
    } catch (TimeoutException | ExecutionException _) {
      return Optional.empty();
    } catch (InterruptedException _) {
      Thread.currentThread().interrupt();
      return Optional.empty();
    }
  }

  @Override
  public void close() {
    lookup.close();
  }
}
