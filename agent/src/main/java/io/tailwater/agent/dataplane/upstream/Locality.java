package io.tailwater.agent.dataplane.upstream;

/// How far an endpoint is from its client, as Istio's locality failover counts it. Localities are
/// `region/zone/subzone`, any of the latter parts may be missing.
public final class Locality {
  private static final int PARTS = 3;

  private Locality() {}

  /// 0 where region, zone and sub-zone agree, 1 where the sub-zone differs, 2 the zone, 3 the
  /// region. Where the client's is not known, everything is equally near: 0.
  public static int distance(String client, String endpoint) {
    if (client.isEmpty()) {
      return 0;
    }
    String[] own = client.split("/", PARTS);
    String[] its = endpoint.split("/", PARTS);
    for (int i = 0; i < PARTS; i++) {
      if (!part(own, i).equals(part(its, i))) {
        return PARTS - i;
      }
    }
    return 0;
  }

  private static String part(String[] parts, int index) {
    return index < parts.length ? parts[index] : "";
  }
}
