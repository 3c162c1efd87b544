"""The way of TCP connections to a local server, which can be held or cut."""
import socket
import threading

PIECE = 65536


class Relay:
    """
    Listens on `port` of loopback and passes on to the server's port. A context. What the server sends may be limited
    to so many bytes from now on, what the client sends may be held; both are kept and come when released, also when
    their sender is gone by then.
    """

    def __init__(self, server_port):
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self._server_port = server_port
        self._lock = threading.Condition()
        self._budget = None  # bytes the server may still send; None: any number
        self._held = False   # what the clients send
        self._closed = False
        self._sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with self._lock:
            self._closed = True
            self._lock.notify_all()
        for s in [self._listener, *self._sockets]:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()

    def limit(self, count):
        """The server's next `count` bytes go through and no more."""
        with self._lock:
            self._budget = count

    def hold_replies(self):
        with self._lock:
            self._held = True

    def release(self):
        with self._lock:
            self._budget, self._held = None, False
            self._lock.notify_all()

    def _accept(self):
        while not self._closed:
            try:
                client = self._listener.accept()[0]
                server = socket.create_connection(('127.0.0.1', self._server_port))
            except OSError:
                continue
            self._sockets += [client, server]
            self.connections += 1
            threading.Thread(target=self._pump, args=(client, server, self._take_reply), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, self._take_budget), daemon=True).start()

    def _take_reply(self, wanted):
        with self._lock:
            self._lock.wait_for(lambda: self._closed or not self._held)
        return wanted

    def _take_budget(self, wanted):
        with self._lock:
            self._lock.wait_for(lambda: self._closed or self._budget != 0)
            if self._budget is None:
                return wanted
            taken = min(wanted, self._budget)
            self._budget -= taken
            return taken

    @staticmethod
    def _pump(source, target, take):
        """Until the source ends; then the target is told."""
        try:
            while data := source.recv(PIECE):
                while data:
                    count = take(len(data))
                    target.sendall(data[:count])
                    data = data[count:]
            target.shutdown(socket.SHUT_WR)
        except OSError:
            for s in (source, target):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
