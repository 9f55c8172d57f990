# Hello server: a thread for each client.   usage: hello_server.py [HOST [PORT [SECONDS]]]
import socket
import sys
import threading
import time

host = sys.argv[1] if len(sys.argv) > 1 else '127.0.0.1'
port = int(sys.argv[2]) if len(sys.argv) > 2 else 9999
seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 1


def talk(client, address):
    print('new connection from %s:%s' % address)
    client.send(b'Welcome!')
    while True:
        data = client.recv(1024)
        time.sleep(seconds)
        text = data.decode('utf-8')
        if not text or text == 'exit':
            break
        client.send(('Hello, %s!' % text).encode('utf-8'))
    client.close()
    print('connection from %s:%s closed' % address)


server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
server.bind((host, port))
server.listen(5)
print('tcp port', server.getsockname()[1])

while True:
    client, address = server.accept()
    threading.Thread(target=talk, args=(client, address), daemon=True).start()
