package io.tailwater.agent.control.istio;

import io.tailwater.agent.control.source.FieldReader;
import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Problems;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostName;
import java.net.InetAddress;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/// Reads and validates a WorkloadEntry as Istio's webhook does (`ValidateWorkloadEntry`), every
/// problem at once.
public final class WorkloadEntryReader {
  /// Tells that a workload takes HBONE by itself.
  static final String TUNNEL = "networking.istio.io/tunnel";

  private static final String UNIX = "unix://";

  /// The schema wants less than 63 characters.
  private static final int LONGEST_PORT_NAME = 62;

  private WorkloadEntryReader() {}

  /// Reads one; empty when it has errors.
  public static Optional<WorkloadEntry> read(KubeObject object, Problems problems) {
    return IstioFields.read(
        object,
        problems,
        own -> IstioFields.spec(object, own).flatMap(spec -> entry(object, spec)));
  }

  private static Optional<WorkloadEntry> entry(KubeObject object, FieldReader spec) {
    String network = spec.string("network").orElse("");
    Map<String, Integer> ports = spec.integerMap("ports", 1, 65535);
    for (String name : ports.keySet()) {
      if (!IstioFields.isDnsLabel(name) || name.length() > LONGEST_PORT_NAME) {
        spec.error(
            "ports",
            "the port name \""
                + name
                + "\" is not a DNS label of at most "
                + LONGEST_PORT_NAME
                + " characters");
      }
    }
    Optional<ServiceEntry.Place> place = place(spec, network, ports);
    IstioFields.checkEndpoint(spec);
    Map<String, String> own = spec.stringMap("labels");
    IstioFields.checkLabels(spec, "labels", own);
    int weight = IstioFields.unsigned(spec, "weight").orElse(0);
    String locality = spec.string("locality").orElse("");
    String account = spec.string("serviceAccount").orElse("");
    spec.finish();
    // The workload has the labels of its resource too, and those are stronger.
    Map<String, String> labels = new HashMap<>(own);
    labels.putAll(object.labels());
    return place.map(p ->
        new WorkloadEntry(
            object.key().ref(),
            object.age(),
            p,
            ports,
            labels,
            network,
            locality,
            weight,
            account,
            "http".equals(labels.get(TUNNEL))));
  }

  private static Optional<ServiceEntry.Place> place(
      FieldReader spec, String network, Map<String, Integer> ports) {
    String address = spec.string("address").orElse("");
    if (address.isEmpty()) {
      if (network.isEmpty()) {
        spec.error("address", "is missing");
        return Optional.empty();
      }
      spec.warning("address", "is missing: workloads of other networks are not reached");
      return Optional.of(new ServiceEntry.Place.Elsewhere());
    }
    Optional<InetAddress> ip = CidrBlock.parseAddress(address);
    if (ip.isPresent()) {
      return Optional.of(new ServiceEntry.Place.Ip(ip.get()));
    }
    if (address.startsWith(UNIX)) {
      String path = address.substring(UNIX.length());
      IstioFields.notSocketPath(path).ifPresent(why -> spec.error("address", why));
      if (!ports.isEmpty()) {
        spec.error("ports", "a unix:// address has no ports");
      }
      return Optional.of(new ServiceEntry.Place.Unix(path));
    }
    Optional<String> wrong = IstioFields.notFullName(address);
    if (wrong.isPresent()) {
      spec.error("address", "\"" + address + "\" is no IP address, and as a name " + wrong.get());
      return Optional.empty();
    }
    return Optional.of(new ServiceEntry.Place.Name(HostName.of(address)));
  }
}
