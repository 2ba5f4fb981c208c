package io.tailwater.agent.dataplane.gate;

import io.tailwater.agent.dataplane.account.ConnectionRecord;
import io.tailwater.iptables.queue.FlowTuple;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// One connection at the gate, from its SYN until a moment after the verdict.
final class GatedConnection {
  final GatedPod pod;
  final FlowTuple tuple;
  final long openedNanos;

  /// Since when a verdict is waited for; once there is one, since when it is.
  long since;

  /// Sequence number of the first byte.
  int first;

  /// What fits one segment.
  int mss;

  /// Its SYN was not seen, so that `first` is what was seen first.
  boolean found;

  /// What the client has acknowledged.
  int ack;

  /// Whether it counts among those whose hello is awaited.
  boolean admitted;

  Phase phase = Phase.Opening.ONE;

  /// Where it is, with what belongs to that stage alone.
  sealed interface Phase {
    /// Its SYN has gone on; nothing of the hello has come.
    record Opening() implements Phase {
      static final Opening ONE = new Opening();
    }

    /// A part of the hello has come.
    final class Reading implements Phase {
      final HelloAssembly hello;
      final List<Held> held = new ArrayList<>(2);

      /// From now on segments are copied and dropped, because the client sends no more while they
      /// are held.
      boolean dropping;

      /// When the last byte came that was not there.
      long newsNanos;

      /// Bytes that the client believes to have arrived, and which only we have.
      int acknowledged;

      /// How far the client has sent, as far as was seen.
      int seen;

      /// The hello is there, but not all that the client has sent before or behind it.
      boolean unsure;

      /// What was held while unsure was dropped: what comes from now on is sent again, the oldest
      /// first.
      boolean again;

      Reading(HelloAssembly hello) {
        this.hello = hello;
      }

      void dropHeld(Verdicts verdicts) {
        held.forEach(one -> verdicts.drop(one.id()));
        held.clear();
      }
    }

    /// The hello is there; addresses are looked up.
    final class Deciding implements Phase {
      final ConnectionRecord record;

      /// Null where the client said nothing.
      final @Nullable Reading read;

      /// What goes on in the place of all packets, where some were dropped.
      final List<ByteBuffer> parts;

      /// Whether the last part can go on in the place of the last packet.
      final boolean inPlace;

      Deciding(
          ConnectionRecord record,
          @Nullable Reading read,
          List<ByteBuffer> parts,
          boolean inPlace) {
        this.record = record;
        this.read = read;
        this.parts = parts;
        this.inPlace = inPlace;
      }

      /// Lets everything go that was held or copied, in order, and the connection with it. True
      /// where it went on in packets of ours.
      boolean letGo(Verdicts verdicts, FlowTuple tuple) {
        Reading from = read;
        if (from != null && from.dropping) {
          sendCopied(verdicts, tuple, from);
          return true;
        }
        if (from == null || from.held.isEmpty()) {
          verdicts.release(tuple);
          return false;
        }
        if (from.held.size() > 1) {
          from.held.sort(Comparator.comparingInt(Held::offset));
        }
        verdicts.release(tuple, from.held.getFirst().id());
        for (int i = 1; i < from.held.size(); i++) {
          verdicts.accept(from.held.get(i).id());
        }
        return false;
      }

      private void sendCopied(Verdicts verdicts, FlowTuple tuple, Reading from) {
        boolean last = inPlace && !from.held.isEmpty() && !parts.isEmpty();
        parts.subList(0, last ? parts.size() - 1 : parts.size()).forEach(verdicts::send);
        if (last) {
          verdicts.release(tuple, from.held.removeFirst().id(), parts.getLast());
        } else if (from.held.isEmpty()) {
          verdicts.release(tuple);
        } else {
          verdicts.release(tuple, from.held.removeFirst().id()); // the same bytes again
        }
        from.dropHeld(verdicts);
      }
    }

    /// The verdict is remembered for packets that are under way.
    record Released() implements Phase {
      static final Released ONE = new Released();
    }

    record Refused() implements Phase {
      static final Refused ONE = new Refused();
    }
  }

  /// A packet that the kernel holds.
  record Held(int id, int offset) {}

  GatedConnection(GatedPod pod, FlowTuple tuple, int first, int mss, long openedNanos) {
    this.pod = pod;
    this.tuple = tuple;
    this.first = first;
    this.mss = mss;
    this.openedNanos = openedNanos;
    this.since = openedNanos;
  }

  /// What has been read of it, as long as there is no verdict.
  Phase.@Nullable Reading read() {
    return switch (phase) {
      case Phase.Reading reading -> reading;
      case Phase.Deciding deciding -> deciding.read;
      case Phase.Opening _, Phase.Released _, Phase.Refused _ -> null;
    };
  }

  boolean over() {
    return phase instanceof Phase.Released || phase instanceof Phase.Refused;
  }
}
