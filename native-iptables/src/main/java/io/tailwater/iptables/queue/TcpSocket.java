package io.tailwater.iptables.queue;

/// A TCP socket of a namespace, as [SocketDiag#list] found it.
public final class TcpSocket {
  /// `net/tcp_states.h`
  private static final int LISTEN = 10;

  private final int family;
  private final int state;
  private final FlowTuple flow;
  private final int mark;
  private final byte[] id;

  /// @param id `struct inet_diag_sockid` with the kernel's cookie, by which no other is meant
  TcpSocket(int family, int state, FlowTuple flow, int mark, byte[] id) {
    this.family = family;
    this.state = state;
    this.flow = flow;
    this.mark = mark;
    this.id = id;
  }

  /// With the socket's own end as its source. IPv4 also where a socket of IPv6 speaks it.
  public FlowTuple flow() {
    return flow;
  }

  /// Whether it waits for connections, and is none.
  public boolean isListening() {
    return state == LISTEN;
  }

  /// SO_MARK: what its packets are marked with.
  public int mark() {
    return mark;
  }

  /// AF_INET or AF_INET6: that of the socket, and not always of its addresses.
  int family() {
    return family;
  }

  byte[] id() {
    return id;
  }

  @Override
  public String toString() {
    return flow.toString();
  }
}
