package io.tailwater.lab;

import java.lang.annotation.Documented;
import java.lang.annotation.ElementType;
import java.lang.annotation.Inherited;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.extension.ExtendWith;

/// A test (or a class of tests) that builds network namespaces.
///
/// Without root, `ip`, `iptables` or the right to make a namespace it is skipped and the reason is
/// printed; where the environment has `CI=true` a missing privilege fails the test instead, so that
/// a build server never passes by skipping. The tag `root` lets `verify --fast` leave these tests
/// out.
///
/// `commands` names further programs that the test runs, e.g. `nginx`, under the same rule.
@Documented
@Inherited
@Retention(RetentionPolicy.RUNTIME)
@Target({ElementType.TYPE, ElementType.METHOD, ElementType.ANNOTATION_TYPE})
@Tag("root")
@ExtendWith(NeedsRootCondition.class)
public @interface NeedsRoot {
  /// Programs that must be on the PATH, besides `ip` and `iptables`.
  String[] commands() default {};
}
