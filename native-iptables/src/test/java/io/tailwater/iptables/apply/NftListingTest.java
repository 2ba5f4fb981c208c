package io.tailwater.iptables.apply;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.tailwater.iptables.rule.NftTable;
import io.tailwater.iptables.rule.NftTable.NftChain;
import io.tailwater.iptables.rule.NftTable.NftHook;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class NftListingTest {
  private static final String LISTED =
      """
      {"nftables": [
        {"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
        {"table": {"family": "inet", "name": "tailwater", "handle": 1}},
        {"set": {"family": "inet", "name": "alive", "table": "tailwater", "type": "ipv4_addr",
                 "handle": 9, "elem": [{"elem": {"val": "0.0.0.0", "timeout": 3, "expires": 2}}]}},
        {"chain": {"family": "inet", "table": "tailwater", "name": "nat-output-ipv4", "handle": 2,
                   "type": "nat", "hook": "output", "prio": -105, "policy": "accept"}},
        {"chain": {"family": "inet", "table": "tailwater", "name": "nat-end-ipv4", "handle": 3}},
        {"chain": {"family": "ip", "table": "tailwater", "name": "stranger", "handle": 4}},
        {"rule": {"family": "inet", "table": "tailwater", "chain": "nat-output-ipv4", "handle": 5,
                  "expr": [{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": 6}},
                           {"counter": {"packets": 7, "bytes": 420}},
                           {"redirect": {"port": 15001}}]}},
        {"rule": {"family": "inet", "table": "other", "chain": "nat-output-ipv4", "handle": 6,
                  "expr": [{"drop": null}]}}
      ]}
      """;

  @Test
  void onlyOurTableCountsAndNoHandleOrCounter() {
    NftTable table = NftListing.parse(LISTED);

    assertThat(table.exists()).isTrue();
    assertThat(table.flags()).isEmpty();
    assertThat(table.sets()).containsExactly("alive");
    assertThat(table.chains())
        .containsOnlyKeys("nat-output-ipv4", "nat-end-ipv4")
        .containsEntry("nat-end-ipv4", new NftChain(Optional.empty(), List.of()))
        .containsEntry(
            "nat-output-ipv4",
            new NftChain(
                Optional.of(new NftHook("nat", "output", -105, "accept")),
                List.of(
                    "[{\"match\":{\"op\":\"==\",\"left\":{\"meta\":{\"key\":\"l4proto\"}},"
                        + "\"right\":6}},{\"counter\":{}},{\"redirect\":{\"port\":15001}}]")));
    assertThat(NftListing.parse(LISTED.replace("\"handle\": 5", "\"handle\": 55")))
        .isEqualTo(table);
    assertThat(NftListing.parse(LISTED.replace("15001", "15002"))).isNotEqualTo(table);
  }

  @ParameterizedTest
  @ValueSource(strings = {"\"dormant\"", "[\"dormant\"]"})
  void flagsOfTheTableAreSeen(String flags) {
    assertThat(
            NftListing.parse(
                    LISTED.replaceFirst("\"handle\": 1", "\"handle\": 1, \"flags\": " + flags))
                .flags())
        .containsExactly("dormant");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"", "{", "[]", "{\"nftables\": {}}", "Error: JSON support not compiled-in"})
  void textThatIsNoListingIsRefused(String text) {
    assertThatIllegalArgumentException().isThrownBy(() -> NftListing.parse(text));
  }
}
