package io.tailwater.iptables.rule;

import java.util.regex.Pattern;

/// Names that are pasted into a script which a privileged program reads: nothing but what the
/// kernel itself allows in a name, so that no name can carry a rule of its own.
final class Names {
  /// IFNAMSIZ is 16 with the final zero; a final `+` stands for any end.
  private static final Pattern INTERFACE =
      Pattern.compile("[A-Za-z0-9_.:@-]{1,15}|[A-Za-z0-9_.:@-]{1,14}\\+");

  private static final Pattern SET = Pattern.compile("[A-Za-z0-9_.:-]{1,31}");

  /// XT_EXTENSION_MAXNAMELEN is 29 with the final zero.
  private static final Pattern CHAIN = Pattern.compile("[A-Za-z0-9_-]{1,28}");

  /// As the log target takes it, without what would have to be quoted.
  private static final Pattern LOG_PREFIX = Pattern.compile("[A-Za-z0-9_.:/-]{1,63}");

  /// Relative to the root of the hierarchy. A unit with an escaped name (`\\x2d`) cannot be said:
  /// the two programs quote it differently.
  private static final Pattern CGROUP =
      Pattern.compile("[A-Za-z0-9_.:@=+-]{1,255}(/[A-Za-z0-9_.:@=+-]{1,255})*");

  private Names() {}

  static void checkInterface(String name) {
    if (name.equals(".") || name.equals("..")) {
      throw new IllegalArgumentException("No interface is called '" + name + "'");
    }
    check(INTERFACE, name, "an interface");
  }

  /// One interface, no pattern.
  static void checkOneInterface(String name) {
    checkInterface(name);
    if (name.endsWith("+")) {
      throw new IllegalArgumentException("'" + name + "' is a pattern and not one interface");
    }
  }

  static void checkSet(String name) {
    check(SET, name, "a set");
  }

  static void checkChain(String name) {
    check(CHAIN, name, "a chain");
  }

  static void checkLogPrefix(String prefix) {
    check(LOG_PREFIX, prefix, "a log prefix");
  }

  static void checkCgroup(String path) {
    check(CGROUP, path, "a control group below the root");
  }

  static void checkByte(int value, String what) {
    if (value < 0 || value > 255) {
      throw new IllegalArgumentException(what + " " + value + " is not 0..255");
    }
  }

  static void checkPort(IpProtocol protocol, int port) {
    if (protocol != IpProtocol.TCP && protocol != IpProtocol.UDP) {
      throw new IllegalArgumentException(protocol + " has no ports");
    }
    checkPort(port);
  }

  static void checkPort(int port) {
    if (port < 1 || port > 65535) {
      throw new IllegalArgumentException("Port " + port + " is not 1..65535");
    }
  }

  private static void check(Pattern allowed, String name, String what) {
    if (!allowed.matcher(name).matches() || name.startsWith("-")) {
      throw new IllegalArgumentException("'" + name + "' cannot be the name of " + what);
    }
  }
}
