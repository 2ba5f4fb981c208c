package io.tailwater.iptables.rule;

import java.util.List;

/// One condition of a rule. The arguments are those that `iptables-save` prints.
public sealed interface Match {
  /// The arguments of the command line, such as `-m`, `mark`, `--mark`, `0x539/0xfff`.
  List<String> arguments();

  /// The same condition turned round with `!`.
  default Match not() {
    return new Not(this);
  }

  /// `! ...`: exactly the options of the inner match are negated.
  record Not(Match match) implements Match {
    public Not {
      if (match instanceof Not) {
        throw new IllegalArgumentException("A negation is not negated again");
      }
    }

    @Override
    public List<String> arguments() {
      List<String> inner = match.arguments();
      int option = inner.get(0).equals("-m") ? 2 : 0;
      var all = new java.util.ArrayList<>(inner.subList(0, option));
      all.add("!");
      all.addAll(inner.subList(option, inner.size()));
      return List.copyOf(all);
    }
  }

  /// `-s 10.0.0.0/8`
  record Source(Cidr range) implements Match {
    @Override
    public List<String> arguments() {
      return List.of("-s", range.toString());
    }
  }

  /// `-d 10.0.0.0/8`
  record Destination(Cidr range) implements Match {
    @Override
    public List<String> arguments() {
      return List.of("-d", range.toString());
    }
  }

  /// `-i eth0`; only in PREROUTING, INPUT and FORWARD.
  record InInterface(String name) implements Match {
    public InInterface {
      Names.checkInterface(name);
    }

    @Override
    public List<String> arguments() {
      return List.of("-i", name);
    }
  }

  /// `-o lo`; only in OUTPUT, FORWARD and POSTROUTING.
  record OutInterface(String name) implements Match {
    public OutInterface {
      Names.checkInterface(name);
    }

    @Override
    public List<String> arguments() {
      return List.of("-o", name);
    }
  }

  /// `-p tcp`
  record Protocol(IpProtocol protocol) implements Match {
    @Override
    public List<String> arguments() {
      return List.of("-p", protocol.toString());
    }
  }

  /// `-m tcp --sport 53`; needs [Protocol] before it.
  record SourcePort(IpProtocol protocol, int port) implements Match {
    public SourcePort {
      Names.checkPort(protocol, port);
    }

    @Override
    public List<String> arguments() {
      return List.of("-m", protocol.toString(), "--sport", Integer.toString(port));
    }
  }

  /// `-m udp --dport 443`; needs [Protocol] before it.
  record DestinationPort(IpProtocol protocol, int port) implements Match {
    public DestinationPort {
      Names.checkPort(protocol, port);
    }

    @Override
    public List<String> arguments() {
      return List.of("-m", protocol.toString(), "--dport", Integer.toString(port));
    }
  }

  /// `-m tcp --tcp-flags FIN,SYN,RST,ACK SYN`, what `--syn` stands for: the first packet of a
  /// connection. Needs [Protocol] before it.
  record Syn() implements Match {
    @Override
    public List<String> arguments() {
      return List.of("-m", "tcp", "--tcp-flags", "FIN,SYN,RST,ACK", "SYN");
    }
  }

  /// `-m icmp6 --icmpv6-type 135`, RFC 4443 and 4861.
  record Icmp6Type(int type) implements Match {
    @Override
    public List<String> arguments() {
      return List.of("-m", "icmp6", "--icmpv6-type", Integer.toString(type));
    }
  }

  /// `-m mark --mark 0x539/0xfff`: the packet's mark.
  record PacketMark(Mark mark) implements Match {
    @Override
    public List<String> arguments() {
      return List.of("-m", "mark", "--mark", mark.toString());
    }
  }

  /// `-m connmark --mark 0x111/0xfff`: the mark of the packet's connection.
  record ConnectionMark(Mark mark) implements Match {
    @Override
    public List<String> arguments() {
      return List.of("-m", "connmark", "--mark", mark.toString());
    }
  }

  /// `-m conntrack --ctdir REPLY`: packets that answer a connection which the other side began.
  record Reply() implements Match {
    @Override
    public List<String> arguments() {
      return List.of("-m", "conntrack", "--ctdir", "REPLY");
    }
  }

  /// `-m set --match-set NAME dst`
  record InSet(String set, String directions) implements Match {
    public InSet {
      Names.checkSet(set);
      if (!directions.matches("(src|dst)(,(src|dst))*")) {
        throw new IllegalArgumentException(
            "Directions of a set are src and dst with commas, not '" + directions + "'");
      }
    }

    @Override
    public List<String> arguments() {
      return List.of("-m", "set", "--match-set", set, directions);
    }
  }

  /// `-m owner --uid-owner 1000`; only in OUTPUT and POSTROUTING.
  record OwnerUser(int uid) implements Match {
    @Override
    public List<String> arguments() {
      return List.of("-m", "owner", "--uid-owner", Integer.toString(uid));
    }
  }

  /// `-m owner --socket-exists`: made by a socket of this namespace.
  record OwnerExists() implements Match {
    @Override
    public List<String> arguments() {
      return List.of("-m", "owner", "--socket-exists");
    }
  }
}
