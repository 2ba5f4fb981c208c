package io.tailwater.agent.dataplane.resolve;

import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.CidrBlock;
import java.net.Inet4Address;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.List;
import java.util.Set;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/// The filter of the egress policy. Any thread; pure but for the node's own addresses, which are
/// asked for at each check.
///
/// An IPv6 address that stands for an IPv4 one (mapped, translated, compatible, NAT64, 6to4,
/// Teredo) is judged as that one as well. Exceptions admit private ranges only: nothing opens the
/// never list, so `0.0.0.0/0` as an exception does not give a pod the metadata service. An
/// exception matches the address or the IPv4 address that it stands for.
///
/// Sources: RFC 6890 and its successors for the blocks, RFC 6052 and 8215 for NAT64, RFC 3056 for
/// 6to4, RFC 4380 for Teredo, RFC 2765 for translated addresses.
public final class StandardAddressFilter implements AddressFilter {
  private final Supplier<Set<InetAddress>> own;

  /// `own` gives the addresses of the node and of the agent's listeners, now.
  public StandardAddressFilter(Supplier<Set<InetAddress>> own) {
    this.own = own;
  }

  /// Why an address is refused.
  private enum Block {
    SCOPED("carries a scope id", false),
    OWN("is one of the node's own", false),
    UNSPECIFIED("is in 0.0.0.0/8 (unspecified)", false),
    LOOPBACK("is in 127.0.0.0/8 (loopback)", false),
    LINK_LOCAL("is in 169.254.0.0/16 (link-local, metadata)", false),
    MULTICAST("is in 224.0.0.0/4 (multicast)", false),
    RESERVED("is in 240.0.0.0/4 (reserved, broadcast)", false),
    UNSPECIFIED6("is :: (unspecified)", false),
    LOOPBACK6("is ::1 (loopback)", false),
    LINK_LOCAL6("is in fe80::/10 (link-local)", false),
    METADATA6("is fd00:ec2::254 (metadata)", false),
    MULTICAST6("is in ff00::/8 (multicast)", false),
    PRIVATE_10("is in 10.0.0.0/8 (private)", true),
    PRIVATE_172("is in 172.16.0.0/12 (private)", true),
    PRIVATE_192("is in 192.168.0.0/16 (private)", true),
    SHARED("is in 100.64.0.0/10 (private, carrier NAT)", true),
    UNIQUE_LOCAL("is in fc00::/7 (private)", true),
    SITE_LOCAL("is in fec0::/10 (private, deprecated)", true);

    final String clause;
    final boolean excepted;

    Block(String clause, boolean excepted) {
      this.clause = clause;
      this.excepted = excepted;
    }
  }

  /// A block and the IPv4 address that is in it, if that is not the address itself.
  private record Refused(Block block, @Nullable InetAddress inner) {}

  @Override
  public boolean admits(InetAddress address, AddressRule rule) {
    if (rule.scope() == AddressRule.Scope.UNFILTERED) {
      return true;
    }
    Set<InetAddress> mine = own.get();
    if (address instanceof Inet4Address) {
      // The usual case, with nothing made but the four bytes.
      Block block = mine.contains(address) ? Block.OWN : v4(address.getAddress(), 0);
      return block == null || passes(block, address, null, rule);
    }
    return refused(address, rule, mine) == null;
  }

  @Override
  public String reason(InetAddress address, AddressRule rule) {
    Refused refused = refused(address, rule, own.get());
    if (refused == null) {
      throw new IllegalArgumentException(AddressText.of(address) + " is admitted");
    }
    InetAddress inner = refused.inner;
    String clause =
        inner == null
            ? refused.block.clause
            : "stands for " + AddressText.of(inner) + ", which " + refused.block.clause;
    if (!refused.block.excepted) {
      return clause;
    }
    String exception =
        inner == null && address instanceof Inet6Address
            ? AddressText.of(address) + "/128"
            : AddressText.of(inner == null ? address : inner) + "/32";
    return clause + "; the exception " + exception + " would admit it";
  }

  private static @Nullable Refused refused(
      InetAddress address, AddressRule rule, Set<InetAddress> mine) {
    if (rule.scope() == AddressRule.Scope.UNFILTERED) {
      return null;
    }
    byte[] bytes = address.getAddress();
    if (!(address instanceof Inet6Address six)) {
      Block block = mine.contains(address) ? Block.OWN : v4(bytes, 0);
      return block == null || passes(block, address, null, rule) ? null : new Refused(block, null);
    }
    if (six.getScopeId() != 0 || six.getScopedInterface() != null) {
      return new Refused(Block.SCOPED, null);
    }
    Block outer = mine.contains(address) ? Block.OWN : v6(bytes);
    if (outer != null && !passes(outer, address, null, rule)) {
      return new Refused(outer, null);
    }
    for (Embedding embedding : Embedding.values()) {
      byte[] v4 = embedding.inner(bytes);
      if (v4 == null) {
        continue;
      }
      InetAddress inner = v4Address(v4);
      Block block = mine.contains(inner) ? Block.OWN : v4(v4, 0);
      if (block != null
          && !(embedding.guess && NO_GUESS.contains(block))
          && !passes(block, address, inner, rule)) {
        return new Refused(block, inner);
      }
    }
    return null;
  }

  private static boolean passes(
      Block block, InetAddress address, @Nullable InetAddress inner, AddressRule rule) {
    if (!block.excepted) {
      return false;
    }
    if (rule.scope() != AddressRule.Scope.NEVER_LIST_AND_PRIVATE) {
      return true;
    }
    for (CidrBlock exception : rule.exceptions()) {
      if (exception.contains(address) || (inner != null && exception.contains(inner))) {
        return true;
      }
    }
    return false;
  }

  private static @Nullable Block v4(byte[] b, int at) {
    int first = b[at] & 0xff;
    int second = b[at + 1] & 0xff;
    return switch (first) {
      case 0 -> Block.UNSPECIFIED;
      case 10 -> Block.PRIVATE_10;
      case 100 -> (second & 0xc0) == 64 ? Block.SHARED : null;
      case 127 -> Block.LOOPBACK;
      case 169 -> second == 254 ? Block.LINK_LOCAL : null;
      case 172 -> (second & 0xf0) == 16 ? Block.PRIVATE_172 : null;
      case 192 -> second == 168 ? Block.PRIVATE_192 : null;
      default -> first >= 240 ? Block.RESERVED : first >= 224 ? Block.MULTICAST : null;
    };
  }

  private static @Nullable Block v6(byte[] b) {
    int first = b[0] & 0xff;
    int second = b[1] & 0xff;
    if (first == 0xff) {
      return Block.MULTICAST6;
    }
    if (first == 0xfe && second >= 0x80) {
      return second < 0xc0 ? Block.LINK_LOCAL6 : Block.SITE_LOCAL;
    }
    if ((first & 0xfe) == 0xfc) {
      boolean metadata =
          startsWith(b, 0xfd, 0, 0x0e, 0xc2) && zero(b, 4, 14) && b[14] == 2 && b[15] == 0x54;
      return metadata ? Block.METADATA6 : Block.UNIQUE_LOCAL;
    }
    if (zero(b, 0, 15)) {
      return b[15] == 0 ? Block.UNSPECIFIED6 : b[15] == 1 ? Block.LOOPBACK6 : null;
    }
    return null;
  }

  /// Blocks that a guessed embedding says nothing about: they are what the digits of a longer
  /// prefix look like.
  private static final List<Block> NO_GUESS =
      List.of(Block.UNSPECIFIED, Block.MULTICAST, Block.RESERVED);

  /// The ways in which an IPv6 address carries an IPv4 one.
  private enum Embedding {
    /// ::ffff:0:0/96.
    MAPPED(false) {
      @Override
      byte @Nullable [] inner(byte[] b) {
        return zero(b, 0, 10) && b[10] == -1 && b[11] == -1 ? four(b, 12, 13, 14, 15) : null;
      }
    },
    /// ::ffff:0:0:0/96.
    TRANSLATED(false) {
      @Override
      byte @Nullable [] inner(byte[] b) {
        return zero(b, 0, 8) && b[8] == -1 && b[9] == -1 && zero(b, 10, 12)
            ? four(b, 12, 13, 14, 15)
            : null;
      }
    },
    /// ::/96.
    COMPATIBLE(false) {
      @Override
      byte @Nullable [] inner(byte[] b) {
        return zero(b, 0, 12) ? four(b, 12, 13, 14, 15) : null;
      }
    },
    /// 64:ff9b::/96.
    NAT64(false) {
      @Override
      byte @Nullable [] inner(byte[] b) {
        return startsWith(b, 0, 0x64, 0xff, 0x9b) && zero(b, 4, 12)
            ? four(b, 12, 13, 14, 15)
            : null;
      }
    },
    /// 64:ff9b:1::/48, used with a prefix of 96 bits.
    NAT64_LOCAL_96(false) {
      @Override
      byte @Nullable [] inner(byte[] b) {
        return startsWith(b, 0, 0x64, 0xff, 0x9b, 0, 1) && !zero(b, 12, 16)
            ? four(b, 12, 13, 14, 15)
            : null;
      }
    },
    /// The same with a prefix of 48 bits; octet 8 is skipped. Which prefix a network uses cannot be
    /// seen in the address.
    NAT64_LOCAL_48(true) {
      @Override
      byte @Nullable [] inner(byte[] b) {
        return startsWith(b, 0, 0x64, 0xff, 0x9b, 0, 1) ? four(b, 6, 7, 9, 10) : null;
      }
    },
    NAT64_LOCAL_56(true) {
      @Override
      byte @Nullable [] inner(byte[] b) {
        return startsWith(b, 0, 0x64, 0xff, 0x9b, 0, 1) ? four(b, 7, 9, 10, 11) : null;
      }
    },
    NAT64_LOCAL_64(true) {
      @Override
      byte @Nullable [] inner(byte[] b) {
        return startsWith(b, 0, 0x64, 0xff, 0x9b, 0, 1) ? four(b, 9, 10, 11, 12) : null;
      }
    },
    /// 2002::/16.
    SIX_TO_FOUR(false) {
      @Override
      byte @Nullable [] inner(byte[] b) {
        return startsWith(b, 0x20, 0x02) ? four(b, 2, 3, 4, 5) : null;
      }
    },
    /// 2001::/32: the client's address, inverted, at the end.
    TEREDO(false) {
      @Override
      byte @Nullable [] inner(byte[] b) {
        if (!startsWith(b, 0x20, 0x01, 0, 0)) {
          return null;
        }
        byte[] client = four(b, 12, 13, 14, 15);
        for (int i = 0; i < client.length; i++) {
          client[i] = (byte) ~client[i];
        }
        return client;
      }
    };

    /// Whether the address may as well mean something else.
    final boolean guess;

    Embedding(boolean guess) {
      this.guess = guess;
    }

    /// The four bytes, or null where the address is not of this form.
    abstract byte @Nullable [] inner(byte[] b);

    static byte[] four(byte[] b, int i, int j, int k, int l) {
      return new byte[] {b[i], b[j], b[k], b[l]};
    }
  }

  private static boolean startsWith(byte[] b, int... prefix) {
    for (int i = 0; i < prefix.length; i++) {
      if ((b[i] & 0xff) != prefix[i]) {
        return false;
      }
    }
    return true;
  }

  private static boolean zero(byte[] b, int from, int to) {
    for (int i = from; i < to; i++) {
      if (b[i] != 0) {
        return false;
      }
    }
    return true;
  }

  private static InetAddress v4Address(byte[] four) {
    try {
      return InetAddress.getByAddress(four);
    } catch (UnknownHostException e) {
      throw new IllegalStateException("four bytes are an address", e);
    }
  }
}
