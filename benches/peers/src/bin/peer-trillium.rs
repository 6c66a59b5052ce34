//! trillium on smol; its executor has a thread for each core that the process may use.

use async_net::TcpListener;
use micro_smol_peers::{HELLO, TEXT, listener};
use trillium::{Conn, KnownHeaderName};

fn main() {
    let listener = TcpListener::try_from(listener()).unwrap();
    trillium_smol::config()
        .with_prebound_server(listener)
        .with_nodelay()
        .run(|conn: Conn| async move { conn.with_response_header(KnownHeaderName::ContentType, TEXT).ok(HELLO) });
}
