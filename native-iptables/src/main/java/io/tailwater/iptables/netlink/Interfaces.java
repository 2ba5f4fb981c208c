package io.tailwater.iptables.netlink;

import io.tailwater.iptables.netns.NetworkNamespace;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/// The network interfaces of a namespace, up or down, with or without addresses: a `RTM_GETLINK`
/// dump of `linux/rtnetlink.h`.
public final class Interfaces {
  /// The multicast group that tells when an interface appears, changes or goes (RTNLGRP_LINK).
  public static final int CHANGES = 1;

  private static final int RTM_NEWLINK = 16;
  private static final int RTM_GETLINK = 18;
  private static final int ANSWER_MILLIS = 2000;

  /// `struct ifinfomsg`: u8 family, u8 padding, u16 type, u32 index, u32 flags, u32 change.
  private static final int IFINFOMSG = 16;

  private static final int INDEX = 4;
  private static final int FLAGS = 8;
  private static final int UP = 1;
  private static final int IFLA_IFNAME = 3;

  private Interfaces() {}

  /// One interface.
  public record Interface(int index, String name, boolean up) {}

  /// All of them, loopback too, in the kernel's order. On a platform thread outside of any
  /// namespace.
  ///
  /// @throws io.tailwater.iptables.libc.SyscallException when the kernel does not tell
  public static List<Interface> of(NetworkNamespace namespace) {
    try (NetlinkSocket socket = NetlinkSocket.open(namespace, NetlinkSocket.ROUTE)) {
      List<Interface> found = new ArrayList<>();
      Attributes attributes = new Attributes();
      MessageWriter request =
          new MessageWriter(64)
              .begin(RTM_GETLINK, MessageWriter.REQUEST | MessageWriter.DUMP, 1)
              .raw(new byte[IFINFOMSG])
              .end();
      socket.ask(
          request,
          1,
          ANSWER_MILLIS,
          new NetlinkMemory(32 * 1024),
          message -> {
            if (message.type() == RTM_NEWLINK) {
              found.add(read(message, attributes));
            }
          });
      return List.copyOf(found);
    }
  }

  private static Interface read(NetlinkMessages message, Attributes attributes) {
    String name = "";
    Attributes attribute = message.attributes(IFINFOMSG, attributes);
    while (attribute.next()) {
      if (attribute.type() == IFLA_IFNAME) {
        name = new String(attribute.bytes(), StandardCharsets.ISO_8859_1).replace("\0", "");
      }
    }
    return new Interface(message.body(INDEX), name, (message.body(FLAGS) & UP) != 0);
  }
}
