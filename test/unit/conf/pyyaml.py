#!/usr/bin/python3
"""
What PyYAML makes of scalars and documents, as tables for test_scalar.c and test_yaml.c.

    pyyaml.py            print the tables (they are kept in pyyaml.inc)
    pyyaml.py --check F  exit 1 if F is not what would be printed; 77 without PyYAML

Three differences are on purpose (src/wire/conf/scalar.h, yaml.h) and made here: timestamps and "=" are
texts, and so are numbers beyond 64 bits.
"""
import json
import math
import sys

try:
    import yaml
except ImportError:
    sys.exit(77)


class Loader(yaml.SafeLoader):
    pass


def as_text(loader, node):
    return node.value


def as_int(loader, node):
    value = loader.construct_yaml_int(node)
    return value if -2**63 < value < 2**63 else node.value


Loader.add_constructor('tag:yaml.org,2002:timestamp', as_text)
Loader.add_constructor('tag:yaml.org,2002:value', as_text)
Loader.add_constructor('tag:yaml.org,2002:int', as_int)

SCALARS = '''
~ null Null NULL nULL none nil
yes Yes YES yEs no No NO true True TRUE false False FALSE on On ON oN off Off OFF y n Y N t f
0 -0 +0 00 000 0_ 0_7 1 12 -12 +12 1_000 1__0 1_ _1 -_1 08 09 010 -010 +010 0777 0778 0o10 0O10 0b1 0b0 0b10_1 -0b11
0b2 0B1 0x1f 0XFF 0xFF -0xfF 0x_F_F 0xg 0x 0b 0x1_
1:30 12:30:45 190:20:30 1:60 1:5 1:05 0:30 -1:30 +1:30 1:3:5 1_0:30 01:30 1:30: :30 1:2:3:4 59:59 1:59:59.5 1:5. 20:30.15
9223372036854775807 9223372036854775808 -9223372036854775807 0x7fffffffffffffff 0xffffffffffffffff
1.0 1. .5 -.5 +.5 -1.5 +1.5 1.5e3 1.5e+3 1.5E-3 1e3 1e+3 1.e+3 1.5e+ 1.5e+3x 1_0.5_0 ._5 .5_0 .5e-2 1.2.3 1.0.0.127 10.0.0.1
.inf .Inf .INF -.inf +.inf .iNf .nan .NaN .NAN .Nan -.nan 1.0e+400 -1.0e+400 1.0e-400 0.1 0.30000000000000004 123456789012345680.0
1e16 1.0e+16 1.0e+15 0.0001 0.00001 1.0e-5 -0.0 100.0 1234.5678 5e-324 2.5e-320
2001-12-14 2001-12-14T21:59:43.10-05:00 2001-1-1 2002-13-45 = << < - -- -a a-b 10.0.2.10:5432 host:5432 ::1 [::1]
5432 5432: '5432' 1.2.3 v1 1k 30min 16MB 0.0.0.0:8008 0.0.0.0 127.0.0.1 {{x}} @x %x a#b a:b
'''.split()

DOCUMENTS = [
    '', '# nothing', '---\n...', 'a', '- a\n- b', 'a: 1', 'a: {b: [1, 2.5, on, ~, "on"]}', '{a: 1, b: 2, a: 3}',
    'a: 1\nb: 2\na: 3\n', 'a:\nb:\n', 'a: ""', "a: '010'", 'a: 010', 'a: "010"', 'a: !!str 010', 'a: !!int "010"',
    'a: !!float "1.5"', 'a: !!bool "off"', 'a: !!null ""', 'a: ! 12', 'a: ! "12"', 'a: !!seq [1]', 'a: !!map {b: 1}',
    '1: a\n', 'on: a', '~: a', '1.5: a', '0x10: a', '? a\n: b', '"<<": a', 'a: |\n  x\n  y\n', 'a: >\n  x\n  y\n',
    'a: |-\n  x\n', 'a: "x\\ty\\u00e4\\x41"', 'a: x # c', 'a: "x # c"', 'a: b c d', 'a:\n- b\n- c\n', 'a:\n  - b: 1\n    c: 2\n',
    'x: &a {p: 1, q: 2}\ny: *a', 'x: &a 12\ny: [*a, *a]', 'x: &a {p: 1, q: 2}\ny: {<<: *a, q: 3}',
    'x: &a {p: 1, q: 2}\ny: {q: 3, <<: *a}', 'x: &a {p: 1}\nz: &b {p: 2, r: 4}\ny: {<<: [*a, *b], s: 5}',
    'x: &a {p: 1}\nz: &b {p: 2, r: 4}\ny: {<<: *a, <<: *b}', 'x: &a {p: 1}\nz: &b {<<: *a, r: 4}\ny: {<<: *b}',
    'x: &a {p: {q: 1}}\ny: {<<: *a, p: {r: 2}}', 'x: {<<: {p: 1}, p: 2}', '&k x: 1\ny: *k', '*k : 1',
    'a: {b: {c: {d: [[[1]]]}}}', 'hosts: etcd-01:2379,etcd-02:2379', 'a: [10.0.0.1:2379, "b"]', 'a: [b:c, d: e]',
    'password: "{{ replication_password }}"', 'password: {{ replication_password }}', 'a: {? b, c}',
    '%YAML 1.1\n---\na: 1\n', '--- {a: 1}\n', 'a: 1\n...\n', 'a: 1\n---\nb: 2\n', '\ufeffa: 1\n', 'a:\t1\n', '\ta: 1\n',
    'a: b: c', 'a: [1', 'a: "x', 'a: *nothing', 'a: &x 1\nb: &x 2\n', 'a: @x', 'a: `x`', 'a: !!unknown 1', 'a: !local 1',
    'a: !!int x', 'a: !!bool maybe', '[a]: 1', '{a: b}: 1', 'x: {<<: 1}', 'x: {<<: [1]}', 'a: b\n c: d\n', '- a\nb: c\n',
    'a: \x01', 'a: &r [*r]', 'a: !!str [1]', 'a: 1\r\nb: 2\r\n', 'a: b\n  c\n', "a: 'it''s'", 'a: "\\q"',
    '"a": 1\n\'b\': 2\n', 'a : 1', 'a:1', 'a: -1\nb: - 1\n', 'a: ~\nb: null\nc: Null\n', 'a: 1:30\nb: 12:30:45\n',
    'a: 0.1\nb: 1.0\nc: 100000000000000000000.0\nd: 1.0e-7\n', 'a: .inf\nb: -.inf\nc: .nan\n', 'a: [,]', 'a: [1,]', 'a: {b: }',
    'a: 2024-01-02\nb: 2024-01-02 03:04:05\n', '? [x]\n: y', 'a: 99999999999999999999\n', 'a: b  \n', 'a: "b  "\n',
]


def c_text(text):
    out = ['"']
    for byte in text.encode():
        if byte in b'"\\':
            out.append('\\' + chr(byte))
        elif 32 <= byte < 127:
            out.append(chr(byte))
        else:
            out.append('\\%03o' % byte)
    return ''.join(out) + '"'


def scalar(text):
    try:
        value = yaml.load(text, Loader)
    except (yaml.YAMLError, ValueError, KeyError):
        return None
    if value is None:
        return 'CONF_NULL', ''
    if isinstance(value, bool):
        return 'CONF_BOOL', str(value).lower()
    if isinstance(value, int):
        return 'CONF_INT', str(value)
    if isinstance(value, float):
        return 'CONF_FLOAT', repr(value)
    return ('CONF_STRING', value) if isinstance(value, str) and value == text else None


def plain(value):
    """JSON as Patroni writes it; what JSON cannot say is a text."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {key if isinstance(key, str) else json.dumps(key): plain(v) for key, v in value.items()}
    return value


def document(text):
    try:
        return json.dumps(plain(yaml.load(text, Loader)), sort_keys=True, separators=(',', ':'))
    except (yaml.YAMLError, ValueError, KeyError, TypeError, RecursionError):
        return None


def tables():
    yield '/* Generated by pyyaml.py from PyYAML; not edited by hand. */'
    yield 'static const struct pyyaml_scalar pyyaml_scalars[] = {'
    for text in SCALARS:
        row = scalar(text)
        if row:
            yield '    { %s, %s, %s },' % (c_text(text), row[0], c_text(row[1]))
    yield '};'
    yield 'static const struct pyyaml_document pyyaml_documents[] = {'
    for text in DOCUMENTS:
        found = document(text)
        yield '    { %s,\n      %s },' % (c_text(text), c_text(found) if found else 'NULL')
    yield '};'


def main():
    text = '\n'.join(tables()) + '\n'
    if len(sys.argv) == 3 and sys.argv[1] == '--check':
        with open(sys.argv[2], encoding='utf-8') as kept:
            sys.exit(0 if kept.read() == text else 1)
    sys.stdout.write(text)


if __name__ == '__main__':
    main()
