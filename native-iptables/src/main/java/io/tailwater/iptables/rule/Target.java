package io.tailwater.iptables.rule;

import java.net.InetAddress;
import java.util.List;

/// What a rule does. The arguments are those that `iptables-save` prints.
public sealed interface Target {
  /// The arguments of the command line, beginning with `-j`.
  List<String> arguments();

  /// `-j REDIRECT --to-ports 15001`; only in nat.
  record Redirect(int port) implements Target {
    public Redirect {
      Names.checkPort(port);
    }

    @Override
    public List<String> arguments() {
      return List.of("-j", "REDIRECT", "--to-ports", Integer.toString(port));
    }
  }

  /// `-j ACCEPT`: ends the whole hook of this table.
  record Accept() implements Target {
    @Override
    public List<String> arguments() {
      return List.of("-j", "ACCEPT");
    }
  }

  /// `-j RETURN`: leaves our chain; what others put behind our jump still counts.
  record Return() implements Target {
    @Override
    public List<String> arguments() {
      return List.of("-j", "RETURN");
    }
  }

  /// `-j DROP`
  record Drop() implements Target {
    @Override
    public List<String> arguments() {
      return List.of("-j", "DROP");
    }
  }

  /// `-j REJECT --reject-with ...`: the sender learns it at once.
  record Reject(With with) implements Target {
    /// How the refusal looks to the sender.
    public enum With {
      /// A reset: `ECONNREFUSED` on connect.
      TCP_RESET("tcp-reset"),
      /// ICMP port unreachable: `ECONNREFUSED` on a connected UDP socket.
      PORT_UNREACHABLE("icmp-port-unreachable"),
      /// The same for IPv6.
      PORT_UNREACHABLE_V6("icmp6-port-unreachable");

      private final String text;

      With(String text) {
        this.text = text;
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

    @Override
    public List<String> arguments() {
      return List.of("-j", "REJECT", "--reject-with", with.toString());
    }
  }

  /// `-j CONNMARK --set-xmark 0x111/0xfff`
  record SetConnectionMark(Mark mark) implements Target {
    @Override
    public List<String> arguments() {
      return List.of("-j", "CONNMARK", "--set-xmark", mark.toString());
    }
  }

  /// `-j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff`: the connection's mark
  /// becomes the packet's.
  record RestoreConnectionMark(int packetMask, int connectionMask) implements Target {
    @Override
    public List<String> arguments() {
      return List.of(
          "-j",
          "CONNMARK",
          "--restore-mark",
          "--nfmask",
          "0x" + Integer.toHexString(packetMask),
          "--ctmask",
          "0x" + Integer.toHexString(connectionMask));
    }
  }

  /// `-j CT --zone 1`; only in raw.
  record ConntrackZone(int zone) implements Target {
    @Override
    public List<String> arguments() {
      return List.of("-j", "CT", "--zone", Integer.toString(zone));
    }
  }

  /// `-j SNAT --to-source 169.254.7.127`; only in nat POSTROUTING and INPUT.
  record SourceNat(InetAddress address) implements Target {
    @Override
    public List<String> arguments() {
      String text = new Cidr(address, 0).toString();
      return List.of("-j", "SNAT", "--to-source", text.substring(0, text.indexOf('/')));
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
  }
}
