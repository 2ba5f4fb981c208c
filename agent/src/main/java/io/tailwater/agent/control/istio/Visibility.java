package io.tailwater.agent.control.istio;

import java.util.HashSet;
import java.util.List;
import java.util.Set;

/// Which client namespaces see a resource: Istio's `exportTo`, evaluated.
public record Visibility(boolean everyone, Set<String> namespaces) {
  public Visibility {
    namespaces = Set.copyOf(namespaces);
  }

  /// Evaluates an `exportTo`; an empty one means the mesh's default.
  public static Visibility of(
      List<String> exportTo, String ownNamespace, List<String> meshDefault) {
    Set<String> namespaces = new HashSet<>();
    for (String to : exportTo.isEmpty() ? meshDefault : exportTo) {
      switch (to) {
        case "*" -> {
          return new Visibility(true, Set.of());
        }
        case "~" -> {}
        case "." -> namespaces.add(ownNamespace);
        default -> namespaces.add(to);
      }
    }
    return new Visibility(false, namespaces);
  }

  public boolean covers(String clientNamespace) {
    return everyone || namespaces.contains(clientNamespace);
  }

  /// For messages: "is not exported to shop (exportTo: ...)".
  public String show() {
    if (everyone) {
      return "*";
    }
    return namespaces.isEmpty() ? "~" : String.join(", ", namespaces.stream().sorted().toList());
  }
}
