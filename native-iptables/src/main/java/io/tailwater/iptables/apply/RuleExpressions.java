package io.tailwater.iptables.apply;

import io.tailwater.iptables.netlink.MessageWriter;
import io.tailwater.iptables.rule.IpProtocol;
import io.tailwater.iptables.rule.Logged;
import io.tailwater.iptables.rule.Mark;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/// The expressions of one rule of nf_tables, from left to right: what a packet has to match, and
/// what becomes of it then. Over each stands what `nft` would be told.
///
/// The numbers are those of `linux/netfilter/nf_tables.h`.
final class RuleExpressions {
  private static final int VERDICT = 0;
  private static final int REGISTER = 1;

  private static final int META_MARK = 3;
  private static final int META_INTERFACE = 6;
  private static final int META_FAMILY = 15;
  private static final int META_PROTOCOL = 16;
  private static final byte IPV6 = 10;

  private static final int CT_STATE = 0;
  private static final int CT_DIRECTION = 1;
  private static final int CT_MARK = 3;
  private static final byte REPLY = 1;

  /// Of the state.
  private static final Mark RELATED = new Mark(4, 4);

  private static final int TRANSPORT = 2;
  private static final int INNER = 3;

  private static final int EQUAL = 0;
  private static final int DROP = 0;
  private static final int ACCEPT = 1;

  private final MessageWriter writer;
  private final int rule;
  private int element;
  private int data;

  /// Behind what says where the rule stands.
  RuleExpressions(MessageWriter writer) {
    this.writer = writer;
    this.rule = writer.nest(4);
  }

  // ---- what a packet has to match

  /// `iifname @SET`, or `iifname != @SET`.
  RuleExpressions from(boolean in, String set) {
    loadMeta(META_INTERFACE);
    begin("lookup").text(1, set).be32(2, REGISTER).be32(5, in ? 0 : 1);
    return done();
  }

  /// `iifname "cali*"`, or a whole name.
  ///
  /// @param pattern as iptables writes it, `cali+`
  RuleExpressions from(String pattern) {
    loadMeta(META_INTERFACE);
    return is(
        pattern.endsWith("+")
            ? pattern.substring(0, pattern.length() - 1).getBytes(StandardCharsets.UTF_8)
            : TableBatch.padded(pattern));
  }

  /// `meta nfproto ipv6`.
  RuleExpressions ipv6() {
    loadMeta(META_FAMILY);
    return is(IPV6);
  }

  /// `meta l4proto PROTOCOL`.
  RuleExpressions protocol(IpProtocol protocol) {
    loadMeta(META_PROTOCOL);
    return is((byte) protocol.number());
  }

  /// `meta mark & MASK == VALUE`.
  RuleExpressions mark(Mark mark) {
    loadMeta(META_MARK);
    return masked(mark);
  }

  /// `th dport PORT`.
  RuleExpressions destinationPort(int port) {
    load(TRANSPORT, 2, 2);
    return is((byte) (port >>> 8), (byte) port);
  }

  /// `@ih,0,8`: it carries something behind its header of TCP (Linux 5.16).
  RuleExpressions carriesData() {
    return load(INNER, 0, 1);
  }

  /// `ct state`, whatever it is, which has connections tracked.
  RuleExpressions tracked() {
    return loadConnection(CT_STATE);
  }

  /// `ct state related`.
  RuleExpressions related() {
    return tracked().masked(RELATED);
  }

  /// `ct direction reply`.
  RuleExpressions reply() {
    return loadConnection(CT_DIRECTION).is(REPLY);
  }

  /// `ct mark & MASK == VALUE`.
  RuleExpressions connectionMark(Mark mark) {
    return loadConnection(CT_MARK).masked(mark);
  }

  /// `socket transparent 1`.
  RuleExpressions transparent() {
    begin("socket").be32(1, 0).be32(2, REGISTER);
    return done().is((byte) 1);
  }

  /// `limit rate N/second burst M packets`.
  RuleExpressions limit(int perSecond, int burst) {
    begin("limit").be64(1, perSecond).be64(2, 1).be32(3, burst);
    return done();
  }

  // ---- what becomes of it

  /// `meta mark set meta mark & ~MASK | VALUE`.
  RuleExpressions setMark(Mark mark) {
    loadMeta(META_MARK);
    bitwise(~mark.mask(), mark.value());
    begin("meta").be32(2, META_MARK).be32(3, REGISTER);
    return done();
  }

  /// `log prefix PREFIX group GROUP snaplen BYTES`.
  RuleExpressions log(Logged reason, int group, int bytes) {
    begin("log").be16(1, group).text(2, reason.prefix()).be32(3, bytes);
    return done();
  }

  /// `drop`, and the end of the rule.
  void drop() {
    verdict(DROP);
  }

  /// `accept`, and the end of the rule.
  void accept() {
    verdict(ACCEPT);
  }

  private void verdict(int code) {
    begin("immediate").be32(1, VERDICT);
    int value = writer.nest(2);
    int verdict = writer.nest(2);
    writer.be32(1, code).endNest(verdict).endNest(value);
    done().end();
  }

  /// The rule says no more.
  void end() {
    writer.endNest(rule).end();
  }

  // ---- how they are written

  private void loadMeta(int key) {
    begin("meta").be32(2, key).be32(1, REGISTER);
    done();
  }

  private RuleExpressions loadConnection(int key) {
    begin("ct").be32(1, REGISTER).be32(2, key);
    return done();
  }

  private RuleExpressions load(int header, int offset, int bytes) {
    begin("payload").be32(1, REGISTER).be32(2, header).be32(3, offset).be32(4, bytes);
    return done();
  }

  private RuleExpressions masked(Mark mark) {
    bitwise(mark.mask(), 0);
    return is(word(mark.value()));
  }

  private RuleExpressions is(byte... wanted) {
    begin("cmp").be32(1, REGISTER).be32(2, EQUAL);
    value(3, wanted);
    return done();
  }

  private void bitwise(int mask, int flipped) {
    begin("bitwise").be32(1, REGISTER).be32(2, REGISTER).be32(3, 4);
    value(4, word(mask));
    value(5, word(flipped));
    done();
  }

  private static byte[] word(int value) {
    return ByteBuffer.allocate(4).order(ByteOrder.nativeOrder()).putInt(value).array();
  }

  private void value(int attribute, byte[] bytes) {
    int nest = writer.nest(attribute);
    writer.bytes(1, bytes).endNest(nest);
  }

  private MessageWriter begin(String name) {
    element = writer.nest(1);
    writer.text(1, name);
    data = writer.nest(2);
    return writer;
  }

  private RuleExpressions done() {
    writer.endNest(data).endNest(element);
    return this;
  }
}
