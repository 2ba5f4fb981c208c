package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.DestinationRule;
import io.tailwater.agent.control.istio.HostScope;
import io.tailwater.agent.control.istio.MeshSettings;
import io.tailwater.agent.control.istio.Protocol;
import io.tailwater.agent.control.istio.ServiceEntry;
import io.tailwater.agent.control.istio.VirtualService;
import io.tailwater.agent.control.istio.Visibility;
import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Nearest;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.control.source.ResourceKey;
import io.tailwater.agent.control.source.ResourceSet;
import io.tailwater.agent.control.source.YamlValue;
import io.tailwater.agent.dataplane.resolve.StandardAddressFilter;
import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import io.tailwater.agent.traffic.ResourceRef;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/// What `check` says of resources that Istio accepts and hardly anybody means: of ServiceEntries
/// here, of rules and routes in `RoutingAdvice`. One warning for one cause, at the field to change.
/// Pure; one use.
final class Advice {
  private static final String ISTIO = "networking.istio.io";
  private static final Set<Integer> PLAINTEXT_PORTS = Set.of(80, 8080);
  private static final Set<Integer> TLS_PORTS = Set.of(443, 8443);

  /// Last labels of names that no public DNS has: hosts of the cluster or of a company.
  private static final Set<String> PRIVATE_LABELS =
      Set.of("local", "internal", "intranet", "lan", "corp", "home", "private", "cluster", "test");

  private static final int SHORTEST_BLOCK = 8;

  private final ResourceSet set;
  private final MeshSettings mesh;
  private final List<ServiceEntry> entries;
  private final Map<HostPattern, Service> kubernetes = new HashMap<>();
  private final List<DestinationRule> rules;
  private final Map<HostPattern, List<ServiceEntry>> byHost = new HashMap<>();
  private final Set<String> namespaces = new TreeSet<>();
  private final StandardAddressFilter filter = new StandardAddressFilter(Set::of);
  private final Map<ResourceRef, Visibility> visibilities = new HashMap<>();
  private final List<Problem> problems = new ArrayList<>();

  /// What advice is about.
  ///
  /// @param entries the valid ones
  /// @param services all of them, oldest first
  /// @param rules the valid ones
  /// @param routes the valid ones
  /// @param podNamespaces where pods live that are not in the set
  record About(
      ResourceSet set,
      MeshSettings mesh,
      List<ServiceEntry> entries,
      List<Service> services,
      List<DestinationRule> rules,
      List<VirtualService> routes,
      Set<String> podNamespaces) {}

  private Advice(About about) {
    this.set = about.set;
    this.mesh = about.mesh;
    this.entries = about.entries.stream().sorted(Service.ENTRY_AGE).toList();
    this.rules = about.rules;
    for (ServiceEntry entry : entries) {
      entry.hosts().forEach(h -> byHost.computeIfAbsent(h, _ -> new ArrayList<>()).add(entry));
    }
    for (Service service : about.services) {
      visibilities.put(service.ref(), service.visibility());
      if (service.kubernetes() && service.alias().isEmpty()) {
        kubernetes.put(service.host(), service);
      }
    }
    set.ofKind("", "Namespace").forEach(o -> namespaces.add(o.name()));
    set.ofKind("", "Pod").forEach(o -> namespaces.add(o.namespace()));
    if (!namespaces.isEmpty()) {
      // Where somebody has put a resource there is a namespace, or will be.
      set.all().stream()
          .map(KubeObject::namespace)
          .filter(n -> !n.isEmpty())
          .forEach(namespaces::add);
      namespaces.addAll(about.podNamespaces);
    }
  }

  /// All of it.
  static List<Problem> on(About about) {
    Advice advice = new Advice(about);
    for (ServiceEntry entry : advice.entries) {
      Optional<KubeObject> object =
          about.set.get(new ResourceKey(ISTIO, "ServiceEntry", entry.namespace(), entry.name()));
      object.ifPresent(o -> advice.new OfEntry(entry, o).all());
    }
    advice.problems.addAll(RoutingAdvice.on(about));
    return List.copyOf(advice.problems);
  }

  /// What the mesh makes of its exportTo.
  private Visibility visibility(ServiceEntry entry) {
    return visibilities.getOrDefault(
        entry.ref(),
        Visibility.of(entry.exportTo(), entry.namespace(), mesh.defaultServiceExportTo()));
  }

  /// Whether some namespace sees both.
  private boolean meet(ServiceEntry one, ServiceEntry other) {
    Visibility a = visibility(one);
    Visibility b = visibility(other);
    if (a.everyone() || b.everyone()) {
      return !(a.everyone() ? b : a).equals(new Visibility(false, Set.of()));
    }
    return a.namespaces().stream().anyMatch(b.namespaces()::contains);
  }

  private static String show(ResourceRef ref) {
    return Problem.show(ref);
  }

  /// What is said of one entry.
  private final class OfEntry {
    private final ServiceEntry entry;
    private final KubeObject object;

    OfEntry(ServiceEntry entry, KubeObject object) {
      this.entry = entry;
      this.object = object;
    }

    void all() {
      spelling();
      for (ServiceEntry.Port port : entry.ports()) {
        port(port);
      }
      resolution();
      location();
      addresses();
      exportTo();
      sameHost();
      widerWildcard();
      samePort();
    }

    private void warn(String message, Object... path) {
      problems.add(Pointer.warning(object, message, path));
    }

    // ---- hosts -----------------------------------------------------------------------------

    private void spelling() {
      List<YamlValue> hosts = object.spec().map(s -> s.items("hosts")).orElse(List.of());
      for (int i = 0; i < hosts.size(); i++) {
        if (!(hosts.get(i) instanceof YamlValue.Scalar(_, String text, _))) {
          continue;
        }
        boolean upper = text.chars().anyMatch(c -> c >= 'A' && c <= 'Z');
        if (upper || text.endsWith(".")) {
          warn(
              "\""
                  + text
                  + "\" is read as \""
                  + HostScopeText.of(text)
                  + "\": write it in lower case, without a dot at the end",
              "spec",
              "hosts",
              i);
        }
      }
    }

    private int hostIndex(HostPattern host) {
      List<YamlValue> hosts = object.spec().map(s -> s.items("hosts")).orElse(List.of());
      for (int i = 0; i < hosts.size(); i++) {
        if (hosts.get(i) instanceof YamlValue.Scalar(_, String text, _)
            && HostScopeText.of(text).equals(host.text())) {
          return i;
        }
      }
      return 0;
    }

    private Optional<HostPattern> wildcard() {
      return entry.hosts().stream().filter(HostPattern.Wildcard.class::isInstance).findFirst();
    }

    /// Of several entries with the same host one decides.
    private void sameHost() {
      for (HostPattern host : entry.hosts()) {
        @Nullable Service service = kubernetes.get(host);
        if (service != null && !service.namespace().equals(entry.namespace())) {
          warn(
              host.text()
                  + " is also "
                  + show(service.ref())
                  + ", which comes first for every pod outside the namespace "
                  + entry.namespace(),
              "spec",
              "hosts",
              hostIndex(host));
          return;
        }
        for (ServiceEntry older : byHost.getOrDefault(host, List.of())) {
          if (older.equals(entry)) {
            break;
          }
          if (older.namespace().equals(entry.namespace())) {
            if (differs(host, older)) {
              return;
            }
          } else if (meet(older, entry)) {
            warn(
                host.text()
                    + " is also a host of "
                    + show(older.ref())
                    + ", which is older: this entry counts for pods of the namespace "
                    + entry.namespace()
                    + " alone. Keep one of them, or set exportTo: [\".\"] in both",
                "spec",
                "hosts",
                hostIndex(host));
            return;
          }
        }
      }
    }

    /// Entries of one namespace are merged where they agree.
    private boolean differs(HostPattern host, ServiceEntry older) {
      String field = "";
      if (older.resolution() != entry.resolution()) {
        field = "resolution";
      } else if (!visibility(older).equals(visibility(entry))) {
        field = "exportTo";
      } else if (!older.workloadSelector().equals(entry.workloadSelector())) {
        field = "workloadSelector";
      } else if (!older.labels().equals(entry.labels())) {
        warn(
            "has other labels than "
                + show(older.ref())
                + ", which is older and has the same host "
                + host.text()
                + ": the ports of this entry are left out",
            "metadata",
            "labels");
        return true;
      }
      if (!field.isEmpty()) {
        warn(
            "is another than in "
                + show(older.ref())
                + ", which is older and has the same host "
                + host.text()
                + ": the ports of this entry are left out",
            "spec",
            field);
        return true;
      }
      for (int i = 0; i < entry.ports().size(); i++) {
        ServiceEntry.Port mine = entry.ports().get(i);
        for (ServiceEntry.Port theirs : older.ports()) {
          if (theirs.number() == mine.number() && theirs.protocol() != mine.protocol()) {
            warn(
                "port "
                    + mine.number()
                    + " of "
                    + host.text()
                    + " is "
                    + named(theirs.protocol())
                    + " in "
                    + show(older.ref())
                    + ", which is older and decides",
                "spec",
                "ports",
                i,
                "protocol");
            return true;
          }
        }
      }
      return false;
    }

    private static String named(Protocol protocol) {
      return protocol == Protocol.UNSET ? "without protocol" : protocol.text();
    }

    /// A wildcard below another one: the longer decides, port by port.
    private void widerWildcard() {
      for (HostPattern host : entry.hosts()) {
        if (!(host instanceof HostPattern.Wildcard(HostName suffix))) {
          continue;
        }
        String rest = suffix.text();
        for (int dot = rest.indexOf('.'); dot >= 0; dot = rest.indexOf('.')) {
          rest = rest.substring(dot + 1);
          HostPattern wider = new HostPattern.Wildcard(HostName.of(rest));
          for (ServiceEntry other : byHost.getOrDefault(wider, List.of())) {
            Optional<Integer> port = commonPort(other);
            if (!other.equals(entry) && port.isPresent() && meet(other, entry)) {
              boolean same =
                  other.resolution() == entry.resolution()
                      && other.location() == entry.location()
                      && other.endpoints().equals(entry.endpoints());
              warn(
                  host.text()
                      + " lies within "
                      + wider.text()
                      + " of "
                      + show(other.ref())
                      + ": on port "
                      + port.get()
                      + " the longer wildcard decides for its names"
                      + (same ? ", and does the same; one of them is enough" : ""),
                  "spec",
                  "hosts",
                  hostIndex(host));
              return;
            }
          }
        }
      }
    }

    private Optional<Integer> commonPort(ServiceEntry other) {
      return entry.ports().stream()
          .filter(mine ->
              other.ports().stream()
                  .anyMatch(p ->
                      p.number() == mine.number()
                          && p.protocol().family() == mine.protocol().family()))
          .map(ServiceEntry.Port::number)
          .findFirst();
    }

    // ---- ports -----------------------------------------------------------------------------

    private void port(ServiceEntry.Port port) {
      int index = entry.ports().indexOf(port);
      Protocol.Family family = port.protocol().family();
      boolean dynamic = entry.resolution() == ServiceEntry.Resolution.DYNAMIC_DNS;
      if (family == Protocol.Family.TLS && PLAINTEXT_PORTS.contains(port.number())) {
        warn(
            "is "
                + port.protocol().text()
                + " on port "
                + port.number()
                + ": plaintext HTTP there does not match and counts as unknown; write HTTP if that"
                + " is what clients speak",
            "spec",
            "ports",
            index,
            "protocol");
      } else if (family == Protocol.Family.HTTP
          && TLS_PORTS.contains(port.number())
          && !originates(port.number())) {
        warn(
            "is "
                + port.protocol().text()
                + " on port "
                + port.number()
                + ": TLS there does not match and counts as unknown; write TLS, unless clients send"
                + " plaintext and a DestinationRule is to originate TLS",
            "spec",
            "ports",
            index,
            "protocol");
      }
      if (dynamic && port.targetPort().filter(t -> t != port.number()).isPresent()) {
        warn(
            "has no effect with DYNAMIC_DNS, as in Istio: port "
                + port.number()
                + " of the requested name is dialled (443 for plaintext HTTP with originated TLS)",
            "spec",
            "ports",
            index,
            "targetPort");
      }
    }

    private boolean originates(int port) {
      return rules.stream()
          .filter(r -> entry.hosts().stream().anyMatch(h -> r.host().contains(HostScope.of(h))))
          .anyMatch(r ->
              r.trafficPolicy()
                  .flatMap(p -> p.of(port).tls())
                  .filter(t -> t.mode() != DestinationRule.Tls.Mode.DISABLE)
                  .isPresent());
    }

    /// Without addresses a TCP port has the whole port number, and there is one of it.
    private void samePort() {
      if (!entry.addresses().isEmpty() || !entry.allocated().isEmpty()) {
        return;
      }
      for (int i = 0; i < entry.ports().size(); i++) {
        ServiceEntry.Port port = entry.ports().get(i);
        if (port.protocol().family() != Protocol.Family.TCP) {
          continue;
        }
        for (ServiceEntry older : entries) {
          if (older.equals(entry)) {
            break;
          }
          boolean takes =
              older.addresses().isEmpty()
                  && older.allocated().isEmpty()
                  && older.ports().stream()
                      .anyMatch(p ->
                          p.number() == port.number()
                              && p.protocol().family() == Protocol.Family.TCP);
          if (takes && !older.hosts().equals(entry.hosts()) && meet(older, entry)) {
            warn(
                "gets no connection: "
                    + show(older.ref())
                    + " is older and takes every connection to port "
                    + port.number()
                    + "; set addresses in both to tell them apart",
                "spec",
                "ports",
                i);
            return;
          }
        }
      }
    }

    // ---- resolution, location, addresses ---------------------------------------------------

    private void resolution() {
      Optional<HostPattern> wildcard = wildcard();
      switch (entry.resolution()) {
        case DNS, DNS_ROUND_ROBIN -> {
          if (wildcard.isPresent() && !entry.endpoints().isEmpty()) {
            warn(
                entry.resolution()
                    + " looks up the endpoints, not the requested name: every name under "
                    + wildcard.get().text()
                    + " goes to "
                    + (entry.endpoints().size() == 1 ? "the one endpoint" : "the same endpoints")
                    + ". If each is to go to its own address, use DYNAMIC_DNS without endpoints",
                "spec",
                "resolution");
          }
        }
        case NONE -> {
          boolean byName =
              entry.ports().stream()
                  .anyMatch(p ->
                      p.protocol().family() == Protocol.Family.TLS
                          || p.protocol().family() == Protocol.Family.HTTP);
          if (byName && entry.addresses().isEmpty() && external()) {
            warn(
                "NONE keeps the address that the client dials: who sends this name may go to any"
                    + " address. Use "
                    + (wildcard.isPresent() ? "DYNAMIC_DNS" : "DNS")
                    + ", which dials what the name resolves to, or set addresses",
                "spec",
                "resolution");
          }
        }
        case STATIC -> {
          if (entry.endpoints().isEmpty() && entry.workloadSelector().isEmpty()) {
            warn(
                "STATIC without endpoints: its connections are refused (no_healthy_upstream)",
                "spec",
                "resolution");
          }
        }
        case DYNAMIC_DNS -> {
          if (!entry.subjectAltNames().isEmpty()) {
            warn(
                "has no effect with DYNAMIC_DNS, as in Istio: the certificate must be for the"
                    + " requested name",
                "spec",
                "subjectAltNames");
          }
        }
      }
    }

    private boolean external() {
      return entry.location() == ServiceEntry.Location.MESH_EXTERNAL;
    }

    private static boolean isPrivateName(HostPattern host) {
      String text = host.text();
      return PRIVATE_LABELS.contains(text.substring(text.lastIndexOf('.') + 1));
    }

    /// The location decides whether names under a wildcard may lead to private addresses.
    private void location() {
      if (entry.resolution() != ServiceEntry.Resolution.DYNAMIC_DNS) {
        return;
      }
      for (HostPattern host : entry.hosts()) {
        if (external() && isPrivateName(host)) {
          warn(
              "MESH_EXTERNAL, the default, refuses private addresses, and names under "
                  + host.text()
                  + " hardly have others (address_filtered); write MESH_INTERNAL",
              "spec",
              "location");
          return;
        }
        if (!external() && !isPrivateName(host)) {
          warn(
              "MESH_INTERNAL lets names under "
                  + host.text()
                  + " lead to private addresses, whoever owns their DNS; write MESH_EXTERNAL"
                  + " unless they are hosts of your own",
              "spec",
              "location");
          return;
        }
      }
    }

    private void addresses() {
      if (entry.resolution() == ServiceEntry.Resolution.NONE) {
        for (HostPattern host : entry.hosts()) {
          AddressRule rule = new AddressRule(Service.scope(entry, host), entry.allowedAddresses());
          for (int i = 0; i < entry.addresses().size(); i++) {
            CidrBlock block = entry.addresses().get(i);
            if (block.prefix() >= SHORTEST_BLOCK && !filter.admits(block.network(), rule)) {
              warn(
                  "is never dialled: it "
                      + filter.reason(block.network(), rule)
                      + (rule.scope() == AddressRule.Scope.NEVER_LIST_AND_PRIVATE
                          ? ". MESH_INTERNAL allows private addresses"
                          : ""),
                  "spec",
                  "addresses",
                  i);
              return;
            }
          }
        }
      }
      AddressRule rule = new AddressRule(AddressRule.Scope.NEVER_LIST, List.of());
      for (int i = 0; i < entry.endpoints().size(); i++) {
        if (external()
            && entry.endpoints().get(i).place() instanceof ServiceEntry.Place.Ip(var address)
            && !filter.admits(address, rule)) {
          warn(
              "is never dialled: it " + filter.reason(address, rule),
              "spec",
              "endpoints",
              i,
              "address");
          return;
        }
      }
    }

    // ---- exportTo --------------------------------------------------------------------------

    private void exportTo() {
      if (entry.namespace().equals(mesh.rootNamespace())
          && visibility(entry).equals(new Visibility(false, Set.of(entry.namespace())))) {
        warn(
            "hides the entry from all pods but those of "
                + entry.namespace()
                + "; from the root namespace entries mostly are for all: exportTo: [\"*\"]",
            "spec",
            "exportTo");
        return;
      }
      if (namespaces.isEmpty()) {
        return;
      }
      for (int i = 0; i < entry.exportTo().size(); i++) {
        String to = entry.exportTo().get(i);
        boolean name = !to.equals("*") && !to.equals(".") && !to.equals("~");
        if (name && !namespaces.contains(to)) {
          warn(
              "there is neither a pod nor a Namespace \""
                  + to
                  + "\", so nobody there sees it"
                  + Nearest.hint(to, namespaces),
              "spec",
              "exportTo",
              i);
          return;
        }
      }
    }
  }

  /// A host as patterns show it.
  private static final class HostScopeText {
    private HostScopeText() {}

    static String of(String written) {
      boolean wildcard = written.startsWith("*.");
      @Nullable String name =
          HostName.parse(wildcard ? written.substring(2) : written)
                  instanceof HostName.Parsed.Valid(HostName valid, _)
              ? valid.text()
              : null;
      return name == null ? written : (wildcard ? "*." : "") + name;
    }
  }
}
