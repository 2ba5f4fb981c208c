package io.tailwater.agent.config;

import io.tailwater.agent.control.capture.PodEntry;
import io.tailwater.agent.control.capture.PodFolder;
import io.tailwater.agent.control.capture.PodSpec;
import io.tailwater.agent.control.source.Nearest;
import io.tailwater.agent.control.source.YamlValue;
import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.PodRef;
import java.net.InetAddress;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;

/// One item of `pods:`.
final class PodShape implements Shape<PodEntry> {
  private static final List<String> KEYS =
      List.of("namespace", "name", "serviceAccount", "labels", "netns", "ips");

  private static final List<String> FOLDER_KEYS = List.of("watch", "namespace");

  /// Kubernetes' names (RFC 1123 subdomain).
  private static final Pattern NAME = Pattern.compile("[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?");

  private static final Shape<String> NAMES =
      Shape.parsed(
          "a Kubernetes name (lower-case letters, digits, '-' and '.')",
          t -> NAME.matcher(t).matches() ? Optional.of(t) : Optional.empty(),
          t -> t);

  private static final Shape<Path> NETNS =
      Shape.parsed(
          "an absolute path like /run/netns/NAME",
          t ->
              t.startsWith("/") && t.indexOf('\0') < 0 ? Optional.of(Path.of(t)) : Optional.empty(),
          Path::toString);

  private static final Shape<List<InetAddress>> IPS =
      Shape.listOf(Shape.parsed("an address", CidrBlock::parseAddress, AddressText::of));

  /// A label's value may be empty.
  private static final Shape<Map<String, String>> LABELS =
      Shape.mapOf(
          Shape.parsed(
              "text", t -> t.equals(At.shown(t)) ? Optional.of(t) : Optional.empty(), t -> t));

  @Override
  public Optional<PodEntry> read(YamlValue value, At at) {
    if (!(value instanceof YamlValue.Mapping map)) {
      at.error(value.line(), "must be a mapping with namespace, name and netns");
      return Optional.empty();
    }
    if (map.fields().containsKey("watch")) {
      return folder(map, at);
    }
    unknown(map, KEYS, at);
    Optional<String> namespace = required(map, "namespace", NAMES, at);
    Optional<String> name = required(map, "name", NAMES, at);
    Optional<Path> netns = required(map, "netns", NETNS, at);
    String account = optional(map, "serviceAccount", NAMES, at).orElse("default");
    Map<String, String> labels = optional(map, "labels", LABELS, at).orElse(Map.of());
    List<InetAddress> ips = optional(map, "ips", IPS, at).orElse(List.of());
    if (namespace.isEmpty() || name.isEmpty() || netns.isEmpty()) {
      return Optional.empty();
    }
    PodRef ref = new PodRef(namespace.get(), name.get());
    return Optional.of(new PodSpec(ref, account, labels, netns.get().toString(), ips));
  }

  private static Optional<PodEntry> folder(YamlValue.Mapping map, At at) {
    unknown(map, FOLDER_KEYS, at);
    Optional<Path> folder = required(map, "watch", NETNS, at);
    Optional<String> namespace = required(map, "namespace", NAMES, at);
    return folder.flatMap(path -> namespace.map(name -> new PodFolder(path.normalize(), name)));
  }

  private static void unknown(YamlValue.Mapping map, List<String> keys, At at) {
    for (YamlValue.Field field : map.fields().values()) {
      if (!keys.contains(field.key())) {
        at.below(At.shown(field.key()))
            .error(field.line(), "unknown key" + Nearest.hint(field.key(), keys));
      }
    }
  }

  private static <T> Optional<T> required(
      YamlValue.Mapping map, String key, Shape<T> shape, At at) {
    if (map.field(key).isEmpty()) {
      at.below(key).error(map.line(), "is missing");
      return Optional.empty();
    }
    return optional(map, key, shape, at);
  }

  private static <T> Optional<T> optional(
      YamlValue.Mapping map, String key, Shape<T> shape, At at) {
    return map.field(key).flatMap(f -> shape.read(f.value(), at.below(key)));
  }

  @Override
  public String show(PodEntry entry) {
    return switch (entry) {
      case PodFolder(Path folder, String namespace) ->
          "{watch: " + folder + ", namespace: " + namespace + "}";
      case PodSpec pod -> show(pod);
    };
  }

  private static String show(PodSpec pod) {
    return "{namespace: "
        + pod.ref().namespace()
        + ", name: "
        + pod.ref().name()
        + ", serviceAccount: "
        + pod.serviceAccount()
        + ", labels: "
        + LABELS.show(pod.labels())
        + ", netns: "
        + pod.netns()
        + ", ips: "
        + IPS.show(pod.ips())
        + "}";
  }

  @Override
  public String syntax() {
    return "`{namespace, name, serviceAccount, labels, netns, ips}` or `{watch: FOLDER,"
        + " namespace}`";
  }
}
