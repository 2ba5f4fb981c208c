package io.tailwater.agent.control.istio;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.Map;
import java.util.function.BiFunction;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/// What Istio's schemas and webhook say of one field each, kind by kind: `=>` leads to a part of
/// the one error, `~>` to a part of the one warning, and a line without either is accepted in
/// silence.
class SchemaAndWebhookTest {
  private static Stream<DynamicTest> each(
      String kind, String table, BiFunction<String, String, OneResource<?>> reader) {
    return table
        .lines()
        .filter(l -> !l.isBlank())
        .map(line -> DynamicTest.dynamicTest(line, () -> holds(kind, line, reader)));
  }

  private static void holds(
      String kind, String line, BiFunction<String, String, OneResource<?>> reader) {
    String[] parts = line.split(" [=~]> ", 2);
    OneResource<?> read = reader.apply(kind, parts[0]);
    boolean error = line.contains(" => ");
    if (parts.length == 1) {
      assertThat(read.problems()).isEmpty();
      read.valid();
      return;
    }
    List<String> said = error ? read.errors() : read.warnings();
    assertThat(read.errors()).hasSize(error ? 1 : 0);
    assertThat(said).singleElement().asString().contains(parts[1]);
    assertThat(read.resource().isEmpty()).isEqualTo(error);
  }

  // ---- DestinationRule ---------------------------------------------------------------------

  @TestFactory
  Stream<DynamicTest> destinationRules() {
    return each(
        "DestinationRule",
        """
        {host: 192.0.2.1} => "192.0.2.1" is an address
        {host: "2001:db8::1"} => is an address
        {host: ""} => spec.host: "" is empty
        {host: "https://a.example"} => has a scheme
        {host: "a.example:443"} => has a port
        {host: [a.example]} => must be a text
        {hosts: [a.example], host: a.example} => unknown key; did you mean "host"?
        {host: "*-web.example"}
        {host: a.example.}
        {host: a.example, subsets: []}
        {host: a.example, subsets: [null]} => subsets[0]: must be a mapping
        {host: a.example, subsets: [{name: Blue_1}]} => is not a DNS label
        {host: a.example, subsets: [{name: Blue}]}
        {host: a.example, subsets: [{name: ""}]} => name: is missing
        {host: a.example, subsets: [{name: a, labels: {"/x": a}}]} => is not a valid label
        {host: a.example, subsets: [{name: a, labels: {"b_c/x": a}}]} => is not a valid label
        {host: a.example, subsets: [{name: a, labels: {app.kubernetes.io/version: v1}}]}
        {host: a.example, subsets: [{name: a, label: {a: b}}]} => did you mean "labels"?
        {host: a.example, exportTo: [""]} => is neither a namespace nor
        {host: a.example, exportTo: [shop, shop]} => is there twice
        {host: a.example, exportTo: [".", other]}
        {host: a.example, exportTo: "."} => must be a list
        {host: a.example, exportTo: [shop], workloadSelector: {matchLabels: {a: b}}}
        {host: a.example, workloadSelector: {labels: {a: b}}} => unknown key; did you mean "matchLabels"?
        {host: a.example, workloadSelector: {matchLabels: {"": b}}} => without a name
        {host: a.example, workloadSelector: {matchLabels: {}}} ~> selects every pod
        """,
        SchemaAndWebhookTest::rule);
  }

  private static OneResource<?> rule(String kind, String spec) {
    return OneResource.istio(DestinationRuleReader::read, kind, spec);
  }

  @TestFactory
  Stream<DynamicTest> trafficPolicies() {
    return each(
        "DestinationRule",
        """
        connectionPool: {tcp: {}}
        connectionPool: {tcp: {connectTimeout: 1.5ms}} => must be whole milliseconds
        connectionPool: {tcp: {connectTimeout: .5s}}
        connectionPool: {tcp: {connectTimeout: 5}} => must be a text
        connectionPool: {tcp: {connectTimeout: 5 s}} => is no duration
        connectionPool: {tcp: {connectTimeout: 1d}} => is no duration
        connectionPool: {tcp: {connectTimeout: 999us}} => must be at least 1ms
        connectionPool: {tcp: {idleTimeout: 0s}}
        connectionPool: {tcp: {idleTimeout: 1500us}} => must be whole milliseconds
        connectionPool: {tcp: {maxConnections: 2147483648}} => must be between 0 and 2147483647
        connectionPool: {tcp: {maxConnections: "10"}} => must be a whole number
        connectionPool: {tcp: {maxConnection: 1}} => did you mean "maxConnections"?
        connectionPool: {tcp: {tcpKeepalive: {probes: 4294967295, time: 7200s, interval: 75s}}}
        connectionPool: {tcp: {tcpKeepalive: {probes: -1}}} => must be between 0 and
        connectionPool: {tcp: {tcpKeepalive: {time: 0s}}} => must be at least 1ms
        connectionPool: {tcp: {tcpKeepAlive: {}}} => did you mean "tcpKeepalive"?
        connectionPool: {http: {idleTimeout: 0s}} => must be at least 1ms
        connectionPool: {http: {maxRetries: -1}} => must be between 0 and
        connectionPool: {http: {http2KeepAlive: {interval: 15s, timeout: 5s}}} ~> is not honoured
        connectionPool: {http: {maxRequestsPerConnection: 1, http1MaxPendingRequests: 1}}
        outlierDetection: {consecutive5xxErrors: 4294967295}
        outlierDetection: {consecutive5xxErrors: 4294967296} => must be between 0 and
        outlierDetection: {consecutiveErrors: 5} ~> is deprecated
        outlierDetection: {interval: 0s} => must be at least 1ms
        outlierDetection: {baseEjectionTime: 1500us} => must be whole milliseconds
        outlierDetection: {minHealthPercent: -1} => must be between 0 and 100
        outlierDetection: {outlierDetectionHttpErrorCodes: [500]} ~> is not honoured
        outlierDetection: {splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 3}
        loadBalancer: {}
        loadBalancer: {simple: LEAST_CONN}
        loadBalancer: {simple: round_robin} => is none of
        loadBalancer: {simple: RANDOM, consistentHash: {useSourceIp: true}} => exclude each other
        loadBalancer: {consistentHash: {useSourceIp: true, httpHeaderName: x}} => exclude each other
        loadBalancer: {consistentHash: {useSourceIp: true, ringHash: {}, maglev: {tableSize: 7}}} => exclude each other
        loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 65537}}}
        loadBalancer: {consistentHash: {useSourceIp: true, maglev: {}}} => must be a prime number
        loadBalancer: {consistentHash: {useSourceIp: true, ringHash: {minimumRingSize: -1}}} => must be between
        loadBalancer: {consistentHash: {useSourceIp: true, minimumRingSize: 8}} ~> is deprecated
        loadBalancer: {consistentHash: {httpHeaderName: x}} ~> by source address
        loadBalancer: {consistentHash: {httpCookie: {name: c, ttl: 0s}}} ~> by source address
        loadBalancer: {backendUtilization: {}} ~> is not honoured
        loadBalancer: {zoneAwareLbSetting: {enabled: true, minClusterSize: 3}} ~> is not honoured
        loadBalancer: {warmup: {duration: 30s, aggression: 0.5, minimumPercent: 10}} ~> is not honoured
        loadBalancer: {warmupDurationSecs: 30s} ~> is not honoured
        loadBalancer: {localityLbSetting: {enabled: false}}
        retryBudget: {percent: 20, minRetryConcurrency: 3, budgetInterval: 10s} ~> is not honoured
        tls: {}
        tls: {mode: simple} => is none of
        tls: {mode: SIMPLE, sni: a.example, subjectAltNames: [a.example], caCertificates: /ca}
        tls: {mode: SIMPLE, caCertificate: /ca} => did you mean "caCertificates"?
        tls: {mode: SIMPLE, insecureSkipVerify: "true"} => must be true or false
        tls: {mode: SIMPLE, insecureSkipVerify: true}
        tls: {mode: SIMPLE, insecureSkipVerify: true, credentialName: c} => insecureSkipVerify and SIMPLE
        tls: {mode: MUTUAL, insecureSkipVerify: true, credentialName: c}
        tls: {mode: MUTUAL, credentialName: c}
        tls: {mode: MUTUAL, credentialName: c, caCrl: /crl} => exclude each other
        tls: {mode: SIMPLE, subjectAltNames: a.example} => must be a list
        tls: {mode: SIMPLE, credentialName: "configmap://roots"} => must be configmap://NAMESPACE/NAME
        tls: {mode: SIMPLE, credentialName: "configmap://other/roots"} => is of another namespace
        tls: {mode: SIMPLE, credentialName: "configmap://shop/roots"}
        tls: {mode: ISTIO_MUTUAL, sni: a.example, subjectAltNames: [a.example]}
        tls: {mode: ISTIO_MUTUAL, clientCertificate: /c} ~> have no effect
        tls: {mode: ISTIO_MUTUAL, credentialName: c} ~> have no effect
        tls: {mode: DISABLE, sni: a.example} ~> have no effect
        portLevelSettings: [{port: {number: 443}, tls: {mode: MUTUAL, clientCertificate: /c}}] => privateKey: is missing
        portLevelSettings: [{port: {number: 443}, tls: {mode: SIMPLE}, retryBudget: {}}] => unknown key
        portLevelSettings: [{port: 443, tls: {mode: SIMPLE}}] => must be a mapping
        portLevelSettings: [{port: {number: 443}, tls: {mode: SIMPLE}}, {port: {number: 443}, tls: {mode: DISABLE}}] ~> is there twice
        tunnel: {targetHost: "*.example", targetPort: 1} => has the character '*'
        tunnel: {targetHost: 192.0.2.1, targetPort: 443} ~> tunnel is not honoured
        tunnel: {protocol: connect, targetHost: a.example, targetPort: 443} => must be CONNECT or POST
        proxyProtocol: {version: V3} => is none of
        """,
        (kind, policy) -> rule(kind, "{host: a.example, trafficPolicy: {" + policy + "}}"));
  }

  @TestFactory
  Stream<DynamicTest> whatIsRefusedBesidesBeingNotHonoured() {
    Map<String, String> cases =
        Map.ofEntries(
            Map.entry(
                "loadBalancer: {zoneAwareLbSetting: {}, localityLbSetting: {}}",
                "zoneAwareLbSetting: and localityLbSetting exclude"),
            Map.entry(
                "loadBalancer: {zoneAwareLbSetting: {failoverPriority:"
                    + " [topology.kubernetes.io/zone]}}",
                "has no place here"),
            Map.entry("loadBalancer: {zoneAwareLbSetting: {minClusterSize: 0}}", "between 1 and"),
            Map.entry(
                "loadBalancer: {backendUtilization: {errorUtilizationPenaltyPercent: -1}}",
                "between 0 and"),
            Map.entry("loadBalancer: {warmup: {}}", "duration: is missing"),
            Map.entry(
                "loadBalancer: {warmup: {duration: 1s, aggression: 0}}", "must be greater than 0"),
            Map.entry(
                "loadBalancer: {warmup: {duration: 1s, minimumPercent: 101}}",
                "must be between 0 and 100"),
            Map.entry("retryBudget: {percent: 101}", "must be between 0 and 100"),
            Map.entry("retryBudget: {minRetryConcurrency: -1}", "between 0 and"),
            Map.entry(
                "connectionPool: {http: {http2KeepAlive: {interval: 1s}}}", "timeout: is missing"),
            Map.entry(
                "outlierDetection: {outlierDetectionHttpErrorCodes: [600]}",
                "must be between 100 and 599"),
            Map.entry(
                "loadBalancer: {consistentHash: {httpCookie: {name: c, attributes: [{}]}}}",
                "attributes[0].name: is missing"),
            Map.entry(
                "loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {b/*: 50, b/c:"
                    + " 50}}]}}",
                "overlaps with another"),
            Map.entry(
                "loadBalancer: {localityLbSetting: {distribute: [{from: a*/b, to: {b: 100}}]}}",
                "a wildcard stands at the end"),
            Map.entry(
                "loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {b//c: 100}}]}}",
                "has an empty region"),
            Map.entry(
                "loadBalancer: {localityLbSetting: {failover: [{from: a, to: a}]}}",
                "must be another region"),
            Map.entry(
                "loadBalancer: {localityLbSetting: {failover: [{from: a, to: b}], failoverPriority:"
                    + " [topology.kubernetes.io/region]}}",
                "failover exclude each other"),
            Map.entry(
                "tunnel: {targetHost: a.example, targetPort: 1}, proxyProtocol: {version: V1}",
                "exclude each other"));
    return cases.entrySet().stream()
        .map(c ->
            DynamicTest.dynamicTest(
                c.getKey(),
                () -> {
                  OneResource<?> read =
                      rule(
                          "DestinationRule",
                          "{host: a.example, trafficPolicy: {" + c.getKey() + "}}");
                  assertThat(read.errors()).singleElement().asString().contains(c.getValue());
                }));
  }

  // ---- VirtualService ----------------------------------------------------------------------

  private static OneResource<?> routes(String kind, String spec) {
    return OneResource.istio(VirtualServiceReader::read, kind, spec);
  }

  @TestFactory
  Stream<DynamicTest> virtualServices() {
    String to = "[{route: [{destination: {host: b.example}}]}]";
    return each(
        "VirtualService",
        """
        {hosts: [a.example], http: TO}
        {host: [a.example], hosts: [a.example], http: TO} => unknown key; did you mean "hosts"?
        {hosts: a.example, http: TO} => must be a list
        {hosts: ["a.example:443"], http: TO} => has a port
        {hosts: ["*"], gateways: [mesh, ns/gw], http: TO} => "*" alone is not allowed
        {hosts: ["*"], gateways: [ns/gw], http: TO}
        {hosts: [192.0.2.1], http: TO} ~> is an address
        {hosts: [web, web], http: TO} => have names in common
        {hosts: [web, web.shop.svc.cluster.local], http: TO} ~> have names in common
        {hosts: ["*.example", a.example], http: TO} => have names in common
        {hosts: ["*.a.example", "*.b.example"], http: TO}
        {hosts: [a.example], gateways: [Gw/x_y], http: TO} => is no NAMESPACE/NAME
        {hosts: [a.example], gateways: [gw.ns.svc], http: TO} ~> is the old form
        {hosts: [a.example], gateways: [""], http: TO} => "" is empty
        {hosts: [a.example], gateways: [gw], http: TO}
        {hosts: [a.example], exportTo: [".", "."], http: TO} => is there twice
        {hosts: [a.example], http: [], tls: []} => has no routes
        {hosts: [a.example], http: {}} => must be a list
        {hosts: [a.example], http: [null]} => must be a mapping
        {hosts: [a.example], routes: TO, http: TO} => unknown key
        {hosts: [a.example], tls: [{match: [{sniHosts: [a.example]}], route: []}]} => route: is missing
        {hosts: [a.example], tls: [{match: [{sniHosts: []}], route: RT}]} => sniHosts: is missing
        {hosts: [a.example], tls: [{match: [{sniHosts: [192.0.2.1]}], route: RT}]} ~> no client sends it
        {hosts: ["*.example"], tls: [{match: [{sniHosts: [a.example]}], route: RT}]}
        {hosts: ["*.example"], tls: [{match: [{sniHosts: ["*.b.example"]}], route: RT}]}
        {hosts: ["*.a.example"], tls: [{match: [{sniHosts: [a.example]}], route: RT}]} => is not among the hosts
        {hosts: [a.example], tls: [{match: [{sniHosts: [a.example], destinationSubnets: [10.0.0.1/33]}], route: RT}]} => neither an IP address
        {hosts: [a.example], tls: [{match: [{sniHosts: [a.example], destinationSubnets: [10.0.0.1/8, "2001:db8::/32"]}], route: RT}]}
        {hosts: [a.example], tls: [{match: [{sniHosts: [a.example], uri: {exact: /}}], route: RT}]} => unknown key
        {hosts: [a.example], tcp: [{match: [{port: 0}], route: RT}]}
        {hosts: [a.example], tcp: [{match: [{sourceSubnet: 10.0.0.0/8}], route: RT}]} ~> is not honoured
        {hosts: [a.example], tcp: [{match: [{gateways: [a/b/c]}], route: RT}]} => is no NAMESPACE/NAME
        {hosts: [a.example], tcp: [{route: [{destination: {host: 192.0.2.1}}]}]} => is an address
        {hosts: [a.example], tcp: [{route: [{destination: {host: "*.b.example"}}]}]}
        {hosts: [a.example], tcp: [{route: [{destination: {host: b, subset: V1}}]}]}
        {hosts: [a.example], tcp: [{route: [{destination: {host: b, subset: v_1}}]}]} => is not a DNS label
        {hosts: [a.example], tcp: [{route: [{destination: {host: b, port: 443}}]}]} => must be a mapping
        {hosts: [a.example], tcp: [{route: [{destination: {host: b, port: {number: 0}}}]}]} => must be between 1
        {hosts: [a.example], tcp: [{route: [{destination: {host: b}, weight: -1}]}]} => must be between 0
        {hosts: [a.example], tcp: [{route: [{destination: {host: b}, headers: {}}]}]} => unknown key
        {hosts: [a.example], tcp: [{route: [{destination: {host: b}, weight: 0}, {destination: {host: c}, weight: 100}]}]}
        """
            .replace("TO", to)
            .replace("RT", "[{destination: {host: b.example}}]"),
        SchemaAndWebhookTest::routes);
  }

  @TestFactory
  Stream<DynamicTest> httpRoutes() {
    String to = "route: [{destination: {host: b.example}}]";
    return each(
        "VirtualService",
        """
        TO, match: [{uri: {prefix: ""}}]
        TO, match: [{uri: {regex: ""}}] => regex: is empty
        TO, match: [{uri: {regex: "a(?=b)"}}] => is no expression of RE2
        TO, match: [{uri: /a}] => must be a mapping
        TO, match: [{uri: {prefx: /a}}] => did you mean "prefix"?
        TO, match: [{uri: {exact: /a, prefix: /a}}] => exclude each other
        TO, match: [{method: {prefix: ""}}] => has an empty prefix
        TO, match: [{scheme: {prefix: ""}}] => has an empty prefix
        TO, match: [{authority: {prefix: ""}}] => has an empty prefix
        TO, match: [{headers: {x: {prefix: ""}}}] => has an empty prefix
        TO, match: [{queryParams: {x: {prefix: ""}}}] => has an empty prefix
        TO, match: [{queryParams: {"a b": {exact: c}}}]
        TO, match: [{headers: {"a b": {exact: c}}}] => is no header name
        TO, match: [{headers: {"@x": {exact: c}}}] => is no header name
        TO, match: [{headers: {":path": {exact: /c}}}]
        TO, match: [{headers: {":port": {exact: "1"}}}] => is no header name
        TO, match: [{headers: {x: null}}] => must not be null
        TO, match: [{headers: {x: {}}}]
        TO, match: [{withoutHeaders: {x: null}}]
        TO, match: [{withoutHeaders: {x: {regex: "*"}}}]
        TO, match: [{headers: {x: {regex: "*"}}}] => is no expression of RE2
        TO, match: [{withoutHeaders: {"@request.auth.claims.a": {exact: b}}}] => JWT claims are for gateways
        TO, match: [{headers: {"@request.auth.claims": {exact: b}}}] => is no header name
        TO, match: [{sourceNamespace: a.b}] => is not a valid namespace name
        TO, match: [{sourceLabels: {a: "b c"}}] => is not a valid label
        TO, match: [{port: 70000}] => must be between
        TO, match: [{path: {exact: /}}] => unknown key
        TO, timeout: 0s => must be at least 1ms
        TO, timeout: 10s
        TO, timeout: 10 => must be a text
        TO, timeout: 1500us => must be whole milliseconds
        TO, retries: {attempts: 3, perTryTimeout: 2s, retryOn: "5xx,reset,503"}
        TO, retries: {attempts: 3, perTryTimeout: 0s} => must be at least 1ms
        TO, retries: {attempts: -1} => must be between 0
        TO, retries: {attempts: 0}
        TO, retries: {attempts: 0, retryOn: ""}
        TO, retries: {attempts: 0, retryOn: 5xx} => is 0, which turns retries off
        TO, retries: {attempts: 1, retryOn: "5xx, reset"} => write them with commas and without blanks
        TO, retries: {attempts: 1, retryOn: "5xx,"} => "" is no condition of retries
        TO, retries: {attempts: 1, retryOn: "599"} => "599" is no condition of retries
        TO, retries: {attempts: 1, retryOn: gateway-eror} => did you mean "gateway-error"?
        TO, rewrite: {uri: ""} => sets nothing
        TO, headers: {request: {set: {x: "50%"}}} => has a single %
        TO, headers: {request: {set: {x: "50%%"}}}
        TO, headers: {request: {set: {x: "a%b"}}} => has a single %
        TO, headers: {request: {add: {x: "%PROTOCOL% %REQ(:path)%"}}} ~> is not honoured
        TO, headers: {request: {set: {":method": GET}}} => is no header name
        TO, headers: {response: {remove: [":status"]}} => is no header name
        TO, headers: {request: {set: {x: 1}}} => must be a text
        TO, headers: {request: {remove: [x]}, response: {add: {y: z}}}
        TO, headers: {requests: {}} => did you mean "request"?
        TO, weight: 1 => unknown key
        TO, mirror: {host: c.example} ~> is not honoured
        route: [] => is missing
        """
            .replace("TO", to),
        (kind, route) -> routes(kind, "{hosts: [a.example], http: [{" + route + "}]}"));
  }

  @TestFactory
  Stream<DynamicTest> whatIsNotHonouredOfARouteIsValidatedAllTheSame() {
    String to = "route: [{destination: {host: b.example}}]";
    return """
    redirect: {prefixRewrite: /b} =>
    redirect: {prefixRewrite: /b, uri: /c} => and uri exclude each other
    match: [{uri: {exact: /a}}], redirect: {prefixRewrite: /b} => needs matches whose uri is a prefix
    match: [{uri: {prefix: /a}}], redirect: {prefixRewrite: /b} =>
    redirect: {redirectCode: 301} => sets nothing
    redirect: {uri: ""} => sets nothing
    redirect: {port: 80, derivePort: FROM_REQUEST_PORT} => and port exclude each other
    redirect: {derivePort: FROM_REQUEST_PORT} =>
    redirect: {uri: /, scheme: ftp} => must be http or https
    redirect: {uri: /}, fault: {abort: {httpStatus: 500}} => cannot be set with redirect
    directResponse: {status: 503, body: {string: no}} =>
    directResponse: {status: 503, body: {string: no, bytes: YQ==}} => exclude each other
    directResponse: {} => status: is missing
    directResponse: {status: 200}, fault: {delay: {fixedDelay: 1s}} => cannot be set with directResponse
    directResponse: {status: 200}, rewrite: {uri: /} => cannot be set with directResponse
    directResponse: {status: 200}, redirect: {uri: /} => exclude each other
    TO, directResponse: {status: 200} => and route exclude each other
    delegate: {name: x, namespace: y} =>
    delegate: {name: x}, TO => cannot be set with delegate
    delegate: {name: x}, redirect: {uri: /} => cannot be set with delegate
    TO, fault: {abort: {grpcStatus: NOT_FOUND, percentage: {value: 1}}} =>
    TO, fault: {abort: {grpcStatus: NOTFOUND}} => did you mean "NOT_FOUND"?
    TO, fault: {abort: {httpStatus: 500, grpcStatus: NOT_FOUND}} => exclude each other
    TO, fault: {abort: {httpStatus: 500, percentage: {value: 0.00001}}} => at least 0.0001
    TO, fault: {abort: {}} =>
    TO, fault: {abort: {http2Error: x}} => is not supported by Istio
    TO, fault: {delay: {exponentialDelay: 1s}} => is not supported by Istio
    TO, fault: {delay: {fixedDelay: 0s}} => must be at least 1ms
    TO, mirror: {host: c.example}, mirrors: [{destination: {host: d.example}}] => exclude each other
    TO, mirrors: [{percentage: {value: 1}}] => destination: is missing
    TO, mirror: {host: c.example}, mirrorPercent: 101 => must be between 0 and 100
    TO, mirror: {host: 192.0.2.1} => is an address
    TO, corsPolicy: {allowOrigins: [{exact: "*"}], allowMethods: ["*"], allowHeaders: ["*"]} =>
    TO, corsPolicy: {allowOrigins: [{}]} => is empty
    TO, corsPolicy: {allowOrigins: [{exact: a, regex: b}]} => exclude each other
    TO, corsPolicy: {maxAge: 1500ms} => must be whole seconds
    TO, corsPolicy: {allowHeaders: ["a b"]} => is no header name
    TO, rewrite: {uriRegexRewrite: {match: "^/a", rewrite: ""}} => rewrite: is missing
    TO, rewrite: {uri: /, uriRegexRewrite: {match: "^/a", rewrite: /b}} => and uri exclude each other
    """
        .lines()
        .map(line ->
            DynamicTest.dynamicTest(
                line,
                () -> {
                  String[] parts = line.replace("TO", to).split(" =>", 2);
                  OneResource<?> read =
                      routes("VirtualService", "{hosts: [a.example], http: [{" + parts[0] + "}]}");
                  if (parts[1].isBlank()) {
                    assertThat(read.errors()).isEmpty();
                    assertThat(read.warnings()).isNotEmpty();
                  } else {
                    assertThat(read.errors()).singleElement().asString().contains(parts[1].strip());
                  }
                }));
  }

  // ---- Sidecar -----------------------------------------------------------------------------

  @TestFactory
  Stream<DynamicTest> sidecars() {
    return each(
        "Sidecar",
        """
        {egress: [{hosts: ["*/*"]}]}
        {egress: [{hosts: ["./*", "istio-system/*"]}]}
        {egress: [{hosts: ["~/*"]}]}
        {egress: [{hosts: ["*/*", "~other/*"]}]}
        {egress: [{hosts: ["~./x.example", "./*"]}]}
        {egress: [{hosts: ["/x.example"]}]} => lacks its namespace
        {egress: [{hosts: ["./"]}]} => lacks its dnsName
        {egress: [{hosts: ["./192.0.2.1"]}]} => is an address
        {egress: [{hosts: ["./https://a.example"]}]} => has a scheme
        {egress: [{hosts: ["./a.example:443"]}]} => has a port
        {egress: [{hosts: ["a b/x.example"]}]} => is neither a namespace
        {egress: [{hosts: "*/*"}]} => must be a list
        {egress: [{hosts: ["./a.example", "./a.example"]}]} ~> repeats
        {egress: [{hosts: ["*/*", "./a.example"]}]} ~> imports everything already
        {egress: {hosts: ["*/*"]}} => must be a list
        {egress: [null]} => must be a mapping
        {egress: [{host: ["*/*"], hosts: ["*/*"]}]} => did you mean "hosts"?
        {egress: [{port: {number: 443, protocol: TLS, name: tls}, hosts: ["*/*"]}]}
        {egress: [{port: {number: 443}, hosts: ["*/*"]}]}
        {egress: [{port: {number: 70000}, hosts: ["*/*"]}]} => must be between
        {workloadSelector: {matchLabels: {a: b}}, egress: [{hosts: ["*/*"]}]} => did you mean "labels"?
        {egress: [{port: {number: 443, name: a_b}, hosts: ["*/*"]}]} => is not a DNS label
        {egress: [{port: {number: 443, protocol: SSL}, hosts: ["*/*"]}]} => is none of
        {egress: [{port: {number: 443, targetPort: 1}, hosts: ["*/*"]}]} => has no meaning in a Sidecar
        {egress: [{port: {number: 443}, bind: 192.0.2.0/24, hosts: ["*/*"]}]} => is not an IP address
        {egress: [{port: {number: 443}, bind: a.example, hosts: ["*/*"]}]} => is not an IP address
        {egress: [{port: {number: 443}, hosts: ["*/*"]}, {port: {number: 443}, hosts: ["*/*"]}]} => is there twice
        {egress: [{port: {}, hosts: ["*/*"]}]} => port 0 is only for a bind
        {egress: [{captureMode: iptables, hosts: ["*/*"]}]} => is none of
        {workloadSelector: {labels: {}}, egress: [{hosts: ["*/*"]}]} ~> applies to every workload
        {workloadSelector: {labels: {a: "b*"}}, egress: [{hosts: ["*/*"]}]} => wildcards are not allowed
        {outboundTrafficPolicy: {}}
        {outboundTrafficPolicy: {mode: ALLOW_ANY}}
        {outboundTrafficPolicy: {mode: allow_any}} => is none of
        {outboundTrafficPolicy: REGISTRY_ONLY} => must be a mapping
        {outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}} => is for the whole mesh only
        {outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: gw.example, port: {number: 443}}}}
        {outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: "*.example", port: {number: 443}}}} => has the character
        {outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: gw.example}}} => port: is missing
        {outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: gw.example, subset: a_b, port: {number: 443}}}} => is not a DNS label
        {outboundTrafficPolicy: {egressProxy: {host: gw.example, port: {number: 443}}}} => only with mode ALLOW_ANY
        {inboundConnectionPool: {}} => sets nothing
        {inboundConnectionPool: {tcp: {maxConnections: 5}}}
        {ingress: [{}]} => port: is missing
        {ingress: [{port: {number: 80}, defaultEndpoint: "127.0.0.1:8080"}]}
        {ingress: [{port: {number: 80}, defaultEndpoint: "192.0.2.1:8080"}]} => must be 127.0.0.1:PORT
        {ingress: [{port: {number: 80}, defaultEndpoint: "127.0.0.1"}]} => must be 127.0.0.1:PORT
        {ingress: [{port: {number: 80, protocol: HTTP}, tls: {mode: SIMPLE, serverCertificate: /c, privateKey: /k}}]} => needs a port of protocol
        {ingress: [{port: {number: 443, protocol: HTTPS}, tls: {mode: SIMPLE, serverCertificate: /c, privateKey: /k}}]}
        {ingress: [{port: {number: 443, protocol: TLS}, tls: {mode: SIMPLE, credentialNames: [c]}}]} => is not supported
        {ingress: [{port: {number: 443, protocol: TLS}, tls: {mode: ISTIO_MUTUAL}}]} => is not supported
        {ingress: [{port: {number: 80, protocol: TCP}, connectionPool: {http: {http1MaxPendingRequests: 1}}}]} ~> have no effect
        """,
        (kind, spec) -> OneResource.istio(SidecarReader::read, kind, spec));
  }

  // ---- Gateway -----------------------------------------------------------------------------

  @TestFactory
  Stream<DynamicTest> gateways() {
    return each(
        "Gateway",
        """
        hosts: [a.example], port: HTTP
        hosts: ["*"], port: HTTP
        hosts: ["./a.example", "*/*.b.example"], port: HTTP
        hosts: [192.0.2.1], port: HTTP
        hosts: [web], port: HTTP => is a short name
        hosts: ["*a.example"], port: HTTP => is a partial wildcard
        hosts: ["~/a.example"], port: HTTP => is neither a namespace
        hosts: [], port: HTTP => hosts: at least one
        hosts: [a.example] => port: is missing
        hosts: [a.example], port: {number: 80, name: http} => protocol: is missing
        hosts: [a.example], port: {number: 80, protocol: HTTP} => name: is missing
        hosts: [a.example], port: {name: a, protocol: HTTP} => number: is missing
        hosts: [a.example], port: {number: 80, name: a, protocol: WEB} => is none of
        hosts: [a.example], port: {number: 80, name: a, protocol: HTTP, targetPort: 81} => has no meaning in a Gateway
        hosts: [a.example], port: HTTP, tls: {httpsRedirect: true}
        hosts: [a.example], port: HTTP, tls: {mode: AUTO_PASSTHROUGH}
        hosts: [a.example], port: HTTP, tls: {mode: SIMPLE, credentialName: c} => may only hold httpsRedirect
        hosts: [a.example], port: TCP, tls: {mode: PASSTHROUGH} => needs a port of protocol
        hosts: [a.example], port: TLS => tls: is missing
        hosts: [a.example], port: TLS, tls: {}
        hosts: [a.example], port: TLS, tls: {mode: PASSTHROUGH}
        hosts: [a.example], port: TLS, tls: {mode: PASSTHROUGH, credentialName: c} ~> uses no certificates
        hosts: [a.example], port: TLS, tls: {mode: SIMPLE, serverCertificate: /c} => privateKey: is missing
        hosts: [a.example], port: TLS, tls: {mode: SIMPLE, credentialName: c}
        hosts: [a.example], port: TLS, tls: {mode: SIMPLE, credentialNames: [a, b]}
        hosts: [a.example], port: TLS, tls: {mode: SIMPLE, credentialNames: [a, b, c]} => one or two are allowed
        hosts: [a.example], port: TLS, tls: {mode: SIMPLE, credentialName: c, credentialNames: [a]} => only one of credentialName
        hosts: [a.example], port: TLS, tls: {mode: SIMPLE, credentialName: c, serverCertificate: /c, privateKey: /k} => only one of credentialName
        hosts: [a.example], port: TLS, tls: {mode: SIMPLE, tlsCertificates: [{serverCertificate: /c, privateKey: /k}]}
        hosts: [a.example], port: TLS, tls: {mode: SIMPLE, tlsCertificates: [{serverCertificate: /c}]} => privateKey: is missing
        hosts: [a.example], port: TLS, tls: {mode: MUTUAL, serverCertificate: /c, privateKey: /k} => caCertificates: is missing
        hosts: [a.example], port: TLS, tls: {mode: MUTUAL, credentialName: c, caCertCredentialName: d}
        hosts: [a.example], port: TLS, tls: {mode: OPTIONAL_MUTUAL, serverCertificate: /c, privateKey: /k, caCertificates: /a, caCrl: /r}
        hosts: [a.example], port: TLS, tls: {mode: SIMPLE, serverCertificate: /c, privateKey: /k, caCrl: /r} => is not possible with mode SIMPLE
        hosts: [a.example], port: TLS, tls: {mode: ISTIO_MUTUAL, credentialName: c} => name no others
        hosts: [a.example], port: TLS, tls: {mode: ISTIO_MUTUAL}
        hosts: [a.example], port: TLS, tls: {mode: TLS} => is none of
        hosts: [a.example], port: TLS, tls: {ecdhCurves: [P-256], insecureSkipVerify: true}
        hosts: [a.example], port: TLS, tls: {minProtocolVersion: TLSV1_1} ~> needs cipherSuites
        hosts: [a.example], port: TLS, tls: {minProtocolVersion: TLS1.2} => is none of
        hosts: [a.example], port: TLS, tls: {cipherSuites: [A, A]} ~> is there twice
        hosts: [a.example], port: TLS, tls: {credentialNam: c} => did you mean "credentialName"?
        hosts: [a.example], port: HTTP, bind: 192.0.2.1
        hosts: [a.example], port: HTTP, bind: here => is neither an IP address
        hosts: [a.example], port: HTTP, bind: "unix:///x" => must be 0 with a bind
        hosts: [a.example], port: HTTP, hostname: a => unknown key
        """,
        (kind, server) ->
            OneResource.istio(
                GatewayReader::read,
                kind,
                "{selector: {istio: egressgateway}, servers: [{"
                    + server
                        .replace("port: HTTP", "port: {number: 80, name: http, protocol: HTTP}")
                        .replace("port: TLS", "port: {number: 443, name: tls, protocol: TLS}")
                        .replace("port: TCP", "port: {number: 5432, name: tcp, protocol: TCP}")
                    + "}]}"));
  }

  // ---- WorkloadEntry -----------------------------------------------------------------------

  @TestFactory
  Stream<DynamicTest> workloadEntries() {
    String label = "a".repeat(63);
    return each(
        "WorkloadEntry",
        """
        {address: 192.0.2.1}
        {address: "2001:db8::1"}
        {address: vm.example}
        {address: vm}
        {address: "unix:///run/x"}
        {address: "unix://@x"}
        {address: "unix:///run/"} => is not the absolute path
        {address: "unix://run/x"} => is not the absolute path
        {address: 192.0.2.0/24} => is no IP address
        {address: "192.0.2.1:80"} => is no IP address
        {address: 192.0.2.256} => is no IP address
        {address: "https://vm.example"} => has a scheme
        {address: ""} => address: is missing
        {network: n} ~> workloads of other networks
        {address: 192.0.2.1, network: n}
        {addresses: [192.0.2.1], address: 192.0.2.1} => did you mean "address"?
        {address: 192.0.2.1, ports: {http: 8080}}
        {address: 192.0.2.1, ports: {http: 65536}} => between 1 and 65535
        {address: 192.0.2.1, ports: {http: "80"}} => must be a whole number
        {address: 192.0.2.1, ports: [80]} => must be a mapping
        {address: 192.0.2.1, ports: {-a: 80}} => is not a DNS label
        {address: 192.0.2.1, ports: {LABEL: 80}} => of at most 62 characters
        {address: 192.0.2.1, weight: 4294967295}
        {address: 192.0.2.1, weight: 4294967296} => must be between
        {address: 192.0.2.1, weight: -1} => must be between
        {address: 192.0.2.1, weight: 1.5} => must be a whole number
        {address: 192.0.2.1, locality: r/z/s, serviceAccount: sa}
        {address: 192.0.2.1, labels: {app: vm, topology.istio.io/network: n}}
        {address: 192.0.2.1, labels: {"a/b/c": d}} => is not a valid label
        {address: 192.0.2.1, labels: {app: "-vm"}} => is not a valid label
        {address: 192.0.2.1, labels: {app: ""}}
        {address: 192.0.2.1, labels: {app: 1}} => must be a text
        {address: 192.0.2.1, serviceAccount: LONG} => at most 253
        {address: 192.0.2.1, locality: 5} => must be a text
        {address: 192.0.2.1, tag: x} => unknown key
        """
            .replace("LABEL", label)
            .replace("LONG", "a".repeat(254)),
        (kind, spec) -> OneResource.istio(WorkloadEntryReader::read, kind, spec));
  }

  @TestFactory
  Stream<DynamicTest> annotationsOfIstioAloneAreRefused() {
    return Stream.of(
            "internal.istio.io/webhook-always-reject",
            "internal.istio.io/parents",
            "internal.istio.io/parent-namespace",
            "istio.io/dry-run")
        .map(name ->
            DynamicTest.dynamicTest(
                name,
                () ->
                    assertThat(
                            OneResource.read(
                                    DestinationRuleReader::read,
                                    "{apiVersion: networking.istio.io/v1, kind: DestinationRule,"
                                        + " metadata: {name: x, annotations: {"
                                        + name
                                        + ": \"true\"}}, spec: {host: a.example}}")
                                .errors())
                        .singleElement()
                        .asString()
                        .contains(name)));
  }
}
