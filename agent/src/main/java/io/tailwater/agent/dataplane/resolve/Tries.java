package io.tailwater.agent.dataplane.resolve;

import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.List;

/// The tries of one question: which server is asked, and when. Each is given a little longer than
/// the one before; then the next one is asked, and who was asked before is listened to on, until
/// the time for all of them is over: a slow server is heard whichever try it answers. Each try has
/// a port, an id and a case of letters of its own. Socket thread only, but for [#begin].
final class Tries {
  /// Times that a question is sent, unless there are more servers.
  private static final int USUAL = 3;

  /// However many servers are listed.
  private static final int MOST = 5;

  /// Who has the question. On the socket thread.
  interface Asker {
    /// Asks one server, over [Tries#sockets]. Either [Tries#failed] or [Tries#over] follows, the
    /// former also from within; once it is over nothing that comes is listened to.
    void ask(Try one);

    /// No server gave an answer; the last call.
    void unanswered();
  }

  /// One try.
  record Try(InetSocketAddress server, int number, long began) {
    /// For people.
    long waitedMillis() {
      return Math.round((System.nanoTime() - began) / 1e6);
    }
  }

  private final List<InetSocketAddress> servers;
  private final int first;
  private final int most;
  private final DnsSockets.Inquiry sockets;
  private final Asker asker;
  private int tried;
  private int listening;

  /// Nothing is to be awaited of the newest try before there is another.
  private boolean spent;

  private boolean freshOnly;
  private boolean over;

  private Tries(
      List<InetSocketAddress> servers,
      int first,
      int most,
      DnsSockets.Inquiry sockets,
      Asker asker) {
    this.servers = servers;
    this.first = Math.floorMod(first, servers.size());
    this.most = most;
    this.sockets = sockets;
    this.asker = asker;
  }

  /// @param first which server begins
  /// @param sockets with the time for all tries together
  static Tries of(
      List<InetSocketAddress> servers, int first, DnsSockets.Inquiry sockets, Asker asker) {
    return new Tries(servers, first, Math.clamp(servers.size(), USUAL, MOST), sockets, asker);
  }

  /// Over TCP, where nothing gets lost: each server once.
  static Tries overStreams(
      List<InetSocketAddress> servers, int first, DnsSockets.Inquiry sockets, Asker asker) {
    return new Tries(servers, first, Math.min(servers.size(), MOST), sockets, asker);
  }

  /// Of what must not be sent twice.
  static Tries once(
      List<InetSocketAddress> servers, int first, DnsSockets.Inquiry sockets, Asker asker) {
    return new Tries(servers, first, 1, sockets, asker);
  }

  /// Asks the first server. Any thread; returns at once.
  void begin() {
    sockets.begin(this::next);
  }

  DnsSockets.Inquiry sockets() {
    return sockets;
  }

  /// A try has come to nothing: without waiting any longer the next server is asked.
  void failed(Try one) {
    listening--;
    spent |= one.number() == tried;
    if (spent) {
      next();
    }
  }

  /// From now on only servers that have not been asked are: there is an answer that is no good, and
  /// asking the same again would bring the same.
  void freshOnly() {
    freshOnly = true;
  }

  /// There is an answer: nobody is listened to any more.
  void over() {
    over = true;
    sockets.end();
  }

  boolean isOver() {
    return over;
  }

  private void next() {
    if (over) {
      return;
    }
    Duration left = sockets.left();
    boolean time = tried == 0 || left.toMillis() >= 1;
    if (time && tried < (freshOnly ? Math.min(most, servers.size()) : most)) {
      ask(left);
    } else if (listening == 0 || freshOnly) {
      over();
      asker.unanswered();
    }
  }

  private void ask(Duration left) {
    // Shares of 2, 3, 4 ... of what is left.
    int weight = 0;
    for (int i = tried; i < most; i++) {
      weight += i + 2;
    }
    Duration patience = left.multipliedBy(tried + 2).dividedBy(weight);
    InetSocketAddress server = servers.get((first + tried) % servers.size());
    Try one = new Try(server, ++tried, System.nanoTime());
    listening++;
    spent = false;
    if (tried < most) {
      sockets.after(patience, () -> silent(one));
    }
    asker.ask(one);
  }

  private void silent(Try one) {
    if (one.number() != tried || spent) {
      return; // another one is on its way already
    }
    if (sockets.isCrowded()) {
      sockets.hangUp();
    } else {
      spent = true;
      next();
    }
  }
}
