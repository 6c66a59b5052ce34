//! tide on async-std; its executor has a thread for each core that the process may use.

use micro_smol_peers::{HELLO, listener};

fn main() -> std::io::Result<()> {
    let mut app = tide::new();
    app.at("/").get(|_| async { Ok(HELLO) });
    async_std::task::block_on(app.listen(listener()))
}
