# Asks much, or patiently: dns-flood.py SERVER flood SECONDS MOST
#                         dns-flood.py SERVER patient COUNT PAUSE
# The flood is one question again and again, and its answers are not read. Who is patient asks for COUNT names, each
# after a pause, and tells how many of them were answered within five seconds after the last.
import select
import socket
import struct
import sys
import time

server, how, first, second = sys.argv[1:5]
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.connect((server, 53))


def question(number, name):
    labels = b''.join(bytes([len(label)]) + label.encode() for label in name.split('.'))
    return struct.pack('!HHHHHH', number, 0x0100, 1, 0, 0, 0) + labels + b'\0\0\x10\0\1'


if how == 'flood':
    query = question(7, 'flood.example')
    ends, sent = time.monotonic() + float(first), 0
    print('flooding', flush=True)
    while sent < int(second) and time.monotonic() < ends:
        for _ in range(100):
            try:
                udp.send(query)
            except OSError:
                pass
            sent += 1
    print('flooded', sent, flush=True)
else:
    count, pause, answered = int(first), float(second), set()

    def read(seconds):
        until = time.monotonic() + seconds
        while len(answered) < count and select.select([udp], [], [], max(0, until - time.monotonic()))[0]:
            answered.add(struct.unpack('!H', udp.recv(4096)[:2])[0])

    for one in range(count):
        udp.send(question(one, 'patient-%d.example' % one))
        read(pause)
    read(5)
    print(len(answered), 'of', count)
