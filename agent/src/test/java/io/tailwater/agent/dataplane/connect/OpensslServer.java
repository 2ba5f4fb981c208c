package io.tailwater.agent.dataplane.connect;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// `openssl s_server` on a free port of loopback; it sends every line back, reversed.
public final class OpensslServer implements AutoCloseable {
  private static final Pattern ACCEPTS = Pattern.compile("ACCEPT 127\\.0\\.0\\.1:(\\d+)");

  private final Process process;
  private final int port;

  private OpensslServer(Process process, int port) {
    this.process = process;
    this.port = port;
  }

  public static OpensslServer start(Path folder, OpensslAuthority.Leaf leaf, String... more) {
    List<String> command =
        new ArrayList<>(
            List.of(
                "openssl",
                "s_server",
                "-accept",
                "127.0.0.1:0",
                "-rev",
                "-cert",
                leaf.certificate().toString(),
                "-key",
                leaf.key().toString()));
    command.addAll(List.of(more));
    try {
      Path log = Files.createTempFile(folder, "s_server", ".log");
      Process process =
          new ProcessBuilder(command)
              .redirectErrorStream(true)
              .redirectOutput(log.toFile())
              .start();
      long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(10);
      while (true) {
        String said = Files.readString(log);
        Matcher accepts = ACCEPTS.matcher(said);
        if (accepts.find()) {
          return new OpensslServer(process, Integer.parseInt(accepts.group(1)));
        }
        if (!process.isAlive() || System.nanoTime() - deadline > 0) {
          process.destroyForcibly();
          throw new AssertionError("s_server does not accept: " + said);
        }
        LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(5));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  public int port() {
    return port;
  }

  @Override
  public void close() {
    process.destroyForcibly();
  }
}
