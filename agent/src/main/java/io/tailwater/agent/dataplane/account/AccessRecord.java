package io.tailwater.agent.dataplane.account;

import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Refusal;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.time.Instant;
import java.util.Locale;
import java.util.Optional;

/// What the access log tells of one connection that is over. The connection's record changes no
/// more and may be read on the writer's thread.
record AccessRecord(
    ConnectionRecord connection, Outcome outcome, EgressMode mode, Instant at, Duration duration) {

  /// ztunnel's levels: info when it ended well, error when it ended badly, warn when it was refused
  /// early.
  String level() {
    return switch (outcome) {
      case Outcome.Finished _,
          Outcome.Reset _,
          Outcome.IdleTimeout _,
          Outcome.TimeLimit _,
          Outcome.ClientGone _ ->
          "info";
      case Outcome.Drained _ -> "error";
      case Outcome.Refused(Refusal why, _) -> why.isDenial() ? "warn" : "error";
    };
  }

  String message() {
    String what = connection.exchange().isPresent() ? "request" : "connection";
    return level().equals("warn") ? what + " failed" : what + " complete";
  }

  /// Where it went, as text; empty where it did not get that far.
  ///
  /// @param original what was dialled, as text; mostly the same
  String upstream(String original) {
    if (connection.upstream().isEmpty()) {
      return "";
    }
    InetSocketAddress upstream = connection.upstream().get();
    OriginalDst dst = connection.dst();
    return upstream.getPort() == dst.port() && upstream.getAddress().equals(dst.address())
        ? original
        : AddressText.of(upstream.getAddress(), upstream.getPort());
  }

  /// The configured service.
  Optional<String> service() {
    return connection
        .decision()
        .flatMap(
            d -> d instanceof Decision.Forward f ? Optional.of(f.to().host()) : Optional.empty());
  }

  Optional<String> cluster() {
    return connection.decision().flatMap(Decision::cluster);
  }

  /// For people; empty when it ended well.
  Optional<String> error() {
    Optional<String> problem =
        connection.exchange().map(HttpExchange::problem).filter(p -> !p.isEmpty());
    if (problem.isPresent() && !(outcome instanceof Outcome.Refused)) {
      return problem;
    }
    return switch (outcome) {
      case Outcome.Finished _, Outcome.ClientGone _ -> Optional.empty();
      case Outcome.Reset(boolean byClient) ->
          Optional.of(byClient ? "reset by the client" : "reset by the destination");
      case Outcome.IdleTimeout _ -> Optional.of("idle timeout");
      case Outcome.TimeLimit _ -> Optional.of("maxConnectionDuration of the destination is over");
      case Outcome.Drained _ -> Optional.of("connection closed due to connection drain");
      case Outcome.Refused(Refusal why, String detail) ->
          Optional.of(detail.isEmpty() ? why.sentence() : why.sentence() + ": " + detail);
    };
  }

  /// The code of the refusal, or of what enforcement would have refused.
  Optional<String> reason() {
    if (outcome instanceof Outcome.Refused(Refusal why, _)) {
      return Optional.of(why.code());
    }
    return connection.decision().orElse(null) instanceof Decision.Passthrough p
        ? p.wouldBlock().map(Refusal::code)
        : Optional.empty();
  }

  boolean wouldBlock() {
    return connection.decision().orElse(null) instanceof Decision.Passthrough p
        && p.wouldBlock().isPresent();
  }

  String modeText() {
    return mode.name().toLowerCase(Locale.ROOT);
  }

  /// The name that the client asked for: SNI or Host, or what it claimed where that was malformed.
  static Optional<String> name(Preface preface) {
    return switch (preface) {
      case Preface.Tls tls -> Optional.of(tls.sni().text());
      case Preface.Http http -> http.host().map(h -> h.text());
      case Preface.MalformedTls malformed -> malformed.shownName();
      case Preface.TlsWithoutName _, Preface.Opaque _, Preface.Silent _ -> Optional.empty();
    };
  }
}
