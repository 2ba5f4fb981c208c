package io.tailwater.agent.control.istio;

import io.tailwater.agent.control.source.FieldReader;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// Reads the `headers` of an `http` route or of one of its destinations. Stateless.
final class HeaderChangesReader {
  /// A token (RFC 9110 section 5.6.2).
  static final Pattern NAME = Pattern.compile("[-!#$%&'*+.^_`|~0-9a-zA-Z]+");

  private static final Pattern FORMAT =
      Pattern.compile("\\G(?:[^%]+|%%|%[^%(]+%|%[^%(]*\\([^)]*\\) *%)");
  private static final char DELETE = 0x7f;

  private HeaderChangesReader() {}

  /// Whether the request's authority is among what is changed.
  static boolean setsAuthority(VirtualService.Changes changes) {
    return changes.set().keySet().stream().anyMatch(HeaderChangesReader::isAuthority)
        || changes.add().keySet().stream().anyMatch(HeaderChangesReader::isAuthority);
  }

  private static boolean isAuthority(String header) {
    return header.equals(":authority") || header.equals("host");
  }

  /// The `headers` of a route or destination.
  static VirtualService.HeaderChanges read(FieldReader route) {
    Optional<FieldReader> reader = route.mapping("headers");
    if (reader.isEmpty()) {
      return VirtualService.HeaderChanges.NONE;
    }
    VirtualService.HeaderChanges out =
        new VirtualService.HeaderChanges(
            reader
                .get()
                .mapping("request")
                .map(r -> changes(r, true))
                .orElse(VirtualService.Changes.NONE),
            reader
                .get()
                .mapping("response")
                .map(r -> changes(r, false))
                .orElse(VirtualService.Changes.NONE));
    reader.get().finish();
    return out;
  }

  private static VirtualService.Changes changes(FieldReader reader, boolean request) {
    Map<String, String> set = named(reader, "set", request);
    Map<String, String> add = named(reader, "add", request);
    List<String> remove = new ArrayList<>();
    for (FieldReader.Text text : reader.strings("remove")) {
      String name = text.text().toLowerCase(Locale.ROOT);
      wrongHeader(name, false)
          .ifPresent(why -> reader.problems().error(text.line(), text.path(), why));
      remove.add(name);
    }
    reader.finish();
    if (setsAuthority(new VirtualService.Changes(Map.of(), add, List.of()))
        && setsAuthority(new VirtualService.Changes(set, Map.of(), List.of()))) {
      reader.error("add", "must not set the authority, which set sets already");
    }
    return new VirtualService.Changes(set, add, remove);
  }

  private static Map<String, String> named(FieldReader reader, String key, boolean authority) {
    Map<String, String> out = new HashMap<>();
    reader
        .stringMap(key)
        .forEach((name, value) -> {
          String lower = name.toLowerCase(Locale.ROOT);
          wrongHeader(lower, authority).ifPresent(why -> reader.error(key, why));
          if (value.chars().anyMatch(c -> (c < ' ' && c != '\t') || c == DELETE)) {
            reader.error(key, "the value of " + name + " has a control character");
          }
          out.put(lower, literal(reader, key, name, value));
        });
    return out;
  }

  private static Optional<String> wrongHeader(String name, boolean authority) {
    if (isAuthority(name)) {
      return authority ? Optional.empty() : Optional.of("\"" + name + "\" cannot be changed here");
    }
    return NAME.matcher(name).matches()
        ? Optional.empty()
        : Optional.of("\"" + name + "\" is no header name");
  }

  /// The value without its escapes. Envoy puts something in the place of `%COMMAND%` and of
  /// `%COMMAND(arguments)%`; `%%` is a percent sign.
  private static String literal(FieldReader reader, String key, String name, String value) {
    StringBuilder out = new StringBuilder();
    Matcher part = FORMAT.matcher(value);
    int end = 0;
    boolean commands = false;
    while (part.find()) {
      String found = part.group();
      commands |= found.length() > 2 && found.charAt(0) == '%';
      out.append(found.equals("%%") ? "%" : found);
      end = part.end();
    }
    if (end < value.length()) {
      reader.error(key, "the value of " + name + " has a single %: write %% for a percent sign");
    } else if (commands) {
      reader.warning(
          key, "the value of " + name + " is sent as it is written: %COMMAND% is not honoured");
    }
    return out.toString();
  }
}
