# Echo server for one client.   usage: echo_server.py [HOST [PORT]]
import socket
import sys

host = sys.argv[1] if len(sys.argv) > 1 else ''
port = int(sys.argv[2]) if len(sys.argv) > 2 else 50007

server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
server.bind((host, port))
server.listen(1)
print('tcp port', server.getsockname()[1])

client, address = server.accept()
print('connected by %s:%s' % address)
while True:
    data = client.recv(1024)
    if not data:
        break
    client.sendall(data)
client.close()
