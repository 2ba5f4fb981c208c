package io.tailwater.agent.control.source;

import java.time.Instant;
import java.time.format.DateTimeParseException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;

/// A Kubernetes object as somebody wrote it: metadata read, the rest a tree with positions.
/// Immutable; equality is identity, so that what was made of one can be kept as long as it lives.
public final class KubeObject {
  private static final Set<String> CLUSTER_SCOPED =
      Set.of(
          "Namespace",
          "Node",
          "GatewayClass",
          "CustomResourceDefinition",
          "ClusterRole",
          "ClusterRoleBinding",
          "PersistentVolume",
          "StorageClass",
          "MutatingWebhookConfiguration",
          "ValidatingWebhookConfiguration");

  /// RFC 1123 subdomain, as Kubernetes asks of most names.
  private static final Pattern NAME =
      Pattern.compile("[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*");

  private final ResourceKey key;
  private final Map<String, String> labels;
  private final Map<String, String> annotations;
  private final Optional<Instant> created;
  private final YamlValue.Mapping root;
  private final String file;

  private KubeObject(
      ResourceKey key,
      Map<String, String> labels,
      Map<String, String> annotations,
      Optional<Instant> created,
      YamlValue.Mapping root,
      String file) {
    this.key = key;
    this.labels = Map.copyOf(labels);
    this.annotations = Map.copyOf(annotations);
    this.created = created;
    this.root = root;
    this.file = file;
  }

  /// Reads the objects of a document: one, or those of a `List`. What is wrong with the metadata is
  /// reported, and that object left out; the rest of it is for who knows the kind.
  public static List<KubeObject> read(YamlValue document, Problems problems) {
    if (!(document instanceof YamlValue.Mapping root)) {
      problems.error(
          document.line(),
          "",
          "must be a Kubernetes object (a mapping with apiVersion and kind), not "
              + document.describe());
      return List.of();
    }
    String kind = root.text("kind").orElse("");
    if (kind.endsWith("List") && root.get("items").orElse(null) instanceof YamlValue.Sequence s) {
      List<KubeObject> out = new ArrayList<>();
      for (YamlValue item : s.items()) {
        out.addAll(read(item, problems));
      }
      return out;
    }
    return readOne(root, problems).map(List::of).orElse(List.of());
  }

  private static Optional<KubeObject> readOne(YamlValue.Mapping root, Problems problems) {
    FieldReader top = new FieldReader(root, "", problems);
    boolean good = true;
    for (String needed : List.of("apiVersion", "kind", "metadata")) {
      if (!top.has(needed)) {
        top.error(needed, "is missing; a Kubernetes object needs it");
        good = false;
      }
    }
    if (!good) {
      return Optional.empty();
    }
    Optional<String> apiVersion = top.string("apiVersion");
    Optional<String> kind = top.string("kind");
    Optional<FieldReader> metadata = top.mapping("metadata");
    if (apiVersion.isEmpty() || kind.isEmpty() || metadata.isEmpty()) {
      return Optional.empty();
    }
    FieldReader meta = metadata.get();
    Optional<String> name = meta.string("name");
    if (name.isEmpty()) {
      if (!meta.mapping().keys().contains("name")) {
        meta.error("name", "is missing");
      }
      return Optional.empty();
    }
    String namespace =
        CLUSTER_SCOPED.contains(kind.get()) ? "" : meta.string("namespace").orElse("default");
    meta.ignore("namespace");
    int slash = apiVersion.get().indexOf('/');
    String group = slash < 0 ? "" : apiVersion.get().substring(0, slash);
    ResourceKey key = new ResourceKey(group, kind.get(), namespace, name.get());
    FieldReader named = new FieldReader(meta.mapping(), "metadata", problems.of(key.ref()));
    if (!NAME.matcher(name.get()).matches() || name.get().length() > 253) {
      named.error("name", "\"" + name.get() + "\" is not a valid object name");
      return Optional.empty();
    }
    if (!namespace.isEmpty() && !isLabel(namespace)) {
      named.error("namespace", "\"" + namespace + "\" is not a valid namespace name");
      return Optional.empty();
    }
    Optional<Instant> created = Optional.empty();
    Optional<String> timestamp = named.string("creationTimestamp");
    if (timestamp.isPresent()) {
      try {
        created = Optional.of(Instant.parse(timestamp.get()));
      } catch (DateTimeParseException _) {
        named.error(
            "creationTimestamp",
            "\"" + timestamp.get() + "\" is no time like 2026-01-31T12:00:00Z");
      }
    }
    Map<String, String> labels = named.stringMap("labels");
    Map<String, String> annotations = named.stringMap("annotations");
    named.ignore(
        "name",
        "namespace",
        "generateName",
        "selfLink",
        "uid",
        "resourceVersion",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "ownerReferences",
        "finalizers",
        "managedFields");
    named.finish();
    return Optional.of(new KubeObject(key, labels, annotations, created, root, problems.file()));
  }

  /// Whether the text is a DNS label as Kubernetes wants for namespaces (RFC 1123, lower case).
  public static boolean isLabel(String text) {
    return text.length() <= 63 && text.indexOf('.') < 0 && NAME.matcher(text).matches();
  }

  public ResourceKey key() {
    return key;
  }

  public String kind() {
    return key.kind();
  }

  public String namespace() {
    return key.namespace();
  }

  public String name() {
    return key.name();
  }

  public Map<String, String> labels() {
    return labels;
  }

  public Map<String, String> annotations() {
    return annotations;
  }

  /// When it was made; who has no time counts as the oldest, as Istio has it.
  public Instant age() {
    return created.orElse(Instant.MIN);
  }

  /// The whole object.
  public YamlValue.Mapping root() {
    return root;
  }

  /// The file it stands in.
  public String file() {
    return file;
  }

  /// The line it begins on.
  public int line() {
    return root.line();
  }

  /// The `spec`, where there is a mapping of that name.
  public Optional<YamlValue.Mapping> spec() {
    return root.mapping("spec");
  }

  @Override
  public String toString() {
    return key + " (" + file + ":" + line() + ")";
  }
}
