package io.tailwater.agent.node;

import io.tailwater.lab.Place;
import io.tailwater.lab.Running;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/// Programs for both ends of a connection that begins with a ClientHello and goes on with whatever
/// the test wants. They run in the lab as processes of their own.
final class Peers {
  private static final Duration SOON = Duration.ofSeconds(15);

  /// `serve.py ADDRESS BYTES`: what a client says first is read, then so many bytes are sent, and
  /// what it says after that is counted. With BYTES 0 it is echoed instead.
  private static final String SERVE =
      """
      import socket, sys, threading
      BLOCK = bytes(range(256)) * 1024
      def one(s, size):
          first = s.recv(65536)
          if size == 0:
              while first:
                  s.sendall(first)
                  first = s.recv(65536)
          left = size
          while left > 0:
              s.sendall(BLOCK[:min(left, len(BLOCK))])
              left -= min(left, len(BLOCK))
          s.shutdown(socket.SHUT_WR)
          while s.recv(65536):
              pass
          s.close()
      def safely(s, size):
          try:
              one(s, size)
          except OSError as e:
              print('lost', e, flush=True)
      family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
      listener = socket.socket(family)
      listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
      listener.bind((sys.argv[1], 443))
      listener.listen(512)
      print('serving', flush=True)
      while True:
          s, peer = listener.accept()
          print('accepted', peer[0], peer[1], flush=True)
          threading.Thread(target=safely, args=(s, int(sys.argv[2])), daemon=True).start()
      """;

  /// `dial.py NAME SNI PIECE PAUSE`: dials what NAME is, says a ClientHello for SNI in pieces of so
  /// many bytes (0: whole) with a pause of so many milliseconds, and reads to the end.
  private static final String DIAL =
      """
      import socket, ssl, sys, time, zlib
      name, sni, piece, pause = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
      out = ssl.MemoryBIO()
      try:
          ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname=sni).do_handshake()
      except ssl.SSLWantReadError:
          pass
      hello = out.read()
      s = None
      try:
          info = socket.getaddrinfo(name, 443, socket.AF_INET, socket.SOCK_STREAM)[0]
          s = socket.socket(info[0], info[1])
          s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
          s.connect(info[4])
          print('hello', len(hello), flush=True)
          for at in range(0, len(hello), piece or len(hello)):
              s.sendall(hello[at:at + (piece or len(hello))])
              time.sleep(pause / 1000)
          crc, count, told = 0, 0, 0
          while True:
              got = s.recv(1 << 20)
              if not got:
                  break
              crc = zlib.crc32(got, crc)
              count += len(got)
              if count - told >= 1 << 24 or told == 0:
                  told = count
                  print('progress', count, flush=True)
          print('ended', count, crc, flush=True)
      except OSError as e:
          print('failed', type(e).__name__, flush=True)
      """;

  private final World world;
  private final Path folder;

  Peers(World world) {
    this.world = world;
    this.folder = world.lab.folder("peers");
    World.write(folder.resolve("serve.py"), SERVE);
    World.write(folder.resolve("dial.py"), DIAL);
  }

  /// Sends so many bytes to whoever has said something; 0 echoes.
  Running serve(Place host, String address, long bytes) {
    Running server = python(host, "serve.py", address, Long.toString(bytes));
    server.awaitOutput("serving", SOON);
    return server;
  }

  /// Dials, and says a hello for `sni`.
  Running dial(Place pod, String name, String sni, int piece, int pauseMillis) {
    return python(
        pod, "dial.py", name, sni, Integer.toString(piece), Integer.toString(pauseMillis));
  }

  Running dial(Place pod, String name) {
    return dial(pod, name, name, 0, 0);
  }

  private Running python(Place place, String script, String... arguments) {
    List<String> command =
        new ArrayList<>(List.of("python3", "-u", folder.resolve(script).toString()));
    command.addAll(List.of(arguments));
    return world.lab.start(place, command.toArray(String[]::new));
  }

  /// What [#serve] sends, as [#dial] tells it at its end.
  static String ended(long bytes) {
    java.util.zip.CRC32 crc = new java.util.zip.CRC32();
    byte[] block = new byte[256 * 1024];
    for (int i = 0; i < block.length; i++) {
      block[i] = (byte) i;
    }
    for (long left = bytes; left > 0; left -= block.length) {
      crc.update(block, 0, (int) Math.min(left, block.length));
    }
    return "ended " + bytes + " " + crc.getValue();
  }
}
