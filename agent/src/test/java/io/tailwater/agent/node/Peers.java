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
      def say(*what):
          sys.stdout.write(' '.join(map(str, what)) + '\\n')
          sys.stdout.flush()
      def one(s, size):
          first = s.recv(65536)
          what = 'forbidden' if b'example.org' in first else 'allowed'
          say('got', len(first), what, 'at', s.getsockname()[0].replace('::ffff:', ''))
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
              say('lost', e)
      family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
      listener = socket.socket(family)
      listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
      listener.bind((sys.argv[1], 443))
      listener.listen(512)
      print('serving', flush=True)
      while True:
          s, peer = listener.accept()
          say('accepted', peer[0].replace('::ffff:', ''), peer[1])
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

  /// `names.py ADDRESS`: a DNS server whose every name has four of fifty addresses (198.51.102.1 to
  /// .50), other ones each second.
  private static final String NAMES =
      """
      import socket, struct, sys, time
      s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
      s.bind((sys.argv[1], 53))
      print('serving', flush=True)
      while True:
          query, peer = s.recvfrom(4096)
          end = query.index(0, 12) + 5
          kind = struct.unpack('>H', query[end - 4:end - 2])[0]
          answers = b''
          count = 0
          if kind == 1:
              seed = sum(query[12:end - 4].lower())
              for k in range(4):
                  at = (seed * 7 + int(time.time()) * 3 + k * 11) % 50 + 1
                  answers += struct.pack('>HHHIH', 0xc00c, 1, 1, 1, 4) + bytes([198, 51, 102, at])
                  count += 1
          s.sendto(query[:2] + struct.pack('>HHHHH', 0x8580, 1, count, 0, 0) + query[12:end] + answers, peer)
      """;

  /// `rotate.py COUNT`: so many connections one after another to names of five, each looked up
  /// anew; says how many got an answer.
  private static final String ROTATE =
      """
      import random, socket, ssl, sys
      def hello(name):
          out = ssl.MemoryBIO()
          try:
              ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
          except ssl.SSLWantReadError:
              return out.read()
      hellos = {name: hello(name) for name in ['n%d.wikipedia.org' % i for i in range(5)]}
      good = bad = 0
      for i in range(int(sys.argv[1])):
          name = random.choice(list(hellos))
          try:
              info = random.choice(socket.getaddrinfo(name, 443, socket.AF_INET, socket.SOCK_STREAM))
              s = socket.create_connection(info[4], 10)
              s.sendall(hellos[name])
              if not s.recv(1):
                  raise OSError('nothing came')
              s.close()
              good += 1
          except OSError as e:
              bad += 1
              print('lost', name, e, flush=True)
      print('done', good, bad, flush=True)
      """;

  /// `talk.py NAME`: says a ClientHello and then a byte now and then, until it cannot.
  private static final String TALK =
      """
      import socket, ssl, sys, time
      out = ssl.MemoryBIO()
      try:
          ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname=sys.argv[1]).do_handshake()
      except ssl.SSLWantReadError:
          pass
      try:
          info = socket.getaddrinfo(sys.argv[1], 443, socket.AF_INET, socket.SOCK_STREAM)[0]
          s = socket.create_connection(info[4], 10)
          s.sendall(out.read())
          while s.recv(65536):
              print('heard', flush=True)
              time.sleep(0.1)
              s.sendall(b'x')
      except OSError as e:
          print('failed', type(e).__name__, flush=True)
      """;

  /// `burst.py NAME COUNT`: opens so many connections; on SIGUSR1 all say a hello, and as much as
  /// they may behind it; says how many got an answer.
  private static final String BURST =
      """
      import signal, socket, ssl, sys
      name = sys.argv[1]
      signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
      out = ssl.MemoryBIO()
      try:
          ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
      except ssl.SSLWantReadError:
          pass
      said = out.read() + bytes(60000)
      info = socket.getaddrinfo(name, 443, socket.AF_INET, socket.SOCK_STREAM)[0]
      all = [socket.create_connection(info[4], 20) for _ in range(int(sys.argv[2]))]
      print('open', flush=True)
      signal.sigwait([signal.SIGUSR1])
      for s in all:
          s.setblocking(False)
          s.send(said)
      print('said', flush=True)
      good = bad = 0
      for s in all:
          s.setblocking(True)
          s.settimeout(60)
          try:
              good += 1 if s.recv(1) else 0
          except OSError as e:
              bad += 1
      print('done', good, bad, flush=True)
      """;

  private static final String TRICK =
      Path.of("src/test/python/trick.py").toAbsolutePath().toString();

  private final World world;
  private final Path folder;

  Peers(World world) {
    this.world = world;
    this.folder = world.lab.folder("peers");
    World.write(folder.resolve("serve.py"), SERVE);
    World.write(folder.resolve("dial.py"), DIAL);
    World.write(folder.resolve("names.py"), NAMES);
    World.write(folder.resolve("talk.py"), TALK);
    World.write(folder.resolve("burst.py"), BURST);
    World.write(folder.resolve("rotate.py"), ROTATE);
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

  /// Dials what `name` is, and says a hello for `sni` in a strange way; see `trick.py`.
  Running trick(Place pod, String how, String name, String sni) {
    return world.lab.start(pod, "python3", "-u", TRICK, how, name, sni);
  }

  /// Goes on talking to a [#serve] that echoes.
  Running talk(Place pod, String name) {
    return python(pod, "talk.py", name);
  }

  /// So many connections that say something all at once, when they get the signal USR1.
  Running burst(Place pod, String name, int count) {
    return python(pod, "burst.py", name, Integer.toString(count));
  }

  /// A DNS server whose names change their addresses all the time.
  Running changingNames(Place host, String address) {
    Running server = python(host, "names.py", address);
    server.awaitOutput("serving", SOON);
    return server;
  }

  /// So many connections to names of a [#changingNames].
  Running rotate(Place pod, int count) {
    return python(pod, "rotate.py", Integer.toString(count));
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
