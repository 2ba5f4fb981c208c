package io.tailwater.iptables.libc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.tailwater.lab.NeedsRoot;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import jnr.ffi.Memory;
import jnr.ffi.Pointer;
import jnr.ffi.Runtime;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class SyscallsTest {
  private static final int NONBLOCKING = Syscalls.O_CLOEXEC | Syscalls.O_NONBLOCK;

  @BeforeAll
  static void warm() {
    Syscalls.warmUp();
  }

  @Test
  void bytesGoThroughAPipeAndASplice() {
    long first = Syscalls.pipe(NONBLOCKING);
    long second = Syscalls.pipe(NONBLOCKING);
    Pointer memory = Memory.allocateDirect(Runtime.getSystemRuntime(), 64);
    memory.put(0, "hello".getBytes(StandardCharsets.US_ASCII), 0, 5);

    assertThat(Syscalls.write(Syscalls.writeEnd(first), memory.address(), 5)).isEqualTo(5);
    assertThat(
            Syscalls.splice(
                Syscalls.readEnd(first), Syscalls.writeEnd(second), 64, Syscalls.SPLICE_F_NONBLOCK))
        .isEqualTo(5);
    assertThat(Syscalls.read(Syscalls.readEnd(second), memory.address() + 32, 32)).isEqualTo(5);

    assertThat(memory.getString(32, 5, StandardCharsets.US_ASCII)).isEqualTo("hello");
    closePipe(first);
    closePipe(second);
  }

  @Test
  void emptyAndClosedPipesAreToldApart() {
    long pipe = Syscalls.pipe(NONBLOCKING);
    long other = Syscalls.pipe(NONBLOCKING);

    assertThat(
            Syscalls.splice(
                Syscalls.readEnd(pipe), Syscalls.writeEnd(other), 1, Syscalls.SPLICE_F_NONBLOCK))
        .isEqualTo(-Errno.EAGAIN);
    Syscalls.close(Syscalls.writeEnd(pipe));
    assertThat(
            Syscalls.splice(
                Syscalls.readEnd(pipe), Syscalls.writeEnd(other), 1, Syscalls.SPLICE_F_NONBLOCK))
        .isZero();

    Syscalls.close(Syscalls.readEnd(pipe));
    closePipe(other);
  }

  @Test
  void pipeCapacityCanBeChosen() {
    long pipe = Syscalls.pipe(NONBLOCKING);

    assertThat(Syscalls.pipeSize(Syscalls.readEnd(pipe), 256 * 1024)).isEqualTo(256 * 1024);
    assertThat(Syscalls.pipeSize(Syscalls.readEnd(pipe))).isEqualTo(256 * 1024);

    closePipe(pipe);
  }

  @Test
  void dataPathErrorsAreValues() {
    assertThat(Syscalls.close(-1)).isEqualTo(-Errno.EBADF);
    assertThat(Syscalls.read(-1, 0, 1)).isEqualTo(-Errno.EBADF);
    assertThat(Syscalls.write(-1, 0, 1)).isEqualTo(-Errno.EBADF);
    assertThat(Syscalls.shutdown(0x7fffffff, Syscalls.SHUT_WR)).isEqualTo(-Errno.EBADF);
    assertThat(Syscalls.splice(-1, -1, 1, 0)).isEqualTo(-Errno.EBADF);
    assertThat(Syscalls.pipeSize(-1, 4096)).isEqualTo(-Errno.EBADF);
    assertThat(Syscalls.pipe(-1)).isEqualTo(-Errno.EINVAL);
  }

  @Test
  void dataPathAllocatesNothing() {
    long pipe = Syscalls.pipe(NONBLOCKING);
    long memory = Memory.allocateDirect(Runtime.getSystemRuntime(), 64).address();
    var threads = (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
    long bytes = 0;
    for (int round = 0; round < 2; round++) {
      long before = threads.getCurrentThreadAllocatedBytes();
      for (int i = 0; i < 1000; i++) {
        Syscalls.write(Syscalls.writeEnd(pipe), memory, 8);
        Syscalls.read(Syscalls.readEnd(pipe), memory, 8);
        Syscalls.splice(Syscalls.readEnd(pipe), -1, 8, 0);
        long another = Syscalls.pipe(NONBLOCKING);
        Syscalls.close(Syscalls.readEnd(another));
        Syscalls.close(Syscalls.writeEnd(another));
      }
      bytes = threads.getCurrentThreadAllocatedBytes() - before;
    }

    assertThat(bytes).as("bytes allocated by 6000 calls").isLessThan(6000);
    closePipe(pipe);
  }

  @Test
  void optionsAreSetAndReadBack() {
    int fd = Syscalls.socket(Syscalls.AF_INET, Syscalls.SOCK_STREAM | Syscalls.SOCK_CLOEXEC, 0);

    Syscalls.setsockopt(fd, Syscalls.SOL_SOCKET, Syscalls.SO_REUSEPORT, 1);

    assertThat(Syscalls.getsockopt(fd, Syscalls.SOL_SOCKET, Syscalls.SO_REUSEPORT)).isEqualTo(1);
    assertThat(Syscalls.getsockopt(fd, Syscalls.SOL_SOCKET, Syscalls.SO_ERROR, 64)).hasSize(4);
    assertThatThrownBy(
            () -> Syscalls.getsockopt(fd, Syscalls.IPPROTO_IP, Syscalls.SO_ORIGINAL_DST, 16))
        .isInstanceOf(SyscallException.class)
        .hasMessageContaining("SO_ORIGINAL_DST");
    Syscalls.close(fd);
  }

  @Test
  void failureNamesCallErrorAndWhatToDo() {
    assertThatThrownBy(() -> Syscalls.open(Path.of("/nowhere/at/all"), Syscalls.O_RDONLY))
        .isInstanceOfSatisfying(
            SyscallException.class,
            e -> {
              assertThat(e.call()).isEqualTo("open(/nowhere/at/all)");
              assertThat(e.errno()).isEqualTo(Errno.ENOENT);
              assertThat(e.hint()).contains("Check the path");
              assertThat(e).hasMessageContaining("ENOENT");
            });
    assertThatThrownBy(() -> Syscalls.socket(99, Syscalls.SOCK_STREAM, 0))
        .isInstanceOf(SyscallException.class)
        .hasMessageContaining("EAFNOSUPPORT");
  }

  @Test
  void missingPrivilegeNamesTheCapability() {
    assertThat(Hints.of("setns(7, CLONE_NEWNET)", Errno.EPERM)).contains("CAP_SYS_ADMIN");
    assertThat(Hints.of("setsockopt(7, SO_MARK)", Errno.EPERM)).contains("CAP_NET_ADMIN");
    assertThat(Hints.of("socket(2, 3, 0)", Errno.EPERM)).contains("CAP_NET_RAW");
    assertThat(Hints.of("pipe2()", Errno.EMFILE)).contains("ulimit -n");
  }

  @Test
  void identityIsThatOfTheFileBehindTheDescriptor() {
    int first = Syscalls.open(Path.of("/proc/self/ns/net"), Syscalls.O_RDONLY | Syscalls.O_CLOEXEC);
    int second =
        Syscalls.open(Path.of("/proc/thread-self/ns/net"), Syscalls.O_RDONLY | Syscalls.O_CLOEXEC);
    int other = Syscalls.open(Path.of("/proc/self/ns/uts"), Syscalls.O_RDONLY | Syscalls.O_CLOEXEC);

    assertThat(Syscalls.identity(first))
        .isEqualTo(Syscalls.identity(second))
        .isNotEqualTo(Syscalls.identity(other));
    assertThat(Syscalls.isNetworkNamespace(first)).isTrue();
    assertThat(Syscalls.isNetworkNamespace(other)).isFalse();
    Syscalls.close(first);
    Syscalls.close(second);
    Syscalls.close(other);
    assertThatThrownBy(() -> Syscalls.identity(-1)).isInstanceOf(SyscallException.class);
  }

  @Test
  void threadAndProcessNumbersAreTheKernels() throws InterruptedException {
    long[] other = new long[1];
    Thread thread = new Thread(() -> other[0] = Syscalls.gettid());
    thread.start();
    thread.join();

    assertThat(Syscalls.getpid()).isEqualTo(ProcessHandle.current().pid());
    assertThat(other[0]).isPositive().isNotEqualTo(Syscalls.gettid());
  }

  @NeedsRoot
  @Test
  void markIsAnIntOfTheSocket() {
    int fd = Syscalls.socket(Syscalls.AF_INET6, Syscalls.SOCK_DGRAM, 0);

    Syscalls.setsockopt(fd, Syscalls.SOL_SOCKET, Syscalls.SO_MARK, 1337);

    assertThat(Syscalls.getsockopt(fd, Syscalls.SOL_SOCKET, Syscalls.SO_MARK)).isEqualTo(1337);
    assertThat(
            ByteBuffer.wrap(Syscalls.getsockopt(fd, Syscalls.SOL_SOCKET, Syscalls.SO_MARK, 4))
                .remaining())
        .isEqualTo(4);
    Syscalls.close(fd);
  }

  private static void closePipe(long pipe) {
    Syscalls.close(Syscalls.readEnd(pipe));
    Syscalls.close(Syscalls.writeEnd(pipe));
  }
}
