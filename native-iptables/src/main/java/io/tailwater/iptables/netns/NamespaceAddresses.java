package io.tailwater.iptables.netns;

import java.io.IOException;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// The addresses of the interfaces of a namespace, loopback and link-local ones left out. Read from
/// `/proc/thread-self/net`, which follows the thread into a namespace; Java's own list of
/// interfaces follows the process.
public final class NamespaceAddresses {
  private static final Path ROUTES = Path.of("/proc/thread-self/net/fib_trie");
  private static final Path IPV6 = Path.of("/proc/thread-self/net/if_inet6");
  private static final Pattern LEAF = Pattern.compile("\\|-- (\\d+\\.\\d+\\.\\d+\\.\\d+)\\s*$");

  private NamespaceAddresses() {}

  /// All of them, IPv4 first. On a platform thread.
  public static List<InetAddress> of(NetworkNamespace namespace) throws IOException {
    return namespace.call(NamespaceAddresses::here);
  }

  /// Those of the calling thread's namespace.
  public static List<InetAddress> here() throws IOException {
    List<InetAddress> all = new ArrayList<>(parseRoutes(Files.readAllLines(ROUTES)));
    try {
      all.addAll(parseInet6(Files.readAllLines(IPV6)));
    } catch (NoSuchFileException _) {
      // no IPv6 in this kernel or namespace
    }
    return List.copyOf(all);
  }

  /// A local address is a leaf of the trie that is followed by `/32 host LOCAL`.
  static Set<InetAddress> parseRoutes(List<String> lines) throws UnknownHostException {
    Set<InetAddress> found = new LinkedHashSet<>();
    String leaf = "";
    for (String line : lines) {
      Matcher matcher = LEAF.matcher(line);
      if (matcher.find()) {
        leaf = matcher.group(1);
      } else if (line.contains("/32 host LOCAL") && !leaf.isEmpty() && !leaf.startsWith("127.")) {
        found.add(InetAddress.getByName(leaf));
      }
    }
    return found;
  }

  /// `if_inet6`: address in 32 hex digits, index, prefix, scope (00 global, 10 host, 20 link),
  /// flags, name.
  static List<InetAddress> parseInet6(List<String> lines) throws UnknownHostException {
    List<InetAddress> found = new ArrayList<>();
    for (String line : lines) {
      String[] fields = line.trim().split("\\s+");
      if (fields.length >= 6 && fields[3].equals("00")) {
        found.add(InetAddress.getByAddress(HexFormat.of().parseHex(fields[0])));
      }
    }
    return found;
  }
}
