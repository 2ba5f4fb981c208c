package io.tailwater.perf.code;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/// The line with which the agent's image starts its JVM, read from its launcher, so that what is
/// measured runs on exactly those flags.
///
/// @param java the image's own Java
/// @param flags everything before the class path
public record ImageLauncher(Path java, List<String> flags, String classPath) {
  public ImageLauncher {
    flags = List.copyOf(flags);
  }

  /// @throws IOException when it cannot be read, or is no such launcher
  public static ImageLauncher read(Path launcher) throws IOException {
    Path real = launcher.toRealPath();
    return parse(Files.readString(real), real.resolve("../..").normalize());
  }

  public static ImageLauncher parse(String script, Path image) throws IOException {
    int exec = script.indexOf("exec ");
    if (exec < 0) {
      throw new IOException("the image's launcher starts nothing");
    }
    List<String> words = new ArrayList<>();
    for (String word :
        script
            .substring(exec + "exec ".length())
            .replace("\\\n", " ")
            .replace("\"", "")
            .replace("$image", image.toString())
            .split("\\s+", -1)) {
      if (!word.isEmpty()) {
        words.add(word);
      }
    }
    int at = words.indexOf("-cp");
    if (at < 1 || at + 1 >= words.size()) {
      throw new IOException("the image's launcher has no class path");
    }
    return new ImageLauncher(Path.of(words.getFirst()), words.subList(1, at), words.get(at + 1));
  }

  /// A command that runs another class with more on the class path, and so without the AOT cache,
  /// which is bound to the image's own.
  public List<String> command(String classes, Class<?> main, List<String> arguments) {
    List<String> out = new ArrayList<>();
    out.add(java.toString());
    out.addAll(portableFlags());
    out.addAll(List.of("-cp", classPath + ":" + classes, main.getName()));
    out.addAll(arguments);
    return out;
  }

  /// The flags that another JVM and class path can have too.
  public List<String> portableFlags() {
    return flags.stream()
        .filter(f -> !f.startsWith("-XX:AOTCache") && !f.startsWith("-Xlog"))
        .toList();
  }
}
