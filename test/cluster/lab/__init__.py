"""
A laboratory for clusters on one machine: real PostgreSQL, real etcd, pgkeep (or Debian's Patroni) as agent.

  bench     one test's folder, user, ports, processes and what is kept of them after a failure
  wait      wait for a condition with a deadline; nothing in these tests sleeps to let time pass
  proc      processes as /proc shows them, signals to many at once
  logfile   a growing log, and waiting for a line in it
  tls       a certificate authority, and certificates of its making
  rest      a REST client that shows what came over the wire
  etcd      a store of one or three members
  node      one node: its YAML, its processes, its PostgreSQL
  cluster   nodes and their store, and the predicates of a healthy cluster
  server    one bare PostgreSQL server without an agent, and sessions on it
  group     a primary and its standbys, bare
  relay     a TCP connection's way that can be held or cut after so many bytes
  writer    clients that write, remember what was acknowledged, and prove what is missing
  netns     a network of namespaces that can be cut (root)
  terminal  a command on a terminal, and who types there
  stub      members that answer REST as a test tells them
  disk      a small disk that can be filled (root)
"""
