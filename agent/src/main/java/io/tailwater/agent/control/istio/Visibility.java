package io.tailwater.agent.control.istio;

import io.tailwater.agent.control.source.FieldReader;
import io.tailwater.agent.control.source.KubeObject;
import java.util.ArrayList;
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

  /// Reads and validates `exportTo` of a rule, which unlike an entry cannot be for nobody.
  ///
  /// @param own the rule's namespace
  /// @param selects whether the rule selects workloads: then it stays in its namespace
  static List<String> readExportTo(FieldReader spec, String own, boolean selects) {
    List<String> out = new ArrayList<>();
    Set<String> seen = new HashSet<>();
    List<FieldReader.Text> texts = spec.strings("exportTo");
    for (FieldReader.Text text : texts) {
      String to = text.text();
      String wrong = "";
      if (!seen.add(to.equals(".") ? own : to)) {
        wrong = "is there twice (\".\" is the rule's own namespace)";
      } else if (to.equals("~")) {
        wrong = "is for ServiceEntries alone; to export it to nobody, delete it";
      } else if (to.equals("*") && texts.size() > 1) {
        wrong = "must stand alone";
      } else if (!to.equals("*") && !to.equals(".") && !KubeObject.isLabel(to)) {
        wrong = "is neither a namespace nor one of \".\", \"*\"";
      } else if (selects && !to.equals(".") && !to.equals(own)) {
        wrong = "is not possible with workloadSelector: such a rule stays in its own namespace";
      }
      if (!wrong.isEmpty()) {
        spec.problems().error(text.line(), text.path(), "\"" + to + "\" " + wrong);
      }
      out.add(to);
    }
    return out;
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
