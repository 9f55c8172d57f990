# Accepts, prints what it receives, closes.   usage: accept_print_server.py [HOST [PORT]]
import socket
import sys

host = sys.argv[1] if len(sys.argv) > 1 else '0.0.0.0'
port = int(sys.argv[2]) if len(sys.argv) > 2 else 9999

server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
server.bind((host, port))
server.listen(5)
print('tcp port', server.getsockname()[1])

while True:
    client, address = server.accept()
    print('connected by %s:%s' % address)
    data = client.recv(1024)
    print('received', data)
    client.close()
