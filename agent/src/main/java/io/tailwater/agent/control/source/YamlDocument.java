package io.tailwater.agent.control.source;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.snakeyaml.engine.v2.api.LoadSettings;
import org.snakeyaml.engine.v2.api.lowlevel.Parse;
import org.snakeyaml.engine.v2.common.ScalarStyle;
import org.snakeyaml.engine.v2.events.AliasEvent;
import org.snakeyaml.engine.v2.events.Event;
import org.snakeyaml.engine.v2.events.MappingStartEvent;
import org.snakeyaml.engine.v2.events.NodeEvent;
import org.snakeyaml.engine.v2.events.ScalarEvent;
import org.snakeyaml.engine.v2.events.SequenceStartEvent;
import org.snakeyaml.engine.v2.exceptions.MarkedYamlEngineException;
import org.snakeyaml.engine.v2.exceptions.YamlEngineException;

/// One document of a YAML or JSON file: a tree with positions, or why it is none. Documents are
/// told apart by their `---` lines before they are parsed, so that a broken one does not take the
/// others of its file with it.
///
/// Bounds, because policy may be written by tenants: depth `MAX_DEPTH`, `MAX_VALUES` values with
/// aliases counted each time they are used, `MAX_CHARS` per document. Duplicate keys are errors.
public sealed interface YamlDocument {
  /// Deepest nesting.
  int MAX_DEPTH = 64;

  /// Most values of one document, aliases expanded.
  int MAX_VALUES = 200_000;

  /// Longest document in characters.
  int MAX_CHARS = 16 << 20;

  /// A tree.
  record Parsed(YamlValue root) implements YamlDocument {}

  /// Not a document; `why` is a sentence without its full stop.
  record Broken(int line, String why) implements YamlDocument {}

  /// The documents of a file's text, empty ones left out. Never throws.
  static List<YamlDocument> readAll(String text) {
    List<YamlDocument> out = new ArrayList<>();
    Texts texts = new Texts();
    int line = 1;
    int pieceLine = 1;
    StringBuilder piece = new StringBuilder();
    String body = text.startsWith("\uFEFF") ? text.substring(1) : text;
    int at = 0;
    while (at < body.length()) {
      int newline = body.indexOf('\n', at);
      int end = newline < 0 ? body.length() : newline;
      if (isSeparator(body, at, end)) {
        Reading.read(piece.toString(), pieceLine, texts).ifPresent(out::add);
        piece.setLength(0);
        pieceLine = line;
        // What follows the marker on its line belongs to the document.
        piece.append("   ").append(body, at + 3, end).append('\n');
      } else {
        piece.append(body, at, end).append('\n');
      }
      line++;
      at = end + 1;
    }
    Reading.read(piece.toString(), pieceLine, texts).ifPresent(out::add);
    return out;
  }

  private static boolean isSeparator(String s, int from, int to) {
    return to - from >= 3
        && s.startsWith("---", from)
        && (to - from == 3 || Character.isWhitespace(s.charAt(from + 3)));
  }

  /// The short texts of a file, each once: of the resources of a large policy most texts are the
  /// same ones. One thread.
  final class Texts {
    private static final int LONGEST = 64;
    private static final int MOST = 4096;

    private final Map<String, String> known = new HashMap<>();

    private Texts() {}

    String one(String text) {
      if (text.length() > LONGEST) {
        return text;
      }
      String before = known.size() < MOST ? known.putIfAbsent(text, text) : known.get(text);
      return before == null ? text : before;
    }
  }

  /// Builds the tree from parser events.
  final class Reading {
    /// Made once: it compiles the patterns of every schema.
    private static final LoadSettings SETTINGS =
        LoadSettings.builder().setUseMarks(true).setCodePointLimit(MAX_CHARS).build();

    private static final Pattern INTEGER = Pattern.compile("[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+");
    private static final Pattern FLOAT =
        Pattern.compile(
            "[-+]?(\\.[0-9]+|[0-9]+(\\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\\.(inf|Inf|INF)|\\.(nan|NaN|NAN)");
    private static final String CORE_TAGS = "tag:yaml.org,2002:";

    private final Iterator<Event> events;
    private final int firstLine;
    private final Texts texts;
    private final Map<String, YamlValue> anchors = new HashMap<>();
    private final java.util.IdentityHashMap<YamlValue, Integer> sizes =
        new java.util.IdentityHashMap<>();
    private int values;

    private Reading(Iterator<Event> events, int firstLine, Texts texts) {
      this.events = events;
      this.firstLine = firstLine;
      this.texts = texts;
    }

    private static final class Refused extends RuntimeException {
      private static final long serialVersionUID = 1L;
      private final int line;

      Refused(int line, String why) {
        super(why, null, false, false);
        this.line = line;
      }
    }

    static Optional<YamlDocument> read(String text, int firstLine, Texts texts) {
      if (isBlank(text)) {
        return Optional.empty();
      }
      if (text.length() > MAX_CHARS) {
        return Optional.of(
            new Broken(firstLine, "the document is longer than " + MAX_CHARS + " characters"));
      }
      try {
        Reading reading =
            new Reading(new Parse(SETTINGS).parseString(text).iterator(), firstLine, texts);
        return reading.document().map(Parsed::new);
      } catch (Refused e) {
        return Optional.of(new Broken(e.line, String.valueOf(e.getMessage())));
      } catch (MarkedYamlEngineException e) {
        int line = e.getProblemMark().map(mark -> mark.getLine()).orElse(0) + firstLine;
        return Optional.of(new Broken(line, "not YAML: " + firstLineOf(e.getProblem())));
      } catch (YamlEngineException e) {
        return Optional.of(
            new Broken(firstLine, "not YAML: " + firstLineOf(String.valueOf(e.getMessage()))));
      }
    }

    private static String firstLineOf(@Nullable String text) {
      return text == null ? "it cannot be parsed" : text.lines().findFirst().orElse("").strip();
    }

    private static boolean isBlank(String text) {
      return text.lines()
          .map(String::strip)
          .allMatch(l -> l.isEmpty() || l.startsWith("#") || l.startsWith("%") || l.equals("..."));
    }

    private Optional<YamlValue> document() {
      while (events.hasNext()) {
        Event event = events.next();
        switch (event.getEventId()) {
          case StreamStart, DocumentStart, DocumentEnd, Comment -> {}
          case StreamEnd -> {
            return Optional.empty();
          }
          default -> {
            YamlValue root = value(event, 0);
            while (events.hasNext()) {
              Event rest = events.next();
              if (rest.getEventId() == Event.ID.Scalar
                  || rest.getEventId() == Event.ID.MappingStart
                  || rest.getEventId() == Event.ID.SequenceStart) {
                throw new Refused(line(rest), "a second document without a \"---\" line before it");
              }
            }
            return Optional.of(root);
          }
        }
      }
      return Optional.empty();
    }

    private int line(Event event) {
      return event.getStartMark().map(mark -> mark.getLine()).orElse(0) + firstLine;
    }

    private YamlValue value(Event event, int depth) {
      int line = line(event);
      if (depth > MAX_DEPTH) {
        throw new Refused(line, "nested deeper than " + MAX_DEPTH + " levels");
      }
      int before = values;
      count(line, 1);
      YamlValue out =
          switch (event) {
            case AliasEvent alias -> alias(alias, line);
            case ScalarEvent scalar -> scalar(scalar, line);
            case SequenceStartEvent start -> sequence(start, line, depth);
            case MappingStartEvent start -> mapping(start, line, depth);
            default -> throw new Refused(line, "not YAML: unexpected " + event.getEventId());
          };
      if (event instanceof NodeEvent node && !(event instanceof AliasEvent)) {
        node.getAnchor()
            .ifPresent(anchor -> {
              anchors.put(anchor.getValue(), out);
              sizes.put(out, values - before);
            });
      }
      return out;
    }

    private void count(int line, int more) {
      values += more;
      if (values > MAX_VALUES) {
        throw new Refused(
            line,
            "the document has more than " + MAX_VALUES + " values, aliases counted each time");
      }
    }

    private YamlValue alias(AliasEvent event, int line) {
      String name = event.getAnchor().map(a -> a.getValue()).orElse("");
      @Nullable YamlValue target = anchors.get(name);
      if (target == null) {
        throw new Refused(line, "the alias *" + name + " has no anchor before it");
      }
      count(line, sizes.getOrDefault(target, 1));
      return target;
    }

    private static void checkTag(Optional<String> tag, int line) {
      if (tag.isPresent() && !tag.get().startsWith(CORE_TAGS) && !tag.get().equals("!")) {
        throw new Refused(line, "the tag " + tag.get() + " is not supported");
      }
    }

    private YamlValue scalar(ScalarEvent event, int line) {
      checkTag(event.getTag(), line);
      String text = texts.one(event.getValue());
      boolean asText =
          event.getScalarStyle() != ScalarStyle.PLAIN
              || event.getTag().map(t -> t.equals(CORE_TAGS + "str")).orElse(false);
      return new YamlValue.Scalar(
          line, text, asText ? YamlValue.Scalar.Kind.STRING : kindOfPlain(text));
    }

    private static YamlValue.Scalar.Kind kindOfPlain(String text) {
      return switch (text) {
        case "", "~", "null", "Null", "NULL" -> YamlValue.Scalar.Kind.NULL;
        case "true", "True", "TRUE", "false", "False", "FALSE" -> YamlValue.Scalar.Kind.BOOLEAN;
        default -> {
          char first = text.charAt(0);
          boolean maybeNumber =
              (first >= '0' && first <= '9') || first == '-' || first == '+' || first == '.';
          if (maybeNumber && INTEGER.matcher(text).matches()) {
            yield YamlValue.Scalar.Kind.INTEGER;
          }
          yield maybeNumber && FLOAT.matcher(text).matches()
              ? YamlValue.Scalar.Kind.FLOAT
              : YamlValue.Scalar.Kind.STRING;
        }
      };
    }

    private YamlValue sequence(SequenceStartEvent start, int line, int depth) {
      checkTag(start.getTag(), line);
      List<YamlValue> items = new ArrayList<>();
      for (Event event = events.next();
          event.getEventId() != Event.ID.SequenceEnd;
          event = events.next()) {
        items.add(value(event, depth + 1));
      }
      return new YamlValue.Sequence(line, items);
    }

    private YamlValue mapping(MappingStartEvent start, int line, int depth) {
      checkTag(start.getTag(), line);
      LinkedHashMap<String, YamlValue.Field> fields = new LinkedHashMap<>();
      List<YamlValue> merged = new ArrayList<>();
      for (Event event = events.next();
          event.getEventId() != Event.ID.MappingEnd;
          event = events.next()) {
        int keyLine = line(event);
        YamlValue key = value(event, depth + 1);
        if (!(key instanceof YamlValue.Scalar(_, String name, YamlValue.Scalar.Kind kind))) {
          throw new Refused(keyLine, "a key must be a text, not " + key.describe());
        }
        YamlValue value = value(events.next(), depth + 1);
        if (name.equals("<<") && kind == YamlValue.Scalar.Kind.STRING) {
          merged.add(value);
        } else if (fields.put(name, new YamlValue.Field(name, keyLine, value)) != null) {
          throw new Refused(keyLine, "the key \"" + name + "\" is there twice");
        }
      }
      for (YamlValue from : merged) {
        merge(from, fields);
      }
      return new YamlValue.Mapping(line, fields);
    }

    /// `<<: *anchor`, which Kubernetes' own reader honours: keys that are not there yet.
    private static void merge(YamlValue from, Map<String, YamlValue.Field> into) {
      switch (from) {
        case YamlValue.Mapping mapping -> mapping.fields().forEach(into::putIfAbsent);
        case YamlValue.Sequence(int line, List<YamlValue> items) -> {
          for (YamlValue item : items) {
            if (!(item instanceof YamlValue.Mapping)) {
              throw new Refused(line, "\"<<\" merges mappings, not " + item.describe());
            }
            merge(item, into);
          }
        }
        case YamlValue.Scalar scalar ->
            throw new Refused(scalar.line(), "\"<<\" merges mappings, not " + scalar.describe());
      }
    }
  }
}
