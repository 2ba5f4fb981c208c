package io.tailwater.agent.dataplane.transport;

/// The packet mark that the agent's sockets of one pod are born with. Set on the capture thread,
/// read wherever sockets are made.
public final class AgentMark {
  private volatile int value;

  public AgentMark(int value) {
    this.value = value;
  }

  public int value() {
    return value;
  }

  /// Sockets that are made from now on carry this one.
  public void become(int next) {
    value = next;
  }
}
