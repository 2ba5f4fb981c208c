# Sends DNS messages as they are and prints what comes back: dns-ask.py SERVER udp|tcp HEX...
# One line per message: the answer in hex, "none" after three seconds, "closed" for a closed connection.
import socket
import sys

server, how, messages = sys.argv[1], sys.argv[2], [bytes.fromhex(m) for m in sys.argv[3:]]
family = socket.AF_INET6 if ':' in server else socket.AF_INET


def exactly(stream, count):
    data = b''
    while len(data) < count:
        more = stream.recv(count - len(data))
        if not more:
            raise ConnectionError
        data += more
    return data


if how == 'udp':
    udp = socket.socket(family, socket.SOCK_DGRAM)
    udp.settimeout(3)
    udp.connect((server, 53))
    for message in messages:
        udp.send(message)
        try:
            print(udp.recv(65535).hex())
        except socket.timeout:
            print('none')
else:
    tcp = socket.create_connection((server, 53), 3)
    for message in messages:
        tcp.sendall(len(message).to_bytes(2, 'big') + message)
    for _ in messages:
        try:
            print(exactly(tcp, int.from_bytes(exactly(tcp, 2), 'big')).hex())
        except socket.timeout:
            print('none')
        except ConnectionError:
            print('closed')
