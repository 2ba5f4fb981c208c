package io.tailwater.perf.code;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.dataplane.sniff.PrefaceSniffer;
import io.tailwater.agent.dataplane.sniff.Sniffed;
import io.tailwater.perf.wire.ClientHello;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;

/// A client's first bytes to its name; of each connection, relayed or not.
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class SniffBenchmark {
  private static final int LIMIT = 64 * 1024;

  private ByteBuf hello = Unpooled.EMPTY_BUFFER;
  private ByteBuf half = Unpooled.EMPTY_BUFFER;
  private ByteBuf http = Unpooled.EMPTY_BUFFER;

  /// Direct buffers, as what a socket is read into.
  @Setup
  public void bytes() {
    byte[] record = ClientHello.record("www.some-name.example.com", 7);
    hello = direct(record);
    half = hello.slice(0, record.length / 2);
    http =
        direct(
            """
            GET /index.html HTTP/1.1\r
            User-Agent: curl/8.5.0\r
            Accept: */*\r
            Host: www.some-name.example.com\r
            \r
            """
                .getBytes(StandardCharsets.US_ASCII));
  }

  private static ByteBuf direct(byte[] bytes) {
    return Unpooled.directBuffer(bytes.length).writeBytes(bytes);
  }

  private static Preface known(Sniffed sniffed) {
    if (sniffed instanceof Sniffed.As(Preface preface)) {
      return preface;
    }
    throw new IllegalStateException("not known: " + sniffed);
  }

  /// A ClientHello that comes whole.
  @Benchmark
  public Preface clientHello() {
    return known(new PrefaceSniffer(LIMIT).sniff(hello));
  }

  /// One that comes in two reads.
  @Benchmark
  public Preface clientHelloInTwoReads() {
    PrefaceSniffer sniffer = new PrefaceSniffer(LIMIT);
    if (!(sniffer.sniff(half) instanceof Sniffed.NeedMore)) {
      throw new IllegalStateException("half a hello is enough");
    }
    return known(sniffer.sniff(hello));
  }

  /// The head of an HTTP request.
  @Benchmark
  public Preface httpHead() {
    return known(new PrefaceSniffer(LIMIT).sniff(http));
  }
}
