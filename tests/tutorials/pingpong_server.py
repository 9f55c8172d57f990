# Ping/pong server: TCP and UDP, a thread for each.   usage: pingpong_server.py [HOST [PORT]]
import socket
import sys
import threading

host = sys.argv[1] if len(sys.argv) > 1 else '0.0.0.0'
port = int(sys.argv[2]) if len(sys.argv) > 2 else 8888


def serve_tcp(server):
    while True:
        client, address = server.accept()
        while True:
            data = client.recv(1024)
            if not data:
                break
            print('tcp received', data)
            client.send(b'pong')
        client.close()


def serve_udp(server):
    while True:
        data, address = server.recvfrom(1024)
        print('udp received', data)
        server.sendto(b'pong', address)


tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
tcp.bind((host, port))
tcp.listen(5)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind((host, port))
print('tcp port', tcp.getsockname()[1])
print('udp port', udp.getsockname()[1])

threads = [threading.Thread(target=serve_tcp, args=(tcp,)), threading.Thread(target=serve_udp, args=(udp,))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
