package io.tailwater.lab;

import java.net.URISyntaxException;
import java.nio.file.Path;

/// Where this module's classes are, for a child JVM's class path.
final class Classes {
  private Classes() {}

  static String location() {
    try {
      return Path.of(Classes.class.getProtectionDomain().getCodeSource().getLocation().toURI())
          .toString();
    } catch (URISyntaxException e) {
      throw new LabException("cannot tell where the lab's classes are", e);
    }
  }
}
