package io.tailwater.agent.dataplane.connect;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/// An authority made by `openssl`, for certificates that are not as they should be.
public final class OpensslAuthority {
  public record Leaf(Path certificate, Path key) {}

  private final Path folder;
  private int made;

  public OpensslAuthority(Path folder) {
    this.folder = folder;
    run(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority"
            + " -keyout ca.key -out ca.pem");
  }

  public Path certificate() {
    return folder.resolve("ca.pem");
  }

  /// `alternatives` as OpenSSL writes them: `DNS:a.example,URI:spiffe://...,IP:192.0.2.1`; none
  /// makes a certificate without. Its common name is `cn.example`.
  public Leaf issue(String alternatives) {
    return issue(alternatives, 2);
  }

  /// With negative `days` it has expired.
  public Leaf issue(String alternatives, int days) {
    return issue(alternatives, days, "-newkey ec -pkeyopt ec_paramgen_curve:P-256");
  }

  public Leaf issue(String alternatives, int days, String newKey) {
    String name = "leaf-" + ++made;
    write(
        folder.resolve(name + ".ext"),
        (alternatives.isEmpty() ? "" : "subjectAltName=" + alternatives + "\n")
            + "extendedKeyUsage=serverAuth,clientAuth\n");
    run(
        "req "
            + newKey
            + " -nodes -subj /CN=cn.example -keyout "
            + name
            + ".key -out "
            + name
            + ".csr");
    run(
        "x509 -req -days "
            + days
            + " -CA ca.pem -CAkey ca.key -CAcreateserial -in "
            + name
            + ".csr -extfile "
            + name
            + ".ext -out "
            + name
            + ".pem");
    return new Leaf(folder.resolve(name + ".pem"), folder.resolve(name + ".key"));
  }

  /// A list that revokes one leaf.
  Path revoking(Leaf leaf) {
    write(
        folder.resolve("ca.cnf"),
        """
        [ca]
        default_ca=d
        [d]
        database=index.txt
        crlnumber=crlnumber
        default_md=sha256
        default_crl_days=2
        """);
    write(folder.resolve("index.txt"), "");
    write(folder.resolve("crlnumber"), "01\n");
    run("ca -config ca.cnf -cert ca.pem -keyfile ca.key -revoke " + leaf.certificate());
    run("ca -config ca.cnf -cert ca.pem -keyfile ca.key -gencrl -out ca.crl");
    return folder.resolve("ca.crl");
  }

  /// Runs openssl in the folder.
  void run(String arguments) {
    List<String> command = new ArrayList<>(List.of("openssl"));
    command.addAll(List.of(arguments.split(" ")));
    try {
      Process process =
          new ProcessBuilder(command)
              .directory(folder.toFile())
              .redirectErrorStream(true)
              .redirectOutput(folder.resolve("openssl.log").toFile())
              .start();
      if (!process.waitFor(20, TimeUnit.SECONDS) || process.exitValue() != 0) {
        throw new AssertionError(
            arguments + ": " + Files.readString(folder.resolve("openssl.log")));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  static void write(Path file, String text) {
    try {
      Files.writeString(file, text);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
