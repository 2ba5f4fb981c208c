package io.tailwater.agent.node;

import org.junit.jupiter.api.Tag;

/// The same by nf_tables itself, and answered on io_uring.
@Tag("long")
class DnsForwardingOnNodeByNftTest extends DnsForwardingOnNodeTest {
  @Override
  String capture() {
    return "capture: {mode: node, backend: nft}\ntransport: io_uring\n";
  }
}
