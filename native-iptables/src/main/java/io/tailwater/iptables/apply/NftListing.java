package io.tailwater.iptables.apply;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import io.tailwater.iptables.rule.NftScript;
import io.tailwater.iptables.rule.NftTable;
import io.tailwater.iptables.rule.NftTable.NftChain;
import io.tailwater.iptables.rule.NftTable.NftHook;
import java.io.IOException;
import java.io.StringWriter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// Reads what `nft -j list table` prints. Only our table counts. See libnftables-json(5).
final class NftListing {
  private static final JsonFactory JSON = new JsonFactory();

  /// Numbers of a rule that say nothing about what it does.
  private static final List<String> PASSING = List.of("handle", "packets", "bytes", "used");

  private NftListing() {}

  /// @throws IllegalArgumentException for text that is not such output
  static NftTable parse(String text) {
    boolean exists = false;
    List<String> flags = new ArrayList<>();
    List<String> sets = new ArrayList<>();
    Map<String, Optional<NftHook>> hooks = new LinkedHashMap<>();
    Map<String, List<String>> rules = new LinkedHashMap<>();
    for (Object entry : objects(text)) {
      Map<?, ?> object = map(entry);
      if (object.get("table") instanceof Map<?, ?> table && isOurs(table, "name")) {
        exists = true;
        flags(table.get("flags"), flags);
      } else if (object.get("chain") instanceof Map<?, ?> chain && isOurs(chain, "table")) {
        hooks.put(String.valueOf(chain.get("name")), hook(chain));
      } else if (object.get("set") instanceof Map<?, ?> set && isOurs(set, "table")) {
        sets.add(String.valueOf(set.get("name")));
      } else if (object.get("rule") instanceof Map<?, ?> rule && isOurs(rule, "table")) {
        rules
            .computeIfAbsent(String.valueOf(rule.get("chain")), name -> new ArrayList<>())
            .add(written(rule.get("expr")));
      }
    }
    Map<String, NftChain> chains = new LinkedHashMap<>();
    hooks.forEach(
        (name, hook) -> chains.put(name, new NftChain(hook, rules.getOrDefault(name, List.of()))));
    return new NftTable(exists || !chains.isEmpty(), flags, chains, sets);
  }

  private static boolean isOurs(Map<?, ?> object, String key) {
    return "inet".equals(object.get("family")) && NftScript.TABLE.equals(object.get(key));
  }

  private static Optional<NftHook> hook(Map<?, ?> chain) {
    if (chain.get("hook") == null) {
      return Optional.empty();
    }
    return Optional.of(
        new NftHook(
            String.valueOf(chain.get("type")),
            String.valueOf(chain.get("hook")),
            chain.get("prio") instanceof Number priority ? priority.intValue() : Integer.MIN_VALUE,
            String.valueOf(chain.get("policy"))));
  }

  /// One flag is printed as a word, several as a list.
  private static void flags(Object printed, List<String> into) {
    if (printed instanceof List<?> list) {
      list.forEach(flag -> into.add(String.valueOf(flag)));
    } else if (printed != null) {
      into.add(String.valueOf(printed));
    }
  }

  private static List<?> objects(String text) {
    try (JsonParser parser = JSON.createParser(text)) {
      parser.nextToken();
      if (value(parser) instanceof Map<?, ?> root && root.get("nftables") instanceof List<?> list) {
        return list;
      }
    } catch (IOException e) {
      throw new IllegalArgumentException("nft printed no JSON: " + e.getMessage(), e);
    }
    throw new IllegalArgumentException("nft printed JSON without 'nftables'");
  }

  private static Map<?, ?> map(Object value) {
    return value instanceof Map<?, ?> map ? map : Map.of();
  }

  private static Object value(JsonParser parser) throws IOException {
    return switch (parser.currentToken()) {
      case START_OBJECT -> {
        Map<String, Object> object = new LinkedHashMap<>();
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
          String name = parser.currentName();
          parser.nextToken();
          Object member = value(parser);
          if (!PASSING.contains(name)) {
            object.put(name, member);
          }
        }
        yield object;
      }
      case START_ARRAY -> {
        List<Object> array = new ArrayList<>();
        while (parser.nextToken() != JsonToken.END_ARRAY) {
          array.add(value(parser));
        }
        yield array;
      }
      case VALUE_NUMBER_INT -> parser.getLongValue();
      case VALUE_NULL -> NULL;
      case VALUE_STRING -> parser.getText();
      case VALUE_TRUE -> true;
      case VALUE_FALSE -> false;
      case null -> throw new IOException("it ends too early");
      default -> throw new IOException("unexpected " + parser.currentToken());
    };
  }

  private static final Object NULL = new Object();

  private static String written(Object value) {
    StringWriter text = new StringWriter();
    try (JsonGenerator json = JSON.createGenerator(text)) {
      write(value, json);
    } catch (IOException e) {
      throw new IllegalArgumentException("a rule cannot be written down", e);
    }
    return text.toString();
  }

  private static void write(Object value, JsonGenerator json) throws IOException {
    switch (value) {
      case Map<?, ?> object -> {
        json.writeStartObject();
        for (Map.Entry<?, ?> member : object.entrySet()) {
          json.writeFieldName(String.valueOf(member.getKey()));
          write(member.getValue(), json);
        }
        json.writeEndObject();
      }
      case List<?> array -> {
        json.writeStartArray();
        for (Object element : array) {
          write(element, json);
        }
        json.writeEndArray();
      }
      case Long number -> json.writeNumber(number);
      case String string -> json.writeString(string);
      case Boolean truth -> json.writeBoolean(truth);
      default -> json.writeNull();
    }
  }
}
