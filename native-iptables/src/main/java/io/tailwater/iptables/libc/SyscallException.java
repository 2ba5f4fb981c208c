package io.tailwater.iptables.libc;

/// A system call outside the data path failed. The message names the call, the error and, where
/// there is something to do, what an operator can do about it.
public final class SyscallException extends RuntimeException {
  private final String call;
  private final int errno;
  private final String hint;

  /// @param call the call with its telling arguments, such as `setns(7, CLONE_NEWNET)`
  /// @param errno a number of [Errno]
  /// @param hint what to do, or empty
  public SyscallException(String call, int errno, String hint) {
    super(call + ": " + Errno.describe(errno) + (hint.isEmpty() ? "" : ". " + hint));
    this.call = call;
    this.errno = errno;
    this.hint = hint;
  }

  /// The call with its telling arguments.
  public String call() {
    return call;
  }

  /// A number of [Errno].
  public int errno() {
    return errno;
  }

  /// What an operator can do; empty when there is nothing to advise.
  public String hint() {
    return hint;
  }
}
