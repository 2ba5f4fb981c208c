package io.tailwater.agent.dataplane.flow;

import io.tailwater.agent.dataplane.account.ConnectionObserver;
import io.tailwater.agent.dataplane.connect.Connector;
import io.tailwater.agent.dataplane.route.CurrentRoutes;
import io.tailwater.agent.dataplane.upstream.Clusters;
import io.tailwater.agent.traffic.Grade;

/// What every connection passes through, the same for all loops. `highest` is the best grade that
/// configuration and transport allow.
public record Stages(
    FlowLimits limits,
    Admission admission,
    CurrentRoutes routes,
    Connector connector,
    Clusters clusters,
    ConnectionObserver observer,
    Grade highest) {}
