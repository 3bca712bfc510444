"""A WebSocket server that sends back what it gets. It prints its address.

It answers each message before it looks at what comes behind it, so that a case ends the same every
time.
"""

import socket
import threading

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, CloseConnection, Message, Ping, Request
from wsproto.extensions import PerMessageDeflate
from wsproto.utilities import RemoteProtocolError

READ = 1024 * 1024


def converse(visitor):
    connection = WSConnection(ConnectionType.SERVER)
    message = []
    with visitor:
        while received := visitor.recv(READ):
            try:
                connection.receive_data(received)
                for event in connection.events():
                    if answer := answer_to(event, message):
                        visitor.sendall(connection.send(answer))
                if connection.state is ConnectionState.CLOSED:
                    return
            except RemoteProtocolError as error:
                visitor.sendall(connection.send(error.event_hint))
                return
            except OSError:
                # The visitor has left.
                return


def answer_to(event, message):
    match event:
        case Request():
            return AcceptConnection(extensions=[PerMessageDeflate()])
        case Ping() | CloseConnection():
            return event.response()
        case Message():
            message.append(event.data)
            if event.message_finished:
                whole = type(event.data)().join(message)
                message.clear()
                return Message(whole)


with socket.create_server(("127.0.0.1", 0)) as server:
    host, port = server.getsockname()
    print(f"listening on {host}:{port}", flush=True)
    while True:
        visitor, _ = server.accept()
        threading.Thread(target=converse, args=[visitor], daemon=True).start()
