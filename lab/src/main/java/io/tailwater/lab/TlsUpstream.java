package io.tailwater.lab;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/// nginx on a host of the lab, serving each name with a certificate of its own.
///
/// `/` answers 200 with a body `host=NAME server=ADDRESS client=ADDRESS`; `/big` is [#BIG_BYTES]
/// zero bytes. A name that is not served, or no name, has its handshake rejected. Ports: 443 for
/// TLS (or the one given), 80 for plain HTTP. Any thread.
public final class TlsUpstream implements AutoCloseable {
  /// Size of `/big`: 1 GiB, a sparse file, so it takes no memory.
  public static final long BIG_BYTES = 1L << 30;

  private static final Duration START = Duration.ofSeconds(10);

  private final Running nginx;
  private final Path accessLog;

  private TlsUpstream(Running nginx, Path accessLog) {
    this.nginx = nginx;
    this.accessLog = accessLog;
  }

  /// Serves the names on 443 and 80, on all addresses of the host.
  public static TlsUpstream start(
      NetLab lab, Place host, Certificates certificates, String... names) {
    return start(lab, host, certificates, 443, List.of(names));
  }

  /// Serves the names with TLS on a port of choice (and plain HTTP on 80), on all addresses of the
  /// host.
  public static TlsUpstream start(
      NetLab lab, Place host, Certificates certificates, int port, List<String> names) {
    Path folder = lab.folder("nginx-" + host.name() + "-" + port);
    Path root = lab.folder("www");
    try {
      try (RandomAccessFile big = new RandomAccessFile(root.resolve("big").toFile(), "rw")) {
        big.setLength(BIG_BYTES);
      }
      Files.writeString(
          folder.resolve("nginx.conf"),
          configuration(lab, folder, root, certificates, port, names));
    } catch (IOException e) {
      throw new LabException("cannot write nginx's configuration", e);
    }
    // -e: otherwise it opens /var/log/nginx/error.log before it has read its configuration.
    Running nginx =
        lab.start(
            host,
            "nginx",
            Map.of(),
            List.of(
                "nginx",
                "-p",
                folder.toString(),
                "-e",
                "stderr",
                "-c",
                folder.resolve("nginx.conf").toString()));
    nginx.awaitTcp(port, START);
    return new TlsUpstream(nginx, folder.resolve("access.log"));
  }

  /// One line for each request answered: `CLIENT SERVER:PORT SNI REQUEST STATUS BYTES`.
  public String accessLog() {
    try {
      return Files.readString(accessLog);
    } catch (IOException e) {
      throw new LabException("cannot read nginx's access log", e);
    }
  }

  /// The server's process, e.g. to stop and continue it.
  public Running process() {
    return nginx;
  }

  @Override
  public void close() {
    nginx.close();
  }

  private static String configuration(
      NetLab lab, Path folder, Path root, Certificates certificates, int port, List<String> names) {
    String listen =
        "listen 80; listen "
            + port
            + " ssl http2;"
            + (lab.ipv6() ? " listen [::]:80; listen [::]:" + port + " ssl http2;" : "");
    String servers =
        names.stream()
            .map(name -> server(listen, name, certificates.issue(name), root))
            .collect(Collectors.joining());
    return """
    daemon off;
    user root;
    worker_processes 1;
    pid FOLDER/nginx.pid;
    events { worker_connections 16384; }
    http {
      log_format lab '$remote_addr $server_addr:$server_port $ssl_server_name "$request" $status $bytes_sent';
      access_log FOLDER/access.log lab;
      client_body_temp_path FOLDER/body;
      proxy_temp_path FOLDER/proxy;
      fastcgi_temp_path FOLDER/fastcgi;
      uwsgi_temp_path FOLDER/uwsgi;
      scgi_temp_path FOLDER/scgi;
      default_type application/octet-stream;
      keepalive_requests 1000000;
      sendfile on;
      server {
        LISTEN_DEFAULT
        ssl_reject_handshake on;
        location / { return 404 "no such name here\\n"; }
      }
    SERVERS}
    """
        .replace("LISTEN_DEFAULT", listen.replace(";", " default_server;"))
        .replace("FOLDER", folder.toString())
        .replace("SERVERS", servers);
  }

  private static String server(String listen, String name, Certificates.Leaf leaf, Path root) {
    return """
      server {
        LISTEN
        server_name NAME;
        ssl_certificate CERTIFICATE;
        ssl_certificate_key KEY;
        location = / { return 200 "host=$host server=$server_addr client=$remote_addr\\n"; }
        location = /big { root ROOT; }
      }
    """
        .replace("LISTEN", listen)
        .replace("NAME", name)
        .replace("CERTIFICATE", leaf.certificate().toString())
        .replace("KEY", leaf.key().toString())
        .replace("ROOT", root.toString());
  }
}
