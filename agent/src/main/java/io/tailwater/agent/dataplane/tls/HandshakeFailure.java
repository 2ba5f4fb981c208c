package io.tailwater.agent.dataplane.tls;

import io.netty.handler.ssl.NotSslRecordException;
import io.netty.handler.ssl.SslHandshakeTimeoutException;
import java.nio.channels.ClosedChannelException;
import java.util.Locale;
import javax.net.ssl.SSLException;

/// Why a handshake failed, for people.
public final class HandshakeFailure {
  private static final String ALERT = "Received fatal alert: ";

  private HandshakeFailure() {}

  /// A clause that begins with whose doing it is.
  public static String sentence(Throwable failure, TlsContext context) {
    Throwable root = failure;
    for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
      if (cause instanceof ServerJudge.RefusedException refused) {
        return String.valueOf(refused.getMessage());
      }
      root = cause;
    }
    return switch (root) {
      case SslHandshakeTimeoutException _ -> "the server did not finish the handshake in time";
      case NotSslRecordException _ -> "the server does not speak TLS on this port";
      case ClosedChannelException _ -> "the server closed the connection during the handshake";
      case java.io.EOFException _ -> "the server closed the connection during the handshake";
      default -> byMessage(root, context);
    };
  }

  private static String byMessage(Throwable root, TlsContext context) {
    String message = String.valueOf(root.getMessage());
    int alert = message.indexOf(ALERT);
    if (alert >= 0) {
      return alert(message.substring(alert + ALERT.length()).toLowerCase(Locale.ROOT), context);
    }
    if (message.contains("rotocol version") || message.contains("No appropriate protocol")) {
      return "the server chose a TLS version outside of " + versions(context);
    }
    if (root instanceof SSLException && message.contains("closed")) {
      return "the server closed the connection during the handshake";
    }
    return SubjectNames.clean(message);
  }

  private static String alert(String alert, TlsContext context) {
    return switch (alert) {
      case "protocol_version" -> "the server speaks no TLS version of " + versions(context);
      case "unrecognized_name" -> "the server does not serve the name that was sent as SNI";
      case "handshake_failure" ->
          "the server ended the handshake (handshake_failure: no cipher suite in common, or it"
              + " wants a client certificate)";
      case "certificate_required" -> "the server wants a client certificate";
      case "bad_certificate",
          "unsupported_certificate",
          "certificate_revoked",
          "certificate_expired",
          "certificate_unknown",
          "unknown_ca",
          "access_denied" ->
          "the server does not accept the client certificate (" + alert + ")";
      default -> "the server ended the handshake (" + SubjectNames.clean(alert) + ")";
    };
  }

  private static String versions(TlsContext context) {
    return context.tls().minVersion() + " to " + context.tls().maxVersion();
  }
}
