# One Varnish before the same service twice: over TCP and over a Unix socket. It stores nothing.
vcl 4.1;
backend tcp { .host = "127.0.0.1"; .port = "@service@"; }
backend unix { .path = "@directory@/service.sock"; }
sub vcl_recv {
    if (local.socket == "unix") {
        set req.backend_hint = unix;
    } else {
        set req.backend_hint = tcp;
    }
    if (req.http.upgrade) {
        return (pipe);
    }
    return (pass);
}
sub vcl_pipe {
    set bereq.http.upgrade = req.http.upgrade;
    set bereq.http.connection = req.http.connection;
}
