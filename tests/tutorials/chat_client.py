# The other side of the chat.   usage: chat_client.py [HOST [PORT]]
import socket
import sys

host = sys.argv[1] if len(sys.argv) > 1 else '127.0.0.1'
port = int(sys.argv[2]) if len(sys.argv) > 2 else 12345

client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
client.connect((host, port))
while True:
    text = input('input:')
    client.send(text.encode())
    if text == 'exit':
        break
    print('server:', client.recv(1024).decode())
client.close()
