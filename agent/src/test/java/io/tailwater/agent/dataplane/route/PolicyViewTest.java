package io.tailwater.agent.dataplane.route;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.agent.traffic.ResourceRef;
import java.net.InetAddress;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class PolicyViewTest {
  private static final ResourceRef REF = new ResourceRef("VirtualService", "default", "v");
  private static final InetAddress VIP = address("240.240.0.1");
  private static final Preface OPAQUE = new Preface.Opaque();

  private static InetAddress address(String text) {
    return CidrBlock.parseAddress(text).orElseThrow();
  }

  private static OriginalDst dst(String address, int port) {
    return new OriginalDst(address(address), port);
  }

  private static HostPattern host(String name) {
    return new HostPattern.Exact(HostName.of(name));
  }

  private static Action.Go go(String cluster) {
    return Action.Go.of(
        new Decision.Destination(cluster, "x.example", "default", 80),
        "x.example",
        new Target.Dialled(80),
        AddressRule.UNFILTERED,
        REF);
  }

  private static PolicyView view(EgressMode mode, OutboundPolicy outbound, Listener listener) {
    return new PolicyView(
        mode,
        outbound,
        new DestinationPolicy(
            Map.of(80, new PortPolicy(Map.of(), List.of(), Optional.of(listener))),
            DestinationPolicy.AnyPort.NONE,
            Map.of(),
            Map.of()));
  }

  private static PolicyView strict(Listener listener) {
    return view(EgressMode.ENFORCE, new OutboundPolicy.RegistryOnly(), listener);
  }

  private static Listener rest(Action action) {
    Listener.Builder builder = new Listener.Builder();
    builder.rest(action);
    return builder.build();
  }

  private static Request request(String host, String path) {
    return new Request(
        Optional.of(HostName.of(host)),
        Optional.empty(),
        Optional.empty(),
        "GET",
        path,
        false,
        _ -> null);
  }

  private static String cluster(Decision decision) {
    return decision.cluster().orElse("");
  }

  private static Action.Split split() {
    return new Action.Split(
        List.of(
            new Action.Choice(80, go("most")),
            new Action.Choice(0, go("never")),
            new Action.Choice(20, go("some"))),
        REF);
  }

  @Test
  void weightsChooseForEachConnectionAndAWeightOfZeroIsNeverChosen() {
    PolicyView view = strict(rest(split()));
    Map<String, Integer> chosen = new HashMap<>();
    for (int i = 0; i < 10_000; i++) {
      chosen.merge(cluster(view.decide(dst("192.0.2.1", 80), OPAQUE)), 1, Integer::sum);
    }
    assertThat(chosen).containsOnlyKeys("most", "some");
    assertThat(chosen.get("most")).isBetween(7_500, 8_500);
  }

  @Test
  void allThatWeightsMayChooseIsListedForPeople() {
    assertThat(
            strict(rest(split())).weighted(dst("192.0.2.1", 80), OPAQUE, Optional.empty()).stream()
                .map(w -> cluster(w.decision()) + " " + w.weight()))
        .containsExactly("most 80", "never 0", "some 20");
    assertThat(strict(rest(go("one"))).weighted(dst("192.0.2.1", 80), OPAQUE, Optional.empty()))
        .isEmpty();
  }

  @Test
  void theFirstCaseThatHoldsDecidesAndItsChangesGoWithTheRequest() {
    RequestPolicy rewrite =
        new RequestPolicy(
            Optional.of("other.example"),
            Optional.empty(),
            Optional.empty(),
            RequestPolicy.Retries.DEFAULT,
            RequestPolicy.Headers.NONE,
            RequestPolicy.Headers.NONE);
    Action cases =
        new Action.Cases(
            List.of(
                new Action.Case(
                    (_, request) -> request != null && request.path().startsWith("/a"),
                    go("a"),
                    rewrite),
                new Action.Case(
                    (_, request) -> request != null && request.path().startsWith("/ab"), go("ab"))),
            Optional.of(go("own")),
            REF);
    Listener.Builder builder = new Listener.Builder();
    builder.http(host("x.example"), cases);
    PolicyView view = strict(builder.build());
    OriginalDst dst = dst("192.0.2.1", 80);

    Decision first = view.decide(dst, request("x.example", "/ab"));
    assertThat(cluster(first)).isEqualTo("a");
    assertThat(((Decision.Forward) first).request()).isEqualTo(rewrite);
    Decision own = view.decide(dst, request("x.example", "/"));
    assertThat(cluster(own)).isEqualTo("own");
    assertThat(((Decision.Forward) own).request()).isEqualTo(RequestPolicy.NONE);
  }

  @Test
  void withoutACaseThatHoldsTheDestinationIsUnknown() {
    Action never = new Action.Cases(List.of(), Optional.empty(), REF);
    assertThat(strict(rest(never)).decide(dst("192.0.2.1", 80), OPAQUE))
        .isEqualTo(
            new Decision.Refuse(
                Refusal.CONNECTION_CLOSED, Optional.of(Decision.BLACK_HOLE), Optional.empty()));
  }

  @Test
  void subnetsOfTheDialledAddressAreACondition() {
    Action cases =
        new Action.Cases(
            List.of(
                new Action.Case(
                    (dst, _) -> CidrBlock.parse("10.0.0.0/8").orElseThrow().contains(dst.address()),
                    go("inside"))),
            Optional.of(go("outside")),
            REF);
    PolicyView view = strict(rest(cases));
    assertThat(cluster(view.decide(dst("10.1.2.3", 80), OPAQUE))).isEqualTo("inside");
    assertThat(cluster(view.decide(dst("192.0.2.1", 80), OPAQUE))).isEqualTo("outside");
  }

  @Test
  void anAllocatedAddressTakesWhatNoNameTakes() {
    Listener.Builder everywhere = new Listener.Builder();
    everywhere.tls(host("named.example"), go("named"));
    everywhere.http(host("web.example"), go("web"));
    Listener names = everywhere.build();
    Listener.Builder own = new Listener.Builder();
    own.rest(go("own"));
    PolicyView view =
        new PolicyView(
            EgressMode.ENFORCE,
            new OutboundPolicy.RegistryOnly(),
            new DestinationPolicy(
                Map.of(
                    80,
                    new PortPolicy(
                        Map.of(VIP, own.buildBehind(names)), List.of(), Optional.of(names))),
                DestinationPolicy.AnyPort.NONE,
                Map.of(),
                Map.of()));
    OriginalDst vip = new OriginalDst(VIP, 80);

    assertThat(view.ask(vip)).isEqualTo(ClientView.Ask.PREFACE);
    assertThat(cluster(view.decide(vip, tls("named.example")))).isEqualTo("named");
    assertThat(cluster(view.decide(vip, tls("other.example")))).isEqualTo("own");
    assertThat(cluster(view.decide(vip, OPAQUE))).isEqualTo("own");
    assertThat(cluster(view.decide(vip, new Preface.Silent()))).isEqualTo("own");
    assertThat(cluster(view.decide(vip, request("web.example", "/")))).isEqualTo("web");
    assertThat(cluster(view.decide(vip, request("other.example", "/")))).isEqualTo("own");
    assertThat(view.decide(dst("192.0.2.1", 80), tls("other.example")))
        .isInstanceOf(Decision.Refuse.class);
  }

  private static Preface tls(String name) {
    return new Preface.Tls(HostName.of(name), false);
  }

  @Test
  void offDecidesNothingNotEvenByRequest() {
    PolicyView view = view(EgressMode.OFF, new OutboundPolicy.RegistryOnly(), rest(go("x")));
    assertThat(view.ask(dst("192.0.2.1", 80))).isEqualTo(ClientView.Ask.NOTHING);
    assertThat(view.decide(dst("192.0.2.1", 80), request("x.example", "/")))
        .isInstanceOf(Decision.Passthrough.class);
  }

  @Test
  void unknownPortsAreHeldUpForTheirFirstBytesOnlyWhereHttpGoesByHost() {
    Decision.Destination to = new Decision.Destination("any", "any", "", 80);
    OutboundPolicy byHost =
        new OutboundPolicy.AllowAnyDynamicDns(
            Action.ByName.of(to, 80, List.of(), AddressRule.UNFILTERED, REF));
    Listener listener = rest(go("x"));
    assertThat(view(EgressMode.ENFORCE, byHost, listener).ask(dst("192.0.2.1", 25)))
        .isEqualTo(ClientView.Ask.PREFACE);
    assertThat(view(EgressMode.ENFORCE, byHost, listener).ask(dst("192.0.2.1", 80)))
        .isEqualTo(ClientView.Ask.NOTHING);
    assertThat(
            view(EgressMode.ENFORCE, new OutboundPolicy.AllowAny(), listener)
                .ask(dst("192.0.2.1", 25)))
        .isEqualTo(ClientView.Ask.NOTHING);
  }
}
