package io.tailwater.agent.dataplane.sniff;

import static io.tailwater.agent.dataplane.sniff.ClientHelloBytes.concat;
import static io.tailwater.agent.dataplane.sniff.ClientHelloBytes.entry;
import static io.tailwater.agent.dataplane.sniff.ClientHelloBytes.nameList;
import static io.tailwater.agent.dataplane.sniff.ClientHelloBytes.named;
import static io.tailwater.agent.dataplane.sniff.ClientHelloBytes.shorts;
import static io.tailwater.agent.dataplane.sniff.ClientHelloBytes.vector16;
import static io.tailwater.agent.dataplane.sniff.ClientHelloBytes.withoutExtensions;
import static io.tailwater.agent.dataplane.sniff.ClientHelloBytes.withoutName;
import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.traffic.HostName;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// What a ClientHello says, and which ones are refused, whoever puts its bytes together: the relay,
/// or the gate out of packets.
public abstract class HelloContract {

  protected static final String NAME = "en.wikipedia.org";
  protected static final Sniffed EN = new Sniffed.As(new Preface.Tls(HostName.of(NAME), false));
  protected static final Sniffed EN_ECH = new Sniffed.As(new Preface.Tls(HostName.of(NAME), true));
  protected static final Sniffed NAMELESS = new Sniffed.As(new Preface.TlsWithoutName());

  /// What comes of these first bytes of a connection.
  protected abstract Sniffed sniff(byte[] bytes);

  /// The same when the bytes come one by one, which must not matter.
  protected abstract Sniffed sniffOneByOne(byte[] bytes);

  protected Preface.MalformedTls malformed(byte[] bytes) {
    Sniffed whole = sniff(bytes);
    assertThat(sniffOneByOne(bytes)).isEqualTo(whole);
    assertThat(whole).isInstanceOf(Sniffed.As.class);
    Preface preface = ((Sniffed.As) whole).preface();
    assertThat(preface).isInstanceOf(Preface.MalformedTls.class);
    return (Preface.MalformedTls) preface;
  }

  protected String why(byte[] bytes) {
    return malformed(bytes).why();
  }

  private static byte[] ascii(String s) {
    return s.getBytes(StandardCharsets.US_ASCII);
  }

  // -- what is read

  @Test
  void readsTheNameOfAPlainHello() {
    assertThat(sniff(named(NAME).record())).isEqualTo(EN);
  }

  @Test
  void readsTheNameOfABrowsersHello() {
    byte[] hello = named(NAME).browser().record();

    assertThat(hello).hasSizeGreaterThan(ClientHelloBytes.X25519MLKEM768_SHARE);
    assertThat(sniff(hello)).isEqualTo(EN_ECH);
  }

  @Test
  void readsTheNameWhereverItsExtensionStands() {
    assertThat(sniff(withoutName().browser().name(NAME).preSharedKey(100).record()))
        .isEqualTo(EN_ECH);
    assertThat(
            sniff(
                withoutName()
                    .postQuantum()
                    .extensionFirst(ClientHelloBytes.SERVER_NAME, nameList(entry(0, NAME)))
                    .record()))
        .isEqualTo(EN);
  }

  @Test
  void greaseIsIgnored() {
    assertThat(sniff(named(NAME).grease().record())).isEqualTo(EN);
  }

  @Test
  void echIsTold() {
    assertThat(sniff(named(NAME).ech().record())).isEqualTo(EN_ECH);
  }

  @Test
  void helloWithoutServerNameHasNoName() {
    assertThat(sniff(withoutName().record())).isEqualTo(NAMELESS);
    assertThat(sniff(withoutName().browser().record())).isEqualTo(NAMELESS);
  }

  @Test
  void helloWithoutExtensionsHasNoName() {
    assertThat(sniff(withoutExtensions().record())).isEqualTo(NAMELESS);
  }

  @Test
  void helloWithAnEmptyExtensionListHasNoName() {
    assertThat(sniff(withoutExtensions().tail(shorts(0)).record())).isEqualTo(NAMELESS);
  }

  @ParameterizedTest
  @ValueSource(ints = {0x0300, 0x0301, 0x0302, 0x0303, 0x0304, 0x03ff})
  void anyMinorVersionOfTheRecordIsFine(int version) {
    assertThat(sniff(named(NAME).recordVersion(version).record())).isEqualTo(EN);
  }

  @ParameterizedTest
  @ValueSource(ints = {0x0300, 0x0301, 0x0302, 0x0303, 0x0304, 0x037f})
  void anyMinorVersionOfTheHelloIsFine(int version) {
    assertThat(sniff(named(NAME).version(version).record())).isEqualTo(EN);
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 32})
  void sessionIdsUpTo32BytesAreFine(int length) {
    assertThat(sniff(named(NAME).sessionId(length).record())).isEqualTo(EN);
  }

  @Test
  void whatFollowsTheHelloIsNotLookedAt() {
    byte[] hello = named(NAME).record();
    ClientHelloBytes other = named("example.org");

    assertThat(sniff(concat(hello, other.record(23, new byte[100])))).isEqualTo(EN);
    assertThat(sniff(concat(hello, new byte[] {1, 2, 3}))).isEqualTo(EN);
    assertThat(sniff(concat(hello, other.record()))).isEqualTo(EN);
    assertThat(sniff(other.record(22, concat(named(NAME).message(), new byte[50])))).isEqualTo(EN);
  }

  // -- names

  @Test
  void upperCaseIsFolded() {
    assertThat(sniff(named("EN.WikiPedia.ORG").record())).isEqualTo(EN);
  }

  @Test
  void underscoreIsAllowed() {
    assertThat(sniff(named("my_service.example.com").record()))
        .isEqualTo(new Sniffed.As(new Preface.Tls(HostName.of("my_service.example.com"), false)));
  }

  @Test
  void aLabelsOfInternationalNamesAreAllowed() {
    assertThat(sniff(named("xn--bcher-kva.example").record()))
        .isEqualTo(new Sniffed.As(new Preface.Tls(HostName.of("xn--bcher-kva.example"), false)));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        ".",
        "..",
        "en.wikipedia.org..",
        ".wikipedia.org",
        "en..org",
        " ",
        "en.wikipedia.org ",
        "en.wiki pedia.org",
        "en.wikipedia.org:8443",
        "en.wikipedia.org/",
        "%65n.wikipedia.org",
        "*.wikipedia.org",
        "en.wikipedia.org\n",
        "en.wikipedia.org\r\nHost: x",
        "\t",
        "a,b.org",
        "user@wikipedia.org",
        "en.wikipedia.org\u007f",
        "\u001b[31m.org",
        "[::1]",
        "a\\.org"
      })
  void namesWithOtherCharactersAreRefused(String name) {
    assertThat(why(named(name).record())).startsWith("the server name ");
  }

  @Test
  void aNulByteIsRefused() {
    assertThat(why(named("en.wikipedia.org\0.example.org").record()))
        .startsWith("the server name has a blank or a control character");
    assertThat(why(named("\0").record())).startsWith("the server name ");
  }

  @Test
  void bytesThatAreNotAsciiAreRefused() {
    assertThat(why(named("b\u00fccher.example").record())).contains("not ASCII");
    assertThat(why(withoutName().name(new byte[] {'a', (byte) 0xff, '.', 'b'}).record()))
        .contains("not ASCII");
    // U+212A KELVIN SIGN folds to k in other places
    assertThat(why(named("wi\u212aipedia.org").record())).contains("not ASCII");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "1.2.3.4",
        "1.2.3",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0X7F.1",
        "0177.0.0.1",
        "en.wikipedia.org.1",
        "a.0x",
        "a.0xff",
        "::1",
        "2001:db8::1",
        "::ffff:1.2.3.4",
        "1.2.3.4.",
        "0",
        "fe80::1%eth0"
      })
  void addressesInAnySpellingAreRefused(String name) {
    assertThat(why(named(name).record())).startsWith("the server name ");
  }

  @Test
  void namesOfEveryAllowedLengthAreRead() {
    for (int length = 1; length <= HostName.MAX_LENGTH; length++) {
      String name = nameOfLength(length);

      assertThat(sniff(named(name).record()))
          .isEqualTo(new Sniffed.As(new Preface.Tls(HostName.of(name), false)));
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {254, 255, 256, 1000, 15_000})
  void longerNamesAreRefused(int length) {
    assertThat(why(named(nameOfLength(length)).record()))
        .isEqualTo("the server name is longer than 253 characters");
  }

  @Test
  void a254thCharacterMayOnlyBeTheRootDot() {
    String name = nameOfLength(253);

    assertThat(sniff(named(name + ".").record()))
        .isEqualTo(new Sniffed.As(new Preface.Tls(HostName.of(name), false)));
  }

  @Test
  void labelsLongerThan63AreRefused() {
    assertThat(sniff(named("a".repeat(63) + ".org").record())).isNotEqualTo(Sniffed.NEED_MORE);
    assertThat(why(named("a".repeat(64) + ".org").record())).contains("63");
  }

  private static String nameOfLength(int length) {
    StringBuilder name = new StringBuilder();
    while (name.length() < length) {
      name.append(name.length() % 50 == 49 && name.length() + 1 < length ? '.' : 'a');
    }
    return name.toString();
  }

  // -- the server_name extension

  @Test
  void anEmptyServerNameExtensionIsRefused() {
    assertThat(why(withoutName().extension(0, new byte[0]).record()))
        .isEqualTo("the server_name extension is empty");
  }

  @Test
  void anEmptyListOfNamesIsRefused() {
    assertThat(why(withoutName().extension(0, nameList()).record()))
        .isEqualTo("the server_name extension is too short for a name");
  }

  @Test
  void anEmptyNameIsRefused() {
    assertThat(why(named("").record())).isEqualTo("the server name is empty");
  }

  @Test
  void twoNamesAreRefused() {
    byte[] two = nameList(entry(0, NAME), entry(0, "example.org"));

    assertThat(why(withoutName().extension(0, two).record()))
        .isEqualTo("the server_name extension has more than one entry");
  }

  @Test
  void twoEqualNamesAreRefused() {
    byte[] two = nameList(entry(0, NAME), entry(0, NAME));

    assertThat(why(withoutName().extension(0, two).record())).contains("more than one entry");
  }

  @Test
  void aNameOfAnotherTypeIsRefusedAloneAndBesideAHostName() {
    byte[] alone = nameList(entry(1, NAME));
    byte[] before = nameList(entry(1, "x"), entry(0, NAME));
    byte[] behind = nameList(entry(0, NAME), entry(1, "x"));

    assertThat(why(withoutName().extension(0, alone).record())).contains("unknown type 1");
    assertThat(why(withoutName().extension(0, before).record())).contains("unknown type 1");
    assertThat(why(withoutName().extension(0, behind).record())).contains("more than one entry");
  }

  @Test
  void trailingBytesInTheServerNameExtensionAreRefused() {
    byte[] behindList = concat(nameList(entry(0, NAME)), new byte[1]);
    byte[] insideList = nameList(entry(0, NAME), new byte[1]);

    assertThat(why(withoutName().extension(0, behindList).record())).contains("exactly");
    assertThat(why(withoutName().extension(0, insideList).record()))
        .contains("more than one entry");
  }

  @Test
  void aListOrNameThatIsLongerThanItsExtensionIsRefused() {
    byte[] list = concat(shorts(NAME.length() + 4), entry(0, NAME));
    byte[] name = vector16(concat(new byte[] {0}, shorts(NAME.length() + 1), ascii(NAME)));

    assertThat(why(withoutName().extension(0, list).record())).contains("exactly");
    assertThat(why(withoutName().extension(0, name).record())).contains("does not fit");
  }

  @Test
  void serverNameTwiceIsRefused() {
    assertThat(why(named(NAME).name("example.org").record()))
        .isEqualTo("the server_name extension comes twice");
    assertThat(why(named(NAME).browser().name(NAME).record())).contains("twice");
  }

  @Test
  void anyExtensionTwiceIsRefused() {
    assertThat(why(named(NAME).ech().ech().record())).contains("extension 65037 comes twice");
    assertThat(
            why(
                named(NAME)
                    .extension(ClientHelloBytes.ALPN, new byte[2])
                    .extension(ClientHelloBytes.ALPN, new byte[2])
                    .record()))
        .contains("extension 16 comes twice");
  }

  @Test
  void duplicatesAreFoundAmongAnyNumberOfExtensions() {
    for (int others : new int[] {1, 14, 15, 16, 17, 18, 100, 3000}) {
      ClientHelloBytes hello = withoutName();
      for (int i = 0; i < others; i++) {
        hello.extension(1000 + i, new byte[0]);
      }
      hello.name(NAME);
      assertThat(sniff(hello.record())).isEqualTo(EN);

      assertThat(why(hello.extension(1000, new byte[0]).record())).contains("1000 comes twice");
    }
  }

  // -- framing of the hello

  @Test
  void anotherHandshakeMessageIsRefused() {
    assertThat(why(named(NAME).handshakeType(2).record()))
        .isEqualTo("the first handshake message is not a ClientHello");
    assertThat(why(named(NAME).handshakeType(0).record())).contains("not a ClientHello");
  }

  @ParameterizedTest
  @ValueSource(ints = {0x0002, 0x0200, 0x0403, 0xfeff, 0x0000})
  void anotherMajorVersionOfTheHelloIsRefused(int version) {
    assertThat(why(named(NAME).version(version).record())).contains("unknown major version");
  }

  @ParameterizedTest
  @ValueSource(ints = {0x0002, 0x0200, 0x0403, 0xfeff, 0x0000})
  void anotherMajorVersionOfTheRecordIsRefused(int version) {
    assertThat(why(named(NAME).recordVersion(version).record())).contains("unknown major version");
  }

  @Test
  void aSessionIdLongerThan32BytesIsRefused() {
    assertThat(why(named(NAME).sessionId(33).record())).contains("session id is longer than 32");
  }

  @Test
  void anEmptyOrOddListOfSuitesIsRefused() {
    assertThat(why(named(NAME).suites(new byte[0]).record())).contains("cipher suites");
    assertThat(why(named(NAME).suites(new byte[1]).record())).contains("cipher suites");
    assertThat(why(named(NAME).suites(new byte[3]).record())).contains("cipher suites");
  }

  @Test
  void anEmptyListOfCompressionsIsRefused() {
    assertThat(why(named(NAME).compressions(new byte[0]).record())).contains("compression");
  }

  @Test
  void bytesBehindTheExtensionsAreRefused() {
    assertThat(why(named(NAME).tail(new byte[1]).record())).contains("exactly");
  }

  @Test
  void aListOfExtensionsThatDoesNotFillTheHelloIsRefused() {
    assertThat(why(named(NAME).extensionsLengthError(1).record())).contains("exactly");
    assertThat(why(named(NAME).extensionsLengthError(-1).record())).contains("exactly");
  }

  @Test
  void aStrayByteInsteadOfExtensionsIsRefused() {
    assertThat(why(withoutExtensions().tail(new byte[1]).record())).contains("stray byte");
  }

  @Test
  void strayBytesBehindTheLastExtensionAreRefused() {
    for (int stray = 1; stray <= 3; stray++) {
      ClientHelloBytes hello = named(NAME).tail(new byte[stray]).extensionsLengthError(stray);

      assertThat(why(hello.record())).contains("stray bytes");
    }
  }

  @Test
  void anExtensionThatDoesNotFitIsRefused() {
    ClientHelloBytes hello = named(NAME).tail(shorts(7, 1)).extensionsLengthError(4);

    assertThat(why(hello.record())).contains("extension 7 does not fit");
  }

  @Test
  void fieldsThatDoNotFitAHelloAreRefused() {
    byte[] fixed = concat(shorts(0x0303), new byte[32]);
    byte[] session = concat(fixed, new byte[] {32}, new byte[8]);
    byte[] suites = concat(fixed, new byte[] {0}, shorts(8), new byte[6]);
    byte[] compressions = concat(fixed, new byte[] {0}, shorts(2, 0), new byte[] {9, 0, 0});

    assertThat(why(handshake(session))).contains("session id does not fit");
    assertThat(why(handshake(suites))).contains("cipher suites does not fit");
    assertThat(why(handshake(compressions))).contains("compression methods does not fit");
    assertThat(why(handshake(fixed))).contains("shorter than its fixed fields");
    assertThat(why(handshake(new byte[0]))).contains("shorter than its fixed fields");
  }

  private static byte[] handshake(byte[] body) {
    byte[] header = {1, 0, (byte) (body.length >> 8), (byte) body.length};
    return withoutName().record(22, concat(header, body));
  }

  @Test
  void aLengthThatIsTooShortIsRefused() {
    assertThat(why(named(NAME).lengthError(-1).record())).contains("exactly");
  }

  // -- records

  @Test
  void anEmptyRecordIsRefusedAnywhere() {
    ClientHelloBytes hello = named(NAME);
    byte[] empty = hello.record(22, new byte[0]);
    byte[] message = hello.message();
    byte[] first = hello.record(22, Arrays.copyOf(message, 10));
    byte[] rest = hello.record(22, Arrays.copyOfRange(message, 10, message.length));

    assertThat(why(concat(empty, hello.record()))).contains("is empty");
    assertThat(why(concat(first, empty, rest))).contains("is empty");
    assertThat(sniff(concat(first, rest))).isEqualTo(EN);
  }

  @ParameterizedTest
  @ValueSource(ints = {20, 21, 23, 24, 0, 255})
  void aRecordOfAnotherTypeInTheMiddleIsRefused(int type) {
    ClientHelloBytes hello = named(NAME);
    byte[] message = hello.message();
    byte[] first = hello.record(22, Arrays.copyOf(message, 10));
    byte[] foreign = hello.record(type, new byte[] {1});
    byte[] rest = hello.record(22, Arrays.copyOfRange(message, 10, message.length));

    assertThat(why(concat(first, foreign, rest))).contains("interrupts");
    assertThat(why(concat(first, hello.record(type, Arrays.copyOfRange(message, 10, 20)))))
        .contains("interrupts");
  }

  @Test
  void aRecordLongerThan16384BytesIsRefusedByItsHeader() {
    assertThat(why(new byte[] {22, 3, 1, 0x40, 1})).contains("longer than 16384");
    assertThat(why(new byte[] {22, 3, 1, 0x41})).contains("longer than 16384");
    assertThat(why(new byte[] {22, 3, 1, (byte) 0xff})).contains("longer than 16384");
    assertThat(sniff(new byte[] {22, 3, 1, 0x40, 0})).isEqualTo(Sniffed.NEED_MORE);
  }

  @Test
  void readsTheNameOverRecordsOfEverySize() {
    for (ClientHelloBytes hello :
        new ClientHelloBytes[] {named(NAME).ech(), named(NAME).browser()}) {
      int length = hello.message().length;
      for (int size = 1; size <= length; size++) {
        byte[] bytes = hello.records(size);
        int records = (length + size - 1) / size;

        if (records <= ClientHello.MAX_RECORDS) {
          assertThat(sniff(bytes)).isEqualTo(EN_ECH);
        } else {
          assertThat(why(bytes)).isEqualTo("the ClientHello is cut into more than 64 records");
        }
      }
    }
  }

  @Test
  void readsTheNameFromTwoRecordsCutAtEveryPosition() {
    ClientHelloBytes hello = named(NAME);
    byte[] message = hello.message();
    for (int cut = 1; cut < message.length; cut++) {
      byte[] first = hello.record(22, Arrays.copyOf(message, cut));
      byte[] rest = hello.record(22, Arrays.copyOfRange(message, cut, message.length));
      byte[] both = concat(first, rest);

      assertThat(sniff(both)).isEqualTo(EN);
      assertThat(sniffOneByOne(both)).isEqualTo(EN);
    }
  }

  @Test
  void sixtyFourRecordsAreEnoughAndSixtyFiveTooMany() {
    ClientHelloBytes hello = named(NAME).padTo(640);

    assertThat(sniff(hello.records(10))).isEqualTo(EN);
    assertThat(why(named(NAME).padTo(641).records(10))).contains("more than 64 records");
  }

  @Test
  void tooManyRecordsAreToldBeforeTheNextOneComes() {
    byte[] sixtyFour = Arrays.copyOf(named(NAME).padTo(700).records(10), 64 * 15);

    assertThat(why(sixtyFour)).contains("more than 64 records");
    assertThat(sniff(Arrays.copyOf(sixtyFour, sixtyFour.length - 1))).isEqualTo(Sniffed.NEED_MORE);
  }

  // -- segments

  // -- limits

  @ParameterizedTest
  @CsvSource({"16384, true", "16383, true", "16385, false", "40000, false"})
  void theLimitHoldsForTheMessageWithItsHeader(int length, boolean fits) {
    byte[] bytes = named(NAME).browser().preSharedKey(2000).padTo(length).records(16_384);

    if (fits) {
      assertThat(sniff(bytes)).isEqualTo(EN_ECH);
    } else {
      assertThat(why(bytes)).isEqualTo("the ClientHello is larger than 16 KiB");
    }
  }

  @Test
  void theLargestHelloIsReadOverSixtyFourRecordsAndByteByByte() {
    byte[] bytes = named(NAME).browser().preSharedKey(2000).padTo(16_384).records(256);

    assertThat(sniff(bytes)).isEqualTo(EN_ECH);
    assertThat(sniffOneByOne(bytes)).isEqualTo(EN_ECH);
  }

  @Test
  void aHelloThatIsTooLargeIsToldByItsHeader() {
    byte[] header = Arrays.copyOf(named(NAME).padTo(16_385).records(16_384), 5 + 4);

    assertThat(why(header)).isEqualTo("the ClientHello is larger than 16 KiB");
  }

  // -- what is not TLS

  @ParameterizedTest
  @ValueSource(ints = {0, 20, 21, 23, 'G', 'S', 0x80, 0xff})
  void anotherFirstByteIsNotTls(int first) {
    assertThat(sniff(new byte[] {(byte) first})).isEqualTo(Sniffed.NOT);
  }

  @Test
  void anSslv2HelloIsNotTls() {
    ByteArrayOutputStream hello = new ByteArrayOutputStream();
    hello.writeBytes(new byte[] {(byte) 0x80, 46, 1, 3, 1, 0, 21, 0, 0, 0, 16});
    hello.writeBytes(new byte[37]);

    assertThat(sniff(hello.toByteArray())).isEqualTo(Sniffed.NOT);
  }

  @Test
  void nothingIsDecidedOfNothing() {
    assertThat(sniff(new byte[0])).isEqualTo(Sniffed.NEED_MORE);
  }

  // -- the shown name

  @Test
  void theShownNameIsEscapedAndMarked() {
    assertThat(malformed(named("Evil\r\n[2J\"%s\u00fc.Example_1-x").record()).shownName())
        .hasValue("invalid:evil___2j__s__.example_1-x");
  }

  @Test
  void theShownNameIsBounded() {
    for (int length : new int[] {64, 254, 255, 10_000}) {
      assertThat(malformed(named("a".repeat(length)).record()).shownName().orElse(""))
          .hasSizeLessThanOrEqualTo("invalid:".length() + 254);
    }
  }

  @Test
  void aGoodNameInABadHelloIsMarkedToo() {
    assertThat(malformed(named(NAME).ech().ech().record()).shownName())
        .hasValue("invalid:en.wikipedia.org");
  }

  @Test
  void noNameIsShownWhereNoneWasRead() {
    assertThat(malformed(named(NAME).sessionId(40).record()).shownName()).isEmpty();
  }
}
