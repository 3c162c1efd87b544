"""A REST client that shows what came over the wire."""
import base64
import http.client
import json
import ssl
from typing import NamedTuple


class Answer(NamedTuple):
    status: int
    headers: dict
    body: bytes

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)


class Rest:
    """One node's REST API. `tls` is an ssl.SSLContext, `user` a pair of name and password."""

    def __init__(self, host, port, tls: ssl.SSLContext = None, user=None):
        self.host, self.port, self.tls, self.user = host, port, tls, user

    def call(self, method, path, body=None, deadline_s=5, headers=None):
        """Any JSON value as body; a str or bytes is sent as it is."""
        if self.tls:
            connection = http.client.HTTPSConnection(self.host, self.port, timeout=deadline_s, context=self.tls)
        else:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=deadline_s)
        headers = dict(headers or {})
        if self.user:
            headers['Authorization'] = 'Basic ' + base64.b64encode(':'.join(self.user).encode()).decode()
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
            headers.setdefault('Content-Type', 'application/json')
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        except http.client.HTTPException as error:
            raise OSError(f'{method} {path}: {error!r}') from error
        finally:
            connection.close()

    def get(self, path, deadline_s=5):
        return self.call('GET', path, deadline_s=deadline_s)

    def status(self, path, method='GET'):
        return self.call(method, path).status

    def metric(self, name, **labels):
        """Its value on the page of metrics; None: it is not there."""
        for line in self.get('/metrics').text.splitlines():
            series, _, value = line.rpartition(' ')
            if series.partition('{')[0] == name and all(f'{label}="{text}"' in series for label, text in labels.items()):
                return float(value)
        return None

    def patch_config(self, change):
        answer = self.call('PATCH', '/config', change)
        assert answer.status == 200, answer
        return answer.json
