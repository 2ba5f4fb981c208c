package io.tailwater.agent.admin;

import java.util.ArrayList;
import java.util.List;

/// A table for people: columns as wide as their widest cell, two blanks between. Control characters
/// in cells are escaped, so that nothing a client sent can move the cursor of a terminal.
final class TextTable {
  private final List<List<String>> rows = new ArrayList<>();

  TextTable(String... head) {
    rows.add(List.of(head));
  }

  void row(Object... cells) {
    List<String> row = new ArrayList<>();
    for (Object cell : cells) {
      String text = clean(cell.toString());
      row.add(text.isEmpty() ? "-" : text);
    }
    rows.add(row);
  }

  /// Printable text, on one line.
  static String clean(String text) {
    StringBuilder out = new StringBuilder(text.length());
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      int type = Character.getType(c);
      boolean harmful =
          Character.isISOControl(c)
              || type == Character.FORMAT
              || type == Character.LINE_SEPARATOR
              || type == Character.PARAGRAPH_SEPARATOR;
      if (harmful) {
        out.append(String.format("\\u%04x", (int) c));
      } else {
        out.append(c);
      }
    }
    return out.toString();
  }

  String text() {
    int columns = rows.getFirst().size();
    int[] widths = new int[columns];
    for (List<String> row : rows) {
      for (int i = 0; i < columns; i++) {
        widths[i] = Math.max(widths[i], row.get(i).length());
      }
    }
    StringBuilder out = new StringBuilder();
    for (List<String> row : rows) {
      for (int i = 0; i < columns; i++) {
        out.append(row.get(i));
        if (i < columns - 1) {
          out.append(" ".repeat(widths[i] - row.get(i).length() + 2));
        }
      }
      out.append('\n');
    }
    return out.toString();
  }
}
