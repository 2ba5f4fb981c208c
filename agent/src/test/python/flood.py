"""Floods the agent from a pod: flood.py names|udp ADDRESS COUNT.

names: TLS connections, each with a server name of its own. udp: refused datagrams, each to a port of its own.
"""
import socket
import ssl
import sys
import threading

how, address, count = sys.argv[1], sys.argv[2], int(sys.argv[3])


def hello(name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    out = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


TEMPLATE = hello("name-00000000.attacker.example")


def connect(number):
    with socket.socket() as s:
        s.settimeout(5)
        try:
            s.connect((address, 443))
            s.sendall(TEMPLATE.replace(b"name-00000000", b"name-%08d" % number))
            s.recv(10)
        except OSError:
            pass


def part(first):
    for number in range(first, count, 8):
        connect(number)


if how == "names":
    threads = [threading.Thread(target=part, args=(first,)) for first in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
else:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for number in range(count):
            try:
                s.sendto(b"out", (address, 1024 + number % 60000))
            except OSError:
                pass
print("done")
