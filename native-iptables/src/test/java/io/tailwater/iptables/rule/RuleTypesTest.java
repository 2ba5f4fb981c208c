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
    assertThatIllegalArgumentException().isThrownBy(() -> new ControlGroup(name + "\n", 1));
    assertThatIllegalArgumentException().isThrownBy(() -> new Target.Log(name + "\"", 5, 64));
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
    assertThatIllegalArgumentException().isThrownBy(() -> new Match.Syn().not().not());
  }

  @Test
  void ruleIsSaidInTheLanguageOfNfTables() {
    assertThat(nft(new Target.Redirect(15001), new Match.Protocol(IpProtocol.TCP)))
        .isEqualTo("meta l4proto tcp redirect to :15001");
    assertThat(
            nft(
                new Target.Redirect(15006),
                new Match.Destination(Cidr.of("127.0.0.1/32")).not(),
                new Match.DestinationPort(IpProtocol.TCP, 15008).not(),
                new Match.PacketMark(Mark.AGENT).not()))
        .isEqualTo(
            "ip daddr != 127.0.0.1/32 tcp dport != 15008 meta mark & 0xfff != 0x539 redirect to"
                + " :15006");
    assertThat(nft(new Target.Return(), new Match.PacketMark(new Mark(0x12345678, -1))))
        .isEqualTo("meta mark == 0x12345678 return");
    assertThat(nft(new Target.SetConnectionMark(CONNECTION)))
        .isEqualTo("ct mark set ct mark & 0xfffff000 | 0x111");
    assertThat(nft(new Target.SetPacketMark(new Mark(7, -1)))).isEqualTo("meta mark set 0x7");
    assertThat(nft(new Target.Return(), new Match.OutInterface("eth+").not()))
        .isEqualTo("oifname != \"eth*\" return");
    assertThat(
            nft(
                new Target.Drop(),
                new Match.ConnectionState(
                        Match.ConnectionState.State.NEW, Match.ConnectionState.State.INVALID)
                    .not()))
        .isEqualTo("ct state & (invalid | new) == 0 drop");
    assertThat(nft(new Target.Return(), new Match.InSet("alive", "dst")))
        .isEqualTo("ip daddr @alive return");
    assertThat(nft(new Target.Return(), new Match.Cgroup(new ControlGroup("kubepods/agent", 17))))
        .isEqualTo("socket cgroupv2 level 2 \"kubepods/agent\" return");
    assertThat(nft(new Target.Log("udp", 5, 128), new Match.RateLimit(10, 20)))
        .isEqualTo("limit rate 10/second burst 20 packets log prefix \"udp\" group 5 snaplen 128");
    assertThat(nft(new Target.Jump("TAILWATER_END"))).isEqualTo("jump nat-end-ipv4");
  }

  @Test
  void whatNfTablesCannotSayIsRefused() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> nft(new Target.Drop(), new Match.OwnerExists().not()));
    assertThatIllegalArgumentException().isThrownBy(() -> new Match.RateLimit(1, 1).not());
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new Target.RestoreConnectionMark(0xfff, -1));
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

  private static String nft(Target target, Match... matches) {
    return Rule.of("test", target, matches).nft(new NftPlace(Table.NAT, IpFamily.V4));
  }

  private static String text(Target target, Match... matches) {
    return Rule.of("test", target, matches).text();
  }
}
