# Chat with one client: what it says is shown, what is typed here goes back.   usage: chat_server.py [HOST [PORT]]
import socket
import sys

host = sys.argv[1] if len(sys.argv) > 1 else '127.0.0.1'
port = int(sys.argv[2]) if len(sys.argv) > 2 else 12345

server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
server.bind((host, port))
server.listen(10)
print('tcp port', server.getsockname()[1])

client, address = server.accept()
print('connected by %s:%s' % address)
while True:
    data = client.recv(1024)
    if not data or data == b'exit':
        break
    print('client:', data.decode())
    client.send(input('server: ').encode())
client.close()
