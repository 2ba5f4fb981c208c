package io.tailwater.agent.node;

/// Inbound capture by the older iptables, on epoll.
class InboundOnLegacyTest extends InboundScenarios {
  InboundOnLegacyTest() {
    super("iptables-legacy", "epoll");
  }
}
