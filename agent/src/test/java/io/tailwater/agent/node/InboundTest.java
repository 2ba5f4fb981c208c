package io.tailwater.agent.node;

/// Inbound capture by iptables over nf_tables, on epoll.
class InboundTest extends InboundScenarios {
  InboundTest() {
    super("iptables-nft", "epoll");
  }
}
