package io.tailwater.agent.admin;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.logging.ConsoleHandler;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogManager;
import java.util.logging.Logger;

/// The agent's own log: one line per record on stderr, levels changeable while it runs, under
/// Envoy's names for levels. Any thread.
public final class LogLevels {
  private static final String OURS = "io.tailwater";

  private static final SequencedMap<String, Level> LEVELS = new LinkedHashMap<>();

  static {
    LEVELS.put("trace", Level.FINEST);
    LEVELS.put("debug", Level.FINE);
    LEVELS.put("info", Level.INFO);
    LEVELS.put("warning", Level.WARNING);
    LEVELS.put("error", Level.SEVERE);
    LEVELS.put("critical", Level.SEVERE);
    LEVELS.put("off", Level.OFF);
  }

  /// Levels live as long as their loggers, which java.util.logging holds weakly.
  private static final Map<String, Logger> HELD = new ConcurrentHashMap<>();

  private LogLevels() {}

  /// Makes the log what it is; once, at the start of the process. Libraries speak from warnings on.
  public static void install() {
    System.setProperty("java.util.logging.manager", KeptLogManager.class.getName());
    Logger root = LogManager.getLogManager().getLogger("");
    for (Handler handler : root.getHandlers()) {
      root.removeHandler(handler);
    }
    Handler stderr = new ConsoleHandler();
    stderr.setLevel(Level.ALL);
    stderr.setFormatter(new LogLine());
    root.addHandler(stderr);
    root.setLevel(Level.WARNING);
    logger(OURS).setLevel(Level.INFO);
    KeptLogManager.keep = true;
  }

  /// Java's own throws the handlers away as soon as the process begins to end, and with them what
  /// is said while draining.
  public static final class KeptLogManager extends LogManager {
    private static volatile boolean keep;

    @Override
    public void reset() {
      if (!keep) {
        super.reset();
      }
    }
  }

  private static Logger logger(String name) {
    return HELD.computeIfAbsent(name, Logger::getLogger);
  }

  /// The names of levels, as `/logging` takes them.
  public static List<String> names() {
    return List.copyOf(LEVELS.sequencedKeySet());
  }

  static boolean isLevel(String level) {
    return LEVELS.containsKey(level.toLowerCase(Locale.ROOT));
  }

  /// Our rooms by their names (`agent.dataplane.flow`), with the level that is in force.
  static SequencedMap<String, String> active() {
    List<String> rooms = new ArrayList<>();
    Collections.list(LogManager.getLogManager().getLoggerNames()).stream()
        .filter(n -> n.startsWith(OURS + "."))
        .map(LogLevels::room)
        .distinct()
        .sorted()
        .forEach(rooms::add);
    SequencedMap<String, String> out = new LinkedHashMap<>();
    out.put("root", name(effective("")));
    out.put("tailwater", name(effective(OURS)));
    for (String room : rooms) {
      out.put(room, name(effective(OURS + "." + room)));
    }
    return out;
  }

  /// `io.tailwater.agent.dataplane.flow.ConnectionFlow` is in the room `agent.dataplane.flow`.
  private static String room(String logger) {
    String inside = logger.substring(OURS.length() + 1);
    int dot = inside.lastIndexOf('.');
    boolean isClass = dot >= 0 && Character.isUpperCase(inside.charAt(dot + 1));
    return isClass ? inside.substring(0, dot) : inside;
  }

  private static Level effective(String name) {
    for (String at = name; ; at = at.substring(0, Math.max(0, at.lastIndexOf('.')))) {
      Optional<Level> level =
          Optional.ofNullable(LogManager.getLogManager().getLogger(at)).map(Logger::getLevel);
      if (level.isPresent() || at.isEmpty()) {
        return level.orElse(Level.INFO);
      }
    }
  }

  private static String name(Level level) {
    return LEVELS.entrySet().stream()
        .filter(e -> e.getValue().equals(level))
        .map(Map.Entry::getKey)
        .findFirst()
        .orElse(level.getName().toLowerCase(Locale.ROOT));
  }

  /// Sets every logger of ours.
  static void setAll(String level) {
    HELD.values().stream()
        .filter(l -> l.getName().startsWith(OURS + "."))
        .forEach(l -> l.setLevel(null));
    logger(OURS).setLevel(LEVELS.get(level.toLowerCase(Locale.ROOT)));
  }

  /// Sets one; false when there is none of that name.
  static boolean set(String name, String level) {
    if (!active().containsKey(name)) {
      return false;
    }
    String full =
        switch (name) {
          case "root" -> "";
          case "tailwater" -> OURS;
          default -> OURS + "." + name;
        };
    logger(full).setLevel(LEVELS.get(level.toLowerCase(Locale.ROOT)));
    return true;
  }
}
