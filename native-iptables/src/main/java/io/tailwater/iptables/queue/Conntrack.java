package io.tailwater.iptables.queue;

import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netlink.Attributes;
import io.tailwater.iptables.netlink.MessageWriter;
import io.tailwater.iptables.netlink.NetlinkMemory;
import io.tailwater.iptables.netlink.NetlinkMessages;
import io.tailwater.iptables.netlink.NetlinkPoller;
import io.tailwater.iptables.netlink.NetlinkSocket;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.Mark;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;

/// The conntrack entries of one namespace (`linux/netfilter/nfnetlink_conntrack.h`): mark, find,
/// list and delete.
///
/// One thread at a time; each call asks the kernel and has its answer at once.
public final class Conntrack implements AutoCloseable {
  /// NFNL_SUBSYS_CTNETLINK.
  private static final int SUBSYSTEM = 1;

  private static final int NEW = 0;
  private static final int GET = 1;
  private static final int DELETE = 2;
  private static final int ENTRY = SUBSYSTEM << 8;
  private static final int ENTRY_GONE = ENTRY | DELETE;

  private static final int TUPLE = 1;
  private static final int MARK = 8;
  private static final int ZONE = 18;
  private static final int MARK_MASK = 21;

  /// NFNLGRP_CONNTRACK_DESTROY.
  private static final int GONE = 3;

  private static final int TIMEOUT_MILLIS = 5000;
  private static final int EVENT_BUFFER = 1 << 20;
  private static final Path SYSCTLS = Path.of("/proc/sys/net/netfilter");

  /// Bytes and times are kept; and entries tell of their end also to who listens later: the default
  /// of 2 means only those that were born while somebody listened.
  private static final List<String> WANTED =
      List.of("nf_conntrack_acct", "nf_conntrack_timestamp", "nf_conntrack_events");

  private final NetlinkSocket socket;
  private final MessageWriter request = new MessageWriter(512);
  private final NetlinkMemory answer = new NetlinkMemory(32 * 1024);

  private Conntrack(NetlinkSocket socket) {
    this.socket = socket;
  }

  /// On a platform thread outside of any namespace.
  ///
  /// @throws SyscallException when the kernel has no ctnetlink
  public static Conntrack open(NetworkNamespace namespace) {
    return new Conntrack(NetlinkSocket.open(namespace, NetlinkSocket.NETFILTER));
  }

  /// Has the namespace count bytes, keep times and tell of every connection's end. Of connections
  /// that are there already bytes and times stay unknown, so do it before the rules come. On a
  /// platform thread outside of any namespace.
  ///
  /// @throws SyscallException naming the sysctl that cannot be set
  public static void prepare(NetworkNamespace namespace) {
    namespace.call(() -> {
      for (String name : WANTED) {
        set(SYSCTLS.resolve(name));
      }
      return null;
    });
  }

  private static void set(Path file) {
    try {
      if (!Files.readString(file).strip().equals("1")) {
        Files.writeString(file, "1\n");
      }
    } catch (IOException e) {
      throw new SyscallException(
          "writing 1 to " + file,
          Files.exists(file) ? Errno.EACCES : Errno.ENOENT,
          Files.exists(file)
              ? "Mount /proc/sys so that it can be written (a privileged container)"
              : "The kernel has no connection tracking with accounting (CONFIG_NF_CONNTRACK)");
    }
  }

  /// Writes the request that changes an entry's mark: `(old & ~mask) ^ value`.
  static void mark(MessageWriter into, int flags, int sequence, FlowTuple flow, Mark mark) {
    into.beginNetfilter(SUBSYSTEM, NEW, flags, sequence, flow.family(), 0);
    flow.write(into, TUPLE);
    into.be32(MARK, mark.value()).be32(MARK_MASK, mark.mask()).end();
  }

  /// Changes the bits of a connection's mark that the mask names.
  ///
  /// @return false when there is no such connection
  public boolean mark(FlowTuple flow, Mark mark) {
    mark(request.clear(), MessageWriter.REQUEST | MessageWriter.ACK, 1, flow, mark);
    return done();
  }

  /// Takes an entry away; listeners are told of its end with the final counters. Never that of a
  /// living connection: its packets would make a new one, which nothing has been decided for.
  ///
  /// @return false when there is no such connection
  public boolean delete(FlowTuple flow) {
    request.clear();
    int flags = MessageWriter.REQUEST | MessageWriter.ACK;
    // Without a tuple everything would be deleted.
    request.beginNetfilter(SUBSYSTEM, DELETE, flags, 1, flow.family(), 0);
    flow.write(request, TUPLE);
    request.end();
    return done();
  }

  private boolean done() {
    try {
      socket.ask(request, 1, TIMEOUT_MILLIS, answer, _ -> {});
      return true;
    } catch (SyscallException e) {
      if (e.errno() == Errno.ENOENT) {
        return false;
      }
      throw e;
    }
  }

  /// What is known of a connection, by its original tuple or by that of the answers: where
  /// addresses are translated these are not the same.
  public Optional<ConntrackEntry> find(FlowTuple flow) {
    return find(flow, 0);
  }

  /// The same in a zone of its own; 0 is the common one.
  public Optional<ConntrackEntry> find(FlowTuple flow, int zone) {
    request.clear();
    int flags = MessageWriter.REQUEST | MessageWriter.ACK;
    request.beginNetfilter(SUBSYSTEM, GET, flags, 1, flow.family(), 0);
    flow.write(request, TUPLE);
    request.be16(ZONE, zone).end();
    Found found = new Found();
    try {
      socket.ask(request, 1, TIMEOUT_MILLIS, answer, found);
    } catch (SyscallException e) {
      if (e.errno() != Errno.ENOENT) {
        throw e;
      }
    }
    return found.entry;
  }

  private static final class Found implements Consumer<NetlinkMessages> {
    private Optional<ConntrackEntry> entry = Optional.empty();

    @Override
    public void accept(NetlinkMessages message) {
      if (message.type() == ENTRY) {
        entry = ConntrackEntry.read(message);
      }
    }
  }

  /// All TCP connections of both families with these bits in their mark, chosen by the kernel.
  public void list(Mark mark, Consumer<ConntrackEntry> entries) {
    request.clear();
    int flags = MessageWriter.REQUEST | MessageWriter.DUMP;
    request.beginNetfilter(SUBSYSTEM, GET, flags, 1, 0, 0);
    request.be32(MARK, mark.value()).be32(MARK_MASK, mark.mask()).end();
    socket.ask(
        request,
        1,
        TIMEOUT_MILLIS,
        answer,
        message -> {
          if (message.type() == ENTRY) {
            ConntrackEntry.read(message).ifPresent(entries);
          }
        });
  }

  /// Has a poller tell of the end of every TCP connection with these bits in its mark: an entry
  /// ends when it is deleted, or long after its connection (TIME_WAIT, and the kernel is in no
  /// hurry). On a platform thread outside of any namespace; `ended` and `lost` on the poller's.
  ///
  /// @param lost is told when some were lost: list what is left and compare
  public static NetlinkPoller.Watch watch(
      NetworkNamespace namespace,
      NetlinkPoller poller,
      Mark mark,
      Consumer<ConntrackEntry> ended,
      Runnable lost) {
    return poller.add(
        NetlinkSocket.open(namespace, NetlinkSocket.NETFILTER, GONE).receiveBuffer(EVENT_BUFFER),
        new Ends(mark, ended, lost));
  }

  private static final class Ends implements NetlinkPoller.Receiver {
    private final Mark mark;
    private final Consumer<ConntrackEntry> ended;
    private final Runnable lost;
    private final Attributes attributes = new Attributes();

    Ends(Mark mark, Consumer<ConntrackEntry> ended, Runnable lost) {
      this.mark = mark;
      this.ended = ended;
      this.lost = lost;
    }

    @Override
    public void received(NetlinkMessages messages) {
      while (messages.next()) {
        if (messages.type() == ENTRY_GONE
            && (ConntrackEntry.mark(messages, attributes) & mark.mask()) == mark.value()) {
          ConntrackEntry.read(messages).ifPresent(ended);
        }
      }
    }

    @Override
    public void lost() {
      lost.run();
    }
  }

  @Override
  public void close() {
    socket.close();
  }
}
