package io.tailwater.iptables.libc;

import java.lang.ref.Reference;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalInt;
import jnr.ffi.LibraryLoader;
import jnr.ffi.Memory;
import jnr.ffi.Pointer;
import org.jspecify.annotations.Nullable;

/// A child process by `posix_spawn(3)`. It lives in the network namespace that the calling thread
/// is in, and no thread of Java's is born with it: what Java's own processes have is a thread that
/// waits for each, and a program between that closes descriptors.
///
/// Any platform thread; who starts it waits for it, see [#end].
public final class ChildProcess {
  private static final int SIGCHLD = 17;
  private static final int SIGKILL = 9;
  private static final long SIG_DFL = 0;
  private static final int WNOHANG = 1;
  private static final short POSIX_SPAWN_SETSIGMASK = 0x08;

  /// More than the structures of any C library: `posix_spawn_file_actions_t` has 80 bytes with
  /// glibc, `posix_spawnattr_t` 336, `sigset_t` 128.
  private static final int ACTIONS = 512;

  private static final int ATTRIBUTES = 1024;
  private static final int SIGNALS = 256;

  private static final int POINTER = 8;

  /// What a program finds: input, output, error, and one more.
  private static final int DESCRIPTORS = 4;

  static {
    // Whoever started the agent may have it ignored; children would end without a trace.
    Syscalls.C.signal(SIGCHLD, SIG_DFL);
  }

  /// Null where the C library is older. The child is then left with what Java has open without
  /// close-on-exec: files, no sockets.
  private static final LibC.@Nullable LaterCalls LATER = later();

  private ChildProcess() {}

  /// Loads what [#start] needs: the first time in the agent's own namespace, or what a library
  /// starts by then would be born elsewhere.
  public static void load() {
    // The class is initialized now.
  }

  /// Starts a program.
  ///
  /// @param words its arguments; the first is its name as it shall know it
  /// @param variables of its environment, as `NAME=value`
  /// @param descriptors what becomes its standard input, output and error, and its descriptor 3; it
  ///   gets no other
  /// @return its number
  /// @throws SyscallException when it cannot be started
  public static int start(
      Path program, List<String> words, List<String> variables, int... descriptors) {
    if (descriptors.length != DESCRIPTORS) {
      throw new IllegalArgumentException("not " + DESCRIPTORS + " descriptors");
    }
    Pointer actions = Memory.allocateDirect(Syscalls.RUNTIME, ACTIONS, true);
    Pointer attributes = Memory.allocateDirect(Syscalls.RUNTIME, ATTRIBUTES, true);
    Pointer signals = Memory.allocateDirect(Syscalls.RUNTIME, SIGNALS, true);
    Pointer arguments = strings(words);
    Pointer environment = strings(variables);
    need(
        "posix_spawn_file_actions_init()",
        Syscalls.C.posix_spawn_file_actions_init(actions.address()));
    need("posix_spawnattr_init()", Syscalls.C.posix_spawnattr_init(attributes.address()));
    try {
      for (int to = 0; to < DESCRIPTORS; to++) {
        need(
            "posix_spawn_file_actions_adddup2()",
            Syscalls.C.posix_spawn_file_actions_adddup2(actions.address(), descriptors[to], to));
      }
      if (LATER != null) {
        need(
            "posix_spawn_file_actions_addclosefrom_np()",
            LATER.posix_spawn_file_actions_addclosefrom_np(actions.address(), DESCRIPTORS));
      }
      // Threads of Java's have signals blocked that programs count on.
      Syscalls.C.posix_spawnattr_setsigmask(attributes.address(), signals.address());
      Syscalls.C.posix_spawnattr_setflags(attributes.address(), POSIX_SPAWN_SETSIGMASK);
      int[] pid = new int[1];
      need(
          "posix_spawn(" + program + ")",
          Syscalls.C.posix_spawn(
              pid,
              Syscalls.terminated(program.toString()),
              actions.address(),
              attributes.address(),
              arguments.address(),
              environment.address()));
      return pid[0];
    } finally {
      Syscalls.C.posix_spawnattr_destroy(attributes.address());
      Syscalls.C.posix_spawn_file_actions_destroy(actions.address());
      Reference.reachabilityFence(signals);
      Reference.reachabilityFence(arguments);
      Reference.reachabilityFence(environment);
    }
  }

  /// The exit status of a child that has ended, 128 and the signal's number where a signal ended
  /// it; empty while it runs. Once told, it is no child any more.
  ///
  /// @throws SyscallException for what is no child of ours
  public static OptionalInt end(int pid) {
    int[] status = new int[1];
    int ended;
    do {
      ended = Syscalls.C.waitpid(pid, status, WNOHANG);
    } while (ended < 0 && Syscalls.lastError() == Errno.EINTR);
    if (ended < 0) {
      throw Syscalls.failure("waitpid(" + pid + ")", Syscalls.lastError());
    }
    if (ended == 0) {
      return OptionalInt.empty();
    }
    int signal = status[0] & 0x7f;
    return OptionalInt.of(signal == 0 ? (status[0] >> 8) & 0xff : 128 + signal);
  }

  /// Kills a child that has not been waited for; nothing happens to one that has just ended.
  public static void kill(int pid) {
    Syscalls.C.kill(pid, SIGKILL);
  }

  private static void need(String call, int error) {
    if (error != 0) {
      throw Syscalls.failure(call, error);
    }
  }

  /// `char *[]` with its strings behind it: addresses, a null, texts each with a zero byte.
  private static Pointer strings(List<String> texts) {
    List<byte[]> all = texts.stream().map(Syscalls::terminated).toList();
    int table = (all.size() + 1) * POINTER;
    int size = table + all.stream().mapToInt(text -> text.length).sum();
    Pointer memory = Memory.allocateDirect(Syscalls.RUNTIME, size, true);
    int at = table;
    for (int i = 0; i < all.size(); i++) {
      byte[] text = all.get(i);
      memory.put(at, text, 0, text.length);
      memory.putLong((long) i * POINTER, memory.address() + at);
      at += text.length;
    }
    return memory;
  }

  private static LibC.@Nullable LaterCalls later() {
    try {
      return LibraryLoader.create(LibC.LaterCalls.class).failImmediately().load("c");
    } catch (UnsatisfiedLinkError | RuntimeException _) {
      return null;
    }
  }
}
