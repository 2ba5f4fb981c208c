"""Dials what a name is and says a hello for another one: trick.py HOW NAME SNI.

In a way that no honest client would, or after something that none would do. At its end it prints
`heard N`, `closed`, or `failed` with the error.
"""
import socket
import ssl
import struct
import sys
import time

how, name, sni = sys.argv[1:4]
six = how.endswith("6")
how = how.removesuffix("-6")
family = socket.AF_INET6 if six else socket.AF_INET
SYN, ACK, PSH, RST, FIN = 0x02, 0x10, 0x08, 0x04, 0x01
FASTOPEN, SO_MARK, IP_OPTIONS, IP_TTL, IPV6_DESTINATION_OPTIONS = 0x20000000, 36, 4, 2, 59
DESTINATION_OPTIONS, FRAGMENT, TCP = 60, 44, 6
PADDING = b"\x01\x04\0\0\0\0"  # fills an extension header up to eight bytes


def hello(name):
    out = ssl.MemoryBIO()
    try:
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        return out.read()


def numbers(s):
    """Sequence number of what is sent next, and of what is acknowledged (TCP_REPAIR)."""
    s.setsockopt(socket.IPPROTO_TCP, 19, 1)
    found = []
    for queue in (2, 1):
        s.setsockopt(socket.IPPROTO_TCP, 20, queue)
        found.append(s.getsockopt(socket.IPPROTO_TCP, 21) & 0xFFFFFFFF)
    s.setsockopt(socket.IPPROTO_TCP, 19, -1)
    return found


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def segment(s, payload, offset=0, flags=ACK | PSH, broken=False):
    sport, dport = s.getsockname()[1], s.getpeername()[1]
    seq, ack = numbers(s)
    tcp = struct.pack("!HHIIBBHHH", sport, dport, seq + offset & 0xFFFFFFFF, ack, 0x50, flags, 502, 0, 0)
    pseudo = b"".join(socket.inet_pton(family, one[0]) for one in (s.getsockname(), s.getpeername()))
    length = len(tcp) + len(payload)
    pseudo += struct.pack("!II", length, TCP) if six else struct.pack("!BBH", 0, TCP, length)
    sum_ = checksum(pseudo + tcp + payload) ^ (0x1234 if broken else 0)
    return tcp[:16] + struct.pack("!H", sum_) + tcp[18:] + payload


def packet(s, payload, ttl=64, first=TCP):
    source, destination = (socket.inet_pton(family, one[0]) for one in (s.getsockname(), s.getpeername()))
    if six:
        return struct.pack("!IHBB", 6 << 28, len(payload), first, ttl) + source + destination + payload
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0x4000, ttl, TCP, 0)
    return header + source + destination + payload  # the kernel computes the sum


def raw(s, payload, **how):
    shape = {key: how.pop(key) for key in ("ttl", "first") if key in how}
    put(s, packet(s, segment(s, payload, **how), **shape))


def put(s, whole):
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as r:
        try:
            r.sendto(whole, (s.getpeername()[0], 0))
        except OSError:
            pass  # the rules drop it


def extended(s, payload):
    """Behind a header that a server skips."""
    whole = struct.pack("!BB6s", TCP, 0, PADDING) + segment(s, payload)
    put(s, packet(s, whole, first=DESTINATION_OPTIONS))


def fragmented(s, payload):
    whole = segment(s, payload)
    cut = len(whole) // 16 * 8
    for at, part in ((0, whole[:cut]), (cut, whole[cut:])):
        more = at | (1 if at == 0 else 0)
        put(s, packet(s, struct.pack("!BBHI", TCP, 0, more, 7) + part, first=FRAGMENT))


def frame(s, payload):
    """Below the rules for what the pod's own sockets send."""
    device = "eth0"
    known = [line.split() for line in open("/proc/net/arp").read().splitlines()[1:]]
    gateway = [k[3] for k in known if k[5] == device and k[3] != "00:00:00:00:00:00"][0]
    whole = bytearray(packet(s, segment(s, payload)))
    whole[10:12] = struct.pack("!H", checksum(bytes(whole[:20])))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as p:
        p.bind((device, 0x0800))
        ends = bytes.fromhex(gateway.replace(":", "")) + p.getsockname()[4]
        try:
            p.send(ends + b"\x08\x00" + bytes(whole))
        except OSError:
            pass  # the guard drops it


def decoy(s):
    """A hello that is allowed, where the server does not take it or nobody should send it."""
    good = hello(name)
    match how.removeprefix("decoy"):
        case "":
            raw(s, good)
        case "-broken":
            raw(s, good, broken=True)
        case "-short-lived":
            raw(s, good, ttl=1)
        case "-ahead":
            raw(s, good, offset=1000)
        case "-behind":
            raw(s, good, offset=-200)
        case "-far":
            raw(s, good, offset=10_000_000)
        case "-flagless":
            raw(s, good, flags=0)
        case "-unacknowledging":
            raw(s, good, flags=PSH)
        case "-syn":
            raw(s, b"", offset=-2, flags=SYN)
        case "-syn-ahead":
            raw(s, b"", offset=999, flags=SYN)
            raw(s, good, offset=1000)
        case "-syn-data":
            raw(s, good, offset=-1, flags=SYN)
        case "-rst":
            raw(s, good, flags=RST | ACK)
        case "-fin":
            raw(s, good, offset=1000, flags=FIN | ACK | PSH)
        case "-extended":
            extended(s, good)
        case "-fragmented":
            fragmented(s, good)
        case "-frame":
            frame(s, good)
        case other:
            sys.exit("no such trick: " + other)
    time.sleep(0.2)


def before(address):
    """An allowed connection with the ends that the next one has; returns these."""
    with new() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.connect(address)
        s.sendall(hello(name))
        s.recv(65536)
        own = s.getsockname()
        if how.endswith("reset"):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            while s.recv(65536):
                pass  # the server ends first, and it is its side that has to wait
    time.sleep(0.3)
    return own


def new():
    s = socket.socket(family)
    s.settimeout(8)
    return s


def say(s, text):
    match how:
        case "urgent":
            s.sendall(text[:20])
            s.send(b"x", socket.MSG_OOB)
            s.sendall(text[20:])
        case "end-early":
            s.sendall(text[:200])
            s.shutdown(socket.SHUT_WR)
        case "frame":
            frame(s, text)
        case "silent":
            pass
        case "fastopen":
            pass  # said in the SYN
        case _:
            s.sendall(text)


address = socket.getaddrinfo(name, 443, family, socket.SOCK_STREAM)[0][4]
try:
    own = before(address) if how.startswith("same-ends") else None
    s = new()
    if own:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(own)
    if how.startswith("mark="):
        s.setsockopt(socket.SOL_SOCKET, SO_MARK, int(how[5:], 0))
    if how == "extended":
        s.setsockopt(socket.IPPROTO_IPV6, IPV6_DESTINATION_OPTIONS, b"\0\0" + PADDING)
    if how == "fastopen":
        s.sendto(hello(sni), FASTOPEN, address)
    else:
        s.connect(address)
    if how.startswith("decoy"):
        decoy(s)
    if how == "options":
        s.setsockopt(socket.IPPROTO_IP, IP_OPTIONS, b"\x01\x01\x01\x00")
    if how == "extended-later":
        s.setsockopt(socket.IPPROTO_IPV6, IPV6_DESTINATION_OPTIONS, b"\0\0" + PADDING)
    if how == "short-lived":
        s.setsockopt(socket.IPPROTO_IP, IP_TTL, 1)
    say(s, hello(sni))
    got = len(s.recv(65536))
    print("heard %d" % got if got else "closed", flush=True)
except OSError as e:
    print("failed", type(e).__name__, flush=True)
