# Hello server for datagrams.   usage: hello_udp_server.py [HOST [PORT]]
import socket
import sys

host = sys.argv[1] if len(sys.argv) > 1 else '127.0.0.1'
port = int(sys.argv[2]) if len(sys.argv) > 2 else 9999

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((host, port))
print('udp port', server.getsockname()[1])

while True:
    data, address = server.recvfrom(1024)
    print('received from %s:%s' % address)
    server.sendto(b'Hello, %s!' % data, address)
