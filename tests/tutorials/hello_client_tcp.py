# Client of the hello server.   usage: hello_client_tcp.py [HOST [PORT]]
import socket
import sys

host = sys.argv[1] if len(sys.argv) > 1 else '127.0.0.1'
port = int(sys.argv[2]) if len(sys.argv) > 2 else 9999

client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
client.connect((host, port))
print(client.recv(1024).decode('utf-8'))
for name in [b'Michael', b'Tracy', b'Sarah']:
    client.send(name)
    print(client.recv(1024).decode('utf-8'))
client.send(b'exit')
client.close()
