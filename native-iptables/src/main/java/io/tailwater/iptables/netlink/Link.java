package io.tailwater.iptables.netlink;

/// A network interface as the kernel describes it (`RTM_NEWLINK`).
///
/// @param index its number in its namespace
/// @param peer the number of what it is linked to, in the peer's namespace: the other end of a veth
///   pair, the parent of a macvlan; 0 for none
/// @param peerNamespace the number by which this namespace knows the peer's; -1 for this one
/// @param master the number of the bridge or VRF that it is a port of; 0 for none
/// @param kind such as `veth`, `bridge`, `macvlan`; empty for hardware and loopback
public record Link(int index, String name, int peer, int peerNamespace, int master, String kind) {
  /// Whether the other end is an interface that sends and receives all that this one receives and
  /// sends.
  public boolean isPair() {
    return kind.equals("veth") || kind.equals("netkit");
  }
}
