package io.tailwater.agent.dataplane.connect;

import io.tailwater.agent.dataplane.tls.Credentials;
import io.tailwater.agent.dataplane.tls.TlsContexts;
import io.tailwater.agent.dataplane.upstream.AnyThreadRandom;
import io.tailwater.agent.dataplane.upstream.Clusters;
import io.tailwater.agent.dataplane.upstream.EndpointPicker;
import java.time.Duration;
import java.util.concurrent.Executor;

/// Connectors for rigs that script what stands around them.
public final class TestConnectors {
  private TestConnectors() {}

  /// Real but for names and filter; without Secrets.
  public static Connector connector(Candidates candidates, Clusters clusters, Duration timeout) {
    Executor threads = task -> Thread.ofVirtual().start(task);
    return new Connector(
        candidates,
        clusters,
        new EndpointPicker(new AnyThreadRandom()),
        new TlsOrigination(new TlsContexts(Credentials.NONE, threads, System::nanoTime), threads),
        timeout);
  }
}
