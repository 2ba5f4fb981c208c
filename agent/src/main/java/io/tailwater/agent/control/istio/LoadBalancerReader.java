package io.tailwater.agent.control.istio;

import io.tailwater.agent.control.source.FieldReader;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// Reads a `loadBalancer` with the rules of Istio's schema and webhook (`validateLoadBalancer`,
/// `ValidateLocalityLbSetting`). Stateless.
final class LoadBalancerReader {
  private static final Map<String, DestinationRule.Balancer.Kind> SIMPLE =
      Map.of(
          "UNSPECIFIED", DestinationRule.Balancer.Kind.LEAST_REQUEST,
          "LEAST_CONN", DestinationRule.Balancer.Kind.LEAST_REQUEST,
          "LEAST_REQUEST", DestinationRule.Balancer.Kind.LEAST_REQUEST,
          "ROUND_ROBIN", DestinationRule.Balancer.Kind.ROUND_ROBIN,
          "RANDOM", DestinationRule.Balancer.Kind.RANDOM,
          "PASSTHROUGH", DestinationRule.Balancer.Kind.PASSTHROUGH);

  /// The labels that say what localities say already.
  private static final Set<String> TOPOLOGY =
      Set.of(
          "topology.kubernetes.io/region",
          "topology.kubernetes.io/zone",
          "topology.istio.io/subzone");

  private static final int LARGEST_TABLE = 5_000_011;

  private LoadBalancerReader() {}

  /// @param hasOutlier whether the same policy detects outliers, without which nothing fails over
  static DestinationRule.Balancer read(FieldReader lb, boolean hasOutlier) {
    Optional<DestinationRule.Balancer.Kind> simple = lb.oneOf("simple", SIMPLE);
    Optional<DestinationRule.Balancer.Kind> hash =
        lb.mapping("consistentHash").map(h -> consistentHash(lb, h));
    lb.mapping("backendUtilization").ifPresent(u -> backendUtilization(lb, u));
    exclusive(lb, "simple", "consistentHash", "backendUtilization");
    Optional<Boolean> locality =
        lb.mapping("localityLbSetting").flatMap(l -> locality(l, hasOutlier));
    lb.mapping("zoneAwareLbSetting").ifPresent(z -> zoneAware(lb, z, hasOutlier));
    exclusive(lb, "localityLbSetting", "zoneAwareLbSetting");
    lb.mapping("warmup").ifPresent(w -> warmup(lb, w));
    GoDuration.readFine(lb, "warmupDurationSecs")
        .ifPresent(_ -> lb.warning("warmupDurationSecs", "is not honoured"));
    lb.finish();
    return new DestinationRule.Balancer(
        hash.or(() -> simple).orElse(DestinationRule.Balancer.Kind.LEAST_REQUEST), locality);
  }

  private static void exclusive(FieldReader reader, String... keys) {
    List<String> there = new ArrayList<>();
    for (String key : keys) {
      if (reader.has(key)) {
        there.add(key);
      }
    }
    if (there.size() > 1) {
      reader.error(there.get(1), "and " + there.getFirst() + " exclude each other");
    }
  }

  private static void warmup(FieldReader lb, FieldReader warmup) {
    if (!warmup.has("duration")) {
      warmup.error("duration", "is missing");
    }
    GoDuration.read(warmup, "duration");
    warmup
        .decimal("minimumPercent")
        .filter(n -> n < 0 || n > 100)
        .ifPresent(_ -> warmup.error("minimumPercent", "must be between 0 and 100"));
    warmup
        .decimal("aggression")
        .filter(n -> n <= 0)
        .ifPresent(_ -> warmup.error("aggression", "must be greater than 0"));
    warmup.finish();
    lb.warning("warmup", "is not honoured");
  }

  private static void backendUtilization(FieldReader lb, FieldReader utilization) {
    for (String key :
        List.of("weightExpirationPeriod", "weightStabilizationPeriod", "weightUpdatePeriod")) {
      GoDuration.readOrZero(utilization, key);
    }
    IstioFields.unsigned(utilization, "errorUtilizationPenaltyPercent");
    utilization.strings("metricNamesForComputingUtilization");
    utilization.finish();
    lb.warning("backendUtilization", "is not honoured: endpoints are chosen by least requests");
  }

  // ---- consistentHash ----------------------------------------------------------------------

  private static DestinationRule.Balancer.Kind consistentHash(FieldReader lb, FieldReader hash) {
    exclusive(hash, "useSourceIp", "httpHeaderName", "httpCookie", "httpQueryParameterName");
    boolean source = hash.bool("useSourceIp").orElse(false);
    hash.string("httpHeaderName");
    hash.string("httpQueryParameterName");
    hash.mapping("httpCookie").ifPresent(LoadBalancerReader::cookie);
    boolean size = hash.number("minimumRingSize", 0, Long.MAX_VALUE).orElse(0L) != 0;
    if (size) {
      hash.warning("minimumRingSize", "is deprecated; use ringHash");
      if (hash.has("ringHash") || hash.has("maglev")) {
        hash.error("minimumRingSize", "and ringHash or maglev exclude each other");
      }
    }
    exclusive(hash, "ringHash", "maglev");
    hash.mapping("ringHash")
        .ifPresent(ring -> {
          ring.number("minimumRingSize", 0, Long.MAX_VALUE);
          ring.finish();
        });
    hash.mapping("maglev")
        .ifPresent(maglev -> {
          int table = maglev.integer("tableSize", 0, Integer.MAX_VALUE).orElse(0);
          if (table == 0 || table >= LARGEST_TABLE || !isPrime(table)) {
            maglev.error("tableSize", "must be a prime number below " + LARGEST_TABLE);
          }
          maglev.finish();
        });
    hash.finish();
    if (source) {
      return DestinationRule.Balancer.Kind.SOURCE_HASH;
    }
    lb.warning(
        "consistentHash",
        "is honoured by source address (useSourceIp) alone; otherwise endpoints are chosen by least"
            + " requests");
    return DestinationRule.Balancer.Kind.LEAST_REQUEST;
  }

  private static void cookie(FieldReader cookie) {
    if (cookie.string("name").orElse("").isEmpty()) {
      cookie.error("name", "is missing");
    }
    cookie.string("path");
    GoDuration.readOrZero(cookie, "ttl");
    Set<String> names = new HashSet<>();
    for (FieldReader attribute : cookie.mappings("attributes")) {
      String name = attribute.string("name").orElse("");
      if (name.isEmpty()) {
        attribute.error("name", "is missing");
      } else if (!names.add(name)) {
        attribute.error("name", "the attribute \"" + name + "\" is there twice");
      }
      attribute.string("value");
      attribute.finish();
    }
    cookie.finish();
  }

  private static boolean isPrime(int n) {
    for (int factor = 2; (long) factor * factor <= n; factor++) {
      if (n % factor == 0) {
        return false;
      }
    }
    return n > 1;
  }

  // ---- localities --------------------------------------------------------------------------

  /// Whether it turns locality on or off, where it says so.
  private static Optional<Boolean> locality(FieldReader locality, boolean hasOutlier) {
    List<FieldReader> distribute = locality.mappings("distribute");
    List<String> sources = new ArrayList<>();
    for (FieldReader reader : distribute) {
      sources.add(reader.string("from").orElse(""));
      Map<String, Integer> to = reader.integerMap("to", 1, 100);
      if (to.values().stream().mapToInt(Integer::intValue).sum() != 100) {
        reader.error("to", "the weights must add up to 100");
      }
      notLocalities(to.keySet()).ifPresent(why -> reader.error("to", why));
      reader.finish();
    }
    if (!distribute.isEmpty()) {
      notLocalities(sources).ifPresent(why -> locality.error("distribute", why));
      locality.warning("distribute", "is not honoured: the client's own locality comes first");
      if (!locality.mappings("failover").isEmpty()) {
        locality.error("distribute", "and failover exclude each other");
      }
    }
    boolean fails = failover(locality, hasOutlier);
    if (fails && hasTopology(locality).isPresent()) {
      locality.error("failoverPriority", "with topology labels and failover exclude each other");
    }
    Optional<Boolean> enabled = locality.bool("enabled");
    locality.finish();
    return enabled.or(() -> Optional.of(true));
  }

  private static void zoneAware(FieldReader lb, FieldReader zones, boolean hasOutlier) {
    zones.bool("enabled");
    zones.number("minClusterSize", 1, 0xffff_ffffL);
    failover(zones, hasOutlier);
    hasTopology(zones)
        .ifPresent(label ->
            zones.error(
                "failoverPriority",
                label + " has no place here: regions and zones are preferred without it"));
    zones.finish();
    lb.warning("zoneAwareLbSetting", "is not honoured");
  }

  private static Optional<String> hasTopology(FieldReader reader) {
    return reader.strings("failoverPriority").stream()
        .map(FieldReader.Text::text)
        .filter(TOPOLOGY::contains)
        .findFirst();
  }

  /// Reads `failover` and `failoverPriority`.
  ///
  /// @return whether there is a failover between regions
  private static boolean failover(FieldReader reader, boolean hasOutlier) {
    List<FieldReader> failover = reader.mappings("failover");
    for (FieldReader one : failover) {
      String from = one.string("from").orElse("");
      String to = one.string("to").orElse("");
      if (from.equals(to)) {
        one.error("to", "must be another region than from");
      }
      if ((from + to).matches(".*[/*].*")) {
        one.error("from", "and to must be regions, without zone or wildcard");
      }
      one.finish();
    }
    boolean priority = !reader.lacks("failoverPriority");
    if (!failover.isEmpty()) {
      reader.warning("failover", "is not honoured by region: any other locality comes next");
    }
    if (priority) {
      reader.warning("failoverPriority", "is not honoured: localities decide");
    }
    if ((!failover.isEmpty() || priority) && !hasOutlier) {
      reader.warning("without outlierDetection there is no failover");
    }
    return !failover.isEmpty();
  }

  /// What is wrong with localities like `region/zone/*`, of which none may lie within another; or
  /// nothing.
  private static Optional<String> notLocalities(Iterable<String> localities) {
    List<List<String>> before = new ArrayList<>();
    for (String text : localities) {
      List<String> parts = List.of(text.split("/", 3));
      int star = text.indexOf('*');
      if (star >= 0 && star != text.length() - 1) {
        return Optional.of("\"" + text + "\": a wildcard stands at the end");
      }
      if (parts.stream().anyMatch(String::isEmpty)) {
        return Optional.of("\"" + text + "\" has an empty region, zone or subzone");
      }
      List<String> own = parts.getLast().equals("*") ? parts.subList(0, parts.size() - 1) : parts;
      for (List<String> other : before) {
        int both = Math.min(own.size(), other.size());
        if (own.subList(0, both).equals(other.subList(0, both))) {
          return Optional.of("\"" + text + "\" overlaps with another locality");
        }
      }
      before.add(own);
    }
    return Optional.empty();
  }
}
