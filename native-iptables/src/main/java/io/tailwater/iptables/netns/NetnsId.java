package io.tailwater.iptables.netns;

/// Identity of a network namespace while it lives: device and inode of its file, the same by
/// whatever path it is reached. The kernel may give the inode to another namespace once the last
/// reference is gone; an open [NetworkNamespace] is a reference.
public record NetnsId(long device, long inode) {
  /// As the kernel writes it: `net:[4026531840]`.
  @Override
  public String toString() {
    return "net:[" + inode + "]";
  }
}
