package io.tailwater.agent.dataplane.dns;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.resolve.WireMessage;
import java.io.IOException;
import java.net.InetAddress;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.xbill.DNS.ARecord;
import org.xbill.DNS.DClass;
import org.xbill.DNS.ExtendedFlags;
import org.xbill.DNS.Flags;
import org.xbill.DNS.GenericEDNSOption;
import org.xbill.DNS.Message;
import org.xbill.DNS.Name;
import org.xbill.DNS.OPTRecord;
import org.xbill.DNS.Rcode;
import org.xbill.DNS.Record;
import org.xbill.DNS.SOARecord;
import org.xbill.DNS.Section;
import org.xbill.DNS.Type;

/// What is kept of forwarded answers, how long, and how it is given out again.
class AnswerCacheTest {
  private static final long SECOND = 1_000_000_000L;
  // nanoTime may wrap
  private static final long NOW = Math.subtractExact(Long.MAX_VALUE, 5 * SECOND);

  private final AnswerCache cache = new AnswerCache(3, 3600, 300 * SECOND);

  private static Message query(String name) throws IOException {
    return Message.newQuery(Record.newRecord(Name.fromString(name), Type.A, DClass.IN));
  }

  private static WireMessage wire(Message message) {
    return WireMessage.read(message.toWire()).orElseThrow();
  }

  private static Message answer(Message query, long ttl) throws IOException {
    Message answer = query.clone();
    answer.getHeader().setFlag(Flags.QR);
    answer.getHeader().setFlag(Flags.AA);
    answer.addRecord(
        new ARecord(
            query.getQuestion().getName(), DClass.IN, ttl, InetAddress.getByName("198.51.100.1")),
        Section.ANSWER);
    return answer;
  }

  private void keep(Message query, Message answer, long now) {
    cache.keep(wire(query), wire(answer), now);
  }

  private Optional<Message> find(Message query, long now, boolean stale) throws IOException {
    Optional<WireMessage> found = cache.find(wire(query), now, stale);
    return found.isEmpty() ? Optional.empty() : Optional.of(new Message(found.get().bytes()));
  }

  @Test
  void anAnswerIsGivenUnderTheNewIdWithTheCaseAskedAndTheTimeLeft() throws IOException {
    keep(query("www.example.net."), answer(query("www.example.net."), 60), NOW);

    Message again = query("WWW.example.net.");
    Message found = find(again, NOW + 20 * SECOND, false).orElseThrow();

    assertThat(found.getHeader().getID()).isEqualTo(again.getHeader().getID());
    assertThat(found.getQuestion().getName()).hasToString("WWW.example.net.");
    assertThat(found.getSection(Section.ANSWER).getFirst().getTTL()).isEqualTo(40);
    assertThat(found.getHeader().getFlag(Flags.AA)).isFalse();
  }

  @Test
  void beyondItsTimeAnAnswerIsForTimesOfNeedOnly() throws IOException {
    keep(query("www.example.net."), answer(query("www.example.net."), 60), NOW);

    assertThat(find(query("www.example.net."), NOW + 60 * SECOND, false)).isEmpty();
    assertThat(
            find(query("www.example.net."), NOW + 60 * SECOND, true)
                .orElseThrow()
                .getSection(Section.ANSWER)
                .getFirst()
                .getTTL())
        .isEqualTo(30);
    assertThat(find(query("www.example.net."), NOW + 360 * SECOND, true)).isEmpty();
  }

  @Test
  void thatThereIsNothingIsKeptAsItsZoneSays() throws IOException {
    Message query = query("none.example.net.");
    Message answer = query.clone();
    answer.getHeader().setFlag(Flags.QR);
    answer.getHeader().setRcode(Rcode.NXDOMAIN);
    keep(query, answer, NOW);
    assertThat(find(query, NOW, false)).as("without SOA").isEmpty();

    Name zone = Name.fromString("example.net.");
    answer.addRecord(
        new SOARecord(zone, DClass.IN, 900, zone, zone, 1, 1, 1, 1, 10), Section.AUTHORITY);
    keep(query, answer, NOW);
    assertThat(find(query, NOW + 9 * SECOND, false)).isPresent();
    assertThat(find(query, NOW + 10 * SECOND, false)).isEmpty();
  }

  @Test
  void whatMayNotBeKeptIsNot() throws IOException {
    Message query = query("www.example.net.");
    keep(query, answer(query, 0), NOW);
    Message cutOff = answer(query, 60);
    cutOff.getHeader().setFlag(Flags.TC);
    keep(query, cutOff, NOW);
    Message failed = answer(query, 60);
    failed.getHeader().setRcode(Rcode.SERVFAIL);
    keep(query, failed, NOW);
    Message cookie = query.clone();
    cookie.addRecord(
        new OPTRecord(1232, 0, 0, 0, List.of(new GenericEDNSOption(10, new byte[8]))),
        Section.ADDITIONAL);
    keep(cookie, answer(query, 60), NOW);

    assertThat(cache.size()).isZero();
  }

  @Test
  void whoWantsSignaturesGetsAnAnswerOfHisOwn() throws IOException {
    Message query = query("www.example.net.");
    keep(query, answer(query, 60), NOW);
    Message dnssec = query.clone();
    dnssec.addRecord(new OPTRecord(1232, 0, 0, ExtendedFlags.DO), Section.ADDITIONAL);

    assertThat(find(dnssec, NOW, false)).isEmpty();
  }

  @Test
  void theLeastRecentlyUsedGoesFirst() throws IOException {
    for (String name : List.of("a.", "b.", "c.")) {
      keep(query(name), answer(query(name), 60), NOW);
    }
    assertThat(find(query("a."), NOW, false)).isPresent();
    keep(query("d."), answer(query("d."), 60), NOW);

    assertThat(cache.size()).isEqualTo(3);
    assertThat(find(query("a."), NOW, false)).isPresent();
    assertThat(find(query("b."), NOW, false)).isEmpty();
  }
}
