package io.tailwater.lab;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;

/// The process behind [TcpServer]: arguments `PORT=BEHAVIOUR`, prints `ready` when all ports
/// listen, then a line for each connection that ended. One virtual thread for each port and
/// connection.
final class TcpServerMain {
  private TcpServerMain() {}

  public static void main(String[] arguments) throws IOException, InterruptedException {
    for (String argument : arguments) {
      int equals = argument.indexOf('=');
      int port = Integer.parseInt(argument.substring(0, equals));
      TcpServer.Behaviour behaviour = TcpServer.Behaviour.valueOf(argument.substring(equals + 1));
      ServerSocket listener = new ServerSocket();
      listener.setReuseAddress(true);
      listener.bind(new InetSocketAddress(InetAddress.ofLiteral("::"), port), 1024);
      Thread.ofVirtual().start(() -> accept(listener, behaviour));
    }
    System.out.println("ready");
    Thread.sleep(Long.MAX_VALUE);
  }

  private static void accept(ServerSocket listener, TcpServer.Behaviour behaviour) {
    try {
      while (true) {
        Socket socket = listener.accept();
        Thread.ofVirtual().start(() -> serve(socket, behaviour));
      }
    } catch (IOException e) {
      System.out.println("listener ended: " + e.getMessage());
    }
  }

  private static void serve(Socket socket, TcpServer.Behaviour behaviour) {
    long bytes = 0;
    String note = "";
    try (socket) {
      InputStream in = socket.getInputStream();
      OutputStream out = socket.getOutputStream();
      bytes =
          switch (behaviour) {
            case ECHO -> echo(in, out);
            case BANNER -> {
              out.write("220 lab ready\r\n".getBytes(StandardCharsets.US_ASCII));
              yield echo(in, out);
            }
            case DIGEST -> digest(in, out);
            case SINK -> in.transferTo(OutputStream.nullOutputStream());
            case STALL -> {
              Thread.sleep(Long.MAX_VALUE);
              yield 0;
            }
            case RESET -> {
              int first = in.read();
              socket.setSoLinger(true, 0); // close() then sends a reset
              yield first < 0 ? 0 : 1;
            }
            case HALF_CLOSE -> {
              socket.shutdownOutput();
              yield in.transferTo(OutputStream.nullOutputStream());
            }
          };
    } catch (IOException e) {
      note = " error=" + e.getMessage();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    System.out.println(
        socket.getLocalPort()
            + " "
            + behaviour
            + " "
            + socket.getRemoteSocketAddress()
            + " bytes="
            + bytes
            + note);
  }

  private static long echo(InputStream in, OutputStream out) throws IOException {
    return in.transferTo(out);
  }

  private static long digest(InputStream in, OutputStream out) throws IOException {
    try {
      MessageDigest sha = MessageDigest.getInstance("SHA-256");
      byte[] buffer = new byte[65536];
      long bytes = 0;
      for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
        sha.update(buffer, 0, n);
        bytes += n;
      }
      String line = bytes + " " + HexFormat.of().formatHex(sha.digest()) + "\n";
      out.write(line.getBytes(StandardCharsets.US_ASCII));
      return bytes;
    } catch (NoSuchAlgorithmException e) {
      throw new IOException(e);
    }
  }
}
