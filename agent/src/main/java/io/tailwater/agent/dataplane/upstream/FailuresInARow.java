package io.tailwater.agent.dataplane.upstream;

import io.tailwater.agent.dataplane.route.OutlierDetection;
import java.util.concurrent.atomic.AtomicInteger;

/// Counts an endpoint's failures as Envoy's outlier detection does
/// (`source/common/upstream/outlier_detection_impl.cc`): those of any server error, those of a
/// gateway, and, where the rule counts them apart, those of local origin. Any thread.
final class FailuresInARow {
  private final AtomicInteger server = new AtomicInteger();
  private final AtomicInteger gateway = new AtomicInteger();
  private final AtomicInteger local = new AtomicInteger();

  /// Whether one of the rule's thresholds is reached by that.
  boolean took(Sign sign, OutlierDetection rule) {
    return switch (sign) {
      case CONNECTED -> {
        end(local);
        yield false;
      }
      case CARRIES -> {
        forget();
        yield false;
      }
      case ANSWER -> {
        end(server);
        end(gateway);
        yield false;
      }
      case SERVER_ERROR -> {
        end(gateway);
        yield reaches(server, rule.consecutive5xx());
      }
      case GATEWAY_ERROR -> answeredByGateway(rule);
      case NO_ANSWER ->
          rule.consecutiveLocal().isPresent()
              ? reaches(local, rule.consecutiveLocal().get())
              : answeredByGateway(rule);
    };
  }

  private boolean answeredByGateway(OutlierDetection rule) {
    boolean byGateway = reaches(gateway, rule.consecutiveGateway());
    return reaches(server, rule.consecutive5xx()) || byGateway;
  }

  private static boolean reaches(AtomicInteger count, int threshold) {
    int now = count.incrementAndGet();
    return threshold > 0 && now >= threshold;
  }

  /// Most of the time there is nothing to write, and the line stays shared between the loops.
  private static void end(AtomicInteger count) {
    if (count.get() != 0) {
      count.set(0);
    }
  }

  void forget() {
    end(server);
    end(gateway);
    end(local);
  }
}
