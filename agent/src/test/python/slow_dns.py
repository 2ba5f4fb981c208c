"""A DNS server that answers each question after a second: slow_dns.py ADDRESS."""
import socket
import sys
import threading
import time

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 53))
print("ready", flush=True)


def later(query, client):
    time.sleep(1)
    server.sendto(query[:2] + b"\x81\x80" + query[4:], client)


while True:
    threading.Thread(target=later, args=server.recvfrom(4096), daemon=True).start()
