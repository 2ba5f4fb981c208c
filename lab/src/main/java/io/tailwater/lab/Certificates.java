package io.tailwater.lab;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// A certificate authority for one run and certificates for names, made by the `openssl` command.
/// P-256 keys, valid for two days. One thread at a time; files only.
public final class Certificates {
  private static final Duration LIMIT = Duration.ofSeconds(20);

  /// A certificate for one or more names, and its key, both PEM.
  public record Leaf(Path certificate, Path key) {}

  private final Path folder;
  private final Map<String, Leaf> leaves = new LinkedHashMap<>();

  private Certificates(Path folder) {
    this.folder = folder;
  }

  /// Makes an authority in a folder of the lab, which goes with the lab.
  public static Certificates create(NetLab lab) {
    return create(lab.folder("certificates"));
  }

  /// Makes an authority in a folder of the caller's.
  public static Certificates create(Path folder) {
    Certificates made = new Certificates(folder);
    made.openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
            + " -subj /CN=lab-authority -keyout ca.key -out ca.pem");
    return made;
  }

  /// The authority's certificate: what `curl --cacert` wants.
  public Path authority() {
    return folder.resolve("ca.pem");
  }

  /// A certificate for exactly these DNS names, made on first use.
  public Leaf issue(String... names) {
    return leaves.computeIfAbsent(String.join(",", names), _ -> make(names));
  }

  private Leaf make(String... names) {
    String file = "leaf-" + leaves.size();
    String alternatives =
        Stream.of(names).map(name -> "DNS:" + name).collect(Collectors.joining(","));
    try {
      Files.writeString(
          folder.resolve(file + ".ext"),
          "subjectAltName=" + alternatives + "\nextendedKeyUsage=serverAuth,clientAuth\n");
    } catch (IOException e) {
      throw new LabException("cannot write to " + folder, e);
    }
    openssl(
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=leaf -keyout "
            + file
            + ".key -out "
            + file
            + ".csr");
    openssl(
        "x509 -req -days 2 -CA ca.pem -CAkey ca.key -CAcreateserial -in "
            + file
            + ".csr -extfile "
            + file
            + ".ext -out "
            + file
            + ".pem");
    return new Leaf(folder.resolve(file + ".pem"), folder.resolve(file + ".key"));
  }

  private void openssl(String arguments) {
    Commands.must(
        folder,
        LIMIT,
        List.of("sh", "-c", "cd \"$0\" && exec openssl " + arguments, folder.toString()));
  }
}
