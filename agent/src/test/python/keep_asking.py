"""Asks something new some ten times a second until SIGTERM; says then what had no answer within ten seconds."""
import select
import signal
import socket
import struct
import time

over = False


def end(*_):
    global over
    over = True


signal.signal(signal.SIGTERM, end)
asked, number, last = {}, 0, 0
print("asking", flush=True)
while not over or (asked and time.time() < last + 10):
    if not over:
        number += 1
        last = time.time()
        label = b"q%d" % number
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.connect(("203.0.113.99", 53))
        client.send(struct.pack("!HHHHHH", number, 0x100, 1, 0, 0, 0)
                    + bytes([len(label)]) + label + b"\4slow\4test\0\0\1\0\1")
        asked[client] = number
    until = time.time() + 0.1
    while time.time() < until:
        for client in select.select(list(asked), [], [], max(0, until - time.time()))[0]:
            number_back, flags = struct.unpack("!HH", client.recv(4096)[:4])
            if number_back == asked[client] and flags & 0xF == 0:
                del asked[client]
                client.close()
print("of", number, "unanswered", sorted(asked.values()), flush=True)
