package io.tailwater.iptables.rule;

import io.tailwater.iptables.rule.NftTable.NftChain;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// Reads from rules that stand in the node's namespace whose they are: what [NodeRules] has written
/// there, this version or one before. Pure.
public final class StandingPods {
  /// `-i veth1 -g TAILWATER_FROM_veth1`
  private static final Pattern SAVED_LIST =
      Pattern.compile("(?:^|.* )-i (\\S+) -[gj] (TAILWATER_(?:FROM|POD)_\\S+)");

  private static final Pattern SAVED_SOURCE = Pattern.compile("(?:^|[^!] )-s (\\S+)");

  /// What [NftTable] holds of a rule is JSON without spaces.
  private static final Pattern TOLD_LIST =
      Pattern.compile(
          ".*\\{\"key\":\"iifname\"}},\"right\":\"([^\"*]+)\"}},\\{\"(?:goto|jump)\":"
              + "\\{\"target\":\"((?:raw-from|mangle-pod)-[^\"]+)\"}}.*");

  private static final Pattern TOLD_SOURCE =
      Pattern.compile(
          "\"op\":\"==\",\"left\":\\{\"payload\":\\{\"protocol\":\"ip6?\","
              + "\"field\":\"saddr\"}},\"right\":\"([^\"]+)\"");

  private static final Pattern GATE = Pattern.compile(".*(?:TAILWATER_GATE_|\"mangle-gate-).*");

  private StandingPods() {}

  /// One interface with rules of a pod's.
  ///
  /// @param addresses what may come from it; empty where nothing says so
  /// @param failsOpen whether what comes from it passes while no agent lives
  /// @param kernelPass whether connections from it take the kernel pass
  public record StandingPod(
      String interfaceName, List<InetAddress> addresses, boolean failsOpen, boolean kernelPass) {
    public StandingPod {
      addresses = List.copyOf(addresses);
    }
  }

  /// Of one family, from what `iptables-save` says.
  public static List<StandingPod> in(SavedRules saved) {
    List<StandingPod> parts = new ArrayList<>();
    for (Table table : List.of(Table.RAW, Table.MANGLE)) {
      parts.addAll(read(saved.table(table).chains(), SAVED_LIST, SAVED_SOURCE));
    }
    return together(parts);
  }

  /// Of both families.
  public static List<StandingPod> in(NftTable table) {
    Map<String, List<String>> chains = new LinkedHashMap<>();
    table.chains().forEach((String name, NftChain chain) -> chains.put(name, chain.rules()));
    return read(chains, TOLD_LIST, TOLD_SOURCE);
  }

  private static List<StandingPod> read(
      Map<String, List<String>> chains, Pattern list, Pattern source) {
    List<StandingPod> pods = new ArrayList<>();
    for (String rule : chains.values().stream().flatMap(List::stream).toList()) {
      Matcher leads = list.matcher(rule);
      if (leads.matches()) {
        pods.add(
            pod(unquoted(leads.group(1)), chains.getOrDefault(leads.group(2), List.of()), source));
      }
    }
    return together(pods);
  }

  private static StandingPod pod(String interfaceName, List<String> rules, Pattern source) {
    Set<InetAddress> addresses = new LinkedHashSet<>();
    boolean failsOpen = false;
    boolean kernelPass = false;
    for (String rule : rules) {
      failsOpen |= rule.contains(AddressSet.ALIVE);
      kernelPass |= GATE.matcher(rule).matches();
      Matcher from = source.matcher(rule);
      if (from.find()) {
        address(from.group(1)).ifPresent(addresses::add);
      }
    }
    return new StandingPod(interfaceName, List.copyOf(addresses), failsOpen, kernelPass);
  }

  /// Only what is one address, and somebody's.
  private static Optional<InetAddress> address(String text) {
    String bare = text.replaceFirst("(?<=\\.\\d{1,3})/32$|/128$", "");
    if (bare.indexOf('/') >= 0) {
      return Optional.empty();
    }
    try {
      InetAddress address = InetAddress.ofLiteral(bare);
      return address.isAnyLocalAddress() ? Optional.empty() : Optional.of(address);
    } catch (IllegalArgumentException _) {
      return Optional.empty(); // somebody has written a rule there
    }
  }

  private static String unquoted(String name) {
    return name.length() > 1 && name.startsWith("\"") ? name.substring(1, name.length() - 1) : name;
  }

  /// One for each interface, whatever tables and families tell of it.
  public static List<StandingPod> together(Collection<StandingPod> parts) {
    Map<String, StandingPod> pods = new LinkedHashMap<>();
    for (StandingPod part : parts) {
      pods.merge(part.interfaceName(), part, StandingPods::both);
    }
    return List.copyOf(pods.values());
  }

  private static StandingPod both(StandingPod one, StandingPod other) {
    Set<InetAddress> addresses = new LinkedHashSet<>(one.addresses());
    addresses.addAll(other.addresses());
    return new StandingPod(
        one.interfaceName(),
        List.copyOf(addresses),
        one.failsOpen() || other.failsOpen(),
        one.kernelPass() || other.kernelPass());
  }
}
