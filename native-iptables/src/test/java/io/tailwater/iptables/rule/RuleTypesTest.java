package io.tailwater.iptables.rule;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import java.net.InetAddress;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class RuleTypesTest {
  private static final Mark CONNECTION = new Mark(0x111, 0xfff);

  /// The kinds of rule that Istio's in-pod set is made of.
  @Test
  void rulesOfOtherPlansCanBeSaid() {
    assertThat(text(new Target.SetConnectionMark(CONNECTION), new Match.PacketMark(Mark.AGENT)))
        .isEqualTo("-m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff");
    assertThat(text(new Target.RestoreConnectionMark(-1, -1), new Match.ConnectionMark(CONNECTION)))
        .isEqualTo(
            "-m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask"
                + " 0xffffffff");
    assertThat(
            text(
                new Target.Redirect(15006),
                new Match.Destination(Cidr.of("127.0.0.1/32")).not(),
                new Match.Protocol(IpProtocol.TCP),
                new Match.DestinationPort(IpProtocol.TCP, 15008).not(),
                new Match.PacketMark(Mark.AGENT).not()))
        .isEqualTo(
            "! -d 127.0.0.1/32 -p tcp -m tcp ! --dport 15008 -m mark ! --mark 0x539/0xfff -j"
                + " REDIRECT --to-ports 15006");
    assertThat(
            text(
                new Target.ConntrackZone(1),
                new Match.Protocol(IpProtocol.UDP),
                new Match.SourcePort(IpProtocol.UDP, 53)))
        .isEqualTo("-p udp -m udp --sport 53 -j CT --zone 1");
    assertThat(
            text(
                new Target.SourceNat(
                    InetAddress.ofLiteral("fd16:9254:7127:1337:ffff:ffff:ffff:ffff")),
                new Match.OwnerExists(),
                new Match.InSet("istio-inpod-probes-v6", "dst")))
        .isEqualTo(
            "-m owner --socket-exists -m set --match-set istio-inpod-probes-v6 dst -j SNAT"
                + " --to-source fd16:9254:7127:1337:ffff:ffff:ffff:ffff");
    assertThat(
            text(
                new Target.Accept(),
                new Match.Source(Cidr.of("169.254.7.127")),
                new Match.InInterface("eth+")))
        .isEqualTo("-s 169.254.7.127/32 -i eth+ -j ACCEPT");
    assertThat(
            text(new Target.Drop(), new Match.OwnerUser(1337), new Match.OutInterface("lo").not()))
        .isEqualTo("-m owner --uid-owner 1337 ! -o lo -j DROP");
    assertThat(text(new Target.Jump("ISTIO_OUTPUT"))).isEqualTo("-j ISTIO_OUTPUT");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"lo -j ACCEPT\n-A OUTPUT", "", "-lo", "a b", "eth0\"", "much-longer-than-15"})
  void nameThatCouldCarryARuleIsRefused(String name) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new Match.OutInterface(name))
        .withMessageContaining("cannot be the name");
    assertThatIllegalArgumentException().isThrownBy(() -> new Match.InSet(name + "\n", "dst"));
    assertThatIllegalArgumentException().isThrownBy(() -> new Target.Jump(name + " "));
  }

  @Test
  void impossibleValuesAreRefused() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new Mark(0x1539, 0xfff))
        .withMessageContaining("never match");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new Target.Redirect(65536))
        .withMessageContaining("65536");
    assertThatIllegalArgumentException().isThrownBy(() -> CapturePlan.egress().withDns(0));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> CapturePlan.egress().withAgent(new Mark(0, 0xfff)));
    assertThatIllegalArgumentException().isThrownBy(() -> Cidr.of("10.0.0.0/33"));
    assertThatIllegalArgumentException().isThrownBy(() -> Cidr.of("example.com/8"));
    assertThatIllegalArgumentException().isThrownBy(() -> new Match.Reply().not().not());
  }

  @ParameterizedTest
  @CsvSource({
    "::1, ::1/128",
    "ff02::/16, ff02::/16",
    "fd90:0:0:1:0:0:0:2/64, fd90:0:0:1::2/64",
    "2001:db8:0:1:1:1:1:1, 2001:db8:0:1:1:1:1:1/128",
    "::, ::/128",
    "10.0.0.0/8, 10.0.0.0/8"
  })
  void rangesArePrintedAsTheProgramsPrintThem(String text, String printed) {
    assertThat(Cidr.of(text)).hasToString(printed);
  }

  private static String text(Target target, Match... matches) {
    return Rule.of("test", target, matches).text();
  }
}
