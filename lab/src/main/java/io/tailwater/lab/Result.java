package io.tailwater.lab;

/// What a command that has ended left: exit status, and both outputs as text. A value, any thread.
public record Result(int exit, String stdout, String stderr) {
  /// Whether it exited with 0.
  public boolean ok() {
    return exit == 0;
  }

  /// The standard output, after checking that the command exited with 0.
  public String orThrow() {
    if (!ok()) {
      throw new LabException("exit " + exit + ": " + stderr.strip() + " " + stdout.strip());
    }
    return stdout;
  }
}
