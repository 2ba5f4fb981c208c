package io.tailwater.iptables.rule;

import java.net.InetAddress;
import java.util.List;

/// What a rule does, in both languages: the arguments that `iptables-save` prints, and the
/// statements of nf_tables.
public sealed interface Target {
  /// The arguments of the command line, beginning with `-j`.
  List<String> arguments();

  /// The statements of nf_tables, such as `redirect to :15001`.
  String nft(NftPlace place);

  /// `-j REDIRECT --to-ports 15001`; only in nat.
  record Redirect(int port) implements Target {
    public Redirect {
      Names.checkPort(port);
    }

    @Override
    public List<String> arguments() {
      return List.of("-j", "REDIRECT", "--to-ports", Integer.toString(port));
    }

    @Override
    public String nft(NftPlace place) {
      return "redirect to :" + port;
    }
  }

  /// `-j ACCEPT`: ends the whole hook of this table.
  record Accept() implements Target {
    @Override
    public List<String> arguments() {
      return List.of("-j", "ACCEPT");
    }

    @Override
    public String nft(NftPlace place) {
      return "accept";
    }
  }

  /// `-j RETURN`: leaves our chain; what others put behind our jump still counts.
  record Return() implements Target {
    @Override
    public List<String> arguments() {
      return List.of("-j", "RETURN");
    }

    @Override
    public String nft(NftPlace place) {
      return "return";
    }
  }

  /// `-j DROP`
  record Drop() implements Target {
    @Override
    public List<String> arguments() {
      return List.of("-j", "DROP");
    }

    @Override
    public String nft(NftPlace place) {
      return "drop";
    }
  }

  /// `-j REJECT --reject-with ...`: the sender learns it at once.
  record Reject(With with) implements Target {
    /// How the refusal looks to the sender.
    public enum With {
      /// A reset: `ECONNREFUSED` on connect.
      TCP_RESET("tcp-reset", "tcp reset"),
      /// ICMP port unreachable: `ECONNREFUSED` on a connected UDP socket.
      PORT_UNREACHABLE("icmp-port-unreachable", "icmp type port-unreachable"),
      /// The same for IPv6.
      PORT_UNREACHABLE_V6("icmp6-port-unreachable", "icmpv6 type port-unreachable"),
      /// ICMP communication prohibited: `EHOSTUNREACH`, for protocols without ports.
      PROHIBITED("icmp-admin-prohibited", "icmp type admin-prohibited"),
      /// The same for IPv6: `EACCES`.
      PROHIBITED_V6("icmp6-adm-prohibited", "icmpv6 type admin-prohibited");

      private final String text;
      private final String nft;

      With(String text, String nft) {
        this.text = text;
        this.nft = nft;
      }

      @Override
      public String toString() {
        return text;
      }
    }

    /// Port unreachable in the family's own protocol.
    public static Reject unreachable(IpFamily family) {
      return new Reject(
          switch (family) {
            case V4 -> With.PORT_UNREACHABLE;
            case V6 -> With.PORT_UNREACHABLE_V6;
          });
    }

    /// Communication prohibited in the family's own protocol.
    public static Reject prohibited(IpFamily family) {
      return new Reject(
          switch (family) {
            case V4 -> With.PROHIBITED;
            case V6 -> With.PROHIBITED_V6;
          });
    }

    @Override
    public List<String> arguments() {
      return List.of("-j", "REJECT", "--reject-with", with.toString());
    }

    @Override
    public String nft(NftPlace place) {
      return "reject with " + with.nft;
    }
  }

  /// `-j MARK --set-xmark 0x200/0x200`: the packet's mark. The packet goes on to the next rule.
  record SetPacketMark(Mark mark) implements Target {
    @Override
    public List<String> arguments() {
      return List.of("-j", "MARK", "--set-xmark", mark.toString());
    }

    @Override
    public String nft(NftPlace place) {
      return marked("meta mark", mark);
    }
  }

  /// `-j CONNMARK --set-xmark 0x111/0xfff`
  record SetConnectionMark(Mark mark) implements Target {
    @Override
    public List<String> arguments() {
      return List.of("-j", "CONNMARK", "--set-xmark", mark.toString());
    }

    @Override
    public String nft(NftPlace place) {
      return marked("ct mark", mark);
    }
  }

  /// `-j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff`: the connection's mark
  /// becomes the packet's.
  record RestoreConnectionMark(int packetMask, int connectionMask) implements Target {
    public RestoreConnectionMark {
      if (packetMask != -1 || connectionMask != -1) {
        throw new IllegalArgumentException("Only a whole mark is restored: both masks are -1");
      }
    }

    @Override
    public List<String> arguments() {
      return List.of(
          "-j",
          "CONNMARK",
          "--restore-mark",
          "--nfmask",
          Mark.hex(packetMask),
          "--ctmask",
          Mark.hex(connectionMask));
    }

    /// nf_tables takes all bits or none from the other mark.
    @Override
    public String nft(NftPlace place) {
      return "meta mark set ct mark";
    }
  }

  /// `-j CT --zone 1`; only in raw.
  record ConntrackZone(int zone) implements Target {
    @Override
    public List<String> arguments() {
      return List.of("-j", "CT", "--zone", Integer.toString(zone));
    }

    @Override
    public String nft(NftPlace place) {
      return "ct zone set " + zone;
    }
  }

  /// `-j CT --notrack`; only in raw. The packet belongs to no connection and makes none.
  record Untracked() implements Target {
    @Override
    public List<String> arguments() {
      return List.of("-j", "CT", "--notrack");
    }

    @Override
    public String nft(NftPlace place) {
      return "notrack";
    }
  }

  /// `-j CT --zone-orig 133`; only in raw. The packet's connection is looked for in the zone as one
  /// that this side began, and among the others as an answer.
  record OriginalZone(int zone) implements Target {
    @Override
    public List<String> arguments() {
      return List.of("-j", "CT", "--zone-orig", Integer.toString(zone));
    }

    @Override
    public String nft(NftPlace place) {
      return "ct original zone set " + zone;
    }
  }

  /// The destination stays what it is, whatever others would translate it to; only in nat
  /// PREROUTING. For iptables that is `-j ACCEPT`, which ends this table; nf_tables has no last
  /// word there, so the address is translated to itself, and nat happens once.
  record KeepDestination() implements Target {
    @Override
    public List<String> arguments() {
      return List.of("-j", "ACCEPT");
    }

    @Override
    public String nft(NftPlace place) {
      String family = place.family().nft();
      return "dnat " + family + " to " + family + " daddr";
    }
  }

  /// `-j SNAT --to-source 169.254.7.127`; only in nat POSTROUTING and INPUT.
  record SourceNat(InetAddress address) implements Target {
    @Override
    public List<String> arguments() {
      return List.of("-j", "SNAT", "--to-source", plain(address));
    }

    @Override
    public String nft(NftPlace place) {
      return "snat " + place.family().nft() + " to " + plain(address);
    }
  }

  /// `-j CHAIN`
  record Jump(String chain) implements Target {
    public Jump {
      Names.checkChain(chain);
    }

    @Override
    public List<String> arguments() {
      return List.of("-j", chain);
    }

    @Override
    public String nft(NftPlace place) {
      return "jump " + place.chain(chain);
    }
  }

  /// `-g CHAIN`: returning from there leaves the chain that this rule is in, too.
  record GoTo(String chain) implements Target {
    public GoTo {
      Names.checkChain(chain);
    }

    @Override
    public List<String> arguments() {
      return List.of("-g", chain);
    }

    @Override
    public String nft(NftPlace place) {
      return "goto " + place.chain(chain);
    }
  }

  /// `-j TPROXY --on-port 15001 --on-ip 127.0.0.1 --tproxy-mark 0x200/0x200`; only in mangle
  /// PREROUTING, after [Match.Protocol]. Without a listening socket iptables drops the packet and
  /// nf_tables goes on to the next rule: put a [Drop] behind it that says the same for both.
  record Tproxy(InetAddress address, int port, Mark mark) implements Target {
    public Tproxy {
      Names.checkPort(port);
    }

    @Override
    public List<String> arguments() {
      return List.of(
          "-j",
          "TPROXY",
          "--on-port",
          Integer.toString(port),
          "--on-ip",
          plain(address),
          "--tproxy-mark",
          mark.toString());
    }

    @Override
    public String nft(NftPlace place) {
      String host = place.family() == IpFamily.V6 ? "[" + plain(address) + "]" : plain(address);
      return "tproxy "
          + place.family().nft()
          + " to "
          + host
          + ":"
          + port
          + " "
          + marked("meta mark", mark)
          + " accept";
    }
  }

  /// `-j NFLOG --nflog-prefix udp --nflog-group 5 --nflog-size 128`: the packet's head goes to who
  /// listens to the group (nobody: nothing), the packet to the next rule.
  ///
  /// @param bytes how much of the packet
  record Log(String prefix, int group, int bytes) implements Target {
    public Log {
      Names.checkLogPrefix(prefix);
      if (group < 1 || group > 65535 || bytes < 1 || bytes > 65535) {
        throw new IllegalArgumentException("A log group and the bytes it gets are 1..65535");
      }
    }

    @Override
    public List<String> arguments() {
      return List.of(
          "-j",
          "NFLOG",
          "--nflog-prefix",
          prefix,
          "--nflog-group",
          Integer.toString(group),
          "--nflog-size",
          Integer.toString(bytes));
    }

    @Override
    public String nft(NftPlace place) {
      return "log prefix \"" + prefix + "\" group " + group + " snaplen " + bytes;
    }
  }

  /// `-j NFQUEUE --queue-num 7 --queue-bypass`: the packet waits until who reads the queue has
  /// answered.
  ///
  /// @param bypass the packet passes this hook while nobody reads; otherwise it is dropped
  record Queue(int number, boolean bypass) implements Target {
    public Queue {
      if (number < 0 || number > 65535) {
        throw new IllegalArgumentException("A queue is 0..65535");
      }
    }

    @Override
    public List<String> arguments() {
      String queue = Integer.toString(number);
      return bypass
          ? List.of("-j", "NFQUEUE", "--queue-num", queue, "--queue-bypass")
          : List.of("-j", "NFQUEUE", "--queue-num", queue);
    }

    @Override
    public String nft(NftPlace place) {
      return "queue " + (bypass ? "flags bypass " : "") + "to " + number;
    }
  }

  /// `-j TTL --ttl-set 64`, `-j HL --hl-set 64`: over how many routers the packet goes from here;
  /// only in mangle. The packet goes on to the next rule.
  record HopLimit(IpFamily family, int hops) implements Target {
    public HopLimit {
      if (hops < 1 || hops > 255) {
        throw new IllegalArgumentException("A hop limit is 1..255");
      }
    }

    @Override
    public List<String> arguments() {
      return switch (family) {
        case V4 -> List.of("-j", "TTL", "--ttl-set", Integer.toString(hops));
        case V6 -> List.of("-j", "HL", "--hl-set", Integer.toString(hops));
      };
    }

    @Override
    public String nft(NftPlace place) {
      return (family == IpFamily.V4 ? "ip ttl" : "ip6 hoplimit") + " set " + hops;
    }
  }

  private static String plain(InetAddress address) {
    String text = new Cidr(address, 0).toString();
    return text.substring(0, text.indexOf('/'));
  }

  private static String marked(String what, Mark mark) {
    return what
        + " set "
        + (mark.isWhole() ? "" : what + " & " + Mark.hex(mark.rest()) + " | ")
        + Mark.hex(mark.value());
  }
}
