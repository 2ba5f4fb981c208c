package io.tailwater.iptables.rule;

/// A control group (version 2) as rules name it.
///
/// @param path below the root, without a slash at either end
/// @param id the kernel's number of it, the inode of its folder. A group that is removed and made
///   again has another one, and a rule of iptables that was made before goes on meaning the old one
///   while it reads the same; the number tells them apart
public record ControlGroup(String path, long id) {
  public ControlGroup {
    Names.checkCgroup(path);
    if (id < 1) {
      throw new IllegalArgumentException("No control group has the number " + id);
    }
  }

  /// How many levels below the root.
  int level() {
    return (int) path.chars().filter(c -> c == '/').count() + 1;
  }

  /// For people: the path.
  @Override
  public String toString() {
    return path;
  }
}
