"""Sends one frame past the IP stack: frames.py INTERFACE GATEWAY_MAC SOURCE DESTINATION HOW."""
import ctypes
import mmap
import os
import socket
import struct
import sys

device, gateway, source, destination, how = sys.argv[1:6]
SOL_SOCKET, SO_MARK, SOL_PACKET, PACKET_QDISC_BYPASS = 1, 36, 263, 20


def tcp(port=443):
    return struct.pack("!HHIIBBHHH", 7777, port, 1, 0, 0x50, 2, 65535, 0, 0)


def udp(port):
    return struct.pack("!HHHH", 7777, port, 9, 0) + b"x"


def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def ipv4(protocol, payload, options=b""):
    words = 5 + len(options) // 4
    header = struct.pack("!BBHHHBBH4s4s", 0x40 | words, 0, words * 4 + len(payload), 1, 0, 64, protocol, 0,
                         socket.inet_aton(source), socket.inet_aton(destination)) + options
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def ipv6(protocol, payload):
    return struct.pack("!IHBB16s16s", 6 << 28, len(payload), protocol, 64,
                       socket.inet_pton(socket.AF_INET6, "fd90::2"),
                       socket.inet_pton(socket.AF_INET6, "fd90::1")) + payload


def ethernet(payload, kind=0x0800, tag=b""):
    to = bytes.fromhex(gateway.replace(":", ""))
    return to + b"\x52\x54\0\0\0\x09" + tag + struct.pack("!H", kind) + payload


def xdp(frame, name):
    """One frame through an AF_XDP socket in copy mode (linux/if_xdp.h)."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]

    def done(result):
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result

    fd = done(libc.socket(44, 3, 0))
    memory = mmap.mmap(-1, 4096 * 16)
    memory[0:len(frame)] = frame
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for option, value in ((4, struct.pack("QQIIII", address, 4096 * 16, 4096, 0, 0, 0)),
                          (5, struct.pack("I", 16)), (6, struct.pack("I", 16)), (3, struct.pack("I", 16))):
        done(libc.setsockopt(fd, 283, option, value, len(value)))
    offsets, length = ctypes.create_string_buffer(128), ctypes.c_uint(128)
    done(libc.getsockopt(fd, 283, 1, offsets, ctypes.byref(length)))
    producer, _, descriptors, _ = struct.unpack("16Q", offsets.raw)[4:8]
    ring = libc.mmap(None, descriptors + 16 * 16, 3, 0x8001, fd, 0x80000000)
    to = struct.pack("HHIII", 44, 2, socket.if_nametoindex(name), 0, 0)
    done(libc.bind(fd, to, len(to)))
    ctypes.memmove(ring + descriptors, struct.pack("QII", 0, len(frame), 0), 16)
    ctypes.c_uint32.from_address(ring + producer).value = 1
    done(libc.sendto(fd, None, 0, 0x40, None, 0))


def packet(frame, name=device, protocol=0, mark=0, bypass=False):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
        s.bind((name, protocol))
        if mark:
            s.setsockopt(SOL_SOCKET, SO_MARK, mark)
        if bypass:
            s.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        s.send(frame)


def go():
    syn = ethernet(ipv4(6, tcp()))
    if how == "tcp":
        packet(syn)
    elif how == "bypass":
        packet(syn, bypass=True)
    elif how == "marked":
        packet(syn, mark=0x539)
    elif how == "vlan":  # priority tag: the other side takes it off
        packet(ethernet(ipv4(6, tcp()), tag=b"\x81\0\0\0"))
    elif how == "false-type":  # what the socket says is not what the frame says
        packet(syn, protocol=0x0608)
    elif how == "ipv6":
        packet(ethernet(ipv6(6, tcp()), 0x86DD))
    elif how == "options":
        packet(ethernet(ipv4(6, tcp(), b"\x01\x01\x01\x00")))
    elif how.startswith("udp-"):
        packet(ethernet(ipv4(17, udp(int(how[4:])))))
    elif how == "icmp":
        packet(ethernet(ipv4(1, b"\x08\0\xf7\xff\0\0\0\0")))
    elif how == "loopback":
        packet(syn, name="lo")
    elif how == "xdp":
        xdp(syn, device)
    elif how == "xdp-loopback":
        xdp(syn, "lo")
    else:
        sys.exit("unknown: " + how)


try:
    go()
    print("sent")
except OSError as refused:
    print("refused")
