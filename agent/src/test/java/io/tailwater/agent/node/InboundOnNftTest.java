package io.tailwater.agent.node;

/// Inbound capture by nf_tables itself, on io_uring.
class InboundOnNftTest extends InboundScenarios {
  InboundOnNftTest() {
    super("nft", "io_uring");
  }
}
