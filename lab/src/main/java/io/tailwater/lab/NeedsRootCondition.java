package io.tailwater.lab;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.extension.BeforeAllCallback;
import org.junit.jupiter.api.extension.BeforeEachCallback;
import org.junit.jupiter.api.extension.ConditionEvaluationResult;
import org.junit.jupiter.api.extension.ExecutionCondition;
import org.junit.jupiter.api.extension.ExtensionContext;

/// Decides for [NeedsRoot]: on a laptop a condition that disables, under `CI=true` a callback that
/// fails before the first test. JUnit's own threads.
final class NeedsRootCondition
    implements ExecutionCondition, BeforeAllCallback, BeforeEachCallback {

  @Override
  public ConditionEvaluationResult evaluateExecutionCondition(ExtensionContext context) {
    List<String> missing = missing(context);
    if (missing.isEmpty() || Privileges.mustBeThere()) {
      return ConditionEvaluationResult.enabled("may build namespaces");
    }
    String reason = String.join(", ", missing);
    // On stderr and not through the logger: a skip has to be seen.
    System.err.println("SKIPPED " + context.getDisplayName() + ": " + reason);
    return ConditionEvaluationResult.disabled(reason);
  }

  @Override
  public void beforeAll(ExtensionContext context) {
    failIfMissing(context);
  }

  @Override
  public void beforeEach(ExtensionContext context) {
    failIfMissing(context);
  }

  private static void failIfMissing(ExtensionContext context) {
    List<String> missing = missing(context);
    if (!missing.isEmpty()) {
      throw new AssertionError(
          context.getDisplayName() + " must run where CI=true: " + String.join(", ", missing));
    }
  }

  private static List<String> missing(ExtensionContext context) {
    Set<String> commands = new TreeSet<>();
    Optional<ExtensionContext> at = Optional.of(context);
    while (at.isPresent()) {
      at.get()
          .getElement()
          .map(element -> element.getAnnotation(NeedsRoot.class))
          .ifPresent(annotation -> commands.addAll(Arrays.asList(annotation.commands())));
      at = at.get().getParent();
    }
    return Privileges.missing(commands.toArray(String[]::new));
  }
}
