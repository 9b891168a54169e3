"""An HTTP/1.1 server that knows no torrent, and a client for one GET.

In: listening sockets, and a `Handler` that makes a `Response` of a `Request`, at once or later.
Out: the reply, sent; its body is bytes, or a `BodySource` whose bytes are sent without a copy.

Door: `server.serve`, which is given a `service.Service`. `connection.Connection` is one client's
socket as a state machine, `shortcut` spares it those whose request is there when they are accepted,
`messages` has requests and replies as values, `sourced` sends a body from its source, `parts` is
one of many parts, `tls` puts TLS between a connection and its socket (a `wire` is either), and
`headers` reads and writes the headers that several handlers need: preconditions and ranges, Accept,
tokens, Content-Disposition. `certificates` reads what TLS takes. Commands ask others' servers by
`client.fetch`, within bounds of time, bytes and addresses.
"""
