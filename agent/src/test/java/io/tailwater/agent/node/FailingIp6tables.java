package io.tailwater.agent.node;

import io.tailwater.lab.Place;
import io.tailwater.lab.Result;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;

/// An ip6tables, of both kinds, that fails while it is told to.
final class FailingIp6tables {
  private final World world;
  private final Path programs;
  private final Path broken;

  FailingIp6tables(World world) throws IOException {
    this.world = world;
    this.programs = world.lab.folder("programs");
    this.broken = programs.resolve("broken");
    Place node = world.lab.node();
    for (String kind : List.of("nft", "legacy")) {
      for (String what : List.of("save", "restore")) {
        String name = "ip6tables-" + kind + "-" + what;
        String real = world.lab.exec(node, "which", name).orThrow().strip();
        Path program =
            World.write(
                programs.resolve(name),
                "#!/bin/sh\nif [ -e %s ]; then echo 'out of order' >&2; exit 3; fi\nexec %s \"$@\"\n"
                    .formatted(broken, real));
        Files.setPosixFilePermissions(program, PosixFilePermissions.fromString("rwxr-xr-x"));
      }
    }
  }

  void fails() {
    World.write(broken, "");
  }

  void works() throws IOException {
    Files.deleteIfExists(broken);
  }

  /// An agent that has it.
  RunningAgent start(Path configuration) {
    return RunningAgent.launch(world, configuration, wrapper()).awaitReady();
  }

  /// The agent's binary with it, to its end.
  Result command(String... arguments) {
    return RunningAgent.once(world, world.lab.node(), wrapper(), arguments);
  }

  private List<String> wrapper() {
    return List.of("env", "PATH=" + programs + ":" + System.getenv("PATH"));
  }
}
