# A DNS server whose neighbour is faster: dns-liar.py ADDRESS NEIGHBOUR RIGHT FALSE
# Before each answer, which says RIGHT, come false ones that say FALSE: from the neighbour's address, from another
# port, with other identifiers, and once for each question to another question. Prints the port and identifier of each question.
import random
import socket
import struct
import sys
import threading
import time

address, neighbour, right, false = sys.argv[1:5]


def bound(ip, port):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((ip, port))
    return udp


seen = set()
server, other_port, other_source = bound(address, 53), bound(address, 5353), bound(neighbour, 53)


def answer(query, says, identifier=None, name=None):
    end = 12
    while query[end]:
        end += query[end] + 1
    end += 5
    question = query[12:end]
    kind = question[-4:-2]
    record = b''
    if kind == b'\0\1':
        record = b'\xc0\x0c' + kind + b'\0\1' + struct.pack('!IH', 30, 4) + socket.inet_aton(says)
    if name:
        question = name + question[-4:]
    counts = b'\0\1' + (b'\0\1' if record else b'\0\0') + b'\0\0\0\0'
    return (identifier or query[:2]) + b'\x81\x80' + counts + question + record


def lie(query, client):
    other_source.sendto(answer(query, false), client)
    other_port.sendto(answer(query, false), client)
    # Whoever knows the identifier can say what he likes; the first time only, so that asking again helps.
    if query[12:].lower() not in seen:
        seen.add(query[12:].lower())
        server.sendto(answer(query, false, name=b'\6attack\7example\3org\0'), client)
    for _ in range(50):
        identifier = struct.pack('!H', random.randrange(65536))
        if identifier != query[:2]:
            server.sendto(answer(query, false, identifier), client)
    time.sleep(0.1)
    server.sendto(answer(query, right), client)


print('ready', flush=True)
while True:
    asked, who = server.recvfrom(4096)
    print('asked', who[1], int.from_bytes(asked[:2], 'big'), flush=True)
    threading.Thread(target=lie, args=(asked, who), daemon=True).start()
