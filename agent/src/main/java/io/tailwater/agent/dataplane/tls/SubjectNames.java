package io.tailwater.agent.dataplane.tls;

import java.net.InetAddress;
import java.security.cert.CertificateParsingException;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/// The names that a certificate carries: its subject alternative names (RFC 5280 section 4.2.1.6).
/// The common name is not one of them (RFC 9525 section 2).
record SubjectNames(List<Name> names) {
  /// So many are shown, each at most so long: a stranger wrote them.
  private static final int MOST_SHOWN = 8;

  private static final int LONGEST_SHOWN = 100;

  /// GeneralName's tags.
  enum Kind {
    EMAIL(1),
    DNS(2),
    URI(6),
    IP(7);

    private final int tag;

    Kind(int tag) {
      this.tag = tag;
    }

    static @Nullable Kind of(int tag) {
      for (Kind kind : values()) {
        if (kind.tag == tag) {
          return kind;
        }
      }
      return null;
    }
  }

  record Name(Kind kind, String text) {}

  static SubjectNames of(X509Certificate certificate) throws CertificateParsingException {
    Collection<List<?>> alternatives = certificate.getSubjectAlternativeNames();
    List<Name> names = new ArrayList<>();
    if (alternatives != null) {
      for (List<?> alternative : alternatives) {
        Kind kind = Kind.of((Integer) alternative.get(0));
        if (kind != null && alternative.get(1) instanceof String text) {
          names.add(new Name(kind, text));
        }
      }
    }
    return new SubjectNames(List.copyOf(names));
  }

  /// Whether one of them is this host or address: a DNS name also by a wildcard for its first
  /// label.
  boolean carriesHost(String host) {
    return names.stream()
        .anyMatch(name ->
            switch (name.kind()) {
              case DNS -> dnsMatches(name.text(), host);
              case IP -> sameAddress(name.text(), host);
              case URI, EMAIL -> false;
            });
  }

  /// Whether one of them is the configured one. Of a DNS name a wildcard in the certificate covers
  /// it, as in Envoy.
  boolean carries(String configured) {
    return carriesHost(configured)
        || names.stream()
            .anyMatch(name ->
                (name.kind() == Kind.URI || name.kind() == Kind.EMAIL)
                    && name.text().equals(configured));
  }

  /// RFC 9525 section 6.3: without regard to case, and a wildcard stands for one whole label, the
  /// leftmost.
  static boolean dnsMatches(String carried, String wanted) {
    String pattern = carried.toLowerCase(Locale.ROOT);
    String name = wanted.toLowerCase(Locale.ROOT);
    if (!pattern.startsWith("*.")) {
      return pattern.equals(name);
    }
    int dot = name.indexOf('.');
    return dot > 0 && name.substring(dot).equals(pattern.substring(1));
  }

  private static boolean sameAddress(String carried, String wanted) {
    InetAddress one = address(carried);
    return one != null && one.equals(address(wanted));
  }

  /// An address literal, nothing is looked up.
  static @Nullable InetAddress address(String text) {
    try {
      return InetAddress.ofLiteral(text);
    } catch (IllegalArgumentException _) {
      return null;
    }
  }

  /// For people; safe to print.
  String show() {
    if (names.isEmpty()) {
      return "no name at all";
    }
    String shown =
        names.stream()
            .limit(MOST_SHOWN)
            .map(name -> clean(name.text()))
            .collect(Collectors.joining(", "));
    int more = names.size() - MOST_SHOWN;
    return more > 0 ? shown + " and " + more + " more" : shown;
  }

  /// A stranger's text without control characters, and short.
  static String clean(String text) {
    StringBuilder out = new StringBuilder();
    text.chars()
        .limit(LONGEST_SHOWN)
        .forEach(c -> out.append(c >= ' ' && c < 0x7f ? (char) c : '?'));
    return text.length() > LONGEST_SHOWN ? out + "..." : out.toString();
  }
}
