"""
A cluster that is nothing but its keys in a store and members whose REST API answers as a test tells them: for
what the command line says to answers that a healthy cluster does not give, or does not give slowly enough.
"""
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lab.etcd import Etcd

SCOPE = 'stub'
PREFIX = f'/service/{SCOPE}/'


class StubMember:
    """`answers` maps 'POST /restart' to (status, body); what is not there is answered with 501."""

    def __init__(self, store, name, role='replica'):
        self.store, self.name, self.role = store, name, role
        self.answers, self.asked = {}, []
        self.go_on = threading.Event()  # cleared by hold(): answers wait for it
        self.go_on.set()
        self._server = ThreadingHTTPServer(('127.0.0.1', 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.publish()

    @property
    def url(self):
        return f'http://127.0.0.1:{self._server.server_port}/patroni'

    def publish(self, **more):
        """Its member key, with more or other fields."""
        self.store.put(f'{PREFIX}members/{self.name}', json.dumps({
            'conn_url': 'postgres://127.0.0.1:5432/postgres', 'api_url': self.url, 'state': 'running', 'role': self.role,
            'version': '4.1.5', 'timeline': 1, 'xlog_location': 67108864, **more}))

    def hold(self):
        """From now on questions are heard and not answered, until go_on is set."""
        self.go_on.clear()

    def close(self):
        """Its port refuses; the key stays."""
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self):
        member = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def answer(self):
                body = self.rfile.read(int(self.headers.get('Content-Length') or 0)).decode()
                question = f'{self.command} {self.path}'
                member.asked.append((question, json.loads(body) if body else None))
                member.go_on.wait(60)
                status, text = member.answers.get(question, (501, 'not told what to answer'))
                self.send_response(status)
                self.send_header('Content-Length', str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_PATCH = do_DELETE = answer

            def log_message(self, *_):
                pass
        return Handler


class StubCluster:
    """`count` members s1 …, s1 the leader; ctl() and terminal() are the command line with a file that names the store."""

    def __init__(self, bench, count=2):
        self.bench = bench
        self.store = Etcd(bench)
        self.store.start()
        self.folder = bench.make_folder('operator')
        self.yml = bench.write(self.folder / 'ctl.yml', f'{{scope: {SCOPE}, etcd3: {{hosts: "{self.store.hosts}"}}}}')
        self.members = [StubMember(self.store, f's{i + 1}', 'replica' if i else 'primary') for i in range(count)]
        self.store.put(PREFIX + 'initialize', '7000000000000000000')
        self.store.put(PREFIX + 'config', '{"ttl":30,"loop_wait":1,"retry_timeout":10}')
        self.store.put(PREFIX + 'leader', 's1')

    @property
    def config(self):
        """The dynamic configuration."""
        return json.loads(self.store.get(PREFIX + 'config'))

    def command(self, *arguments):
        return ['pgkeep', '-c', self.yml, *arguments]

    def ctl(self, *arguments, **more):
        return self.bench.run(self.command(*arguments), self.folder, **more)

    def terminal(self, *arguments, **more):
        return self.bench.terminal(self.command(*arguments), self.folder, **more)

    def close(self):
        for member in self.members:
            member.close()
