"""One way out of a captured pod: escape.py HOW SOURCE4 SOURCE6 DESTINATION4 DESTINATION6.

Prints nothing of interest: whether it worked is seen at the destination.
"""
import ctypes
import os
import socket
import struct
import subprocess
import sys
import time

how, src4, src6, dst4, dst6 = sys.argv[1:6]
SO_MARK, SO_BINDTODEVICE, SO_ATTACH_FILTER = 36, 25, 26
IP_NODEFRAG, IPV6_HDRINCL, MSG_FASTOPEN = 22, 36, 0x20000000


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def tcp(source, destination, port, flags=2, data=b"", to=443):
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    header = struct.pack("!HHIIBBHHH", port, to, 1, 0, 0x50, flags, 65535, 0, 0)
    length = len(header) + len(data)
    pseudo = socket.inet_pton(family, source) + socket.inet_pton(family, destination)
    pseudo += struct.pack("!II", length, 6) if family == socket.AF_INET6 else struct.pack("!BBH", 0, 6, length)
    return header[:16] + struct.pack("!H", checksum(pseudo + header + data)) + header[18:] + data


def udp(port=9999, data=b"out"):
    return struct.pack("!HHHH", 7777, port, 8 + len(data), 0) + data


def ipv4(protocol, payload, source=src4, destination=dst4, fragment=0):
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 7, fragment, 64, protocol, 0,
                         socket.inet_aton(source), socket.inet_aton(destination))
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def ipv6(protocol, payload, source=src6):
    return struct.pack("!IHBB16s16s", 6 << 28, len(payload), protocol, 64,
                       socket.inet_pton(socket.AF_INET6, source),
                       socket.inet_pton(socket.AF_INET6, dst6)) + payload


def raw4(packet, to=dst4, whole=False):
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as s:
        if whole:
            s.setsockopt(socket.IPPROTO_IP, IP_NODEFRAG, 1)
        s.sendto(packet, (to, 0))


def raw6(packet):
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as s:
        s.sendto(packet, (dst6, 0))


def connect(destination=dst4, port=443, mark=0, at=None, data=b"out\n"):
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    with socket.socket(family) as s:
        s.settimeout(2)
        if mark:
            s.setsockopt(socket.SOL_SOCKET, SO_MARK, struct.pack("I", mark))
        if at:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(at)
        s.connect((destination, port))
        s.sendall(data)
        s.recv(10)


def datagram(destination=dst4, port=9999, mark=0):
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        if mark:
            s.setsockopt(socket.SOL_SOCKET, SO_MARK, struct.pack("I", mark))
        s.connect((destination, port))
        for _ in range(2):
            s.send(b"out")
            time.sleep(0.05)


def tolerant(step, *arguments, **named):
    """Refused is what we hope for; the next attempt comes all the same."""
    try:
        step(*arguments, **named)
    except OSError:
        pass


def every_mark():
    for mark in [0x539, 0xFFFFFFFF, 0x111, 0x200] + [1 << bit for bit in range(32)]:
        with socket.socket() as s:
            s.setblocking(False)
            s.setsockopt(socket.SOL_SOCKET, SO_MARK, struct.pack("I", mark))
            tolerant(s.connect, (dst4, 443))
            time.sleep(0.03)


def prepare_on_loopback():
    """Any program can: the entry that this makes would let the next connection past nat."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"lo")
        s.bind((src4, 23456))
        s.setblocking(False)
        tolerant(s.connect, (dst4, 443))
        time.sleep(0.2)
    connect(at=(src4, 23456))


def answer_on_loopback():
    """The destination seems to have begun: what we send then looks like an answer."""
    tolerant(raw4, ipv4(6, tcp(dst4, src4, 443, to=23457), dst4, src4), to=src4)
    time.sleep(0.2)
    connect(at=(src4, 23457))


def false_route():
    """The header says outside, the route says loopback."""
    tolerant(raw4, ipv4(6, tcp(src4, dst4, 23458)), to="127.0.0.1")
    time.sleep(0.2)
    connect(at=(src4, 23458))


def fragments():
    segment = tcp(src4, dst4, 23459, data=b"A" * 24)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as answers:
        answers.settimeout(1)
        tolerant(raw4, ipv4(6, segment[:24], fragment=0x2000), whole=True)
        tolerant(raw4, ipv4(6, segment[24:], fragment=3), whole=True)
        tolerant(await_syn_ack, answers, 23459)


def await_syn_ack(answers, port):
    """Somebody has taken what we sent for the beginning of a connection."""
    for _ in range(1000):
        packet = answers.recv(100)
        header = packet[(packet[0] & 15) * 4:]
        if packet[12:16] == socket.inet_aton(dst4) and header[2:4] == struct.pack("!H", port) and header[13] & 0x12 == 0x12:
            print("answered")
            return


def flags():
    for value in (0x03, 0x00, 0x29, 0x3F):
        tolerant(raw4, ipv4(6, tcp(src4, dst4, 23460 + value, flags=value)))


def raw_segments():
    for value in (0x02, 0x10, 0x18, 0x04, 0x11):
        tolerant(raw4, ipv4(6, tcp(src4, dst4, 23500 + value, flags=value, data=b"out")))
        tolerant(raw6, ipv6(6, tcp(src6, dst6, 23500 + value, flags=value, data=b"out")))


def extension_headers():
    for header in (0, 43, 60):  # hop by hop, routing, destination options
        body = struct.pack("!BB6s", 6, 0, b"\x01\x04\0\0\0\0" if header != 43 else b"\x04\0\0\0\0\0")
        tolerant(raw6, ipv6(header, body + tcp(src6, dst6, 23600 + header)))
    tolerant(raw6, ipv6(60, struct.pack("!BB6s", 17, 0, b"\x01\x04\0\0\0\0") + udp()))
    tolerant(raw6, ipv6(44, struct.pack("!BBHI", 6, 0, 1, 9) + tcp(src6, dst6, 23700)))


def spoofed():
    for source in ("198.51.100.99", "127.0.0.1"):
        tolerant(raw4, ipv4(17, udp(), source))
        tolerant(raw4, ipv4(6, tcp(source, dst4, 23800), source))
    tolerant(raw6, ipv6(17, udp(), "2001:db8::99"))


def icmp():
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as s:
        tolerant(s.sendto, b"\x08\0\xf7\xff\0\0\0\0", (dst4, 0))
        tolerant(s.sendto, b"\x0d\0\xf2\xff\0\0\0\0" + b"\0" * 12, (dst4, 0))
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as s:
        tolerant(s.sendto, b"\x80\0\0\0\0\0\0\0", (dst6, 0))


def protocols():
    for number in (47, 50, 132, 136, 253):
        tolerant(raw4, ipv4(number, b"\0" * 16))
        tolerant(raw6, ipv6(number, b"\0" * 16))


def in_the_syn():
    with socket.socket() as s:
        s.sendto(b"out of the syn\n", MSG_FASTOPEN, (dst4, 443))
        s.settimeout(2)
        s.recv(10)


def frame():
    """Frames for the gateway, whose address an allowed connection has found out."""
    routes = [line.split() for line in open("/proc/net/route").read().splitlines()[1:]]
    device = [r[0] for r in routes if r[1] == "00000000"][0]
    known = [line.split() for line in open("/proc/net/arp").read().splitlines()[1:]]
    gateway = [k[3] for k in known if k[5] == device and k[3] != "00:00:00:00:00:00"][0]
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                          "../../../../native-iptables/src/test/python/frames.py")
    for kind in ("tcp", "bypass", "marked", "vlan", "false-type", "options", "udp-9999", "icmp", "loopback", "xdp"):
        subprocess.run([sys.executable, script, device, gateway, src4, dst4, kind], check=False)


def flood():
    """Guesses at the mark for as long as it is let."""
    end = time.time() + 45
    while time.time() < end:
        with socket.socket() as s:
            s.setblocking(False)
            s.setsockopt(socket.SOL_SOCKET, SO_MARK, struct.pack("I", int.from_bytes(os.urandom(4), "big") or 1))
            tolerant(s.connect, (dst4, 443))
        time.sleep(0.004)


def read_mark():
    """A filter on a packet socket sees marks: prints the bits that any packet had within the time."""
    bits = 0
    sockets = []
    for bit in range(32):
        # A = mark; A &= bit; accept if it is not 0 (linux/filter.h, SKF_AD_MARK)
        program = [(0x20, 0, 0, 0xFFFFF014), (0x54, 0, 0, 1 << bit), (0x15, 0, 1, 0), (0x06, 0, 0, 0), (0x06, 0, 0, 64)]
        code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *p) for p in program))
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        s.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HxxxxxxQ", 5, ctypes.addressof(code)))
        s.setblocking(False)
        sockets.append((s, code))
    time.sleep(0.2)
    for s, _ in sockets:  # what came before the filter
        tolerant(lambda: [s.recv(64) for _ in range(100000)])
    print("listening", flush=True)
    time.sleep(4)
    for bit, (s, _) in enumerate(sockets):
        try:
            s.recv(64)
            bits |= 1 << bit
        except BlockingIOError:
            pass
    print("read %#x" % bits)


WAYS = {
    "connect": connect, "connect6": lambda: connect(dst6), "mark": lambda: connect(mark=0x539),
    "mark6": lambda: connect(dst6, mark=0x539), "mark-udp": lambda: datagram(mark=0x539), "every-mark": every_mark,
    "prepare": prepare_on_loopback, "answer": answer_on_loopback, "false-route": false_route,
    "fragments": fragments, "flags": flags, "raw": raw_segments, "extension-headers": extension_headers,
    "spoofed": spoofed, "icmp": icmp, "protocols": protocols, "fast-open": in_the_syn, "frames": frame,
    "udp": datagram, "udp6": lambda: datagram(dst6), "quic": lambda: datagram(port=443),
    "quic6": lambda: datagram(dst6, 443), "other-dns": lambda: datagram(port=5353), "dns": lambda: datagram(port=53),
    "dns-tcp": lambda: connect(port=53), "metadata": lambda: connect("169.254.169.254", 80),
    "metadata6": lambda: connect("fd00:ec2::254", 80), "flood": flood, "read-mark": read_mark,
}

try:
    if how.startswith("port:"):
        connect(port=int(how[5:]))
    else:
        WAYS[how]()
except OSError as refused:
    print("refused:", refused)
