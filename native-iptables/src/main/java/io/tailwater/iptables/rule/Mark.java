package io.tailwater.iptables.rule;

/// A mark and the bits of it that count, as `0x539/0xfff`.
public record Mark(int value, int mask) {
  /// The mark of the agent's own sockets: 1337, in the low twelve bits as Istio compares it.
  public static final Mark AGENT = new Mark(0x539, 0xfff);

  /// No mark at all, which is what programs' packets have that set none.
  public static final Mark NONE = new Mark(0, -1);

  /// Of a connection: refused, whatever comes in it.
  public static final Mark DENIED = new Mark(0x20, 0x20);

  /// Of a connection that the agent makes to a pod's server in a client's name, and of the server's
  /// answers in it. Nobody else's: a pod may use parts of the mark for itself. It has none of the
  /// bits that mark connections otherwise.
  public static final Mark INBOUND = new Mark(0x7a110111, -1);

  public Mark {
    if ((value & ~mask) != 0) {
      throw new IllegalArgumentException(
          "Mark 0x%x has bits outside its mask 0x%x: it could never match".formatted(value, mask));
    }
  }

  /// Whether every bit counts.
  public boolean isWhole() {
    return mask == -1;
  }

  /// The bits that do not count.
  int rest() {
    return ~mask;
  }

  static String hex(int bits) {
    return "0x" + Integer.toHexString(bits);
  }

  @Override
  public String toString() {
    return "0x%x/0x%x".formatted(value, mask);
  }
}
