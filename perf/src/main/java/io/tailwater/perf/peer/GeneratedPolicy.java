package io.tailwater.perf.peer;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/// A large policy as text: ServiceEntries as teams write them, always the same ones. Every fifth is
/// a wildcard with DYNAMIC_DNS; of the others most are looked up, some have endpoints or addresses.
/// Stateless.
public final class GeneratedPolicy {
  public static final int FILES = 20;
  public static final int ENTRIES = 10_000;
  public static final int WILDCARDS = 2_000;

  /// The namespace that the measured client lives in. It sees all that is exported to everyone and
  /// what is its own.
  public static final String CLIENT = "team-7";

  private static final int NAMESPACES = 50;
  private static final int EVERY_WILDCARD = ENTRIES / WILDCARDS;

  private GeneratedPolicy() {}

  private static final int PER_FILE = ENTRIES / FILES;

  /// Writes all files into a folder.
  public static void write(Path folder) throws IOException {
    write(folder, ENTRIES);
  }

  /// Writes the first so many into a folder.
  public static void write(Path folder, int entries) throws IOException {
    Files.createDirectories(folder);
    for (int from = 0; from < entries; from += PER_FILE) {
      StringBuilder text = new StringBuilder();
      for (int i = from; i < Math.min(from + PER_FILE, entries); i++) {
        text.append(entry(i));
      }
      Files.writeString(folder.resolve("policy-%02d.yaml".formatted(from / PER_FILE)), text);
    }
  }

  /// The domain of an entry; under a wildcard every name below it is covered.
  public static String domain(int i) {
    return "api-%d.partner-%d.example.%s".formatted(i, i % 700, i % 3 == 0 ? "com" : "org");
  }

  /// Numbers of entries that the client sees, spread over all.
  public static List<Integer> seen(boolean wildcard) {
    List<Integer> out = new ArrayList<>();
    for (int i = 0; i < ENTRIES; i++) {
      if (isWildcard(i) == wildcard && !isPrivate(i)) {
        out.add(i);
      }
    }
    return out;
  }

  /// Numbers of entries with one name and an HTTP port that the client sees.
  public static List<Integer> withHttp() {
    return seen(false).stream().filter(GeneratedPolicy::hasHttp).toList();
  }

  private static boolean hasHttp(int i) {
    return i % 4 == 1;
  }

  private static boolean isWildcard(int i) {
    return i % EVERY_WILDCARD == 0;
  }

  private static boolean isPrivate(int i) {
    return i % 10 == 3;
  }

  private static String entry(int i) {
    boolean wildcard = isWildcard(i);
    StringBuilder out = new StringBuilder();
    out.append("apiVersion: networking.istio.io/v1\n")
        .append("kind: ServiceEntry\n")
        .append("metadata:\n")
        .append("  name: external-%d\n".formatted(i))
        .append("  namespace: team-%d\n".formatted(i % NAMESPACES))
        .append("  labels:\n")
        .append("    owner: team-%d\n".formatted(i % NAMESPACES))
        .append("    app.kubernetes.io/managed-by: helm\n")
        .append("spec:\n")
        .append("  # what the partner asked for\n")
        .append("  hosts:\n")
        .append("  - %s\n".formatted(wildcard ? "\"*." + domain(i) + "\"" : domain(i)));
    if (isPrivate(i)) {
      out.append("  exportTo:\n  - \".\"\n");
    }
    out.append("  location: MESH_EXTERNAL\n")
        .append("  ports:\n")
        .append("  - number: 443\n")
        .append("    name: tls\n")
        .append("    protocol: TLS\n");
    if (hasHttp(i)) {
      out.append("  - number: 80\n").append("    name: http\n").append("    protocol: HTTP\n");
    }
    if (wildcard) {
      out.append("  resolution: DYNAMIC_DNS\n");
    } else if (i % 20 == 7) {
      out.append("  resolution: STATIC\n")
          .append("  endpoints:\n")
          .append("  - address: 198.51.100.%d\n".formatted(i % 250))
          .append("  - address: 203.0.113.%d\n".formatted(i % 250));
    } else {
      out.append("  resolution: DNS\n");
    }
    return out.append("---\n").toString();
  }
}
