package io.tailwater.agent.dataplane.route;

/// The one place where the table in force stands. Written by the policy compiler's thread, read by
/// every loop; read it once per decision.
public final class CurrentRoutes {
  private volatile RouteTable table;

  public CurrentRoutes(RouteTable first) {
    this.table = first;
  }

  public RouteTable get() {
    return table;
  }

  public void publish(RouteTable next) {
    table = next;
  }
}
