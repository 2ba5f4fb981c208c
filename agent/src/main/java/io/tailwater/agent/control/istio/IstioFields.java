package io.tailwater.agent.control.istio;

import io.tailwater.agent.control.source.FieldReader;
import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Problems;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostName;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;

/// What the readers of Istio's kinds have in common: the frame of a resource, names, labels,
/// selectors. Stateless; any thread.
final class IstioFields {
  private static final Set<String> VERSIONS = Set.of("v1", "v1beta1", "v1alpha3");

  /// A label's value or the name part of its key.
  private static final Pattern LABEL_PART =
      Pattern.compile("[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?");

  private static final Pattern PORT_NAME =
      Pattern.compile("[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?");

  private static final int LABEL_LENGTH = 63;

  private IstioFields() {}

  /// Runs a reader: what it returned, or nothing where it reported an error.
  static <T> Optional<T> read(KubeObject object, Problems problems, ReadsOne<T> reader) {
    Problems own = problems.of(object.key().ref());
    int before = own.errors();
    Optional<T> result = reader.read(own);
    return own.errors() > before ? Optional.empty() : result;
  }

  /// Reads one resource into a collector.
  @FunctionalInterface
  interface ReadsOne<T> {
    Optional<T> read(Problems problems);
  }

  /// The `spec` of a `networking.istio.io` resource, with the frame around it checked.
  static Optional<FieldReader> spec(KubeObject object, Problems problems) {
    FieldReader top = new FieldReader(object.root(), "", problems);
    top.ignore("kind", "metadata", "status");
    top.string("apiVersion")
        .filter(v -> !VERSIONS.contains(v.substring(v.indexOf('/') + 1)))
        .ifPresent(v ->
            top.error(
                "apiVersion",
                "\""
                    + v
                    + "\" is no version of "
                    + object.kind()
                    + "; use networking.istio.io/v1"));
    Optional<FieldReader> spec = top.mapping("spec");
    if (!top.has("spec")) {
      top.error("spec", "is missing");
    }
    top.finish();
    return spec;
  }

  /// The labels of a `workloadSelector`; without any it selects every workload of its scope.
  static Optional<Map<String, String>> workloadSelector(FieldReader spec) {
    Optional<FieldReader> selector = spec.mapping("workloadSelector");
    if (selector.isEmpty()) {
      return Optional.empty();
    }
    Map<String, String> labels = selector.get().stringMap("labels");
    selector.get().finish();
    labels.forEach((key, value) -> {
      if (key.isEmpty()) {
        spec.error("workloadSelector", "has a label without a name");
      } else if (key.contains("*") || value.contains("*")) {
        spec.error(
            "workloadSelector", "wildcards are not allowed in a selector: " + key + ": " + value);
      }
    });
    return Optional.of(labels);
  }

  /// Reports what is no Kubernetes label.
  static void checkLabels(FieldReader reader, String key, Map<String, String> labels) {
    labels.forEach((name, value) -> {
      String bare = name.substring(name.lastIndexOf('/') + 1);
      boolean good =
          LABEL_PART.matcher(bare).matches()
              && bare.length() <= LABEL_LENGTH
              && (value.isEmpty()
                  || (LABEL_PART.matcher(value).matches() && value.length() <= LABEL_LENGTH));
      if (!good) {
        reader.error(key, "\"" + name + ": " + value + "\" is not a valid label");
      }
    });
  }

  /// Whether the text may name a port.
  static boolean isPortName(String name) {
    return PORT_NAME.matcher(name).matches() && name.length() <= LABEL_LENGTH;
  }

  /// Why a text is no full host name, or nothing.
  static Optional<String> notFullName(String host) {
    return switch (HostName.parse(host)) {
      case HostName.Parsed.Invalid(String why) -> Optional.of(why);
      case HostName.Parsed.Valid(HostName name, _) ->
          Optional.of(ServiceEntryReader.notDns1123(name.text())).filter(why -> !why.isEmpty());
    };
  }

  /// Why a text is neither `*`, nor `*.` and a name, nor a name with a dot; or nothing.
  static Optional<String> notDnsName(String host) {
    if (host.equals("*")) {
      return Optional.empty();
    }
    if (host.startsWith("*") && !host.startsWith("*.")) {
      return Optional.of("is a partial wildcard; a wildcard stands for whole labels, like \"*.x\"");
    }
    if (host.indexOf('.') < 0) {
      return Optional.of(
          "is a short name; write the full name, like \"web.shop.svc.cluster.local\"");
    }
    return notFullName(host.startsWith("*.") ? host.substring(2) : host);
  }

  /// The addresses among texts; what is none is left out.
  static List<InetAddress> addresses(List<String> texts) {
    List<InetAddress> out = new ArrayList<>();
    for (String text : texts) {
      CidrBlock.parseAddress(text).filter(a -> !out.contains(a)).ifPresent(out::add);
    }
    return out;
  }
}
