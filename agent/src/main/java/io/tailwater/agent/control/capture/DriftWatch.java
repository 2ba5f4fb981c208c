package io.tailwater.agent.control.capture;

import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netlink.MessageWriter;
import io.tailwater.iptables.netlink.NetlinkMessages;
import io.tailwater.iptables.netlink.NetlinkPoller;
import io.tailwater.iptables.netlink.NetlinkSocket;
import io.tailwater.iptables.netns.NetworkNamespace;

/// Hears when somebody changes rules in one namespace: nf_tables tells each transaction to the
/// group NFNLGRP_NFTABLES, whether it came through iptables-nft or nft (`linux/netfilter/
/// nf_tables.h`). What the agent does itself is not reported: it [#pause]s the watch and has it
/// [#resume]d behind its own changes.
///
/// Made, paused, resumed and closed on the capture thread; told on the poller's thread.
final class DriftWatch implements AutoCloseable {
  private static final int NFTABLES_GROUP = 7;
  private static final int NFTABLES = 10;
  private static final int NEW_SET_ELEMENT = 12;
  private static final int DELETED_SET_ELEMENT = 14;
  private static final int NEW_GENERATION = 15;
  private static final int GET_GENERATION = 16;

  private final Runnable changed;
  private final NetlinkPoller.Watch watch;
  private final int port;
  private final MessageWriter fence = new MessageWriter(64);
  private int fences;

  /// The fence that must be answered before changes are somebody else's again; 0 is none.
  private volatile int awaited;

  private volatile boolean paused;

  private DriftWatch(NetlinkSocket socket, NetlinkPoller poller, Runnable changed) {
    this.changed = changed;
    this.port = socket.port();
    this.watch = poller.add(socket, new Receiver());
  }

  /// Begins to listen.
  ///
  /// @param changed is called on the poller's thread; must not block
  /// @throws SyscallException when the kernel has no such notification
  static DriftWatch open(NetworkNamespace namespace, NetlinkPoller poller, Runnable changed) {
    return new DriftWatch(
        NetlinkSocket.open(namespace, NetlinkSocket.NETFILTER, NFTABLES_GROUP), poller, changed);
  }

  /// What comes from now on is the agent's own doing.
  void pause() {
    paused = true;
    awaited = 0;
  }

  /// What comes behind the changes that were made until now is not. The kernel's answer to a
  /// question asked now stands behind their notifications in the socket's queue.
  void resume() {
    int number = ++fences;
    awaited = number;
    fence
        .clear()
        .beginNetfilter(NFTABLES, GET_GENERATION, MessageWriter.REQUEST, number, 0, 0)
        .end();
    if (watch.send(fence) < 0) {
      paused = false; // better one look too many
    }
  }

  /// Not listening any more; [#changed] is not called again.
  @Override
  public void close() {
    watch.close();
  }

  private final class Receiver implements NetlinkPoller.Receiver {
    /// A transaction may come in several datagrams; its generation stands last.
    private boolean ofRules;

    @Override
    public void received(NetlinkMessages messages) {
      while (messages.next()) {
        if (messages.type() >>> 8 != NFTABLES) {
          continue;
        }
        switch (messages.type() & 0xff) {
          case NEW_GENERATION -> generation(messages.port() == port ? messages.sequence() : 0);
          case NEW_SET_ELEMENT, DELETED_SET_ELEMENT -> {
            // Sets are refreshed all the time; they are no rules.
          }
          default -> ofRules = true;
        }
      }
    }

    /// @param answered the fence that this answers, or 0
    private void generation(int answered) {
      if (paused) {
        ofRules = false;
        if (answered != 0 && answered == awaited) {
          paused = false;
        }
      } else if (ofRules) {
        ofRules = false;
        changed.run();
      }
    }

    @Override
    public void lost() {
      paused = false;
      ofRules = false;
      changed.run();
    }
  }
}
