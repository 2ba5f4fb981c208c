# A DNS server that sends back what it got, byte for byte, as an answer: dns-mirror.py ADDRESS PORT
# A question for a name below "slow." waits a second, below "mute." for ever, below "big." over UDP is cut off.
import socket
import sys
import threading
import time

address, port = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ':' in address else socket.AF_INET


def mirrored(query, tcp):
    name = query[12:].lower()
    if b'\x04mute' in name:
        return None
    if b'\x04slow' in name:
        time.sleep(1)
    out = bytearray(query)
    out[2] |= 0x80
    if b'\x03big' in name and not tcp:
        out[2] |= 0x02
    return bytes(out)


def exactly(stream, count):
    data = b''
    while len(data) < count:
        more = stream.recv(count - len(data))
        if not more:
            return None
        data += more
    return data


def serve(stream):
    with stream:
        while head := exactly(stream, 2):
            query = exactly(stream, int.from_bytes(head, 'big'))
            answer = mirrored(query, True)
            if answer:
                stream.sendall(len(answer).to_bytes(2, 'big') + answer)


def answer(udp, query, client):
    back = mirrored(query, False)
    if back:
        udp.sendto(back, client)


def udp_loop():
    udp = socket.socket(family, socket.SOCK_DGRAM)
    udp.bind((address, port))
    while True:
        query, client = udp.recvfrom(65535)
        threading.Thread(target=answer, args=(udp, query, client), daemon=True).start()


tcp = socket.socket(family, socket.SOCK_STREAM)
tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
tcp.bind((address, port))
tcp.listen()
threading.Thread(target=udp_loop, daemon=True).start()
print('ready', flush=True)
while True:
    connection, _ = tcp.accept()
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
