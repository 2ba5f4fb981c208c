package io.tailwater.iptables.netlink;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.management.ThreadMXBean;
import io.tailwater.iptables.TwoNamespaces;
import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.lab.NeedsRoot;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

@NeedsRoot
class NetlinkPollerTest {
  private static final int NFTABLES_GROUP = 7;
  private static final int NEW_GENERATION = (10 << 8) | 15;

  @BeforeAll
  static void warm() {
    NetworkNamespace.warmUp();
  }

  @Test
  void changeOfRulesIsHeardInItsOwnNamespaceOnly() throws Exception {
    try (TwoNamespaces net = new TwoNamespaces();
        NetlinkPoller poller = new NetlinkPoller("test-poller").start()) {
      Heard pod = new Heard();
      Heard server = new Heard();
      poller.add(NetlinkSocket.open(net.pod(), NetlinkSocket.NETFILTER, NFTABLES_GROUP), pod);
      poller.add(NetlinkSocket.open(net.server(), NetlinkSocket.NETFILTER, NFTABLES_GROUP), server);

      net.inPod("nft", "add table inet noise");

      assertThat(pod.await(NEW_GENERATION)).isTrue();
      assertThat(server.types).isEmpty();
    }
  }

  @Test
  void closedWatchHearsNothingAndItsPlaceIsUsedAgain() throws Exception {
    try (TwoNamespaces net = new TwoNamespaces();
        NetlinkPoller poller = new NetlinkPoller("test-poller").start()) {
      Heard first = new Heard();
      Heard second = new Heard();
      NetlinkPoller.Watch watch =
          poller.add(NetlinkSocket.open(net.pod(), NetlinkSocket.NETFILTER, NFTABLES_GROUP), first);
      watch.close();
      watch.close();
      poller.add(NetlinkSocket.open(net.pod(), NetlinkSocket.NETFILTER, NFTABLES_GROUP), second);

      net.inPod("nft", "add table inet noise");

      assertThat(second.await(NEW_GENERATION)).isTrue();
      assertThat(first.types).isEmpty();
      assertThat(watch.send(new MessageWriter(16))).isEqualTo(-Errno.EBADF);
    }
  }

  @Test
  void whatCannotBeReceivedFromIsClosedOnce() {
    AtomicInteger closed = new AtomicInteger();
    NetlinkPoller.Polled nothing =
        new NetlinkPoller.Polled() {
          @Override
          public int descriptor() {
            return -1; // epoll says EBADF
          }

          @Override
          public boolean receive() {
            throw new AssertionError("nothing is received");
          }

          @Override
          public void close() {
            closed.incrementAndGet();
          }
        };
    try (NetlinkPoller poller = new NetlinkPoller("test-poller")) {
      assertThatThrownBy(() -> poller.add(nothing))
          .isInstanceOfSatisfying(
              SyscallException.class, e -> assertThat(e.errno()).isEqualTo(Errno.EBADF));
      assertThat(closed).hasValue(1);
    }
    assertThat(closed).hasValue(1);
  }

  @Test
  void aSocketThatComesTooLateIsClosed() {
    NetlinkPoller poller = new NetlinkPoller("test-poller");
    poller.close();
    NetlinkSocket late = NetlinkSocket.here(NetlinkSocket.ROUTE);
    Path descriptor = Path.of("/proc/self/fd/" + late.descriptor());
    assertThat(descriptor).isSymbolicLink();

    assertThatThrownBy(() -> poller.add(late, new Heard()))
        .isInstanceOf(IllegalStateException.class);
    assertThat(descriptor).doesNotExist();
  }

  @Test
  void receiverThatFailsHarmsNoOther() throws Exception {
    try (TwoNamespaces net = new TwoNamespaces();
        NetlinkPoller poller = new NetlinkPoller("test-poller").start()) {
      AtomicInteger failures = new AtomicInteger();
      poller.add(
          NetlinkSocket.open(net.pod(), NetlinkSocket.NETFILTER, NFTABLES_GROUP),
          new NetlinkPoller.Receiver() {
            @Override
            public void received(NetlinkMessages messages) {
              failures.incrementAndGet();
              throw new IllegalStateException("on purpose");
            }

            @Override
            public void lost() {
              throw new AssertionError("nothing is lost here");
            }
          });
      Heard other = new Heard();
      poller.add(NetlinkSocket.open(net.pod(), NetlinkSocket.NETFILTER, NFTABLES_GROUP), other);

      net.inPod("nft", "add table inet noise");
      net.inPod("nft", "delete table inet noise");

      assertThat(other.await(NEW_GENERATION)).isTrue();
      assertThat(other.await(NEW_GENERATION)).isTrue();
      for (int i = 0; i < 500 && failures.get() < 2; i++) {
        Thread.sleep(10); // the other may have been told first
      }
      assertThat(failures.get()).isGreaterThanOrEqualTo(2);
    }
  }

  @Test
  void lossIsReportedAndNotFatal() throws Exception {
    try (TwoNamespaces net = new TwoNamespaces();
        NetlinkPoller poller = new NetlinkPoller("test-poller")) { // nobody reads yet
      Heard heard = new Heard();
      poller.add(
          NetlinkSocket.open(net.pod(), NetlinkSocket.NETFILTER, NFTABLES_GROUP)
              .receiveBuffer(2048),
          heard);
      StringBuilder much = new StringBuilder("add table inet noise\n");
      for (int i = 0; i < 200; i++) {
        much.append("add chain inet noise chain").append(i).append('\n');
      }
      net.inPod("sh", "-c", "echo '" + much + "' | nft -f -");

      poller.start();
      assertThat(heard.lost.poll(10, TimeUnit.SECONDS)).isNotNull();
      heard.types.clear();
      net.inPod("nft", "delete table inet noise");

      // A transaction with many messages may not fit either, but what ends it does, sooner or
      // later.
      for (int i = 0; i < 50 && !heard.types.contains(NEW_GENERATION); i++) {
        net.inPod("nft", "add table inet noise" + i);
        heard.await(NEW_GENERATION);
      }
      assertThat(heard.all).contains(NEW_GENERATION);
    }
  }

  @Test
  void wakeUpsAllocateNothing() throws Exception {
    try (TwoNamespaces net = new TwoNamespaces();
        NetlinkPoller poller = new NetlinkPoller("test-poller").start()) {
      AtomicInteger datagrams = new AtomicInteger();
      NetlinkPoller.Watch watch =
          poller.add(
              NetlinkSocket.open(net.pod(), NetlinkSocket.NETFILTER),
              new NetlinkPoller.Receiver() {
                @Override
                public void received(NetlinkMessages messages) {
                  datagrams.incrementAndGet();
                }

                @Override
                public void lost() {}
              });
      MessageWriter generation = new MessageWriter(64);
      generation.beginNetfilter(10, 16, MessageWriter.REQUEST, 1, 0, 0).end();
      long thread = threadNamed("test-poller");
      ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
      ask(watch, generation, datagrams, 2_000);

      long before = threads.getThreadAllocatedBytes(thread);
      ask(watch, generation, datagrams, 2_000);
      long allocated = threads.getThreadAllocatedBytes(thread) - before;

      // Far below a byte for each: what the compiler's threads leave behind is not ours.
      assertThat(allocated).isLessThan(2_000L);
    }
  }

  private static void ask(
      NetlinkPoller.Watch watch, MessageWriter question, AtomicInteger answers, int times)
      throws InterruptedException {
    for (int i = 0; i < times; i++) {
      int before = answers.get();
      assertThat(watch.send(question)).isPositive();
      for (int wait = 0; wait < 10_000 && answers.get() == before; wait++) {
        Thread.onSpinWait();
        if (wait > 1000) {
          Thread.sleep(1);
        }
      }
      assertThat(answers.get()).isGreaterThan(before);
    }
  }

  private static long threadNamed(String name) {
    return Thread.getAllStackTraces().keySet().stream()
        .filter(thread -> thread.getName().equals(name))
        .findFirst()
        .orElseThrow()
        .threadId();
  }

  @Test
  void requestIsAnsweredOrRefused() {
    try (TwoNamespaces net = new TwoNamespaces();
        NetlinkSocket socket = NetlinkSocket.open(net.pod(), NetlinkSocket.NETFILTER)) {
      net.inPod("nft", "add table inet noise");
      NetlinkMemory memory = new NetlinkMemory(8192);
      List<String> tables = new ArrayList<>();
      MessageWriter request = new MessageWriter(256);
      request.beginNetfilter(10, 1, MessageWriter.REQUEST | MessageWriter.DUMP, 1, 1, 0).end();

      socket.ask(
          request,
          1,
          5000,
          memory,
          answer -> {
            Attributes found = answer.netfilterAttributes(new Attributes());
            while (found.next()) {
              if (found.type() == 1) {
                tables.add(found.text());
              }
            }
          });
      assertThat(tables).containsExactly("noise");

      request.clear().beginNetfilter(10, 1, MessageWriter.REQUEST | MessageWriter.ACK, 2, 1, 0);
      request.text(1, "nosuch").end();
      assertThatThrownBy(() -> socket.ask(request, 2, 5000, memory, _ -> {}))
          .isInstanceOfSatisfying(
              SyscallException.class, e -> assertThat(e.errno()).isEqualTo(Errno.ENOENT));
    }
  }

  @Test
  void whatAnotherProcessSendsIsNotTakenForTheKernels() throws Exception {
    try (TwoNamespaces net = new TwoNamespaces();
        NetlinkSocket socket = NetlinkSocket.open(net.pod(), NetlinkSocket.NETFILTER)) {
      // struct sockaddr_nl with the port of our socket, and an acknowledgement that nobody gave
      net.inPod(
          "python3",
          "-c",
          "import socket,struct\n"
              + "s=socket.socket(socket.AF_NETLINK,socket.SOCK_RAW,12)\n"
              + "s.sendto(struct.pack('=IHHIIiIHHII',36,2,0,1,0,0,16,0,0,1,0),("
              + Integer.toUnsignedString(socket.port())
              + ",0))");

      NetlinkMemory memory = new NetlinkMemory(8192);
      assertThat(socket.receive(memory)).isEqualTo(NetlinkSocket.FOREIGN);
      assertThat(socket.receive(memory)).isEqualTo(-Errno.EAGAIN);
    }
  }

  private static final class Heard implements NetlinkPoller.Receiver {
    final BlockingQueue<Integer> types = new LinkedBlockingQueue<>();
    final BlockingQueue<Integer> all = new LinkedBlockingQueue<>();
    final BlockingQueue<Boolean> lost = new LinkedBlockingQueue<>();

    @Override
    public void received(NetlinkMessages messages) {
      while (messages.next()) {
        all.add(messages.type());
        types.add(messages.type());
      }
    }

    @Override
    public void lost() {
      lost.add(true);
    }

    boolean await(int type) throws InterruptedException {
      while (true) {
        Integer heard = types.poll(10, TimeUnit.SECONDS);
        if (heard == null || heard == type) {
          return heard != null;
        }
      }
    }
  }
}
