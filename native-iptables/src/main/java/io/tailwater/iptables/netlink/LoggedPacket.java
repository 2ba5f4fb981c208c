package io.tailwater.iptables.netlink;

import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.util.Optional;

/// The beginning of a packet that a rule has logged, as far as it can be read: whoever sent it may
/// have written anything. Pure.
///
/// @param prefix the words of the rule
/// @param mark the packet's mark
/// @param user of the process that owns the socket, or -1 where no socket is known
/// @param incoming number of the interface that it came in by; 0 where it was sent from here
/// @param protocol of IP, such as 17; -1 of a frame that is not IP
/// @param sourcePort 0 where there is none
/// @param destinationPort 0 where there is none
/// @param type of ICMP, or the frame's EtherType where it is not IP; -1 else
public record LoggedPacket(
    String prefix,
    int mark,
    long user,
    int incoming,
    int protocol,
    Optional<InetAddress> source,
    int sourcePort,
    Optional<InetAddress> destination,
    int destinationPort,
    int type) {
  public static final int ICMP = 1;
  public static final int TCP = 6;
  public static final int UDP = 17;
  public static final int ICMP6 = 58;

  private static final int ETHERNET = 14;
  private static final int IPV4 = 0x0800;
  private static final int IPV6 = 0x86dd;

  /// IEEE 802.1Q and 802.1ad: four bytes ahead of the real EtherType.
  private static final int VLAN = 0x8100;

  private static final int VLAN_OF_PROVIDER = 0x88a8;
  private static final int MOST_TAGS = 2;

  /// RFC 8200, 4: no packet has good reason for more.
  private static final int MOST_HEADERS = 8;

  private static final int HOP_BY_HOP = 0;
  private static final int ROUTING = 43;
  private static final int FRAGMENT = 44;
  private static final int AUTHENTICATION = 51;
  private static final int DESTINATION_OPTIONS = 60;

  /// Reads a packet that begins with its IP header.
  static LoggedPacket ofIp(String prefix, int mark, long user, int incoming, ByteBuffer bytes) {
    Reading reading = new Reading(bytes);
    reading.ip(0);
    return reading.packet(prefix, mark, user, incoming);
  }

  /// Reads a frame that begins with its Ethernet header.
  static LoggedPacket ofFrame(String prefix, int mark, long user, int incoming, ByteBuffer bytes) {
    Reading reading = new Reading(bytes);
    reading.frame();
    return reading.packet(prefix, mark, user, incoming);
  }

  private static final class Reading {
    private final ByteBuffer bytes;
    private int protocol = -1;
    private int type = -1;
    private int sourcePort;
    private int destinationPort;
    private Optional<InetAddress> source = Optional.empty();
    private Optional<InetAddress> destination = Optional.empty();

    Reading(ByteBuffer bytes) {
      this.bytes = bytes;
    }

    LoggedPacket packet(String prefix, int mark, long user, int incoming) {
      return new LoggedPacket(
          prefix,
          mark,
          user,
          incoming,
          protocol,
          source,
          sourcePort,
          destination,
          destinationPort,
          type);
    }

    private boolean has(int at, int length) {
      return at + length <= bytes.limit();
    }

    private int u8(int at) {
      return bytes.get(at) & 0xff;
    }

    private int u16(int at) {
      return u8(at) << 8 | u8(at + 1);
    }

    private Optional<InetAddress> address(int at, int length) {
      byte[] raw = new byte[length];
      bytes.get(at, raw);
      try {
        return Optional.of(InetAddress.getByAddress(raw));
      } catch (UnknownHostException e) {
        throw new IllegalStateException("an address of " + length + " bytes", e);
      }
    }

    void frame() {
      int at = ETHERNET;
      for (int tags = 0; tags <= MOST_TAGS && has(at - 2, 2); tags++) {
        int ethertype = u16(at - 2);
        if (ethertype == IPV4 || ethertype == IPV6) {
          ip(at);
          return;
        }
        if (ethertype != VLAN && ethertype != VLAN_OF_PROVIDER) {
          type = ethertype;
          return;
        }
        at += 4;
      }
    }

    void ip(int at) {
      if (!has(at, 1)) {
        return;
      }
      switch (u8(at) >> 4) {
        case 4 -> four(at);
        case 6 -> six(at);
        default -> {} // neither: nothing is known of it
      }
    }

    /// RFC 791, 3.1: version and length of the header, ..., 13 bits of fragment offset at 6,
    /// protocol at 9, source at 12, destination at 16.
    private void four(int at) {
      if (!has(at, 20)) {
        return;
      }
      protocol = u8(at + 9);
      source = address(at + 12, 4);
      destination = address(at + 16, 4);
      if ((u16(at + 6) & 0x1fff) == 0) {
        transport(at + (u8(at) & 0xf) * 4);
      }
    }

    /// RFC 8200, 3: next header at 6, source at 8, destination at 24; then headers which each name
    /// the next.
    private void six(int at) {
      if (!has(at, 40)) {
        return;
      }
      protocol = u8(at + 6);
      source = address(at + 8, 16);
      destination = address(at + 24, 16);
      int header = at + 40;
      for (int i = 0; i < MOST_HEADERS && has(header, 8); i++) {
        int length;
        switch (protocol) {
          case HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS -> length = (u8(header + 1) + 1) * 8;
          case AUTHENTICATION -> length = (u8(header + 1) + 2) * 4;
          case FRAGMENT -> {
            if ((u16(header + 2) & 0xfff8) != 0) {
              protocol = u8(header);
              return; // not the first one: what follows is no header
            }
            length = 8;
          }
          default -> {
            transport(header);
            return;
          }
        }
        protocol = u8(header);
        header += length;
      }
    }

    private void transport(int at) {
      if (protocol == TCP || protocol == UDP) {
        if (has(at, 4)) {
          sourcePort = u16(at);
          destinationPort = u16(at + 2);
        }
      } else if ((protocol == ICMP || protocol == ICMP6) && has(at, 1)) {
        type = u8(at);
      }
    }
  }
}
