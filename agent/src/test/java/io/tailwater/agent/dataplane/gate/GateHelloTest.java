package io.tailwater.agent.dataplane.gate;

import io.tailwater.agent.dataplane.sniff.HelloContract;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.dataplane.sniff.Sniffed;
import io.tailwater.agent.traffic.Refusal;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/// What the relay reads of a hello, the gate reads of its packets.
class GateHelloTest extends HelloContract {
  /// The largest IP packet, without headers.
  private static final int MOST = 65_535 - 52;

  @Override
  protected Sniffed sniff(byte[] bytes) {
    return throughPackets(bytes, MOST);
  }

  @Override
  protected Sniffed sniffOneByOne(byte[] bytes) {
    return throughPackets(bytes, 1);
  }

  private static Sniffed throughPackets(byte[] bytes, int size) {
    @Nullable Preface[] seen = new Preface[1];
    GateRig rig =
        new GateRig(
            GateRig.table(
                1,
                (_, preface) -> {
                  seen[0] = preface;
                  return GateRig.refuse(Refusal.CONNECTION_CLOSED);
                }));
    rig.syn();
    for (int at = 0; at < bytes.length && seen[0] == null; at += size) {
      rig.data(at, Arrays.copyOfRange(bytes, at, Math.min(bytes.length, at + size)));
    }
    Preface preface = seen[0];
    if (preface != null) {
      return preface instanceof Preface.Opaque ? Sniffed.NOT : new Sniffed.As(preface);
    }
    // HTTP may begin with that byte; TLS does not
    return bytes.length > 0 && bytes[0] != 22 ? Sniffed.NOT : Sniffed.NEED_MORE;
  }
}
