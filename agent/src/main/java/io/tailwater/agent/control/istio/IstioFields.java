package io.tailwater.agent.control.istio;

import io.tailwater.agent.control.source.FieldReader;
import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Nearest;
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

  private static final Pattern DNS_LABEL =
      Pattern.compile("[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?");

  private static final Pattern LABEL_PREFIX =
      Pattern.compile(DNS_LABEL.pattern() + "(\\." + DNS_LABEL.pattern() + ")*");

  private static final long UNSIGNED = 0xffff_ffffL;

  private static final int LABEL_LENGTH = 63;

  /// What istiod writes for itself, and its webhook refuses from users.
  private static final List<String> INTERNAL =
      List.of(
          "internal.istio.io/webhook-always-reject",
          "internal.istio.io/parent-namespace",
          "internal.istio.io/parents");

  private static final String DRY_RUN = "istio.io/dry-run";

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
    for (String annotation : INTERNAL) {
      if (object.annotations().containsKey(annotation)) {
        top.error("metadata", "the annotation " + annotation + " is Istio's own; remove it");
      }
    }
    if (object.annotations().containsKey(DRY_RUN)) {
      top.error(
          "metadata",
          "the annotation " + DRY_RUN + " is for AuthorizationPolicies alone; remove it");
    }
    Optional<FieldReader> spec = spec(top);
    top.finish();
    return spec;
  }

  /// The `spec` of an object that cannot be without one.
  static Optional<FieldReader> spec(FieldReader top) {
    Optional<FieldReader> spec = top.mapping("spec");
    if (!top.has("spec")) {
      top.error("spec", "is missing");
    }
    return spec;
  }

  /// What is wrong with a `protocol` that Istio does not know.
  static String noProtocol(String text) {
    return "\""
        + text
        + "\" is none of "
        + String.join(", ", Protocol.names())
        + Nearest.hint(text, Protocol.names());
  }

  /// The labels of a `workloadSelector`; without any it selects every workload of its scope.
  static Optional<Map<String, String>> workloadSelector(FieldReader spec) {
    Optional<FieldReader> selector = spec.mapping("workloadSelector");
    if (selector.isEmpty()) {
      return Optional.empty();
    }
    Map<String, String> labels = selector.get().stringMap("labels");
    selector.get().finish();
    most(selector.get(), "labels", MAX_LABELS);
    checkSelected(spec, labels);
    return Optional.of(labels);
  }

  /// Reports what a selector cannot select.
  static void checkSelected(FieldReader spec, Map<String, String> labels) {
    labels.forEach((key, value) -> {
      if (value.length() > LABEL_LENGTH) {
        spec.error("workloadSelector", "the value of " + key + " is longer than " + LABEL_LENGTH);
      }
      if (key.isEmpty()) {
        spec.error("workloadSelector", "has a label without a name");
      } else if (key.contains("*") || value.contains("*")) {
        spec.error(
            "workloadSelector", "wildcards are not allowed in a selector: " + key + ": " + value);
      }
    });
  }

  /// Reports what is no Kubernetes label.
  static void checkLabels(FieldReader reader, String key, Map<String, String> labels) {
    labels.forEach((name, value) -> {
      int slash = name.indexOf('/');
      String bare = name.substring(slash + 1);
      boolean good =
          (slash < 0 || LABEL_PREFIX.matcher(name.substring(0, slash)).matches())
              && LABEL_PART.matcher(bare).matches()
              && bare.length() <= LABEL_LENGTH
              && (value.isEmpty()
                  || (LABEL_PART.matcher(value).matches() && value.length() <= LABEL_LENGTH));
      if (!good) {
        reader.error(key, "\"" + name + ": " + value + "\" is not a valid label");
      }
    });
  }

  /// Whether the text is a DNS label as Istio wants it, which lets upper case pass.
  static boolean isDnsLabel(String name) {
    return DNS_LABEL.matcher(name).matches() && name.length() <= LABEL_LENGTH;
  }

  /// Why a text is no host name, in the words of somebody who sees what was meant.
  ///
  /// @param why a clause that can follow the text
  static String whyNoName(String text, String why) {
    if (text.contains("://")) {
      return "has a scheme; write the name alone, without \""
          + text.substring(0, text.indexOf("://") + 3)
          + "\"";
    }
    int slash = text.indexOf('/');
    if (slash > 0) {
      return "has a path; write the name alone";
    }
    int colon = text.lastIndexOf(':');
    if (colon > 0 && text.indexOf(':') == colon && text.substring(colon + 1).matches("[0-9]+")) {
      return "has a port; write the name alone, ports have fields of their own";
    }
    return why;
  }

  /// Why what follows `unix://` names no socket, or nothing. A leading `@` is an abstract socket.
  static Optional<String> notSocketPath(String path) {
    if (path.startsWith("@")) {
      return Optional.empty();
    }
    return path.startsWith("/") && !path.endsWith("/")
        ? Optional.empty()
        : Optional.of("\"unix://" + path + "\" is not the absolute path of a socket");
  }

  private static final int MAX_ENDPOINT_PORTS = 128;
  private static final int MAX_LABELS = 256;

  /// The limits of the schema for an endpoint or WorkloadEntry.
  static void checkEndpoint(FieldReader endpoint) {
    longest(endpoint, "address", 256);
    longest(endpoint, "network", 2048);
    longest(endpoint, "locality", 2048);
    longest(endpoint, "serviceAccount", 253);
    most(endpoint, "ports", MAX_ENDPOINT_PORTS);
    most(endpoint, "labels", MAX_LABELS);
  }

  /// Reports a list that is longer than the schema lets it be.
  static void mostItems(FieldReader reader, String key, int max) {
    int size = reader.items(key).size();
    if (size > max) {
      reader.error(key, "has " + size + " items; at most " + max + " are allowed");
    }
  }

  /// A number of the schema's `uint32`; what does not fit an int is the largest one.
  static Optional<Integer> unsigned(FieldReader reader, String key) {
    return reader.number(key, 0, UNSIGNED).map(n -> (int) Math.min(n, Integer.MAX_VALUE));
  }

  private static void longest(FieldReader reader, String key, int max) {
    int length = reader.mapping().text(key).map(String::length).orElse(0);
    if (length > max) {
      reader.error(key, "has " + length + " characters; at most " + max + " are allowed");
    }
  }

  private static void most(FieldReader reader, String key, int max) {
    int size = reader.mapping().mapping(key).map(m -> m.keys().size()).orElse(0);
    if (size > max) {
      reader.error(key, "has " + size + " entries; at most " + max + " are allowed");
    }
  }

  /// Why a text is no full host name, or nothing.
  static Optional<String> notFullName(String host) {
    return switch (HostName.parse(host)) {
      case HostName.Parsed.Invalid(String why) -> Optional.of(whyNoName(host, why));
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
