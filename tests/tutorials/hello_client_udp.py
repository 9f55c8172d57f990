# Client of the hello server for datagrams.   usage: hello_client_udp.py [HOST [PORT]]
import socket
import sys

host = sys.argv[1] if len(sys.argv) > 1 else '127.0.0.1'
port = int(sys.argv[2]) if len(sys.argv) > 2 else 9999

client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for name in [b'Michael', b'Tracy', b'Sarah']:
    client.sendto(name, (host, port))
    print(client.recv(1024).decode('utf-8'))
client.close()
