package io.tailwater.agent.config;

import io.tailwater.agent.control.source.FieldReader;
import io.tailwater.agent.control.source.Nearest;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.control.source.Problems;
import io.tailwater.agent.control.source.YamlValue;
import io.tailwater.agent.traffic.CidrBlock;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.function.Function;
import java.util.stream.Collectors;

/// How the value of a key is written: the one seam through which strings enter. Reads a value and
/// tells every problem, or shows a value as it would be written.
interface Shape<T> {

  /// The value, or empty after problems were told.
  Optional<T> read(YamlValue value, At at);

  /// As it is written in the file.
  String show(T value);

  /// For the reference table: "a duration", "`a` or `b`".
  String syntax();

  private static Optional<String> scalar(YamlValue value, At at, String wanted) {
    if (value instanceof YamlValue.Scalar(_, String text, _) && !value.isNull()) {
      return Optional.of(text);
    }
    at.error(value.line(), "must be " + wanted + ", not " + At.noun(value));
    return Optional.empty();
  }

  /// A scalar that a function parses.
  static <T> Shape<T> parsed(
      String syntax, Function<String, Optional<T>> parse, Function<T, String> show) {
    return new Shape<>() {
      @Override
      public Optional<T> read(YamlValue value, At at) {
        Optional<T> read = scalar(value, at, syntax).flatMap(parse);
        if (read.isEmpty() && value instanceof YamlValue.Scalar && !value.isNull()) {
          at.error(value.line(), "must be " + syntax + ", not " + At.noun(value));
        }
        return read;
      }

      @Override
      public String show(T value) {
        return show.apply(value);
      }

      @Override
      public String syntax() {
        return syntax;
      }
    };
  }

  /// Plain text of one line.
  static Shape<String> text(String syntax) {
    return parsed(
        syntax,
        t -> t.isEmpty() || !t.equals(At.shown(t)) ? Optional.empty() : Optional.of(t),
        t -> t);
  }

  /// One of some words, in the order of the map; `unbuilt` are words that a later version takes.
  static <T> Shape<T> oneOf(SequencedMap<String, T> words, String... unbuilt) {
    List<String> built = List.copyOf(words.sequencedKeySet());
    List<String> later = List.of(unbuilt);
    String wanted = built.size() == 1 ? built.getFirst() : "one of " + String.join(", ", built);
    String syntax =
        built.stream().map(w -> "`" + w + "`").collect(Collectors.joining(", "))
            + later.stream()
                .map(w -> "`" + w + "`")
                .collect(Collectors.joining(", ", later.isEmpty() ? "" : "; not built yet: ", ""));
    return new Shape<>() {
      @Override
      public Optional<T> read(YamlValue value, At at) {
        Optional<String> text = scalar(value, at, wanted);
        if (text.isEmpty()) {
          return Optional.empty();
        }
        if (later.contains(text.get())) {
          at.notBuilt(value.line(), "\"" + text.get() + "\" is not built yet; write " + wanted);
          return Optional.empty();
        }
        Optional<T> known = Optional.ofNullable(words.get(text.get()));
        if (known.isEmpty()) {
          String hint = Nearest.hint(text.get(), built);
          at.error(value.line(), "must be " + wanted + ", not " + At.noun(value) + hint);
        }
        return known;
      }

      @Override
      public String show(T value) {
        return words.entrySet().stream()
            .filter(e -> e.getValue().equals(value))
            .map(Map.Entry::getKey)
            .findFirst()
            .orElse(value.toString());
      }

      @Override
      public String syntax() {
        return syntax;
      }
    };
  }

  /// The same shape, of which this version takes one value only.
  static <T> Shape<T> only(T off, Shape<T> shape) {
    return new Shape<>() {
      @Override
      public Optional<T> read(YamlValue value, At at) {
        Optional<T> read = shape.read(value, at);
        if (read.isPresent() && !read.get().equals(off)) {
          at.notBuilt(
              value.line(), shape.show(read.get()) + " is not built yet; write " + show(off));
          return Optional.empty();
        }
        return read;
      }

      @Override
      public String show(T value) {
        return shape.show(value);
      }

      @Override
      public String syntax() {
        return "`" + show(off) + "`; other values are not built yet";
      }
    };
  }

  static Shape<Integer> integer(int min, int max) {
    return parsed(
        max == Integer.MAX_VALUE
            ? "a whole number of at least " + min
            : "a whole number from " + min + " to " + max,
        t -> whole(t).filter(n -> n >= min && n <= max),
        String::valueOf);
  }

  /// `auto`, which reads as 0, or a number of at least 1. As rules name interfaces; IFNAMSIZ is 16
  /// with the final zero.
  static Shape<String> interfacePattern() {
    return parsed(
        "an interface's name, or how it begins, like `cali+`",
        t ->
            Optional.of(t)
                .filter(name ->
                    name.matches("[A-Za-z0-9_.:@][A-Za-z0-9_.:@-]{0,13}([A-Za-z0-9_.:@-]|\\+)?")),
        t -> t);
  }

  static Shape<Integer> autoOrInteger() {
    return parsed(
        "`auto` or a whole number of at least 1",
        t -> t.equals("auto") ? Optional.of(0) : whole(t).filter(n -> n >= 1),
        n -> n == 0 ? "auto" : String.valueOf(n));
  }

  private static Optional<Integer> whole(String text) {
    boolean digits =
        !text.isEmpty() && text.length() <= 9 && text.chars().allMatch(c -> c >= '0' && c <= '9');
    return digits ? Optional.of(Integer.parseInt(text)) : Optional.empty();
  }

  static Shape<Duration> duration(Duration least, Duration most) {
    return parsed(
        "a duration from " + DurationText.show(least) + " to " + DurationText.show(most),
        t -> DurationText.parse(t).filter(d -> d.compareTo(least) >= 0 && d.compareTo(most) <= 0),
        DurationText::show);
  }

  static Shape<ListenAddress> adminAddress() {
    return parsed(
        "an address like `127.0.0.1:15000` or `unix:/path`",
        ListenAddress::parse,
        ListenAddress::toString);
  }

  static Shape<ListenAddress.Tcp> address() {
    return parsed(
        "an address like `0.0.0.0:15020` or `[::]:15020`",
        t ->
            ListenAddress.parse(t)
                .flatMap(
                    a -> a instanceof ListenAddress.Tcp tcp ? Optional.of(tcp) : Optional.empty()),
        ListenAddress.Tcp::toString);
  }

  /// A path. A relative one starts at the folder of the configuration file; the reader resolves it.
  static Shape<Path> path() {
    return parsed(
        "a path",
        t -> t.isEmpty() || t.indexOf('\0') >= 0 ? Optional.empty() : Optional.of(Path.of(t)),
        Path::toString);
  }

  static Shape<CidrBlock> cidr() {
    return parsed(
        "a block like `10.1.0.0/16` or an address", CidrBlock::parse, CidrBlock::toString);
  }

  /// A DNS server: an address, with port 53 unless it says otherwise.
  static Shape<InetSocketAddress> dnsServer() {
    return parsed(
        "an address like `10.0.0.10`, `10.0.0.10:5353` or `[2001:db8::1]:53`",
        Shape::parseServer,
        s -> new ListenAddress.Tcp(s.getAddress(), s.getPort()).toString());
  }

  private static Optional<InetSocketAddress> parseServer(String text) {
    Optional<InetAddress> bare = CidrBlock.parseAddress(text);
    if (bare.isPresent()) {
      return Optional.of(new InetSocketAddress(bare.get(), 53));
    }
    return ListenAddress.parse(text)
        .flatMap(a -> a instanceof ListenAddress.Tcp tcp ? Optional.of(tcp) : Optional.empty())
        .filter(tcp -> tcp.port() != 0)
        .map(ListenAddress.Tcp::socketAddress);
  }

  /// A whole section that a reader of the control plane's resources reads.
  static <T> Shape<T> section(
      String syntax, Function<FieldReader, Optional<T>> reader, Function<T, String> show) {
    return new Shape<>() {
      @Override
      public Optional<T> read(YamlValue value, At at) {
        if (!(value instanceof YamlValue.Mapping map)) {
          at.error(value.line(), "must be " + syntax + ", not " + At.noun(value));
          return Optional.empty();
        }
        Problems problems = new Problems(at.text());
        Optional<T> read = reader.apply(new FieldReader(map, "", problems));
        for (Problem problem : problems.list()) {
          At here = problem.field().isEmpty() ? at : at.below(problem.field());
          if (problem.isError()) {
            here.error(problem.line(), problem.message());
          } else {
            here.warning(problem.line(), problem.message());
          }
        }
        return problems.hasErrors() ? Optional.empty() : read;
      }

      @Override
      public String show(T value) {
        return show.apply(value);
      }

      @Override
      public String syntax() {
        return syntax;
      }
    };
  }

  /// A list; in the environment, by comma.
  static <T> Shape<List<T>> listOf(Shape<T> item) {
    return new Shape<>() {
      @Override
      public Optional<List<T>> read(YamlValue value, At at) {
        List<YamlValue> items =
            switch (value) {
              case YamlValue.Sequence(_, List<YamlValue> all) -> all;
              case YamlValue.Scalar(_, String text, _) when at.environment() -> byComma(text);
              case YamlValue.Scalar _, YamlValue.Mapping _ -> {
                at.error(value.line(), "must be a list, not " + At.noun(value));
                yield List.of();
              }
            };
        List<T> out = new ArrayList<>();
        for (int i = 0; i < items.size(); i++) {
          item.read(items.get(i), at.below("[" + i + "]")).ifPresent(out::add);
        }
        return Optional.of(List.copyOf(out));
      }

      @Override
      public String show(List<T> value) {
        return value.stream().map(item::show).collect(Collectors.joining(", ", "[", "]"));
      }

      @Override
      public String syntax() {
        return "a list, each " + item.syntax();
      }
    };
  }

  /// `auto`, which reads as an empty list, or a list.
  static <T> Shape<List<T>> autoOr(Shape<List<T>> list) {
    return new Shape<>() {
      @Override
      public Optional<List<T>> read(YamlValue value, At at) {
        boolean auto = value instanceof YamlValue.Scalar(_, String text, _) && text.equals("auto");
        return auto ? Optional.of(List.of()) : list.read(value, at);
      }

      @Override
      public String show(List<T> value) {
        return value.isEmpty() ? "auto" : list.show(value);
      }

      @Override
      public String syntax() {
        return "`auto` or " + list.syntax();
      }
    };
  }

  /// The parts of an environment variable.
  static List<YamlValue> byComma(String text) {
    List<YamlValue> parts = new ArrayList<>();
    for (String part : text.split(",", -1)) {
      if (!part.isBlank()) {
        parts.add(new YamlValue.Scalar(0, part.strip(), YamlValue.Scalar.Kind.STRING));
      }
    }
    return parts;
  }

  /// A mapping from names to values; in the environment `name=value`, by comma.
  static <T> Shape<Map<String, T>> mapOf(Shape<T> item) {
    return new Shape<>() {
      @Override
      public Optional<Map<String, T>> read(YamlValue value, At at) {
        Map<String, T> out = new LinkedHashMap<>();
        switch (value) {
          case YamlValue.Mapping map ->
              map.fields()
                  .values()
                  .forEach(f ->
                      item.read(f.value(), at.below(f.key())).ifPresent(v -> out.put(f.key(), v)));
          case YamlValue.Scalar(_, String text, _) when at.environment() ->
              byComma(text).forEach(part -> pair(part, at, out));
          case YamlValue.Scalar _, YamlValue.Sequence _ ->
              at.error(value.line(), "must be a mapping, not " + At.noun(value));
        }
        return Optional.of(out);
      }

      private void pair(YamlValue part, At at, Map<String, T> out) {
        String text = ((YamlValue.Scalar) part).text();
        int equals = text.indexOf('=');
        if (equals < 1) {
          at.error(0, "must be name=value, by comma, not " + At.noun(part));
          return;
        }
        String name = text.substring(0, equals).strip();
        YamlValue value =
            new YamlValue.Scalar(
                0, text.substring(equals + 1).strip(), YamlValue.Scalar.Kind.STRING);
        item.read(value, at.below(name)).ifPresent(v -> out.put(name, v));
      }

      @Override
      public String show(Map<String, T> value) {
        return value.entrySet().stream()
            .sorted(Map.Entry.comparingByKey())
            .map(e -> e.getKey() + ": " + item.show(e.getValue()))
            .collect(Collectors.joining(", ", "{", "}"));
      }

      @Override
      public String syntax() {
        return "a mapping from names to " + item.syntax();
      }
    };
  }
}
