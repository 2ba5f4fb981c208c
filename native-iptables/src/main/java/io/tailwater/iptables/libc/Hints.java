package io.tailwater.iptables.libc;

/// What an operator can do about a failed call. Empty where there is nothing to advise.
final class Hints {
  private Hints() {}

  static String of(String call, int errno) {
    return switch (errno) {
      case Errno.EPERM, Errno.EACCES -> privilege(call);
      case Errno.ENOENT -> missing(call);
      case Errno.EMFILE ->
          "Raise the limit of open files of this process (ulimit -n, LimitNOFILE= or the container"
              + " runtime's setting)";
      case Errno.ENFILE -> "Raise the sysctl fs.file-max of the node";
      case Errno.EAFNOSUPPORT -> "This kernel or namespace does not have that address family";
      case Errno.ENOSYS -> "The kernel is too old, or a seccomp profile hides this call";
      default -> "";
    };
  }

  private static String privilege(String call) {
    if (call.startsWith("setns") || call.startsWith("unshare")) {
      return "Entering a namespace needs CAP_SYS_ADMIN: run as root or add the capability";
    }
    if (call.contains("SO_MARK") || call.contains("TRANSPARENT")) {
      return "This socket option needs CAP_NET_ADMIN: run as root or add the capability";
    }
    if (call.startsWith("socket")) {
      return "Raw sockets need CAP_NET_RAW: run as root or add the capability";
    }
    if (call.startsWith("open")) {
      return "Check the file's permissions, or run as root";
    }
    return "A capability is missing: run as root, or see 'tailwater preflight'";
  }

  private static String missing(String call) {
    if (call.startsWith("open")) {
      return "Check the path; in a container, check that the folder is mounted with HostToContainer"
          + " propagation";
    }
    if (call.contains("SO_ORIGINAL_DST")) {
      return "The connection was not redirected by a rule: it has no original destination";
    }
    return "";
  }
}
