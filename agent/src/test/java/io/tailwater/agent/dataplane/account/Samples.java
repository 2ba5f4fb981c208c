package io.tailwater.agent.dataplane.account;

import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.CurrentRoutes;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.RouteTable;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.ClientAddress;
import io.tailwater.agent.traffic.Direction;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.agent.traffic.Grade;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.PodRef;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.agent.traffic.ResourceRef;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// Connections as the tests of this room need them.
final class Samples {
  static final Instant T0 = Instant.parse("2031-02-03T04:05:06.000007Z");
  static final String WIKIPEDIA = "outbound|443||*.wikipedia.org";

  private Samples() {}

  static InetAddress ip(String text) {
    return CidrBlock.parseAddress(text).orElseThrow();
  }

  static Pod pod(String name) {
    return new Pod(
        new PodRef("default", name),
        "default",
        Map.of("app", "ratings", "version", "v1"),
        List.of(ip("10.1.0.10")));
  }

  static ConnectionRecord connection(long id, String pod, Preface preface) {
    ConnectionRecord c =
        new ConnectionRecord(
            id,
            pod(pod),
            Direction.OUTBOUND,
            new ClientAddress(ip("10.1.0.10"), 41022),
            new OriginalDst(ip("203.0.113.250"), 443),
            T0,
            0);
    c.preface(preface);
    return c;
  }

  static Preface tls(String name) {
    return new Preface.Tls(HostName.of(name), false);
  }

  /// On its way to an address of the wildcard.
  static ConnectionRecord forwarded(long id, String name) {
    ConnectionRecord c = connection(id, "ratings-v1", tls(name));
    c.decision(
        new Decision.Forward(
            new Decision.Destination(WIKIPEDIA, "*.wikipedia.org", "default", 443),
            name,
            new Target.Endpoints(List.of(new Target.Endpoint.Name(HostName.of(name), 443))),
            AddressRule.UNFILTERED,
            new ResourceRef("ServiceEntry", "default", "wikipedia"),
            false));
    return c;
  }

  static ConnectionRecord connected(long id, String name) {
    ConnectionRecord c = forwarded(id, name);
    c.upstream(new InetSocketAddress(ip("198.51.100.10"), 443));
    c.grade(Grade.SPLICE);
    return c;
  }

  static ConnectionRecord refused(long id, String name) {
    ConnectionRecord c = connection(id, "ratings-v1", tls(name));
    c.decision(
        new Decision.Refuse(
            Refusal.CONNECTION_CLOSED, Optional.of(Decision.BLACK_HOLE), Optional.empty()));
    return c;
  }

  static Outcome.Refused closed() {
    return new Outcome.Refused(Refusal.CONNECTION_CLOSED, "");
  }

  static CurrentRoutes routes(EgressMode mode) {
    ClientView view =
        new ClientView() {
          @Override
          public EgressMode mode() {
            return mode;
          }

          @Override
          public boolean registryOnly() {
            return true;
          }

          @Override
          public Ask ask(OriginalDst dst) {
            return Ask.PREFACE;
          }

          @Override
          public Decision decide(OriginalDst dst, Preface preface) {
            throw new AssertionError("accounts decide nothing");
          }
        };
    return new CurrentRoutes(
        new RouteTable() {
          @Override
          public long generation() {
            return 1;
          }

          @Override
          public ClientView view(Pod pod) {
            return view;
          }
        });
  }
}
