"""A certificate authority for one test, and certificates of its making."""
import socket
import ssl
import struct

# What libpq sends before TLS begins (PostgreSQL: pqcomm.h, NEGOTIATE_SSL_CODE).
SSL_REQUEST = struct.pack('!ii', 8, 80877103)


class Authority:
    """`certificate` is the file that clients and servers trust."""

    def __init__(self, bench, name='authority'):
        self.bench, self.folder = bench, bench.make_folder(name)
        self.certificate, self._key = self.folder / 'ca.crt', self.folder / 'ca.key'
        self._openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', f'/CN={name}',
                      '-keyout', self._key, '-out', self.certificate)
        self.folder.chmod(0o755)

    def _openssl(self, *arguments):
        done = self.bench.run(['openssl', *arguments], self.folder)
        assert done.returncode == 0, done

    def issue(self, name, certificate, key):
        """A new key and certificate of `name`, which is good for servers on loopback; what was in the files is replaced."""
        request = self.folder / f'{name}.csr'
        fresh, fresh_key = certificate.with_suffix('.new'), key.with_suffix('.new-key')
        self._openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', f'/CN={name}', '-keyout', fresh_key, '-out', request,
                      '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1')
        self._openssl('x509', '-req', '-in', request, '-CA', self.certificate, '-CAkey', self._key, '-CAcreateserial',
                      '-copy_extensions', 'copy', '-days', '2', '-out', fresh)
        fresh_key.chmod(0o600)
        fresh_key.rename(key)
        fresh.rename(certificate)

    def serial_of(self, certificate):
        done = self.bench.run(['openssl', 'x509', '-noout', '-serial', '-in', certificate], self.folder)
        return int(done.stdout.partition('=')[2], 16)

    def serial_shown(self, address, port):
        """Of the certificate that a PostgreSQL shows now, which must be one of ours."""
        context = ssl.create_default_context(cafile=self.certificate)
        with socket.create_connection((address, port), timeout=5) as plain:
            plain.sendall(SSL_REQUEST)
            assert plain.recv(1) == b'S', 'it does not speak TLS'
            with context.wrap_socket(plain, server_hostname=address) as secure:
                return int(secure.getpeercert()['serialNumber'], 16)
