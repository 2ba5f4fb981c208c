package io.tailwater.iptables.netns;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.tailwater.iptables.TestSockets;
import io.tailwater.iptables.TwoNamespaces;
import io.tailwater.iptables.libc.Syscalls;
import io.tailwater.lab.NeedsRoot;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class NetworkNamespaceTest {
  @TempDir Path folder;

  @BeforeAll
  static void warm() {
    Syscalls.warmUp();
  }

  @Test
  void missingPathSaysWhatToCheck() {
    assertThatThrownBy(() -> NetworkNamespace.open(Path.of("/run/netns/tw-nowhere")))
        .isInstanceOf(NetnsException.class)
        .hasMessageContaining("no network namespace at /run/netns/tw-nowhere")
        .hasMessageContaining("ip netns list");
  }

  @Test
  void ordinaryFileIsNotANamespace() throws IOException {
    Path file = Files.createFile(folder.resolve("half-made"));

    assertThatThrownBy(() -> NetworkNamespace.open(file))
        .isInstanceOf(NetnsException.class)
        .hasMessageContaining("is not a network namespace");
  }

  @Test
  void otherKindOfNamespaceIsRefused() {
    assertThatThrownBy(() -> NetworkNamespace.open(Path.of("/proc/self/ns/uts")))
        .isInstanceOf(NetnsException.class)
        .hasMessageContaining("is not a network namespace");
  }

  @Test
  void failedOpensLeakNoDescriptor() throws IOException {
    Path file = Files.createFile(folder.resolve("file"));
    int before = descriptors();

    for (int i = 0; i < 50; i++) {
      assertThatThrownBy(() -> NetworkNamespace.open(file)).isInstanceOf(NetnsException.class);
    }

    assertThat(descriptors()).isLessThan(before + 25);
  }

  @Test
  void folderWithoutNamespacesIsEmpty() throws IOException {
    Files.createFile(folder.resolve("file"));

    assertThat(Namespaces.in(folder)).isEmpty();
    assertThat(Namespaces.in(folder.resolve("absent"))).isEmpty();
  }

  @Test
  void virtualThreadIsRefused() throws InterruptedException {
    try (NetworkNamespace own = NetworkNamespace.current()) {
      AtomicReference<Throwable> thrown = new AtomicReference<>();

      Thread.ofVirtual()
          .start(() -> {
            try {
              own.call(() -> "inside");
            } catch (IllegalStateException e) {
              thrown.set(e);
            }
          })
          .join();

      assertThat(thrown.get())
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("virtual thread");
    }
  }

  @NeedsRoot
  @Test
  void socketsMadeInsideLiveThereAndTheThreadComesHome() throws Exception {
    try (TwoNamespaces net = new TwoNamespaces();
        NetworkNamespace home = NetworkNamespace.current()) {
      InetSocketAddress at =
          new InetSocketAddress(InetAddress.getByName(TwoNamespaces.SERVER_V4), 7000);
      int listener = net.server().call(() -> TestSockets.listen(at));
      int client = net.pod().call(() -> TestSockets.socket(at.getAddress(), Syscalls.SOCK_STREAM));

      assertThat(TestSockets.connect(client, at)).isZero();

      assertThat(TestSockets.accept(listener)).isPositive();
      assertThat(TestSockets.localAddress(client).getAddress().getHostAddress())
          .isEqualTo(TwoNamespaces.POD_V4);
      try (NetworkNamespace now = NetworkNamespace.current()) {
        assertThat(now.id()).isEqualTo(home.id()).isNotEqualTo(net.pod().id());
      }
      Syscalls.close(client);
      Syscalls.close(listener);
    }
  }

  @NeedsRoot
  @Test
  void threadComesHomeAfterAnException() throws Exception {
    try (TwoNamespaces net = new TwoNamespaces();
        NetworkNamespace home = NetworkNamespace.current()) {
      assertThatThrownBy(() ->
              net.pod()
                  .call(() -> {
                    throw new IOException("inside");
                  }))
          .isInstanceOf(IOException.class)
          .hasMessage("inside");

      assertThat(NetworkNamespace.isInside()).isFalse();
      try (NetworkNamespace now = NetworkNamespace.current()) {
        assertThat(now.id()).isEqualTo(home.id());
      }
    }
  }

  @NeedsRoot
  @Test
  void callsDoNotNestAndClosedNamespacesAreNotEntered() {
    try (TwoNamespaces net = new TwoNamespaces()) {
      assertThatThrownBy(() -> net.pod().call(() -> net.server().call(() -> "deep")))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("do not nest");

      net.server().close();
      assertThatThrownBy(() -> net.server().call(() -> "late"))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("is closed");
    }
  }

  @NeedsRoot
  @Test
  void closingFromInsideTakesEffectAfterComingHome() {
    try (TwoNamespaces net = new TwoNamespaces()) {
      NetworkNamespace pod = NetworkNamespace.open(net.pod().path());
      int before = descriptors();

      boolean same =
          pod.call(() -> {
            pod.close();
            try (NetworkNamespace here = NetworkNamespace.current()) {
              return here.id().equals(net.pod().id());
            }
          });

      assertThat(same).isTrue();
      assertThat(descriptors()).isLessThan(before + 1);
    }
  }

  @NeedsRoot
  @Test
  void namespacesOfAFolderAreFoundByName() throws IOException {
    try (TwoNamespaces net = new TwoNamespaces()) {
      assertThat(Namespaces.in(Namespaces.RUN_NETNS))
          .containsEntry(net.pod().path().getFileName().toString(), net.pod().id());
    }
  }

  @NeedsRoot
  @Test
  void processHaltsWhenAThreadCannotComeHome() throws Exception {
    try (TwoNamespaces net = new TwoNamespaces()) {
      List<String> command =
          new ArrayList<>(
              List.of(
                  Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                  "--enable-native-access=ALL-UNNAMED",
                  "-cp",
                  System.getProperty("java.class.path"),
                  LostThread.class.getName(),
                  net.pod().path().toString()));
      Process lost = new ProcessBuilder(command).redirectErrorStream(true).start();
      String said =
          new String(lost.getInputStream().readAllBytes(), java.nio.charset.StandardCharsets.UTF_8);

      assertThat(lost.waitFor(30, TimeUnit.SECONDS)).isTrue();
      assertThat(lost.exitValue()).isEqualTo(NetworkNamespace.LOST_THREAD);
      assertThat(said).contains("cannot come home").doesNotContain("still alive");
    }
  }

  private static int descriptors() {
    String[] open = Path.of("/proc/self/fd").toFile().list();
    return open == null ? 0 : open.length;
  }

  /// A process whose way home is cut while a thread is inside.
  static final class LostThread {
    private LostThread() {}

    @SuppressWarnings("SystemOut")
    public static void main(String[] args) {
      NetworkNamespace.warmUp();
      try (NetworkNamespace pod = NetworkNamespace.open(Path.of(args[0]))) {
        pod.call(() -> Syscalls.close(NetworkNamespace.Home.FD));
      }
      System.out.println("still alive");
    }
  }
}
